"""One job at given costs: the cheapest placement there is, within all of its limits.

`market` is the question; `ranking` answers it for one slot, `schedule` for all; `moving` adds moves, `budget` a budget,
`zones` says which zones go together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from node.matching.load import Costs, Placement
from node.matching.moves import arrivals
from node.matching.one.budget import within_budget
from node.matching.one.market import Found, Market, affordable
from node.matching.one.moving import cheapest_moving
from node.matching.one.schedule import cheapest_schedule
from node.matching.one.zones import together
from node.matching.problem import NEVER, Integers, Problem


class Priced(NamedTuple):
    """A placement and the sum of its costs."""

    cost: int
    placement: Placement


def cheapest(problem: Problem, index: int, costs: Costs) -> Priced | None:
    """The placement of this job with the least sum of carbon, or None if none keeps all of its limits.

    Costs may be any numbers that do not fall with the rank; see `market.affordable` for their range. The result is
    exact, but for jobs whose moves cost something (`moving`), with a budget (`budget`) or with very many sets of near
    zones (`zones`): these get a placement that keeps all limits and that may cost more than the least.
    """
    priced = _priced(problem, index, _market(problem, index, costs))
    cap = problem.jobs[index].carbon_max
    return None if priced is None or (cap and priced.cost > cap) else priced


def preferred(problem: Problem, index: int, costs: Costs) -> Priced | None:
    """Likewise at costs that are no carbon, such as prices: without a cap on carbon, and moves cost nothing, but those
    that are forbidden are left out."""
    market = _market(problem, index, costs)
    if market.arrivals is not None:
        market = market.at(market.costs.carbon, np.where(market.arrivals < NEVER, 0, NEVER))
    return _priced(problem, index, market)


def _market(problem: Problem, index: int, costs: Costs) -> Market:
    job, suited, of = problem.jobs[index], problem.suited[index], problem.peers
    zones = of.zone[suited.peers]
    return Market(
        job=job,
        costs=affordable(job, costs),
        zones=zones,
        price=of.price[suited.peers] * job.units,
        together=together(problem, job, zones),
        arrivals=arrivals(problem, index),
    )


def _priced(problem: Problem, index: int, market: Market) -> Priced | None:
    found = _in_one_zone(market) if market.job.same_zone else _solve(market)
    if found is None:
        return None
    slots, peers = found.slots + market.job.first_slot, problem.suited[index].peers[found.rows]
    return Priced(found.cost, Placement.of_shards(slots, peers, len(problem.peers.ids)))


def _solve(market: Market) -> Found | None:
    if market.job.budget:
        return within_budget(market, _moving)
    return _moving(market)


def _moving(market: Market) -> Found | None:
    if market.arrivals is None:
        return cheapest_schedule(market)
    return cheapest_moving(market, market.arrivals)


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
        inside = _solve(market.only(groups[at]))
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
