"""Facts about what a plan is measured against."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from node.matching.bids.baselines import at_random, cheapest_first, compare, grid_average, start_now
from node.matching.bids.demand import Candidate, Demand
from node.matching.bids.match import match
from node.matching.bids.plan import Plan

from .builders import FIRST_SLOT, candidate, candidate_lists, demand, demands


@given(candidate_lists(), demands(), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_no_baseline_is_greener_than_the_plan(peers: list[Candidate], asked: Demand, seed: int) -> None:
    plan = match(peers, asked)
    others = [
        cheapest_first(peers, asked),
        start_now(peers, asked),
        at_random(peers, asked, random.Random(seed).randrange),
    ]
    for other in others:
        assert len(other.placements) == len(plan.placements)
        assert other.carbon_ug >= plan.carbon_ug
    assert asked_microcredits(others[0]) <= asked_microcredits(plan)


def asked_microcredits(plan: Plan) -> int:
    """What the chosen asked; what they are paid is the most that any of their like asked."""
    return sum(placed.window.price_microcredits for placed in plan.placements)


def test_cheapest_first_is_blind_to_carbon() -> None:
    peers = [
        candidate("clean", grid_g_per_kwh=(20,) * 6),
        candidate("cheap", price_microcredits_per_unit_hour=1, grid_g_per_kwh=(700,) * 6),
    ]
    plan = cheapest_first(peers, demand())
    assert [placed.window.candidate.label for placed in plan.placements] == ["cheap"]
    assert plan.start_slot == FIRST_SLOT


def test_start_now_is_the_greenest_at_the_earliest_start() -> None:
    peers = [
        candidate("clean", grid_g_per_kwh=(100, 100, 1, 1, 1, 1)),
        candidate("dirty", grid_g_per_kwh=(700, 700, 0, 0, 0, 0)),
    ]
    plan = start_now(peers, demand())
    assert (plan.start_slot, plan.placements[0].window.candidate.label) == (FIRST_SLOT, "clean")


def test_grid_average_counts_every_feasible_peer_once_and_no_surplus() -> None:
    peers = [
        candidate("sunny", surplus_j=(360_000,) * 6, grid_g_per_kwh=(400,) * 6, embodied_ug_per_unit_hour=5),
        candidate("dirty", grid_g_per_kwh=(700,) * 6),
        candidate("small", memory_mb=1, grid_g_per_kwh=(9999,) * 6),
    ]
    plan = match(peers, demand())
    assert grid_average(plan) == 200 * 550 * 1000 + 2 * 5  # 200 Wh at the mean of 400 and 700 g/kWh


def test_declined_job_has_empty_baselines() -> None:
    peers = [candidate(memory_mb=1)]
    baselines = compare(peers, match(peers, demand()))
    assert baselines.cheapest.placements == baselines.start_now.placements == ()
    assert baselines.grid_average_ug == 0


def test_random_is_repeatable_from_its_seed() -> None:
    peers = [candidate(f"peer {n}") for n in range(8)]
    asked = demand(shards=(0, 1, 2))
    first, second = (at_random(peers, asked, random.Random(7).randrange) for _ in range(2))
    assert first == second
