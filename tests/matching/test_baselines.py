"""Facts about the baselines: each keeps every limit, and each prefers what it says it prefers."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from node.matching.baselines import BASELINES, carbonscaler, greenest, place_all, splitmix64
from node.matching.check import violations
from node.matching.load import Load, Placement
from node.matching.problem import Problem

from .builders import broken_limits, drawn, job, peer, problem, recounted_carbon


def cells(load: Load, index: int = 0) -> list[tuple[int, str, int]]:
    """(slot, peer, shards) of a job's placement."""
    at = load.placements[index]
    ids = load.problem.peers.ids
    return [(int(t), ids[i], int(n)) for t, i, n in zip(at.slots, at.peers, at.shards, strict=True)]


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("seed", range(12))
def test_no_baseline_breaks_a_limit(name: str, seed: int) -> None:
    load = BASELINES[name](drawn(seed), seed)
    assert load.placements
    assert broken_limits(load) == []
    assert load.carbon == recounted_carbon(load)


def limited(seed: int) -> Problem:
    """A drawn problem in which moves cost something, zones lie apart, and jobs have caps of all kinds."""
    chance = random.Random(seed)
    asked = drawn(seed)
    caps = [("carbon_max", 500_000), ("budget", 8_000_000), ("latency_max_ms", 30), ("link_min_mbps", 500)]
    jobs = []
    for each in asked.jobs:
        changes: dict[str, Any] = dict(chance.sample(caps, chance.randrange(3)))
        jobs.append(replace(each, checkpoint_gb=chance.randrange(50), **changes))
    apart = np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    return replace(asked, jobs=tuple(jobs), move_wh_per_gb=2, latency_ms=1 + 15 * apart, link_mbps=1000 - 300 * apart)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("seed", range(8))
def test_no_baseline_breaks_a_limit_on_the_whole_job(name: str, seed: int) -> None:
    load = BASELINES[name](limited(seed), seed)
    assert load.placements
    assert violations(load.problem, load.placements) == []


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("empty", [problem([], [job()]), problem([peer()], []), problem([peer(free=[0] * 6)], [job()])])
def test_nothing_to_place_or_nowhere_to_place_it(name: str, empty: Problem) -> None:
    assert BASELINES[name](empty, 0).placements == {}


@pytest.mark.parametrize("name", BASELINES)
def test_the_same_seed_gives_the_same_plan(name: str) -> None:
    first, second = (BASELINES[name](drawn(3), 5) for _ in range(2))
    assert first.placements == second.placements


def test_random_depends_on_its_seed() -> None:
    assert BASELINES["random"](drawn(3), 1).placements != BASELINES["random"](drawn(3), 2).placements


def test_jobs_are_placed_in_order_of_arrival() -> None:
    asked = problem([peer()], [job("late", first_slot=1), job("early"), job("earliest too")])
    assert list(BASELINES["cheapest"](asked, 0).placements) == [1, 2, 0]


def test_cheapest_takes_the_lower_price_and_then_the_earlier_slot() -> None:
    offered = [peer("green", surplus=[1000] * 6), peer("cheap", price=400_000, free=[0, 1, 1, 1, 1, 1])]
    assert cells(BASELINES["cheapest"](problem(offered, [job()]), 0)) == [(1, "cheap", 1), (2, "cheap", 1)]


def test_greenest_static_stays_with_what_was_green_at_arrival() -> None:
    offered = [peer("brown later", grid=[100] + [500] * 5), peer("green later", grid=[300] + [30] * 5)]
    load = BASELINES["greenest-static"](problem(offered, [job()]), 0)
    assert cells(load) == [(0, "brown later", 1), (1, "brown later", 1)]


def test_greenest_static_starts_at_once_with_as_many_as_it_may() -> None:
    offered = [peer(f"p{number}", grid=[900] * 5 + [30]) for number in range(4)]
    load = BASELINES["greenest-static"](problem(offered, [job(at_most=3, work=5)]), 0)
    assert [slot for slot, _, _ in cells(load)] == [0, 0, 0, 1, 1]


def test_suspend_resume_waits_for_its_own_peers_to_be_green() -> None:
    offered = [peer("home", grid=[200, 400, 300, 400, 100, 250]), peer("away", grid=[300, 20, 20, 20, 20, 20])]
    load = BASELINES["suspend-resume"](problem(offered, [job()]), 0)
    assert cells(load) == [(0, "home", 1), (4, "home", 1)]


def test_suspend_resume_calls_others_when_its_peers_are_not_free_long_enough() -> None:
    offered = [peer("home", grid=[200] * 6, free=[1, 0, 0, 0, 0, 0]), peer("away", grid=[300] * 6)]
    load = BASELINES["suspend-resume"](problem(offered, [job()]), 0)
    assert cells(load) == [(0, "home", 1), (1, "away", 1)]


def test_carbonscaler_runs_most_shards_where_they_add_least() -> None:
    offered = [peer(f"p{number}", grid=[300, 50, 300, 200, 300, 300]) for number in range(4)]
    load = BASELINES["carbonscaler"](problem(offered, [job(at_least=2, at_most=4, work=6)]), 0)
    assert [slot for slot, _, _ in cells(load)] == [1, 1, 1, 1, 3, 3]


def test_carbonscaler_gives_up_single_shards_for_a_last_group() -> None:
    offered = [peer(f"p{number}", grid=[50, 300, 900, 900, 900, 900]) for number in range(3)]
    load = BASELINES["carbonscaler"](problem(offered, [job(at_least=2, at_most=3, work=4)]), 0)
    assert [slot for slot, _, _ in cells(load)] == [0, 0, 1, 1]


@pytest.mark.parametrize("seed", range(20))
def test_carbonscaler_never_beats_the_exact_placement_of_one_job(seed: int) -> None:
    asked = drawn(seed)
    load = Load(replace(asked, penalty=10**9))
    for index in range(len(asked.jobs)):
        scaled, exact = carbonscaler(load, index), greenest(load, index)
        assert (scaled is None) == (exact is None)
        if scaled is not None and exact is not None:
            assert carbon_of(load, index, scaled) >= carbon_of(load, index, exact)


def carbon_of(load: Load, index: int, placement: Placement) -> int:
    load.add(index, placement)
    added = load.carbon
    load.remove(index)
    return added


def test_carbon_cap_declines_what_a_blind_preference_would_place() -> None:
    asked = problem([peer()], [job(carbon_max=71_999)])
    assert place_all(greenest, asked, 0).placements == {}
    for name in BASELINES:
        assert BASELINES[name](asked, 0).placements == {}, name


def test_splitmix64_is_the_published_generator() -> None:
    # The first three outputs for seed 1234567, as other implementations state them.
    assert splitmix64(np.arange(3), 1234567).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]
