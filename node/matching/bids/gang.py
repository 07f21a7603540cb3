"""Gangs: shards that start together, picked by any order of preference.

For one start slot a gang is the first windows in that order. The cost of a window grows with its rank and depends on
no other peer, so for an order by cost this is the cheapest gang there is, not an approximation.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from node.matching.bids.demand import Candidate, Demand, Window
from node.matching.bids.refusal import sift

Gang = tuple[Window, ...]
Order = Callable[[Window], tuple[int | bytes, ...]]


def greenest(window: Window) -> tuple[int | bytes, ...]:
    """By carbon; ties go to the lower price, then to the lower bid id, so that every machine sorts alike."""
    return window.carbon_ug, window.price_microcredits, window.candidate.bid, window.rank


def cheapest(window: Window) -> tuple[int | bytes, ...]:
    """By price alone; ties go to the lower bid id."""
    return window.price_microcredits, window.candidate.bid, window.rank


def gangs(windows: Sequence[Window], size: int, order: Order) -> list[Gang]:
    """The best gang of `size` shards by `order` for every start slot that has one, earliest start first."""
    starting: defaultdict[int, list[Window]] = defaultdict(list)
    for window in windows:
        starting[window.first_slot].append(window)
    return [
        tuple(heapq.nsmallest(size, starting[slot], key=order))
        for slot in sorted(starting)
        if len(starting[slot]) >= size
    ]


def total_carbon_ug(gang: Gang) -> int:
    """Micrograms of all shards of a gang."""
    return sum(window.carbon_ug for window in gang)


def total_price_microcredits(gang: Gang) -> int:
    """Microcredits of all shards of a gang."""
    return sum(window.price_microcredits for window in gang)


def fits(candidates: Sequence[Candidate], demand: Demand) -> bool:
    """Whether any gang can be formed."""
    starts = Counter(window.first_slot for window in sift(candidates, demand).windows)
    return max(starts.values(), default=0) >= len(demand.shards)
