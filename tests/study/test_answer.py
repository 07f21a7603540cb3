"""Plans and hourly answers in the neutral format, counted by a referee that knows the format alone."""

from __future__ import annotations

import random
from typing import Any

import pytest

from node.json_lines import Malformed
from node.study.answer import Replay, jobs_of, plans
from node.study.lines import JobHour, read
from tests.study import referee
from tests.study.jobs import Row, Truth, forecast, job, job_hour, lines, random_job, random_truth

EVERY_SEED = pytest.mark.parametrize("seed", range(40))


def planned(row: Row, truth: Truth, *, dayahead: bool = False) -> list[Any]:
    (made,) = plans(jobs_of(lines([row])), lines([forecast(row, truth, dayahead=dayahead)]))
    return made.runs


def replayed(row: Row, truth: Truth, *, dayahead: bool = False, left_holds_moves: bool = True) -> list[Any]:
    """The job's hours answered one by one, as the format says a caller counts."""
    replay, runs = Replay(), []
    left, at = row["work"], None
    for hour in range(row["arrival"], row["deadline"]):
        ((line, asked),) = read(lines([job_hour(row, truth, hour, left, at, dayahead=dayahead)]), JobHour)
        zone, width = replay.decide(asked, line)
        if zone is None:
            assert width == 0
            continue
        if at not in (None, zone) and left_holds_moves:
            left += row["move_cost"]
        left, at = max(0.0, left - referee.work_at(row["throughput"], width)), zone
        runs.append((hour, zone, width))
    return runs


@EVERY_SEED
def test_with_perfect_foresight_no_plan_emits_less(seed: int) -> None:
    chance = random.Random(seed)
    row = random_job(chance, zones=chance.randint(1, 3), hours=chance.randint(1, 5))
    truth = random_truth(chance, row)
    found = referee.grams(row, planned(row, truth, dayahead=True), truth)
    assert found == pytest.approx(referee.least_grams(row, truth), rel=1e-4, abs=1e-2)


@EVERY_SEED
def test_every_plan_does_the_work_within_the_window_whatever_the_forecast(seed: int) -> None:
    chance = random.Random(seed)
    row = random_job(chance, zones=chance.randint(1, 4), hours=chance.randint(1, 60))
    referee.grams(row, planned(row, random_truth(chance, row)), random_truth(chance, row))


@EVERY_SEED
@pytest.mark.parametrize("left_holds_moves", [True, False], ids=["left with moves", "left without moves"])
def test_every_replay_does_the_work_within_the_window_whatever_comes(seed: int, left_holds_moves: bool) -> None:
    chance = random.Random(seed)
    row = random_job(chance, zones=chance.randint(1, 3), hours=chance.randint(1, 30))
    truth = random_truth(chance, row)
    referee.grams(row, replayed(row, truth, left_holds_moves=left_holds_moves), truth)


@EVERY_SEED
def test_a_replay_that_knows_what_comes_emits_what_the_plan_does(seed: int) -> None:
    chance = random.Random(seed)
    row = random_job(chance, zones=chance.randint(1, 3), hours=chance.randint(1, 24))
    truth = random_truth(chance, row)
    once, hourly = (referee.grams(row, make(row, truth, dayahead=True), truth) for make in (planned, replayed))
    assert hourly <= once * (1 + 1e-4) + 1e-2


def test_a_second_zone_never_makes_an_expected_plan_dearer() -> None:
    chance = random.Random(7)
    for _ in range(20):
        both = random_job(chance, zones=2, hours=48)
        truth = random_truth(chance, both)
        roamed = referee.grams(both, planned(both, truth, dayahead=True), truth)
        for zone in both["zones"]:
            alone = both | {"zones": [zone]}
            assert roamed <= referee.grams(alone, planned(alone, truth, dayahead=True), truth) + 1e-9


def test_the_next_job_of_the_same_name_owes_nothing_of_the_last() -> None:
    replay = Replay()
    row = job(work=1.0, zones=["A", "B"], move_cost=5.0)
    truth = {"A": [100.0] * 200, "B": [10.0] * 200}
    ((_, first),) = read(lines([job_hour(row, truth, 168, 40.0, "A")]), JobHour)
    ((_, fresh),) = read(lines([job_hour(row, truth, 169, 1.0, None)]), JobHour)
    replay.decide(first, 1)
    assert replay.decide(fresh, 2)[1] <= 1.0 + 1e-5


def test_finished_work_is_idle() -> None:
    ((_, done),) = read(lines([job_hour(job(), {"ES_2022": [100.0] * 200}, 170, 0.0, "ES_2022")]), JobHour)
    assert Replay().decide(done, 1) == (None, 0)


def test_work_beyond_the_window_runs_at_full_width() -> None:
    ((_, late),) = read(lines([job_hour(job(), {"ES_2022": [100.0] * 200}, 179, 60.0, "ES_2022")]), JobHour)
    assert Replay().decide(late, 1) == ("ES_2022", 4.0)


def test_the_same_input_gives_the_same_plan() -> None:
    chance = random.Random(3)
    row = random_job(chance, zones=3, hours=72)
    truth = random_truth(chance, row)
    assert planned(row, truth) == planned(row, truth)


TRUTH = {"ES_2022": [100.0] * 400}
WELL = forecast(job(), TRUTH)


@pytest.mark.parametrize(
    ("jobs", "forecasts", "said"),
    [
        ([b"[]"], [], "line 1: check 1"),
        ([b'{"id": "j1"'], [], "line 1: check 1"),
        ([b"\xff{}"], [], "line 1: check 1"),
        (lines([job(), job(id="j2", work=float("nan"))]), [], "line 2, field work: check 2"),
        (lines([job(work=-1)]), [], "line 1, field work: check 2"),
        (lines([job(arrival=1.5)]), [], "line 1, field arrival: check 2"),
        (lines([job(zones=[])]), [], "line 1, field zones: check 2"),
        (lines([job(deadline=168)]), [], "line 1, field deadline: check 3"),
        (lines([job(deadline=168 + 8785)]), [], "line 1, field deadline: check 3"),
        (lines([job(zones=["A", "A"])]), [], "line 1, field zones: check 3"),
        (lines([job(throughput=[0, 1, 3])]), [], "line 1, field throughput: check 3"),
        (lines([job(throughput=[1, 2])]), [], "line 1, field throughput: check 3"),
        (lines([job(), job()]), [], "line 2, field id: check 4"),
        (lines([job()]), lines([WELL, WELL]), "line 2, field id: check 4"),
        (lines([job()]), lines([WELL | {"id": "other"}]), "line 1, field id: check 5"),
        (lines([job()]), lines([WELL | {"arrival": 169}]), "line 1, field arrival: check 5"),
        (lines([job(), job(id="j2")]), lines([WELL]), "check 5"),
        (lines([job()]), lines([WELL | {"history": {}}]), "line 1, field history.ES_2022: check 6"),
        (lines([job()]), lines([WELL | {"history": {"ES_2022": [1.0] * 167}}]), "field history.ES_2022: check 6"),
        (lines([job()]), lines([WELL | {"dayahead": {"ES_2022": [1.0] * 13}}]), "field dayahead.ES_2022: check 6"),
        (lines([job()]), lines([WELL | {"history": {"ES_2022": [-1.0] * 168}}]), "field history.ES_2022.0: check 2"),
        (lines([job()]), [b"x" * (4 * 2**20 + 1)], "line 1: check 1"),
    ],
)
def test_refuse_by_line_field_and_check(jobs: list[bytes], forecasts: list[bytes], said: str) -> None:
    with pytest.raises(Malformed) as refused:
        list(plans(jobs_of(jobs), forecasts))
    assert said in refused.value.cause


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hour": 180}, "line 3, field hour: check 7"),
        ({"hour": 167}, "line 3, field hour: check 7"),
        ({"at": "FR_2022"}, "line 3, field at: check 7"),
    ],
)
def test_refuse_an_hour_that_is_none_of_the_jobs(changes: Row, said: str) -> None:
    ((_, asked),) = read(lines([job_hour(job(), TRUTH, 170, 6.0, None) | changes]), JobHour)
    with pytest.raises(Malformed) as refused:
        Replay().decide(asked, 3)
    assert said in refused.value.cause


def test_fields_of_other_programs_are_not_read() -> None:
    row = job(colour="green")
    assert planned(row, TRUTH) == planned(job(), TRUTH)
