"""Looking at few peers finds what looking at all of them finds: the same cost and the same cells, at every load."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.matching import footprint
from node.matching.greedy import greedy, place
from node.matching.load import Load
from node.matching.one import shortlist
from node.matching.one.pricing import Priced, cheapest
from node.matching.one.shortlist import cheapest_now
from node.matching.problem import Problem
from tests.matching.builders import drawn, job, peer, problem

SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True)
def shortest_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at one peer of each slot at first, however few there are, and never at all of them at once; sort no more."""
    monkeypatch.setattr(footprint, "FRONT", 1)
    monkeypatch.setattr(shortlist, "FEW_PEERS", 0)
    monkeypatch.setattr(shortlist, "DEPTH", 1)
    monkeypatch.setattr(shortlist, "SHARE", 0)


def looking_at_all(load: Load, index: int) -> Priced | None:
    return cheapest(load.problem, index, load.costs(index))


def assert_same_choices(of: Problem, seed: int = 0) -> None:
    """At each step of placing all jobs, and of taking some out and placing them anew."""
    load, chance = Load(of), random.Random(seed)
    indices = [*range(len(of.jobs))] * 2
    chance.shuffle(indices)
    for index in indices:
        if index in load.placements:
            load.remove(index)
        found = cheapest_now(load, index)
        assert found == looking_at_all(load, index)
        if found is not None:
            load.add(index, found.placement)


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_every_kind_of_job_is_placed_as_if_all_peers_were_looked_at(seed: int) -> None:
    assert_same_choices(drawn(seed, jobs=16), seed)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_ties_go_to_the_same_peers_and_slots(seed: int) -> None:
    chance = random.Random(seed)
    kinds = [{"zone": zone, "grid": [grid] * 6, "surplus": [0, own, own, own, 0, 0]} for zone, grid, own in TIED]
    peers = [peer(f"p{n}", units=4, free=[chance.randrange(5)] * 6, **chance.choice(kinds)) for n in range(30)]
    sizes = [(least, most, least * length) for least, most in ((1, 1), (2, 2), (1, 4), (2, 6)) for length in (1, 3)]
    jobs = [
        job(f"j{n}", at_least=least, at_most=most, work=work, **chance.choice(LIMITS))
        for n, (least, most, work) in enumerate(chance.choices(sizes, k=20))
    ]
    assert_same_choices(problem(peers, jobs), seed)


TIED = ((0, 360, 0), (1, 360, 150), (1, 180, 0), (2, 180, 100), (2, 360, 100))
LIMITS: tuple[dict[str, Any], ...] = ({}, {"per_peer": 4}, {"per_zone": 1}, {"per_zone": 2}, {"same_zone": True})


@pytest.mark.parametrize("seed", range(3))
def test_a_plan_for_many_peers_is_the_plan_of_the_full_greedy(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    of = drawn(seed, peers=2_000, jobs=60, slots=24)
    quick = greedy(of, range(len(of.jobs)))
    monkeypatch.setattr(shortlist, "FEW_PEERS", 10**9)
    full = greedy(of, range(len(of.jobs)))
    assert quick.placements == full.placements
    assert quick.carbon == full.carbon


@pytest.mark.parametrize(
    "changes",
    [
        {"block": True, "at_least": 2, "at_most": 2, "work": 4, "same_zone": False},
        {"carbon_max": 300_000},
        {"budget": 2_000_000},
        {"latency_max_ms": 20},
        {"checkpoint_gb": 40},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_limit_that_ties_slots_or_zones_is_kept(changes: dict[str, Any]) -> None:
    """Each changes what is placed: it is not that nobody noticed it."""
    apart = 30 * np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    of = dataclasses.replace(drawn(5, jobs=20), latency_ms=apart)
    limited = dataclasses.replace(
        of,
        jobs=tuple(dataclasses.replace(one, **changes) for one in of.jobs),
        move_wh_per_gb=50 if "checkpoint_gb" in changes else None,
    )
    assert_same_choices(limited)
    every = range(len(of.jobs))
    assert greedy(limited, every).placements != greedy(of, every).placements


def test_costs_near_the_end_of_64_bits_are_not_mixed_up() -> None:
    """In one integer with rank and peer these would wrap around."""
    peers = [peer(f"p{n}", free=[4] * 6, units=4, grid=[2**46 - 2**40 * (n % 7)] * 6) for n in range(300)]
    assert_same_choices(problem(peers, [job(at_least=2, at_most=2, work=2, per_peer=4)], penalty=2**60))


def test_a_job_is_declined_where_looking_further_finds_nothing_cheaper_than_its_penalty() -> None:
    of = problem([peer(f"p{n}") for n in range(5)], [job()], penalty=100)
    load = Load(of)
    assert place(load, 0) is None
    assert load.declined == [0]


@pytest.mark.parametrize("free", [0, 1])
def test_a_job_that_is_too_large_for_all_peers_together_has_no_placement(free: int) -> None:
    of = problem([peer(f"p{n}", free=[free] * 6) for n in range(5)], [job(at_least=6, at_most=6, work=6)])
    assert cheapest_now(Load(of), 0) is None


def test_nothing_is_cheapest_without_peers() -> None:
    assert cheapest_now(Load(problem([], [job()])), 0) is None
