"""Facts about the limits of a job beyond the plain ones: near zones, a cap on carbon, a budget, moves."""

from __future__ import annotations

import dataclasses
import itertools
import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from node.matching.check import violations
from node.matching.greedy import greedy
from node.matching.load import Costs, Load
from node.matching.moves import moves_carbon
from node.matching.one.pricing import cheapest, preferred
from node.matching.one.zones import CLIQUES_MAX, together
from node.matching.problem import Problem

from .brute import best, every_placement, found, tiny, with_job
from .builders import job, peer, problem


def with_distances(chance: random.Random, asked: Problem) -> Problem:
    """Latency and bandwidth between the zones, symmetric, of three values each."""
    zones = len(asked.zones)
    tables = []
    for _ in range(2):
        table = np.array([chance.choice((10, 50, 200)) for _ in range(zones * zones)], np.int64).reshape(zones, zones)
        tables.append(np.minimum(table, table.T))
    return dataclasses.replace(asked, latency_ms=tables[0], link_mbps=tables[1])


@pytest.mark.parametrize(
    "limits", [{"latency_max_ms": 50}, {"link_min_mbps": 50}, {"latency_max_ms": 50, "link_min_mbps": 50}]
)
def test_nothing_is_cheaper_among_near_zones(chance: random.Random, limits: dict[str, Any]) -> None:
    bound = 0
    for _ in range(60):
        asked = with_distances(chance, tiny(chance, changes={"same_zone": False}))
        limited = with_job(asked, **limits)
        priced, least = found(limited), best(limited)
        assert (priced and priced.cost) == least
        if priced:
            assert violations(limited, {0: priced.placement}) == []
        bound += found(asked) != priced
    assert bound >= 3


def test_a_block_keeps_to_near_zones(chance: random.Random) -> None:
    for _ in range(40):
        shape = {"block": True, "at_least": 2, "at_most": 2, "work": 4, "same_zone": False, "latency_max_ms": 50}
        asked = with_distances(chance, tiny(chance, changes=shape))
        priced = found(asked)
        assert (priced and priced.cost) == best(asked)


def test_zones_that_nobody_measured_are_not_near() -> None:
    peers = [peer("a", zone=0), peer("b", zone=1), peer("c", zone=1, free=[0, 0, 1, 1, 0, 0])]
    asked = problem(peers, [job(at_least=2, at_most=2, work=4, latency_max_ms=10**6)])
    priced = found(asked)
    assert priced
    assert priced.placement.slots.tolist() == [2, 2, 3, 3]
    assert set(priced.placement.peers.tolist()) == {1, 2}


def largest_sets(near: np.ndarray[Any, Any]) -> set[frozenset[int]]:
    """All maximal cliques, by looking at every set."""
    members = range(len(near))
    cliques = [
        frozenset(some)
        for size in range(1, len(near) + 1)
        for some in itertools.combinations(members, size)
        if all(near[one, other] for one in some for other in some if one != other)
    ]
    return {clique for clique in cliques if not any(clique < other for other in cliques)}


def test_the_largest_sets_of_near_zones_are_all_found(chance: random.Random) -> None:
    for _ in range(30):
        zones = 1 + chance.randrange(8)
        near = np.array([chance.randrange(2) for _ in range(zones * zones)]).reshape(zones, zones)
        near |= near.T
        asked = problem(
            [peer(f"p{at}", zone=at) for at in range(zones)], [job(latency_max_ms=50)], latency_ms=100 - 99 * near
        )
        sets = together(asked, asked.jobs[0], np.arange(zones))
        assert {frozenset(group.tolist()) for group in sets or [np.arange(zones)]} == largest_sets(near)


def test_too_many_sets_of_near_zones_leave_one_with_each_zone() -> None:
    zones = 24  # eight groups of three, all near but those of one group: 3^8 sets
    near = np.arange(zones)[:, None] // 3 != np.arange(zones) // 3
    rows = [peer(f"p{at}", zone=at, grid=[100 + at] * 6) for at in range(zones)]
    asked = problem(rows, [job(at_least=8, at_most=8, work=8, latency_max_ms=50)], latency_ms=np.where(near, 10, 90))
    sets = together(asked, asked.jobs[0], np.arange(zones))
    assert sets
    assert len(sets) <= CLIQUES_MAX
    assert set(np.concatenate(sets).tolist()) == set(range(zones))
    priced = found(asked)
    assert priced
    assert violations(asked, {0: priced.placement}) == []


def test_a_carbon_cap_is_kept_to_the_milligram(chance: random.Random) -> None:
    for _ in range(40):
        asked = tiny(chance)
        priced = found(asked)
        if priced and priced.cost > 1:
            assert found(with_job(asked, carbon_max=priced.cost)) == priced
            assert found(with_job(asked, carbon_max=priced.cost - 1)) is None


def price_of(asked: Problem, placement: Any) -> int:
    return int((placement.shards * asked.peers.price[placement.peers]).sum()) * asked.jobs[0].units


def test_a_budget_is_kept_and_refused_only_where_nothing_is_within(chance: random.Random) -> None:
    """And the carbon is no more than the line through the neighbouring corners of the hull allows."""
    bound, exact, beaten = 0, 0, 0
    for _ in range(50):
        asked = tiny(chance)
        options = [
            (carbon, price_of(asked, placed))
            for carbon, placed in every_placement(asked)
            if not violations(asked, {0: placed})
        ]
        for budget in sorted({price for _, price in options}):
            limited = with_job(asked, budget=budget)
            priced = found(limited)
            least = min(carbon for carbon, price in options if price <= budget)
            assert priced
            assert violations(limited, {0: priced.placement}) == []
            # The corner of the hull that is just within the budget.
            hull = min(carbon for carbon, price in options if price <= budget and is_corner((carbon, price), options))
            assert least <= priced.cost <= hull
            bound += priced.cost > min(carbon for carbon, _ in options)
            exact += priced.cost == least
            beaten += priced.cost < hull
        if options and min(price for _, price in options) > 1:
            assert found(with_job(asked, budget=min(price for _, price in options) - 1)) is None
    assert bound >= 20
    assert exact >= 20
    assert beaten >= 5


def is_corner(point: tuple[int, int], options: list[tuple[int, int]]) -> bool:
    """Whether for some range of prices of carbon nothing is below this point: a corner of the lower left hull."""
    low, high = Fraction(0), Fraction(10**9)
    for carbon, price in options:
        dearer, saved = price - point[1], point[0] - carbon
        if dearer > 0:
            low = max(low, Fraction(saved, dearer))
        elif dearer < 0:
            high = min(high, Fraction(saved, dearer))
        elif saved > 0:
            return False
    return low < high


def test_a_budget_of_blocks_is_kept(chance: random.Random) -> None:
    bound = 0
    for _ in range(40):
        asked = tiny(chance, changes={"block": True, "at_least": 2, "at_most": 2, "work": 4})
        free = found(asked)
        if free is None:
            continue
        for budget in range(price_of(asked, free.placement), 0, -2):
            limited = with_job(asked, budget=budget)
            priced = found(limited)
            if priced is None:
                assert best(limited) is None
                break
            assert violations(limited, {0: priced.placement}) == []
            bound += priced != free
    assert bound >= 5


@pytest.mark.parametrize("moves", [False, True])
def test_a_budget_goes_with_all_other_limits(chance: random.Random, moves: bool) -> None:
    bound = 0
    for _ in range(120):
        drawn = moving(chance, per_zone=chance.choice((0, 1)), same_zone=False) if moves else tiny(chance)
        asked = with_job(with_distances(chance, drawn), latency_max_ms=50)
        limited = with_job(asked, budget=1 + chance.randrange(40))
        priced, least = found(limited), best(limited)
        assert (priced is None) == (least is None)
        if priced and least is not None:
            assert violations(limited, {0: priced.placement}) == []
            assert priced.cost >= least
            bound += priced != found(asked)
    assert bound >= 5


def test_a_budget_of_large_numbers_is_kept_as_one_of_small_ones(chance: random.Random) -> None:
    """Carbon and prices a thousand million times as high: their products do not fit into 64 bits."""
    for _ in range(40):
        asked = with_job(tiny(chance), budget=1 + chance.randrange(40))
        of = asked.peers
        large = dataclasses.replace(of, grid=of.grid * 10**9, own=of.own * 10**9, embodied=of.embodied * 10**9)
        large = dataclasses.replace(large, price=of.price * 10**9)
        scaled = with_job(asked, budget=asked.jobs[0].budget * 10**9, price_max=10**15)
        small, priced = found(asked), found(dataclasses.replace(scaled, peers=large))
        assert (priced is None) == (small is None)
        if priced and small:
            assert priced.cost == small.cost * 10**9


def test_a_budget_above_all_prices_changes_nothing(chance: random.Random) -> None:
    for _ in range(20):
        asked = tiny(chance)
        assert found(with_job(asked, budget=2**53)) == found(asked)


def moving(chance: random.Random, **changes: Any) -> Problem:
    """A tiny problem whose moves cost something, and some of whose peers nothing can move to."""
    shape = {"checkpoint_gb": chance.choice((1, 10, 100)), "same_zone": chance.random() < 0.2}
    asked = tiny(chance, peers=2 + chance.randrange(2), changes=shape | changes)
    return dataclasses.replace(asked, move_wh_per_gb=chance.choice((0, 1, 5, 50)))


def test_nothing_is_cheaper_with_its_moves_paid_where_gangs_are_few(chance: random.Random) -> None:
    paid = 0
    for _ in range(80):
        asked = moving(chance)
        priced, least = found(asked), best(asked)
        assert (priced and priced.cost) == least
        if priced:
            assert violations(asked, {0: priced.placement}) == []
            paid += moves_carbon(asked, 0, priced.placement) > 0
    assert paid >= 3


def with_moves(chance: random.Random) -> Problem:
    """Too many gangs to look at each: ten peers, eight slots."""
    asked = tiny(chance, slots=8, peers=10, changes={"checkpoint_gb": chance.choice((1, 10, 40)), "per_peer": 2})
    return dataclasses.replace(asked, move_wh_per_gb=chance.choice((1, 5, 50)))


def test_moves_never_cost_more_than_without_thinking_of_them(chance: random.Random) -> None:
    fewer = 0
    for _ in range(60):
        asked = with_moves(chance)
        blind = found(dataclasses.replace(asked, move_wh_per_gb=None))
        priced = found(asked)
        if blind is None:
            assert priced is None
            continue
        paid = blind.cost + moves_carbon(asked, 0, blind.placement)
        if priced is None:
            assert paid >= 2**60
            continue
        assert blind.cost <= priced.cost <= paid
        assert violations(asked, {0: priced.placement}) == []
        fewer += priced.cost < paid
    assert fewer >= 20


def test_a_shard_stays_where_moving_costs_more_than_it_saves() -> None:
    changing = [peer("even", grid=[100, 300] * 3), peer("odd", grid=[301, 100] * 3)]
    asked = problem(changing, [job(work=6, checkpoint_gb=100)])
    priced = found(asked)
    assert priced
    assert priced.placement.peers.tolist() == [0, 1] * 3
    stays = found(dataclasses.replace(asked, move_wh_per_gb=10))
    assert stays
    assert stays.placement.peers.tolist() == [0] * 6
    moves = found(dataclasses.replace(asked, move_wh_per_gb=0))  # 800 s at 20 W idle: 5 Wh, rounded up
    assert moves
    assert moves.cost == priced.cost + 5 * 5 * 100


def test_a_transfer_that_takes_longer_than_a_slot_is_never_planned() -> None:
    slow = [peer("a", grid=[1, 900], free=[1, 1]), peer("b", grid=[901, 1], free=[1, 1], bandwidth_mbps=221)]
    slow = [row | {"surplus": [0, 0], "own": [0, 0]} for row in slow]
    asked = problem(slow, [job(work=2, checkpoint_gb=100, deadline_slot=2)], move_wh_per_gb=0)
    stays = found(asked)  # 800,000 Mbit at 221 Mbit/s take 3,620 s
    assert stays
    assert stays.placement.peers.tolist() == [0, 0]
    faster = dataclasses.replace(asked, slot_s=3620)
    moves = found(faster)
    assert moves
    assert moves.placement.peers.tolist() == [0, 1]
    gone = problem([slow[0] | {"free": [1, 0]}, slow[1] | {"free": [0, 1]}], list(asked.jobs), move_wh_per_gb=0)
    assert found(gone) is None


def test_the_carbon_of_moves_is_in_the_load_and_goes_with_it(chance: random.Random) -> None:
    for _ in range(30):
        asked = with_moves(chance)
        priced = found(asked)
        if priced:
            load = Load(asked)
            load.add(0, priced.placement)
            assert load.carbon == priced.cost
            load.remove(0)
            assert load.carbon == 0


def test_blocks_never_move_and_pay_for_no_move(chance: random.Random) -> None:
    for _ in range(20):
        asked = moving(chance, block=True, at_least=1, at_most=1, work=2)
        assert found(asked) == found(dataclasses.replace(asked, move_wh_per_gb=None))


def test_all_limits_together_are_kept_by_every_job_of_a_plan(chance: random.Random) -> None:
    placed = 0
    for _ in range(6):
        drawn = [tiny(chance, slots=8, peers=12) for _ in range(8)]
        jobs = [
            dataclasses.replace(
                each.jobs[0],
                id=f"j{at}",
                budget=chance.choice((0, 40)),
                carbon_max=chance.choice((0, 20_000)),
                checkpoint_gb=10,
                latency_max_ms=50,
            )
            for at, each in enumerate(drawn)
        ]
        asked = dataclasses.replace(with_distances(chance, drawn[0]), jobs=tuple(jobs), move_wh_per_gb=5)
        load = greedy(asked, range(len(jobs)))
        assert violations(asked, load.placements) == []
        placed += len(load.placements)
    assert placed >= 10


def test_a_preference_knows_no_cap_and_no_cost_of_moves_but_the_forbidden_ones() -> None:
    rows = [peer("a", free=[1, 0], surplus=[0] * 2, own=[0] * 2, grid=[360] * 2)]
    rows += [rows[0] | {"ids": "b", "free": [0, 1]}]
    asked = problem(rows, [job(work=2, deadline_slot=2, checkpoint_gb=1, carbon_max=1)], move_wh_per_gb=5)
    ones = Costs(np.ones((1, 2, 2), np.int64), Load(asked).costs(0).room)
    assert cheapest(asked, 0, ones) is None
    priced = preferred(asked, 0, ones)
    assert priced
    assert priced.cost == 2
    assert preferred(dataclasses.replace(asked, slot_s=7), 0, ones) is None
