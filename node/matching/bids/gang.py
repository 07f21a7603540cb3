"""Gangs: shards that start together, as one job of the engine.

To the engine a start is a slot, and each further shard that a candidate has room for is a peer of its own with room
for one. The cost of a window never falls with its rank, so that it takes the ranks of a candidate in order. Columns are
in the order of price, bid and rank, and so ties are broken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from node.matching.bids.demand import Candidate, Demand, Window, windows
from node.matching.bids.refusal import sift
from node.matching.bids.windows import Starts, carbon_ug
from node.matching.load import Costs
from node.matching.one.pricing import cheapest
from node.matching.problem import Integers, Job, Peers, Problem

Gang = tuple[Window, ...]
Pricing = Callable[[Starts], Iterable[Integers]]  # what the first, second, … shard costs: [starts, candidates] each
_CELLS_MAX = 2**20  # priced at once: 8 MB an array


class _Best(NamedTuple):
    cost: int
    slot: int
    shards: Counter[int]  # by candidate


def greenest(window: Window) -> tuple[int | bytes, ...]:
    """By carbon; ties go to the lower price, then to the lower bid id, so that every machine sorts alike."""
    return window.carbon_ug, window.price_microcredits, window.candidate.bid, window.rank


def gang(found: Starts, slots: Integers, pricing: Pricing = carbon_ug) -> Gang:
    """The gang of least cost over these start slots, of equals the earliest, the greenest window first. Each slot has
    room for all shards; without slots there is no gang."""
    best: _Best | None = None
    ranks = max(1, int(found.room.max(initial=0)))
    step = max(1, _CELLS_MAX // (ranks * max(1, len(found.candidates))))
    for at in range(0, len(slots), step):
        priced = _price(found, slots[at : at + step], pricing)
        if best is None or priced.cost < best.cost:
            best = priced
    if best is None:
        return ()
    chosen = (windows(found.candidates[c], found.demand, best.slot, n) for c, n in sorted(best.shards.items()))
    return tuple(sorted((window for each in chosen for window in each), key=greenest))


def fits(candidates: Sequence[Candidate], demand: Demand) -> bool:
    """Whether any gang can be formed."""
    return len(sift(candidates, demand).starts.slots()) > 0


def _price(found: Starts, slots: Integers, pricing: Pricing) -> _Best:
    room = found.at(slots, found.room)
    costs = np.stack([found.at(slots, table) for table in pricing(found)], axis=2)
    free = np.arange(costs.shape[2]) < room[:, :, None]
    columns = costs.shape[1] * costs.shape[2]
    shape = (len(slots), columns)
    problem = _problem(len(slots), columns, len(found.demand.shards))
    priced = cheapest(problem, 0, Costs(costs.reshape(1, *shape), free.reshape(shape).astype(np.int64)))
    if priced is None:
        raise ValueError(f"no slot of {slots.tolist()} has room for {len(found.demand.shards)} shards")
    placed = priced.placement
    return _Best(priced.cost, int(slots[placed.slots[0]]), Counter((placed.peers // costs.shape[2]).tolist()))


def _problem(slots: int, peers: int, shards: int) -> Problem:
    """One job that takes so many shards in one of the slots. Who is suited, and what each costs where, is judged
    already: every peer here is alike, and costs come beside the problem."""
    none, per_slot = np.zeros(peers, np.int64), np.zeros((slots, peers), np.int64)
    job = Job(
        id="",
        tenant=0,
        mode="open",
        at_least=shards,
        at_most=shards,
        work=shards,
        units=1,
        memory_gb=0,
        rate=0,
        first_slot=0,
        deadline_slot=slots,
        price_max=0,
        reputation=0,
        bandwidth_mbps=0,
        attested=False,
        per_peer=1,
    )
    alike = Peers(
        ids=("",) * peers,
        zone=none,
        units=none + 1,
        memory_gb=none,
        rate=none + 1,
        idle_w=none,
        peak_w=none,
        pue_permille=none,
        price=none,
        reputation=none,
        bandwidth_mbps=none,
        attested=none,
        tenant=none,
        embodied=none,
        device=("",) * peers,
        free=per_slot + 1,
        surplus=per_slot,
        own=per_slot,
        grid=per_slot,
    )
    return Problem(slots, 1, 0, ("",), alike, (job,))
