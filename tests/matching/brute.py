"""What the pricing must find, found the slow way: every placement of a tiny job, looked at one by one."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from node.matching.check import violations
from node.matching.load import Load, Placement
from node.matching.moves import moves_carbon
from node.matching.one.pricing import Priced, cheapest
from node.matching.problem import Problem

from .builders import job, peer, problem


def tiny(chance: random.Random, slots: int = 3, peers: int = 3, changes: dict[str, Any] | None = None) -> Problem:
    """One job on a few peers in a few slots. Small numbers, so that many costs are equal."""
    below = chance.randrange
    length, size = 1 + below(slots), 1 + below(3)
    elastic = chance.random() < 0.6
    rows = [
        peer(
            f"p{number}",
            zone=below(3),
            units=4,
            peak_w=chance.choice((60, 100)),
            price=chance.choice((1, 2, 5, 9)),
            bandwidth_mbps=chance.choice((100, 1000)),
            embodied=below(3) * 100,
            free=[below(5) for _ in range(slots)],
            surplus=[chance.choice((0, 80, 150)) for _ in range(slots)],
            own=[10] * slots,
            grid=[10 + 10 * below(6) for _ in range(slots)],
        )
        for number in range(peers)
    ]
    fields: dict[str, Any] = {
        "at_least": max(1, size - 1) if elastic else size,
        "at_most": size + below(2) if elastic else size,
        "work": size * length,
        "units": 1 + below(2),
        "deadline_slot": slots,
        "per_peer": 1 + below(2),
        "per_zone": chance.choice((0, 0, 1, 2)),
        "same_zone": chance.random() < 0.2,
    }
    return problem(rows, [job(**fields | (changes or {}))])


def with_job(asked: Problem, **changes: Any) -> Problem:
    """The same with another job of the same shape."""
    return dataclasses.replace(asked, jobs=(dataclasses.replace(asked.jobs[0], **changes),))


def found(asked: Problem) -> Priced | None:
    """What the engine finds for the first job on empty peers."""
    return cheapest(asked, 0, Load(asked).costs(0))


def every_placement(asked: Problem) -> Iterator[tuple[int, Placement]]:
    """(carbon with moves, placement) of all that have the right numbers of shards, whatever other limits say."""
    the_job, peers = asked.jobs[0], len(asked.peers.ids)
    carbon = Load(asked).costs(0).carbon
    suited = asked.suited[0].peers.tolist()
    gangs = [
        gang
        for gang in itertools.product(range(len(carbon) + 1), repeat=len(suited))
        if sum(gang) == 0 or the_job.at_least <= sum(gang) <= the_job.at_most
    ]
    slots = range(the_job.first_slot, the_job.deadline_slot)
    for choice in itertools.product(gangs, repeat=len(slots)):
        if sum(map(sum, choice)) != the_job.work:
            continue
        cells = np.zeros((asked.slots, peers), np.int64)
        if choice:
            cells[np.ix_(slots, suited)] = choice
        at, on = np.nonzero(cells)
        placement = Placement(at, on, cells[at, on])
        running = sum(
            int(carbon[rank, slot, row])
            for slot, gang in enumerate(choice)
            for row, shards in enumerate(gang)
            for rank in range(shards)
        )
        yield running + moves_carbon(asked, 0, placement), placement


def best(asked: Problem) -> int | None:
    """The least carbon of all placements that keep every limit, or None if none does."""
    ordered = sorted(every_placement(asked), key=lambda option: option[0])
    return next((carbon for carbon, placement in ordered if not violations(asked, {0: placement})), None)
