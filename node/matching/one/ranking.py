"""One slot: the cheapest one, two, three, … shards of a job, exactly, by sorting.

Costs do not fall with the rank on a peer, so the cheapest n shards are the n cheapest that the zones let through. Ties
go to the lower rank, then to the lower row: every sort is over unique integers, so that it has one result on every
machine.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from node.matching.load import Costs
from node.matching.one.market import Market
from node.matching.problem import NEVER, Integers


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """`sums` [slots, width]: what 1, 2, … shards cost at least, NEVER where there are not so many; the width is
    at_most, or less where there are not so many anywhere."""

    sums: Integers
    _rows: Integers  # [sets of zones, slots, width]
    _chosen: Integers | None = None  # [slots, width]: which set of zones is the cheapest; None: there is one

    def rows(self, slot: int, count: int) -> Integers:
        """The rows of the cheapest `count` shards in one slot, cheapest first."""
        chosen = 0 if self._chosen is None else int(self._chosen[slot, count - 1])
        return self._rows[chosen, slot, :count]


def rank(market: Market) -> Ranked:
    """The cheapest shards of every slot within the limits of peer and zone."""
    if market.together is None:
        sums, rows = _rank(market.costs, market.zones, market.job.at_most, market.job.per_zone)
        return Ranked(sums, rows[None])
    width = min(market.job.at_most, market.costs.carbon.shape[0] * market.costs.carbon.shape[2])
    shape = (len(market.together), market.costs.carbon.shape[1], width)
    sums, rows = np.full(shape, NEVER), np.zeros(shape, np.int64)
    whole = dataclasses.replace(market, together=None)
    for at, group in enumerate(market.together):
        if not len(group):
            continue
        some = whole.only(group)
        found, inside = _rank(some.costs, some.zones, market.job.at_most, market.job.per_zone)
        sums[at, :, : found.shape[1]] = found
        rows[at, :, : found.shape[1]] = group[inside]
    chosen = sums.argmin(axis=0)
    return Ranked(np.take_along_axis(sums, chosen[None], axis=0)[0], rows, chosen)


def _rank(costs: Costs, zones: Integers, at_most: int, per_zone: int) -> tuple[Integers, Integers]:
    """(sums, rows), both [slots, width]."""
    ranks, slots, peers = costs.carbon.shape
    size = ranks * peers
    width = min(at_most, size)
    if not slots or not width:
        return np.zeros((slots, width), np.int64), np.zeros((slots, width), np.int64)
    carbon, values = _codes(costs.carbon, size)
    # One unique integer for each shard: by cost, then rank, then row.
    lowest = functools.partial(_lowest, carbon, costs.room, size)
    keys = _within_zones(lowest, zones, size, width, per_zone) if per_zone else lowest(width)
    real = keys < NEVER
    each = keys // size
    if values is not None:
        each = values[np.where(real, each, 0)]
    sums = np.where(real, np.cumsum(np.where(real, each, 0), axis=1), NEVER)
    return sums, np.where(real, keys % size % peers, 0)


def _codes(carbon: Integers, size: int) -> tuple[Integers, Integers | None]:
    """Costs that can be multiplied by `size`: themselves, or else their numbers in a rising list, and the list."""
    peak = max(int(carbon[-1].max()), -int(carbon[0].min())) + 1
    if peak * size < NEVER:
        return carbon, None
    values, codes = np.unique(carbon, return_inverse=True)
    return codes.reshape(carbon.shape), values


def _lowest(carbon: Integers, room: Integers, size: int, width: int) -> Integers:
    """The lowest `width` keys of each slot, rising, NEVER where there are no more.

    A peer's first shard comes before its second, so only the peers whose first is among the lowest `width` matter.
    """
    ranks, slots, peers = carbon.shape
    first = carbon[0] * size  # in place from here on: for thousands of peers new arrays cost more than what is done
    first += np.arange(peers)
    np.putmask(first, room <= 0, NEVER)
    if peers > width:
        first.partition(width - 1, axis=1)
        first = first[:, :width]
    if ranks == 1:
        return np.sort(first, axis=1)
    real = first < NEVER
    rows = np.where(real, first % size, 0)
    at, rank = np.arange(slots)[:, None], np.arange(1, ranks)[:, None, None]
    later = np.where((rank < room[at, rows]) & real, carbon[1:, at, rows] * size + rank * peers + rows, NEVER)
    keys = np.concatenate((first[None], later)).transpose(1, 0, 2).reshape(slots, -1)
    return np.sort(np.partition(keys, width - 1, axis=1)[:, :width], axis=1)


def _within_zones(
    lowest_keys: Callable[[int], Integers], zones: Integers, size: int, width: int, per_zone: int
) -> Integers:
    """The lowest `width` keys of each slot, rising, of which no zone has more than `per_zone`.

    Looks at the lowest few first, and at more where the zones leave too few of them.
    """
    seen = min(size, 4 * width)
    while True:
        lowest = lowest_keys(seen)
        zone = zones[lowest % size % len(zones)]
        by_zone = np.argsort(zone, axis=1, kind="stable")
        grouped = np.take_along_axis(zone, by_zone, axis=1)
        places = np.arange(seen)
        starts = np.ones(lowest.shape, np.bool_)
        starts[:, 1:] = grouped[:, 1:] != grouped[:, :-1]
        before = places - np.maximum.accumulate(np.where(starts, places, 0), axis=1)
        passes = np.empty(lowest.shape, np.bool_)
        np.put_along_axis(passes, by_zone, before < per_zone, axis=1)
        passed = np.sort(np.where(passes, lowest, NEVER), axis=1)[:, :width]
        if seen == size or ((passed[:, -1] < NEVER) | (lowest[:, -1] == NEVER)).all():
            return passed
        seen = min(size, 4 * seen)
