"""The cheapest placement of one job at the present load, without looking at most peers; and it is exactly that one.

What is placed only makes peers dearer. So the cost of a class's first shard on an idle peer (`Footprint.front`, sorted
once for all jobs of the class) is a lower bound of what any shard of any job of the class costs there at any load. A
job looks at the first cells of each slot only. Of the others it knows that none costs less than the first of them did
when idle: the *cut* of that slot. It then solves an easier problem, in which each slot has no end of shards at exactly
the cut, free of zone limits. If the best placement of that uses no such pretended shard, it is the best placement of
the real problem; otherwise it looks further in the slots where it uses one, and solves again.

Why the result is the same, ties and all, as that of `pricing.cheapest` with all costs in hand:

1. Sorted by (cost, rank, peer), the real shards of a slot that cost less than the cut are a beginning of all its real
   shards: whatever was not looked at costs the cut or more. A zone limit lets a shard through or not by the shards of
   its zone before it alone, so this holds for those that the limits let through as well. Pretended shards take the
   places behind them, those of real shards that cost the cut or more too. So the n cheapest shards of a slot never cost
   more in the easier problem than in the real one; and the same, for the same shards, if none of the n is pretended.
2. Rigid jobs take the slots with the least (cost, slot). If those chosen use nothing pretended they cost the same in
   the real problem, and the others cost as much as before or more: the choice stands.
3. Elastic jobs: the least cost of w shard-slots in the first t slots is never more in the easier problem; along the
   chosen path it is the same, since that path exists in the real problem. At each step back, the counts that reach the
   least cost in the real problem do so in the easier one too. The one that was chosen among them, by a rule that looks
   at nothing else, is real: so it is chosen in the real problem as well.
4. Jobs in one zone: each zone is a problem like this, and the first zone with the least cost wins. If it uses nothing
   pretended its cost is real, and that of every other zone only rises.

Jobs whose slots depend on each other, or whose limits are on pairs of zones or on other sums than carbon (blocks,
moves, links, budgets), are priced with all costs in hand; so are jobs with few peers, and numbers so large that 64 bits
or a few megabytes would not hold what is kept here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from node.matching.footprint import marginal
from node.matching.load import Load, Placement
from node.matching.moves import are_counted
from node.matching.one.pricing import Priced, cheapest
from node.matching.one.schedule import chosen
from node.matching.problem import NEVER, Integers, Job, Problem

# None of these decides anything but time; measured at 100 to 100,000 peers.
FEW_PEERS = 500  # a job with as many suited peers, or fewer, looks at all of them
DEPTH = 128  # so many suited peers of each slot are looked at first, on average; then twice as many, and so on
SHARE = 4  # a job that would look at more than a quarter of its peers looks at all of them
KEYS_MAX = 2**21  # kept for one job; sixteen megabytes


def cheapest_now(load: Load, index: int) -> Priced | None:
    """What `cheapest(load.problem, index, load.costs(index))` returns."""
    problem, job = load.problem, load.problem.jobs[index]
    if _separable(problem, job) and _small(problem, job):
        search = _Search(load, job, problem.passing(index))
        if search.pays():
            priced = search.priced()
            return None if priced is None or (job.carbon_max and priced.cost > job.carbon_max) else priced
    return cheapest(problem, index, load.costs(index))


def _separable(problem: Problem, job: Job) -> bool:
    """Whether only the number of shards ties the job's slots, and only zones the peers of a slot."""
    tied = job.block or job.budget or job.latency_max_ms or job.link_min_mbps
    return not tied and not are_counted(problem, job)


def _small(problem: Problem, job: Job) -> bool:
    cost = problem.footprint(job).cost_max + 1
    kept = _groups(problem, job) * job.at_most * (job.deadline_slot - job.first_slot)
    return cost * max(job.work, _ranks(problem, job) * len(problem.peers.ids)) < NEVER and kept <= KEYS_MAX


def _ranks(problem: Problem, job: Job) -> int:
    """The most shards that one peer could ever take."""
    return max(1, min(job.per_peer, job.at_most, problem.footprint(job).units_max // max(1, job.units)))


def _groups(problem: Problem, job: Job) -> int:
    return len(problem.zones) if job.same_zone else 1


class _Search:
    """One job at one load; slots count from the job's first. A shard is one unique integer, its key: by cost, then
    rank, then peer. A group is a zone, or everything for a job that may spread over zones.

    `keys` [groups, slots, at_most]: the lowest keys, rising; those from the `cuts` [slots] on count as pretended.
    """

    def __init__(self, load: Load, job: Job, passing: NDArray[np.bool_]) -> None:
        self.load, self.job, self.passing = load, job, passing
        self.footprint = load.problem.footprint(job)
        self.peers = len(passing)
        self.size = _ranks(load.problem, job) * self.peers
        slots = job.deadline_slot - job.first_slot
        self.keys = np.full((_groups(load.problem, job), slots, job.at_most), NEVER)
        self.cuts = np.full(slots, NEVER)
        depths = load.depths.setdefault((job.units, job.rate), np.full(load.problem.slots, DEPTH))
        self.depths = depths[job.first_slot : job.deadline_slot]  # a view: the next job of the class goes on from there
        self.suited = int(np.count_nonzero(passing))

    def pays(self) -> bool:
        """Whether this is likely to take less time than looking at all suited peers."""
        return self.suited > FEW_PEERS and SHARE * int(self.depths.sum()) < len(self.depths) * self.suited

    def priced(self) -> Priced | None:
        """The cheapest placement, or None if there is none even with pretended shards."""
        wanted = np.arange(len(self.cuts))
        while True:
            for depth in np.unique(self.depths[wanted]).tolist():
                slots = wanted[self.depths[wanted] == depth]
                self._look(slots, -(-depth * self.footprint.count // self.suited))
            best = self._best()
            if best is None:
                return None
            _, group, counts = best
            slots = np.flatnonzero(counts)
            wanted = slots[self.keys[group, slots, counts[slots] - 1] >= self.cuts[slots]]
            if not len(wanted):
                return self._found(*best)
            self.depths[wanted] *= 2

    def _found(self, cost: int, group: int, counts: Integers) -> Priced:
        slots, places = np.nonzero(np.arange(self.job.at_most) < counts[:, None])
        peers = self.keys[group, slots, places] % self.peers
        return Priced(cost, Placement.of_shards(slots + self.job.first_slot, peers, self.peers))

    def _best(self) -> tuple[int, int, Integers] | None:
        """The least cost of the easier problem, its group (the first of equal ones), and the shards of each slot."""
        cuts = self.cuts[:, None]
        real = self.keys < cuts
        exists = real | (cuts < NEVER)
        costs = np.where(exists, np.where(real, self.keys, cuts) // self.size, 0)
        sums = np.where(exists, np.cumsum(costs, axis=2), NEVER)
        best: tuple[int, int, Integers] | None = None
        bounds = self._bounds(costs, exists)
        for group in np.argsort(bounds, kind="stable").tolist():
            if best is not None and bounds[group] > best[0]:
                break
            counts = chosen(self.job, sums[group])
            if counts is not None:
                used = np.array(counts)
                slots = np.flatnonzero(used)
                found = int(sums[group, slots, used[slots] - 1].sum()), group
                if best is None or found < best[:2]:
                    best = *found, used
        return best

    def _bounds(self, costs: Integers, exists: NDArray[np.bool_]) -> Integers:
        """For each group what the job costs at least: as if it could take its cheapest shards wherever they are."""
        if len(costs) == 1:
            return np.zeros(1, np.int64)
        worst = np.where(exists, costs, self.footprint.cost_max + 1).reshape(len(costs), -1)
        least: Integers = np.sort(worst, axis=1)[:, : self.job.work].sum(axis=1)
        return least

    def _look(self, slots: Integers, depth: int) -> None:
        """Look at the first cells of each of these slots."""
        depth = min(depth, self.footprint.count)
        front = self.footprint.front(depth + 1)
        at = slots + self.job.first_slot
        near = front[at, :depth].ravel()
        passing = np.flatnonzero(self.passing[near])
        rows, peers = passing // depth, near[passing].astype(np.int64)
        room = self.load.free[at[rows], peers] // self.job.units
        fits = np.flatnonzero(room)
        rows, peers, room = rows[fits], peers[fits], room[fits]
        keys = self._keys_of(at[rows], peers, room)
        # One row for each slot, filled up with NEVER.
        count = np.bincount(rows, minlength=len(slots))
        places = np.arange(len(rows)) - (np.cumsum(count) - count)[rows]
        table = np.full((len(slots), len(keys), int(count.max())), NEVER)
        table[rows, :, places] = keys.T
        if depth < self.footprint.count:
            self.cuts[slots] = self.footprint.idle_costs(at, front[at, depth]) * self.size
        else:
            self.cuts[slots] = NEVER
        self._keep(slots, table.reshape(len(slots), -1))

    def _keys_of(self, slots: Integers, peers: Integers, room: Integers) -> Integers:
        """[ranks, cells], NEVER where there is no room."""
        of, job, cells = self.load.problem.peers, self.job, (slots, peers)
        ranks = max(1, min(job.per_peer, job.at_most, int(room.max(initial=0))))
        carbon = marginal(
            ranks,
            self.footprint.energy[peers],
            self.footprint.embodied[peers],
            of.own[cells],
            of.grid[cells],
            of.surplus[cells] - self.load.energy[cells],
        )
        rank = np.arange(ranks)[:, None]
        return np.where(rank < room, carbon * self.size + rank * self.peers + peers, NEVER)

    def _keep(self, slots: Integers, keys: Integers) -> None:
        """Keep the lowest keys of each group that the zone limit lets through, of the unordered `keys` [slots, any]."""
        most = self.job.at_most
        self.keys[:, slots] = NEVER
        if not (self.job.same_zone or self.job.per_zone):
            if keys.shape[1] > most:
                keys = np.partition(keys, most - 1, axis=1)[:, :most]
            self.keys[0, slots, : keys.shape[1]] = np.sort(keys, axis=1)
            return
        keys = np.sort(keys, axis=1)
        rows, columns = np.nonzero(keys < self.cuts[slots, None])
        keys = keys[rows, columns]
        zones = self.load.problem.peers.zone[keys % self.peers]
        places = _places(rows * len(self.load.problem.zones) + zones)
        through = places < min(self.job.per_zone or most, most)
        rows, zones, places, keys = rows[through], zones[through], places[through], keys[through]
        if not self.job.same_zone:
            zones, places = np.zeros_like(zones), _places(rows)
        first = places < most
        self.keys[zones[first], slots[rows[first]], places[first]] = keys[first]


def _places(groups: Integers) -> Integers:
    """For each element how many of its group stand before it."""
    # NumPy sorts integers of 16 bits by radix, ten times faster.
    order = np.argsort(groups.astype(np.uint16) if groups.max(initial=0) < 2**16 else groups, kind="stable")
    ordered = groups[order]
    places = np.empty_like(order)
    places[order] = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    return places
