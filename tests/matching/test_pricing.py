"""Facts about the price of one job: never a cheaper placement, always one that keeps the limits, one answer to ties."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from node.matching.check import violations
from node.matching.load import Costs, Load, Placement
from node.matching.one.pricing import cheapest
from node.matching.problem import Job, Problem

from .brute import best, found, tiny
from .builders import job, peer, problem

KINDS: dict[str, dict[str, Any]] = {
    "as drawn": {},
    "in one zone": {"same_zone": True},
    "few per zone": {"same_zone": False, "per_zone": 1},
    "several units": {"units": 2},
    "two per peer": {"per_peer": 2},
}


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
def test_nothing_is_cheaper_among_all_placements(chance: random.Random, changes: dict[str, Any]) -> None:
    fits = 0
    for _ in range(60):
        asked = tiny(chance, changes=changes)
        priced, least = found(asked), best(asked)
        assert (priced and priced.cost) == least
        if priced:
            fits += 1
            assert violations(asked, {0: priced.placement}) == []
    assert 10 <= fits < 60


def test_no_block_is_cheaper_among_all_blocks(chance: random.Random) -> None:
    fits = 0
    for _ in range(60):
        size = 1 + chance.randrange(2)
        shape = {"block": True, "at_least": size, "at_most": size, "work": size * 2, "same_zone": False}
        asked = tiny(chance, changes=shape)
        priced, least = found(asked), best(asked)
        assert (priced and priced.cost) == least
        if priced:
            fits += 1
            assert violations(asked, {0: priced.placement}) == []
    assert 10 <= fits < 60


def test_what_a_placement_costs_is_what_it_adds_to_the_load(chance: random.Random) -> None:
    for _ in range(40):
        asked = tiny(chance, slots=4, peers=5)
        priced = found(asked)
        if priced:
            load = Load(asked)
            load.add(0, priced.placement)
            assert load.carbon == priced.cost


def drawn_costs(chance: random.Random, ranks: int, slots: int, peers: int, values: int) -> Costs:
    """Costs of `values` different steps, from many ties to few, and room for some."""
    draw = np.array([chance.randrange(values) for _ in range(ranks * slots * peers)], np.int64)
    carbon = np.cumsum(draw.reshape(ranks, slots, peers), axis=0)
    room = np.array([chance.randrange(ranks + 2) for _ in range(slots * peers)], np.int64).reshape(slots, peers)
    return Costs(carbon, room)


def on(peers: int, slots: int, asked: Job) -> Problem:
    """Peers in five zones that are all suited; what they cost the test says itself."""
    return problem(
        [
            peer(f"p{row}", zone=row * 7 % 5, free=[9] * slots, surplus=[0] * slots, own=[0] * slots, grid=[0] * slots)
            for row in range(peers)
        ],
        [asked],
    )


def slow(asked: Problem, costs: Costs) -> tuple[int, dict[tuple[int, int], int]] | None:
    """The cheapest placement with the ties that the engine promises, by lists and loops."""
    the_job, zones = asked.jobs[0], asked.peers.zone.tolist()
    ranks, slots, peers = costs.carbon.shape
    lists = []
    for slot in range(slots):
        options = sorted(
            (int(costs.carbon[rank, slot, row]), rank, row)
            for rank in range(ranks)
            for row in range(peers)
            if rank < costs.room[slot, row]
        )
        taken: list[tuple[int, int, int]] = []
        for option in options:
            zone = zones[option[2]]
            if not the_job.per_zone or sum(zones[row] == zone for _, _, row in taken) < the_job.per_zone:
                taken.append(option)
        lists.append(taken[: the_job.at_most])
    # By what is done: the least cost, and the shards of each slot; a tie goes to none, then to the most in a slot.
    done: dict[int, tuple[int, tuple[int, ...]]] = {0: (0, ())}
    for options in lists:
        after: dict[int, tuple[int, tuple[int, ...]]] = {}
        for count in (0, *range(min(len(options), the_job.at_most), the_job.at_least - 1, -1)):
            cost = sum(option[0] for option in options[:count])
            for work, (before, counts) in done.items():
                if work + count not in after or before + cost < after[work + count][0]:
                    after[work + count] = before + cost, (*counts, count)
        done = after
    if the_job.work not in done:
        return None
    cost, counts = done[the_job.work]
    cells: dict[tuple[int, int], int] = {}
    for slot, count in enumerate(counts):
        for _, _, row in lists[slot][:count]:
            cells[slot, row] = cells.get((slot, row), 0) + 1
    return cost, cells


def cells_of(placement: Placement) -> dict[tuple[int, int], int]:
    cells = zip(placement.slots.tolist(), placement.peers.tolist(), strict=True)
    return dict(zip(cells, placement.shards.tolist(), strict=True))


@pytest.mark.parametrize("values", [1, 2, 5, 1000, 2**40, 2**50])
def test_every_tie_has_one_answer_whatever_way_it_is_found(chance: random.Random, values: int) -> None:
    fits = 0
    for _ in range(40):
        slots, peers, ranks = 1 + chance.randrange(12), 1 + chance.randrange(12), 1 + chance.randrange(3)
        size = 1 + chance.randrange(8)
        asked = on(
            peers,
            slots,
            job(
                at_least=1 + chance.randrange(size),
                at_most=size,
                work=1 + chance.randrange(slots * size),
                deadline_slot=slots,
                per_peer=ranks,
                per_zone=chance.choice((0, 0, 1, 3)),
            ),
        )
        if asked.jobs[0].rigid:
            continue  # rigid jobs have another tie: the earlier slots
        costs = drawn_costs(chance, ranks, slots, peers, values)
        priced, expected = cheapest(asked, 0, costs), slow(asked, costs)
        assert (priced is None) == (expected is None)
        if priced and expected:
            fits += 1
            assert (priced.cost, cells_of(priced.placement)) == expected
    assert fits >= 5


def test_a_rigid_job_takes_the_earlier_of_equal_slots() -> None:
    priced = cheapest(
        on(3, 6, job(at_least=2, at_most=2, work=6)), 0, Costs(np.ones((1, 6, 3), np.int64), np.ones((6, 3), np.int64))
    )
    assert priced
    assert cells_of(priced.placement) == {(slot, row): 1 for slot in range(3) for row in range(2)}


def test_the_first_of_equal_zones_is_taken() -> None:
    asked = problem([peer("a", zone=2), peer("b", zone=1), peer("c", zone=1)], [job(same_zone=True, work=1)])
    priced = found(asked)
    assert priced
    assert priced.placement.peers.tolist() == [1]


def test_a_job_of_hundreds_of_shard_slots_is_priced_exactly(chance: random.Random) -> None:
    asked = on(40, 24, job(at_least=16, at_most=48, work=437, deadline_slot=24, per_peer=4))
    for values, least in ((2, 0), (50, -20), (10**6, 0)):
        costs = drawn_costs(chance, 4, 24, 40, values)
        costs.carbon[:] += least
        priced, expected = cheapest(asked, 0, costs), slow(asked, costs)
        assert priced
        assert expected
        assert (priced.cost, cells_of(priced.placement)) == expected


def test_nothing_fits_without_room_or_slots_or_peers() -> None:
    full = problem([peer(free=[0] * 6)], [job()])
    assert found(full) is None
    assert found(problem([peer()], [job(first_slot=3, deadline_slot=3)])) is None
    assert found(problem([peer()], [job(work=7)])) is None
    assert found(problem([], [job()])) is None
    assert found(problem([], [job(same_zone=True)])) is None
    assert found(problem([], [job(block=True)])) is None
    assert found(problem([peer()], [job(block=True, work=7)])) is None
    assert found(problem([peer()], [job(memory_gb=10**6)])) is None
    assert found(problem([peer()], [job(at_least=2, at_most=2)])) is None
    for work in (1, 3):  # no multiple of two
        for block in (False, True):
            assert found(problem([peer("a"), peer("b")], [job(at_least=2, at_most=2, work=work, block=block)])) is None


@pytest.mark.parametrize("block", [False, True])
def test_numbers_of_strangers_do_not_wrap_around(block: bool) -> None:
    size, slots = 8, 16
    asked = on(size, slots, job(at_least=size, at_most=size, work=size * slots, deadline_slot=slots, block=block))
    dear = (2**60 - 1) // asked.jobs[0].work
    costs = Costs(np.full((1, slots, size), dear, np.int64), np.ones((slots, size), np.int64))
    priced = cheapest(asked, 0, costs)
    assert priced
    assert priced.cost == dear * size * slots
    costs.carbon[0, 3, 5] += 1  # now the sum would not be sure to fit: as if there were no room
    assert cheapest(asked, 0, costs) is None
    costs.carbon[0, 3, 5] = 2**63 - 1
    assert cheapest(asked, 0, costs) is None


def test_a_few_absurd_costs_change_nothing_for_the_others(chance: random.Random) -> None:
    asked = on(9, 6, job(at_least=2, at_most=4, work=9, per_peer=2))
    costs = drawn_costs(chance, 2, 6, 9, 50)
    costs.carbon[:, :, 4] = 2**53
    costs.room[:, 4] = 0
    expected = cheapest(asked, 0, costs)
    costs.carbon[:, :, 4] = 2**62
    costs.room[:, 4] = 2
    assert cheapest(asked, 0, costs) == expected


def test_costs_below_zero_are_priced_too(chance: random.Random) -> None:
    for _ in range(30):
        asked = on(6, 5, job(at_least=1 + chance.randrange(2), at_most=4, work=7, per_peer=2, deadline_slot=5))
        costs = drawn_costs(chance, 2, 5, 6, 40)
        costs = Costs(costs.carbon - 30, costs.room)
        priced, expected = cheapest(asked, 0, costs), slow(asked, costs)
        assert (priced and (priced.cost, cells_of(priced.placement))) == expected
