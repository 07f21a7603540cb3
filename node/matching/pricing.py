"""One job at given costs: the cheapest placement there is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from node.matching.load import Costs, Placement
from node.matching.market import NEVER, Found, Market, affordable
from node.matching.problem import Integers, Problem
from node.matching.schedule import cheapest_schedule


class Priced(NamedTuple):
    """A placement and the sum of its costs."""

    cost: int
    placement: Placement


def cheapest(problem: Problem, index: int, costs: Costs) -> Priced | None:
    """The placement of this job with the least sum of costs, or None if there is none."""
    job, suited = problem.jobs[index], problem.suited[index]
    market = Market(job, affordable(job, costs), problem.peers.zone[suited.peers], problem.peers.price[suited.peers] * job.units)
    found = _in_one_zone(market) if job.same_zone else cheapest_schedule(market)
    if found is None:
        return None
    peers = len(problem.peers.ids)
    cells, shards = np.unique((found.slots + job.first_slot) * peers + suited.peers[found.rows], return_counts=True)
    return Priced(found.cost, Placement(*np.divmod(cells, peers), shards))


def _in_one_zone(market: Market) -> Found | None:
    """The cheapest over all zones, ties to the first; the zones whose bound shows that they cannot win are left out."""
    if not len(market.zones):
        return None
    order = np.argsort(market.zones, kind="stable")
    starts = np.flatnonzero(np.diff(market.zones[order], prepend=-1))
    groups = np.split(order, starts[1:])
    bounds = _bounds(market, order, starts)
    best: tuple[int, int] | None = None
    found = None
    for at in np.argsort(bounds, kind="stable").tolist():
        bound = int(bounds[at])
        if bound >= NEVER or (best is not None and (bound, at) > best):
            continue
        inside = cheapest_schedule(market.only(groups[at]))
        if inside is not None and (best is None or (inside.cost, at) < best):
            best = inside.cost, at
            found = Found(inside.cost, inside.slots, groups[at][inside.rows])
    return found


def _bounds(market: Market, order: Integers, starts: Integers) -> Integers:
    """What the job costs at least in each zone: as if all shards of a slot cost as little as its cheapest there; NEVER
    where there is too little room. Zones are runs of `order` that begin at `starts`."""
    job, room = market.job, np.minimum(market.costs.room, len(market.costs.carbon))[:, order]
    least = np.minimum.reduceat(np.where(room > 0, market.costs.carbon[0][:, order], NEVER), starts, axis=1)
    most = np.minimum(np.add.reduceat(room, starts, axis=1), job.at_most)
    most[most < job.at_least] = 0
    by_cost = np.argsort(least, axis=0, kind="stable")
    least, most = np.take_along_axis(least, by_cost, axis=0), np.take_along_axis(most, by_cost, axis=0)
    taken = np.clip(job.work - (np.cumsum(most, axis=0) - most), 0, most)
    cost = (taken * np.where(taken > 0, least, 0)).sum(axis=0)
    return np.where(taken.sum(axis=0) < job.work, NEVER, cost)
