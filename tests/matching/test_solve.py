"""Facts about the whole: never worse than greedy, within every limit, the same again, and as good as all placements."""

from __future__ import annotations

import itertools

import pytest

from node.matching.admission import ORDERS
from node.matching.check import violations
from node.matching.greedy import greedy
from node.matching.load import Load, Placement
from node.matching.problem import Problem
from node.matching.solve import solve
from node.matching.work import UNITS_PER_SECOND

from .builders import drawn, job, peer, problem

WORK = UNITS_PER_SECOND // 4
SEEDS = range(8)


def plan(load: Load) -> list[tuple[int, Placement]]:
    return list(load.placements.items())


@pytest.mark.parametrize("seed", SEEDS)
def test_never_worse_than_any_order_of_greedy_and_within_every_limit(seed: int) -> None:
    asked = drawn(seed, peers=15, jobs=14)
    found = solve(asked, WORK)
    assert found.objective <= min(greedy(asked, order(asked)).objective for order in ORDERS)
    assert violations(asked, found.placements) == []


def test_better_than_greedy_where_jobs_compete() -> None:
    problems = [drawn(seed, peers=15, jobs=14) for seed in SEEDS]
    gains = [greedy(asked, range(14)).objective - solve(asked, WORK).objective for asked in problems]
    assert sum(gain > 0 for gain in gains) >= 6


@pytest.mark.parametrize("work", [0, 1, UNITS_PER_SECOND // 50])
def test_with_little_work_no_worse_than_the_order_of_arrival(work: int) -> None:
    asked = drawn(3)
    assert solve(asked, work).objective <= greedy(asked, range(len(asked.jobs))).objective


def test_the_objective_is_what_its_placements_add_up_to() -> None:
    found = solve(drawn(5), WORK)
    again = Load(found.problem)
    for index, placement in found.placements.items():
        again.add(index, placement)
    assert (again.carbon, again.objective) == (found.carbon, found.objective)


def test_same_seed_and_work_same_plan() -> None:
    assert plan(solve(drawn(2), WORK, seed=7)) == plan(solve(drawn(2), WORK, seed=7))


def test_another_seed_searches_elsewhere() -> None:
    plans = [plan(solve(drawn(4, peers=15, jobs=14), WORK // 8, seed)) for seed in range(4)]
    assert any(one != plans[0] for one in plans)


def single_slot(units: list[int], jobs: list[tuple[int, int]], surplus: list[int]) -> Problem:
    """Peers of so many units and so much surplus in one slot, and jobs of (shards, units per shard)."""
    rows = [
        peer(f"p{number}", units=count, free=[count], surplus=[energy], own=[20], grid=[360])
        for number, (count, energy) in enumerate(zip(units, surplus, strict=True))
    ]
    asked = [
        job(f"j{number}", at_least=shards, at_most=shards, work=shards, units=size, deadline_slot=1, per_peer=2)
        for number, (shards, size) in enumerate(jobs)
    ]
    return problem(rows, asked)


def least_objective(asked: Problem) -> int:
    """The least over all ways to put the shards of all jobs on the peers in the only slot, or to decline."""
    peers = range(len(asked.peers.ids))
    choices = [[None, *itertools.combinations_with_replacement(peers, one.work)] for one in asked.jobs]
    return min(
        value for combination in itertools.product(*choices) if (value := _objective(asked, combination)) is not None
    )


def _objective(asked: Problem, combination: tuple[tuple[int, ...] | None, ...]) -> int | None:
    """100 Wh for each unit of each shard: the builders' peers draw 100 W at full rate."""
    units, penalty = [0] * len(asked.peers.ids), 0
    for one, chosen in zip(asked.jobs, combination, strict=True):
        penalty += asked.penalty * one.work if chosen is None else 0
        for row in set(chosen or ()):
            shards = (chosen or ()).count(row)
            if shards > one.per_peer:
                return None
            units[row] += shards * one.units
    if any(taken > free for taken, free in zip(units, asked.peers.free[0].tolist(), strict=True)):
        return None
    surplus: list[int] = asked.peers.surplus[0].tolist()
    energy = [100 * taken for taken in units]
    return penalty + sum(20 * min(e, s) + 360 * max(0, e - s) for e, s in zip(energy, surplus, strict=True))


@pytest.mark.parametrize(
    ("units", "jobs", "surplus"),
    [
        ([2, 2, 1], [(1, 1), (2, 1), (1, 2)], [0, 200, 50]),
        ([4, 2], [(1, 2), (2, 1), (1, 2)], [250, 100]),
        ([2, 2], [(1, 1), (1, 1), (1, 2), (1, 2)], [200, 100]),
        ([3, 3, 3], [(2, 1), (2, 2), (1, 1)], [100, 200, 300]),
    ],
)
def test_as_good_as_the_best_of_all_plans_where_all_can_be_looked_at(
    units: list[int], jobs: list[tuple[int, int]], surplus: list[int]
) -> None:
    asked = single_slot(units, jobs, surplus)
    assert solve(asked, WORK).objective == least_objective(asked)


def test_no_jobs_no_peers_and_jobs_that_fit_nowhere() -> None:
    assert plan(solve(problem([peer()], []), WORK)) == []
    assert solve(problem([], [job(), job("another")]), WORK).declined == [0, 1]
    assert solve(problem([peer(units=1)], [job(units=9), job(memory_gb=999)]), WORK).declined == [0, 1]


def test_equal_peers_are_taken_from_the_first() -> None:
    asked = problem([peer(f"p{number}") for number in range(4)], [job("a"), job("b")])
    found = solve(asked, WORK)
    assert found.carbon == 2 * 2 * 100 * 360
    assert violations(asked, found.placements) == []


def test_costs_too_great_to_prove_a_bound_with_are_no_hindrance_to_a_plan() -> None:
    rows = [peer(units=2**16, free=[2**16] * 6, idle_w=2**20, peak_w=2**20, grid=[10_000] * 6)]
    large = {"units": 2**13, "work": 2**10, "at_least": 2**9, "at_most": 2**9, "per_peer": 8, "deadline_slot": 2}
    asked = problem(rows, [job("a", **large), job("b", **large), job("c", work=1)], penalty=2**40)
    assert solve(asked, WORK).declined == [0, 1]
