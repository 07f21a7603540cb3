"""Facts about rules: what they may say, when they hold, and that a trembling figure stops nothing twice."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.energy.rules import (
    PAUSED_READINGS_MIN,
    Figures,
    Standing,
    figures,
    next_standing,
    parse_rule,
    parse_rules,
    works_ahead,
)
from protocol.errors import LocalError


def standings(texts: list[str], carbons: list[int]) -> list[bool]:
    rules = parse_rules(texts)
    return list(works_ahead(rules, Standing(), [Figures(carbon=carbon) for carbon in carbons]))


@pytest.mark.parametrize(
    "text",
    ["carbon > 300 => pause", "surplus_w >= 400 => resume", "grid > 250 and carbon_free < 60 => pause"],
)
def test_a_rule_reads_back_as_it_was_written(text: str) -> None:
    assert str(parse_rule(text)) == text
    assert parse_rule(text.replace(" ", "  ").replace("=>", " => ")) == parse_rule(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not of the form"),
        ("carbon > 300", "not of the form"),
        ("carbon > 300 => sleep", "'sleep' is no act"),
        ("carbn > 300 => pause", "'carbn' is none of carbon, .*; carbon\\?"),
        ("carbon > -1 => pause", "NAME > NUMBER"),
        ("carbon > 3e5 => pause", "NAME > NUMBER"),
        ("carbon > 300 or grid > 1 => pause", "NAME > NUMBER"),
        ("__import__ > 1 => pause", "is none of"),
        (" and ".join(["carbon > 1"] * 9) + " => pause", "9 conditions, 8 are allowed"),
        ("carbon > 1 " + "and carbon > 1 " * 30 + "=> pause", "not of the form"),
    ],
)
def test_refuse_rule(text: str, complaint: str) -> None:
    with pytest.raises(LocalError, match=complaint):
        parse_rule(text)


def test_refuse_more_rules_than_a_person_writes() -> None:
    with pytest.raises(LocalError, match="33 rules, 32 are allowed"):
        parse_rules(["carbon > 300 => pause"] * 33)


def test_the_carbon_of_power_is_a_mix_of_own_surplus_and_grid() -> None:
    def carbon(surplus_w: int) -> int | None:
        return figures(surplus_w=surplus_w, grid_g_per_kwh=440, own_g_per_kwh=40, peak_w=100).carbon

    assert [carbon(w) for w in (0, 50, 100, 1000)] == [440, 240, 40, 40]


def test_what_nobody_knows_holds_no_rule() -> None:
    assert not parse_rule("marginal > 0 => pause").holds(Figures(carbon=1))
    assert not parse_rule("carbon > 0 and marginal > 0 => pause").holds(Figures(carbon=1))


def test_a_pause_begins_with_the_reading_that_asks_for_it_and_names_its_rule() -> None:
    rules = parse_rules(["carbon > 300 => pause"])
    paused = next_standing(rules, Standing(), Figures(carbon=301))
    assert (paused.works, paused.paused_by) == (False, "carbon > 300 => pause")
    assert next_standing(rules, Standing(), Figures(carbon=300)).works


def test_without_a_resume_rule_work_begins_again_a_tenth_below() -> None:
    assert standings(["carbon > 300 => pause"], [301, 299, 299, 271, 270, 269]) == [False] * 4 + [True] * 2


def test_with_a_resume_rule_it_alone_brings_work_back() -> None:
    rules = parse_rules(["carbon > 300 => pause", "surplus_w > 400 => resume"])
    standing = next_standing(rules, Standing(), Figures(carbon=301, surplus_w=500))
    for surplus_w, works in ((0, False), (400, False), (401, True)):
        standing = next_standing(rules, standing, Figures(carbon=1, surplus_w=surplus_w))
        assert standing.works is works


def test_a_pause_rule_is_stronger_than_a_resume_rule() -> None:
    rules = parse_rules(["carbon > 300 => pause", "surplus_w > 400 => resume"])
    standing = Standing()
    for _ in range(5):
        standing = next_standing(rules, standing, Figures(carbon=301, surplus_w=500))
        assert not standing.works


def test_without_rules_a_node_works() -> None:
    assert next_standing((), Standing("carbon > 300 => pause", 1), Figures()).works


@given(st.lists(st.integers(270, 330), min_size=1, max_size=60))
def test_a_figure_that_trembles_about_its_threshold_stops_work_once(carbons: list[int]) -> None:
    works = [True, *standings(["carbon > 300 => pause"], [carbon if carbon > 270 else 271 for carbon in carbons])]
    assert sum(before and not after for before, after in pairwise(works)) <= 1


@given(st.lists(st.integers(0, 600), min_size=1, max_size=60))
def test_a_pause_lasts_some_readings(carbons: list[int]) -> None:
    works = standings(["carbon > 300 => pause"], carbons)
    runs = "".join("w" if each else "p" for each in works).split("w")
    assert all(len(run) >= PAUSED_READINGS_MIN for run in runs[:-1] if run)
