"""What one shard of a class of jobs takes on every peer, and which peers are the cheapest for it while they are idle.

Jobs with as many units per shard and the same rate are one class: their shards take the same energy everywhere. A
large instance has a thousand jobs and some thirty classes, so what is sorted once for a class serves many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from node.matching.problem import Integers, Job, Peers

FRONT = 4_096  # peers of each slot that are sorted first: most jobs at a hundred thousand peers look at fewer


class Footprint:
    """One class of jobs. `energy` and `embodied` [peers] are of one shard in one slot; `count` is how many peers are
    large and fast enough for the class, `units_max` how many units the largest of them has, and `cost_max` is what no
    shard costs more than, whatever is placed."""

    def __init__(self, peers: Peers, job: Job, slot_s: int) -> None:
        self._peers = peers
        self.energy = _energy(peers, job, slot_s)
        self.embodied = peers.embodied * job.units
        self._rows = np.flatnonzero((peers.rate >= job.rate) & (peers.units >= job.units))
        self.count = len(self._rows)
        self.units_max = int(peers.units[self._rows].max(initial=0))
        dirtiest = peers.grid.max(axis=0, initial=0) * self.energy + self.embodied
        self.cost_max = int(dirtiest[self._rows].max(initial=0))
        self._front = np.zeros((len(peers.free), 0), np.int32)

    @property
    def bytes_about(self) -> int:
        """What it usually comes to take; a front that was asked for far more takes more."""
        return 3 * self.energy.nbytes + 4 * min(self.count, 4 * FRONT) * len(self._front)

    def front(self, depth: int) -> NDArray[np.int32]:
        """[slots, any]: at least the `depth` cheapest peers of each slot while they are idle, or all that there are;
        cheapest first, and of equal ones the lower first.

        Few jobs look far, and to sort all peers of all slots for all classes would take a gigabyte where a hundred
        thousand peers have a hundred slots: so no more is sorted than was asked for, in steps of four.
        """
        have = self._front.shape[1]
        if have < min(depth, self.count):
            self._front = self._cheapest(min(self.count, max(depth, 4 * have, FRONT)))
        return self._front

    def idle_costs(self, slots: Integers, peers: Integers) -> Integers:
        """What the first shard adds to each of these peers in the slot beside it, if it is idle."""
        of, cells = self._peers, (slots, peers)
        return self._first(peers, of.own[cells], of.grid[cells], of.surplus[cells])

    def _cheapest(self, depth: int) -> NDArray[np.int32]:
        of, rows, peers = self._peers, self._rows, len(self._peers.ids)
        front = np.empty((len(of.free), depth), np.int32)
        for slot in range(len(front)):
            costs = self._first(rows, *(table[slot].take(rows) for table in (of.own, of.grid, of.surplus)))
            keys = costs * peers + rows
            if depth < self.count:
                keys = np.partition(keys, depth - 1)[:depth]
            front[slot] = np.sort(keys) % peers
        return front

    def _first(self, peers: Integers, own: Integers, grid: Integers, surplus: Integers) -> Integers:
        costs: Integers = marginal(1, self.energy[peers], self.embodied[peers], own, grid, surplus)[0]
        return costs


def marginal(
    ranks: int, energy: Integers, embodied: Integers, own: Integers, grid: Integers, spare: Integers
) -> Integers:
    """What the first, second, … shard adds in each cell: [ranks, *cells], never falling with rank.

    `energy` and `embodied` are of one shard, `own` and `grid` what a unit of energy emits from each; `spare` is the
    surplus that is not taken, below zero by what is taken from the grid.
    """
    carbon = np.empty((ranks, *spare.shape), np.int64)
    premium, floor = grid - own, own * energy + embodied
    before = np.maximum(0, -spare)
    for rank in range(ranks):
        after = np.maximum(0, (rank + 1) * energy - spare)
        np.multiply(premium, after - before, out=carbon[rank])
        carbon[rank] += floor
        before = after
    return carbon


def _energy(of: Peers, job: Job, slot_s: int) -> Integers:
    """Watt-hours of one shard in one slot, rounded up.

    Power rises linearly from idle to peak with the share of the unit's rate that the job asks for: all shards of a job
    run at its pace, and a faster unit is capped. (The formula of `ledger.energy.shard_energy_j`.)
    """
    rate = np.maximum(1, of.rate)  # a peer of rate 0 takes jobs of rate 0 only, at idle power
    power_w_times_rate = of.idle_w * rate + (of.peak_w - of.idle_w) * job.rate
    energy: Integers = -(-(job.units * power_w_times_rate * of.pue_permille * slot_s) // (rate * 1000 * 3600))
    return energy
