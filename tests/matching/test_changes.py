"""Facts about the search for the smallest change, on jobs that are nothing but numbers."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping

import pytest

from node.matching.changes import Axis, Relaxation, Trials, relax

NAMES = ("a", "b", "c", "d", "e")


def axis(name: str, most: int = 10) -> Axis:
    """A demand of 10 that can be lowered step by step to 10 - most."""
    values = [10 - step for step in range(1, most + 1)]
    return Axis(name, 10, values, lambda value: f"{name} {value}", lambda value: {name: value})


def asked(needs: Mapping[str, int], trials: int = 1000) -> Relaxation:
    """The relaxation of a job that fits if each of these is at most so much."""

    def fits(fields: Mapping[str, int]) -> bool:
        return all(fields.get(name, 10) <= most for name, most in needs.items())

    return relax([axis(name) for name in NAMES], Trials(fits, trials), lambda: "that is all")


@pytest.mark.parametrize("needed", range(10))
def test_single_change_is_no_larger_than_need_be(needed: int) -> None:
    found = asked({"c": needed})
    assert found.text == f"c {needed}"
    assert found.changes[0].permille == (10 - needed) * 100


def test_pair_is_no_larger_than_need_be() -> None:
    assert asked({"b": 7, "e": 2}).text == "b 7 and e 2"


def test_three_are_not_looked_for() -> None:
    assert asked({"a": 7, "b": 7, "c": 7}).text == "no one or two changes place it; that is all"


def test_what_no_change_can_give_is_found_hopeless_at_once() -> None:
    assert asked({"a": -1}).trials == len(NAMES) + 1


def test_axis_that_is_needed_spares_the_pairs_without_it() -> None:
    # Five singles, all together, five without one, and then only the pair of the two that are needed.
    assert asked({"b": 9, "e": 9}).trials <= 5 + 1 + 5 + 1 + 2 * 4


def test_other_single_changes_are_named_smallest_first() -> None:
    def fits(fields: Mapping[str, int]) -> bool:
        return fields.get("a", 10) <= 5 or fields.get("d", 10) <= 8 or fields.get("e", 10) <= 5

    found = relax([axis(name) for name in NAMES], Trials(fits, 1000), str)
    assert found.text == "d 8; or a 5; or e 5"
    assert [change.field for change in found.instead] == ["a", "e"]


@pytest.mark.parametrize("trials", range(0, 40, 3))
def test_what_is_found_before_the_trials_run_out_is_right(trials: int) -> None:
    found = asked({"b": 7, "e": 2}, trials)
    assert found.trials <= trials
    if found.changes:
        assert {change.field for change in found.changes} == {"b", "e"}
        assert all(change.value <= {"b": 7, "e": 2}[change.field] for change in found.changes)
    else:
        assert found.text == f"nothing was found in {trials} trials; that is all"


@pytest.mark.parametrize("seed", range(60))
def test_search_agrees_with_trying_everything(seed: int) -> None:
    chance = random.Random(seed)
    ways = [{name: chance.randrange(10) for name in chance.sample(NAMES, chance.randrange(1, 4))} for _ in range(3)]

    def fits(fields: Mapping[str, int]) -> bool:
        return any(all(fields.get(name, 10) <= most for name, most in way.items()) for way in ways)

    found = relax([axis(name) for name in NAMES], Trials(fits, 10_000), str)
    single = [10 - value for name in NAMES for value in range(10) if fits({name: value})]
    if single:
        assert [change.permille for change in found.changes] == [100 * min(single)]
        return
    pairs = [
        {one: x, other: y}
        for one, other in itertools.combinations(NAMES, 2)
        for x, y in itertools.product(range(10), repeat=2)
        if fits({one: x, other: y})
    ]
    assert bool(found.changes) == bool(pairs)
    if found.changes:
        fields = {change.field: change.value for change in found.changes}
        assert fits(fields)
        for name, value in fields.items():
            assert not fits(fields | {name: value + 1})
