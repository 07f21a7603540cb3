"""The reality check: on made-up years whose best hours are known, and on a slice of real ones."""

from __future__ import annotations

import numpy as np
import pytest

from node.study.shift import PLANNERS, Seen, facts, in_space, in_time, together
from node.study.traces import Trace, read
from protocol.errors import LocalError
from tests.study import real

HOURS = 24 * 40


def days(name: str, *, shift: int = 0, noise: float = 0.0) -> Trace:
    """Every day alike, but for noise from a seed."""
    hours = np.arange(HOURS) + shift
    g = 300 + 150 * np.sin(hours * np.pi / 12) + noise * np.random.default_rng(5).standard_normal(HOURS)
    return Trace(name, np.maximum(g, 1.0), 0)


def test_where_every_day_is_alike_all_planners_that_look_back_meet_the_oracle() -> None:
    scores = {score.planner: score for score in in_time(Seen(days("A_2022")), 97)}
    for name in ("CarbonScaler on yesterday", "CarbonScaler on the mean day", "ours, hourly", "oracle"):
        assert scores[name].above_oracle == pytest.approx(0, abs=0.003)
    assert scores["oracle"].saved > 0.2
    assert scores["start now"].saved == 0


def test_nobody_emits_less_than_the_oracle() -> None:
    assert all(score.above_oracle >= -1e-9 for score in in_time(Seen(days("A_2022", noise=80.0)), 97))


def test_two_zones_that_take_turns_save_against_the_cleanest_alone() -> None:
    apart = in_space([days("A_2022"), days("B_2022", shift=12)], 401)
    assert 0.05 < apart.saved <= apart.saved_by_oracle
    assert apart.moves > 0


def test_a_zone_that_always_wins_is_never_left() -> None:
    clean = Trace("C_2022", days("").g / 20, 0)
    apart = in_space([days("A_2022"), clean], 401)
    assert apart.cleanest == "C_2022"
    assert apart.moves == 0
    assert apart.saved == pytest.approx(0, abs=1e-5)


def test_zones_of_one_year_are_planned_together_two_by_two_and_all() -> None:
    named = [Trace(name, np.zeros(1), 0) for name in ("A_2021", "B_2022", "C_2022", "D_2022")]
    groups = [[trace.name[0] for trace in group] for group in together(named)]
    assert groups == [["B", "C"], ["B", "D"], ["C", "D"], ["B", "C", "D"]]


def test_facts_hold_every_planner_of_every_zone_and_their_mean() -> None:
    scores = {name: in_time(Seen(days(name, noise=noise)), 401) for name, noise in (("A_2022", 0.0), ("B_2022", 90.0))}
    counted = facts(scores, [])
    assert [row["planner"] for row in counted["mean"]] == list(PLANNERS)
    for row, mean in enumerate(counted["mean"]):
        each = [counted["time"][zone][row]["above_oracle"] for zone in scores]
        assert mean["above_oracle"] == pytest.approx(sum(each) / 2)


def test_refuse_a_trace_shorter_than_a_job() -> None:
    with pytest.raises(LocalError, match="383 hours"):
        in_time(Seen(Trace("A_2022", np.ones(383), 0)), 100)


@pytest.mark.skipif(bool(real.missing()), reason=f"{real.missing()}: NOT TRIED ON REAL HOURS")
def test_on_a_slice_of_real_hours_planning_again_beats_the_known_planners() -> None:
    names = ("CarbonScaler on yesterday", "CarbonScaler on the mean day", "ours, once", "ours, hourly")
    counted = facts({name: in_time(Seen(real.trace(name)), 1201, names) for name in real.NAMES}, [])
    yesterday, mean_day, ours_once, ours = (row["above_oracle"] for row in counted["mean"])
    assert ours < 0.75 * mean_day < 0.75 * yesterday
    assert ours < ours_once < mean_day


ROWS = ["ts_utc,zone,gco2e_per_kwh_lca", "2022-01-01 00:00:00,ES,100.5", "2022-01-01 01:00:00,ES,90"]


def test_a_trace_is_read_hour_by_hour() -> None:
    trace = read("ES_2022", ROWS)
    assert trace.g.tolist() == [100.5, 90.0]
    assert trace.filled == 0


def test_hours_without_a_figure_get_the_one_before_and_are_counted() -> None:
    trace = read("ES_2022", [*ROWS, "2022-01-01 02:00:00,ES,", "2022-01-01 05:00:00,ES,70"])
    assert trace.g.tolist() == [100.5, 90.0, 90.0, 90.0, 90.0, 70.0]
    assert trace.filled == 3


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("2022-01-01 02:00:00,ES,many", "row 4: could not convert"),
        ("2022-01-01 02:00:00,ES,nan", "row 4: gco2e_per_kwh_lca nan"),
        ("2022-01-01 02:00:00,ES,-1", "row 4: gco2e_per_kwh_lca -1.0"),
        ("2022-01-01 01:00:00,ES,80", "row 4: ts_utc"),
        ("2022-01-01 02:30:00,ES,80", "row 4: ts_utc"),
        ("2022-01-09 02:00:00,ES,80", "row 4: ts_utc"),
        ("noon,ES,80", "row 4: Invalid isoformat"),
        ("2022-01-01 02:00:00", "row 4"),
        (f"{'2' * 131_073},ES,80", "row 4: field larger than"),
        ("9999-12-31 23:00:00,ES,80", "row 4: date value out of range"),
    ],
)
def test_refuse_a_row_by_number(row: str, said: str) -> None:
    with pytest.raises(LocalError, match=said):
        read("ES_2022", [*ROWS, row])


def test_refuse_a_trace_that_is_no_text() -> None:
    with pytest.raises(LocalError, match="row 2: 'utf-8' codec can't decode"):
        read("ES_2022", (line.decode() for line in (b"ts_utc,gco2e_per_kwh_lca", b"\xff")))


def test_an_hour_with_an_offset_is_put_into_utc() -> None:
    trace = read("ES_2022", [*ROWS, "2022-01-01 04:00:00+02:00,ES,70"])
    assert trace.g.tolist() == [100.5, 90.0, 70.0]


def test_refuse_a_trace_without_the_column() -> None:
    with pytest.raises(LocalError, match="no column gco2e_per_kwh_lca"):
        read("ES_2022", ["ts_utc,zone", "2022-01-01 00:00:00,ES"])
