"""One job at given costs: the cheapest placement there is, exactly, by sorting and dynamic programming.

For one slot the cheapest n shards are the n cheapest that the zone limit lets through, since costs do not fall with the
rank on a peer. Over slots a dynamic program over the shard-slots that are done chooses how many run when. Ties go to
the lower rank, the lower peer and the earlier slot: every sort is over unique integers, so that it has one result on
every machine.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from node.matching.load import Costs, Placement
from node.matching.problem import Integers, Job, Problem

_NEVER = 2**60  # more than any sum of costs, and still far from where 64 bits end


class Priced(NamedTuple):
    """A placement and the sum of its costs."""

    cost: int
    placement: Placement


class _Sorted(NamedTuple):
    """For each slot the shards that may run, cheapest first: their costs [slots, at_most], _NEVER where there are no
    more; their rows in the suited peers; and how many there are [slots]."""

    costs: Integers
    rows: Integers
    counts: Integers


def cheapest(problem: Problem, index: int, costs: Costs) -> Priced | None:
    """The placement of this job with the least sum of costs, or None if there is none."""
    job, suited = problem.jobs[index], problem.suited[index]
    zones = problem.peers.zone[suited.peers]
    groups = [np.flatnonzero(zones == zone) for zone in np.unique(zones)] if job.same_zone else [None]
    best: tuple[int, Integers, Integers] | None = None
    for group in groups:
        if group is None:
            found = _cheapest(job, costs, zones)
        else:
            found = _cheapest(job, Costs(costs.carbon[:, :, group], costs.room[:, group]), zones[group])
        if found and (best is None or found[0] < best[0]):
            cost, slots, rows = found
            best = cost, slots, rows if group is None else group[rows]
    if best is None:
        return None
    cost, slots, rows = best
    cells, shards = np.unique(
        (slots + job.first_slot) * len(problem.peers.ids) + suited.peers[rows], return_counts=True
    )
    return Priced(cost, Placement(*np.divmod(cells, len(problem.peers.ids)), shards))


def _cheapest(job: Job, costs: Costs, zones: Integers) -> tuple[int, Integers, Integers] | None:
    """(cost, slot of each shard, row of each shard); slots count from the job's first."""
    if job.block:
        return _block(job, costs, zones)
    ranked = _sort(job, costs, zones)
    sums = np.cumsum(ranked.costs, axis=1)
    found = _rigid(job, sums, ranked.counts) if job.rigid else _elastic(job, sums, ranked.counts)
    if found is None:
        return None
    cost, slots, counts = found
    rows = np.concatenate([ranked.rows[slot, :count] for slot, count in zip(slots, counts, strict=True)])
    return cost, np.repeat(np.array(slots), counts), rows


def _sort(job: Job, costs: Costs, zones: Integers) -> _Sorted:
    """The cheapest `at_most` shards of each slot within the limits of peer and zone."""
    ranks, slots, peers = costs.carbon.shape
    size = ranks * peers
    fits = np.arange(ranks)[:, None, None] < costs.room
    # One unique integer for each shard: by cost, then rank, then peer.
    order = np.arange(size).reshape(ranks, 1, peers)
    keys = np.where(fits, costs.carbon * size + order, _NEVER).transpose(1, 0, 2).reshape(slots, size)
    if job.per_zone:
        keys = _within_zones(keys, zones, job.per_zone)
    if size > job.at_most:
        keys = np.partition(keys, job.at_most - 1, axis=1)[:, : job.at_most]
    keys = np.sort(keys, axis=1)
    real = keys < _NEVER
    return _Sorted(
        np.where(real, keys // max(1, size), _NEVER >> 20), keys % max(1, size) % max(1, peers), real.sum(axis=1)
    )


def _within_zones(keys: Integers, zones: Integers, limit: int) -> Integers:
    """The keys, _NEVER for all but the `limit` lowest of each zone in each slot."""
    ranks = keys.shape[1] // len(zones) if len(zones) else 0
    zone_of = np.tile(zones, ranks)
    out = np.full_like(keys, _NEVER)
    for zone in np.unique(zones):
        columns = np.flatnonzero(zone_of == zone)
        inside = keys[:, columns]
        if len(columns) > limit:
            highest = np.partition(inside, limit - 1, axis=1)[:, limit - 1 : limit]
            inside = np.where(inside <= highest, inside, _NEVER)
        out[:, columns] = inside
    return out


def _rigid(job: Job, sums: Integers, counts: Integers) -> tuple[int, list[int], list[int]] | None:
    """Always as many shards: the cheapest slots."""
    length = job.work // job.at_most
    possible = np.flatnonzero(counts >= job.at_most)
    if len(possible) < length:
        return None
    each = sums[possible, job.at_most - 1]
    chosen = np.sort(np.argsort(each, kind="stable")[:length])
    return int(each[chosen].sum()), possible[chosen].tolist(), [job.at_most] * length


def _elastic(job: Job, sums: Integers, counts: Integers) -> tuple[int, list[int], list[int]] | None:
    """`done[w]` is the least cost of w shard-slots in the slots so far; each slot adds none or at_least..at_most."""
    work, slots = job.work, len(counts)
    most = [min(job.at_most, int(count)) if count >= job.at_least else 0 for count in counts]
    later = np.cumsum([0, *reversed(most)])[::-1]  # shard-slots that the slots from here on can still do
    done = np.full(work + 1, _NEVER)
    done[0] = 0
    taken = np.zeros((slots, work + 1), np.int32)
    for slot, limit in enumerate(most):
        if not limit:
            continue
        adds = sums[slot, job.at_least - 1 : limit]
        low = max(0, work - int(later[slot + 1]))  # with less than this done, the rest does not fit any more
        earlier = np.lib.stride_tricks.sliding_window_view(np.concatenate((np.full(limit, _NEVER), done)), len(adds))
        totals = earlier[low : work + 1] + adds[::-1]
        choice = totals.argmin(axis=1)
        total = np.take_along_axis(totals, choice[:, None], axis=1)[:, 0]
        better = total < done[low:]
        done[low:] = np.where(better, total, done[low:])
        taken[slot, low:] = np.where(better, limit - choice, 0)
    if done[work] >= _NEVER:
        return None
    left, chosen = work, []
    for slot in reversed(range(slots)):
        count = int(taken[slot, left])
        if count:
            chosen.append((slot, count))
            left -= count
    chosen.reverse()
    return int(done[work]), [slot for slot, _ in chosen], [count for _, count in chosen]


def _block(job: Job, costs: Costs, zones: Integers) -> tuple[int, Integers, Integers] | None:
    """The cheapest gang over all starts: a window costs the sum of its slots, and has the room of the tightest."""
    length = job.work // job.at_most
    if costs.room.shape[0] < length:
        return None
    view = np.lib.stride_tricks.sliding_window_view
    windows = Costs(
        view(costs.carbon, length, axis=1).sum(axis=3),
        view(costs.room, length, axis=0).min(axis=2),
    )
    ranked = _sort(job, windows, zones)
    possible = np.flatnonzero(ranked.counts >= job.at_most)
    if not len(possible):
        return None
    each = ranked.costs[possible].sum(axis=1)
    start = int(possible[each.argmin()])
    slots = np.repeat(np.arange(start, start + length), job.at_most)
    return int(each.min()), slots, np.tile(ranked.rows[start, : job.at_most], length)
