"""Plans that follow prices: feasible, repeatable, and better than those that do not."""

from __future__ import annotations

import numpy as np
import pytest

from node.matching.admission import choosiest_first
from node.matching.greedy import greedy
from node.matching.guided import guided, priced_costs
from node.matching.load import Load
from node.matching.problem import Problem
from node.matching.proof.dual import Dual, Prices
from node.matching.proof.prices import climb

from .builders import broken_limits, drawn, job, peer, problem, recounted_carbon


def planned(asked: Problem, rounds: int = 8) -> Load:
    load = greedy(asked, choosiest_first(asked))
    return guided(asked, climb(Dual(asked), load, rounds).last)


@pytest.mark.parametrize("seed", range(6))
def test_plans_keep_all_limits(seed: int) -> None:
    load = planned(drawn(seed))
    assert load.placements
    assert not broken_limits(load)
    assert recounted_carbon(load) == load.carbon


def test_plans_are_better_than_greedy_ones_over_many_problems() -> None:
    problems = [drawn(seed, jobs=20) for seed in range(4)]
    led = sum(planned(asked).objective for asked in problems)
    assert led < sum(greedy(asked, range(len(asked.jobs))).objective for asked in problems)


def test_the_same_prices_lead_to_the_same_plan() -> None:
    assert planned(drawn(4)).placements == planned(drawn(4)).placements


def test_surplus_is_left_to_whom_it_saves_more() -> None:
    # The first job has green power elsewhere too; the second, which needs much memory, has not.
    rows = [peer("large", memory_gb=80, surplus=[100] * 6), peer("small", own=[25] * 6, grid=[25] * 6)]
    jobs = [job("anywhere", work=1, deadline_slot=1), job("large only", work=1, deadline_slot=1, memory_gb=80)]
    asked = problem(rows, jobs)
    at = Prices(np.zeros_like(asked.peers.free), np.zeros_like(asked.peers.free))
    at.surplus[0, 0] = 16 * 10
    load = Load(asked)
    assert priced_costs(load, 0, at, 100).carbon[0, 0].tolist() == [16 * 100 * (20 + 10), 16 * 100 * 25]
    assert priced_costs(load, 0, at, 0).carbon[0, 0].tolist() == [16 * 100 * 20, 16 * 100 * 25]
    assert guided(asked, at).objective == 100 * 20 + 100 * 25


def test_costs_never_fall_with_the_rank() -> None:
    asked = drawn(3)
    highest = Dual(asked).highest
    load = greedy(asked, range(6))
    for index in range(6, len(asked.jobs)):
        carbon = priced_costs(load, index, highest, 100).carbon
        assert (np.diff(carbon, axis=0) >= 0).all()


def test_the_highest_prices_there_are_fit_into_64_bits_at_every_share() -> None:
    rows = [peer(units=2**12, free=[2**12] * 6)]
    asked = problem(rows, [job(units=2**12, work=1, deadline_slot=1)], penalty=2**50)
    highest = Dual(asked).highest
    carbon = priced_costs(Load(asked), 0, highest, 150).carbon
    unit = int(highest.unit[0, 0])
    assert unit * 2**12 * 150 >= 2**63
    assert carbon[0, 0, 0] == 16 * 2**12 * 100 * 360 + unit * 2**12 * 150 // 100


def test_jobs_in_one_zone_come_first_then_those_with_few_places_to_go() -> None:
    jobs = [
        job("wide"),
        job("long", work=5, deadline_slot=5),
        job("short", work=1, deadline_slot=5),
        job("zone", same_zone=True),
    ]
    assert choosiest_first(problem([peer()], jobs)) == [3, 1, 2, 0]


@pytest.mark.parametrize(("peers", "jobs"), [([], [job()]), ([peer()], []), ([peer(free=[0] * 6)], [job()])])
def test_problems_without_a_plan(peers: list[dict[str, object]], jobs: list[object]) -> None:
    asked = problem(peers, jobs)  # type: ignore[arg-type]
    assert planned(asked).placements == {}


def test_jobs_that_cost_more_than_their_penalty_are_declined() -> None:
    asked = problem([peer(grid=[900] * 6)], [job(work=1)], penalty=80_000)
    assert planned(asked).placements == {}
