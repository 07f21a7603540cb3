"""What one job is priced on: what its shards cost on each of its peers in each of its slots, and what ties them.

Rows are the job's suited peers, slots count from its first slot.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from node.matching.load import Costs
from node.matching.moves import arriving
from node.matching.problem import NEVER, Integers, Job


class Found(NamedTuple):
    """Shards that make a whole job, one element each, and the sum of what they cost."""

    cost: int
    slots: Integers
    rows: Integers


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """`zones` [rows]; `price` [rows] of one shard in one slot.

    `together`: sets of rows whose zones may be used in one slot, each a rising array; None: all may.
    `arrivals` [slots, rows]: what it costs when a shard arrives, NEVER where it cannot; None: moving is free.
    """

    job: Job
    costs: Costs
    zones: Integers
    price: Integers
    together: tuple[Integers, ...] | None = None
    arrivals: Integers | None = None

    def at(self, carbon: Integers, arrivals: Integers | None) -> Market:
        """The same market at other costs."""
        return dataclasses.replace(self, costs=Costs(carbon, self.costs.room), arrivals=arrivals)

    def only(self, rows: Integers) -> Market:
        """The market of some rows, in rising order."""
        return dataclasses.replace(
            self,
            costs=Costs(self.costs.carbon[:, :, rows], self.costs.room[:, rows]),
            zones=self.zones[rows],
            price=self.price[rows],
            together=None if self.together is None else tuple(_within(group, rows) for group in self.together),
            arrivals=None if self.arrivals is None else self.arrivals[:, rows],
        )

    def keeps_zones(self, gang: Integers) -> bool:
        """Whether shards may run so, `gang` [rows], in one slot, as far as zones are concerned."""
        used = np.flatnonzero(gang)
        if self.together is not None and not any(np.isin(used, group).all() for group in self.together):
            return False
        most = int(np.bincount(self.zones[used], gang[used]).max(initial=0))
        return not self.job.per_zone or most <= self.job.per_zone

    def cost(self, slots: Integers, gangs: Integers) -> int:
        """What it costs that `gangs` [used slots, rows] run, with the arrivals; NEVER where that is not possible."""
        if (gangs > np.minimum(self.costs.room[slots], len(self.costs.carbon))).any():
            return NEVER
        ranks = np.arange(len(self.costs.carbon))[:, None, None]
        running = int(np.where(ranks < gangs, self.costs.carbon[:, slots], 0).sum())
        moving = 0 if self.arrivals is None else arriving(gangs, self.arrivals[slots])
        return min(NEVER, running + moving)


def gangs_of(found: Found, rows: Integers) -> tuple[Integers, Integers]:
    """(used slots, shards on each of `rows` in each of them)."""
    used, at = np.unique(found.slots, return_inverse=True)
    gangs = np.zeros((len(used), len(rows)), np.int64)
    np.add.at(gangs, (at, np.searchsorted(rows, found.rows)), 1)
    return used, gangs


def shards_of(cost: int, slots: Integers, gangs: Integers, rows: Integers) -> Found:
    """The inverse of `gangs_of`."""
    at, inside = np.nonzero(gangs)
    times = gangs[at, inside]
    return Found(cost, np.repeat(slots[at], times), np.repeat(rows[inside], times))


def _within(group: Integers, rows: Integers) -> Integers:
    """Where the members of `group` stand in `rows`."""
    return np.flatnonzero(np.isin(rows, group))


def affordable(job: Job, costs: Costs) -> Costs:
    """The costs, without room for shards so dear that the sum over a job would not fit into 64 bits.

    Costs may be any 64-bit integers above -NEVER / work that do not fall with the rank. A shard that costs NEVER / work
    or more is as good as none: in micrograms, with a million shard-slots, that is a tonne for each.
    """
    most = (NEVER - 1) // max(1, job.work)
    if not costs.carbon.size or int(costs.carbon[-1].max()) <= most:
        return costs
    fits = (np.arange(len(costs.carbon))[:, None, None] < costs.room) & (costs.carbon <= most)
    return Costs(np.minimum(costs.carbon, most), fits.sum(axis=0))
