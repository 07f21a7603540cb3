"""One job with a budget: the greenest placement whose price keeps within it, by a Lagrange multiplier in integers.

Two placements, one greener and too dear, one browner and within the budget, give a price of carbon at which both cost
the same; what is cheapest at that price takes the place of one of them, until neither can be beaten. Their carbon then
brackets the optimum: no placement within the budget lies below the line through both, so the result lies above the
optimum by less than the two differ. (The lower convex hull of all placements; Handler and Zang 1980.) Slots and shards
of the greener one that still fit the budget are then taken over, one at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from node.matching.one.market import Found, Market, gangs_of, shards_of
from node.matching.problem import NEVER, Integers

# Each turn finds another corner of the hull or ends; real hulls have a dozen.
TURNS_MAX = 64

# Changes looked at to use up what is left of a budget.
CHANGES_MAX = 512

Solve = Callable[[Market], Found | None]


@dataclass(frozen=True, slots=True)
class _Point:
    """A placement, its carbon and its price."""

    found: Found
    carbon: int
    price: int


def within_budget(market: Market, solve: Solve) -> Found | None:
    """The greenest placement found within the budget; None if even the cheapest one exceeds it, or the job does not
    fit. `solve` finds a placement with a low sum of costs and arrivals; where that is the lowest, None is certain and
    the promise in the module's head holds."""
    job = market.job
    found = solve(market)
    if found is None or _price(market, found) <= job.budget:
        return found
    bearable = np.flatnonzero(market.price <= min(job.budget, (NEVER - 1) // job.work))
    market = market.only(bearable)
    thrifty = _thriftiest(market, solve)
    if thrifty is None or thrifty.price > job.budget:
        return None
    found = solve(market)
    best = thrifty if found is None else _between(market, solve, _point(market, found), thrifty)
    return Found(best.carbon, best.found.slots, bearable[best.found.rows])


def _price(market: Market, found: Found) -> int:
    return int(market.price[found.rows].sum())


def _point(market: Market, found: Found) -> _Point:
    rows = np.unique(found.rows)
    return _Point(found, market.only(rows).cost(*gangs_of(found, rows)), _price(market, found))


def _thriftiest(market: Market, solve: Solve) -> _Point | None:
    """The placement of the least price."""
    prices = np.broadcast_to(market.price, market.costs.carbon.shape)
    arrivals = None if market.arrivals is None else np.where(market.arrivals < NEVER, 0, NEVER)
    found = solve(market.at(prices, arrivals))
    return None if found is None else _point(market, found)


def _between(market: Market, solve: Solve, dear: _Point, thrifty: _Point) -> _Point:
    """The greenest within the budget of all that lie on the hull between both, and of what takes over from the dear."""
    best = thrifty
    for _ in range(TURNS_MAX):
        if dear.price <= market.job.budget:
            return min(best, dear, key=_carbon)
        if dear.carbon >= thrifty.carbon:
            break
        weights = _weights(market, dear.price - thrifty.price, thrifty.carbon - dear.carbon)
        found = solve(_weighted(market, *weights))
        if found is None:
            break
        point = _point(market, found)
        lowest = min(_value(dear, *weights), _value(thrifty, *weights))
        if _value(point, *weights) >= lowest:
            break
        if point.price > market.job.budget:
            dear = point
        else:
            thrifty = point
            best = min(best, point, key=_carbon)
    return best if market.job.block else _take_over(market, best, dear)


def _carbon(point: _Point) -> int:
    return point.carbon


def _value(point: _Point, of_carbon: int, of_price: int) -> int:
    return of_carbon * point.carbon + of_price * point.price


def _weights(market: Market, of_carbon: int, of_price: int) -> tuple[int, int]:
    """Both, halved together until the weighted sum over a job fits into 64 bits; at least 1."""
    peaks = [int(np.abs(market.costs.carbon).max()), int(market.price.max())]
    if market.arrivals is not None:
        peaks[0] += int(np.where(market.arrivals < NEVER, market.arrivals, 0).max())
    halvings = 0
    while (
        market.job.work
        * sum(max(1, weight >> halvings) * peak for weight, peak in zip((of_carbon, of_price), peaks, strict=True))
        >= NEVER
        and max(of_carbon, of_price) >> halvings
    ):
        halvings += 1
    return max(1, of_carbon >> halvings), max(1, of_price >> halvings)


def _weighted(market: Market, of_carbon: int, of_price: int) -> Market:
    arrivals = market.arrivals
    if arrivals is not None:
        arrivals = np.where(arrivals < NEVER, of_carbon * np.where(arrivals < NEVER, arrivals, 0), NEVER)
    return market.at(of_carbon * market.costs.carbon + of_price * market.price, arrivals)


def _take_over(market: Market, frugal: _Point, dear: _Point) -> _Point:
    """The frugal placement with as many slots and shards of the dear one as the budget allows, what saves most carbon
    for its price first."""
    rows = np.unique(np.concatenate((frugal.found.rows, dear.found.rows)))
    small = market.only(rows)
    shape = (market.costs.room.shape[0], len(rows))
    now, other = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for gangs, point in ((now, frugal), (other, dear)):
        used, found = gangs_of(point.found, rows)
        gangs[used] = found
    best, still = frugal, small.at(small.costs.carbon, None)
    for changes in (_slot_changes, _shard_changes):
        options = []
        for slots, gangs in itertools.islice(changes(now, other), CHANGES_MAX):
            saved = still.cost(slots, now[slots]) - still.cost(slots, gangs)
            change = gangs - now[slots]
            if saved > 0:
                options.append((saved * 2**32 // max(1, int((change * small.price).sum())), slots, change))
        for _, slots, change in sorted(options, key=lambda option: -option[0]):
            after = now.copy()
            after[slots] += change
            if not all(_keeps(small, after[slot]) for slot in slots.tolist()):
                continue
            used = np.flatnonzero(after.any(axis=1))
            carbon, price = small.cost(used, after[used]), int((after * small.price).sum())
            if price <= market.job.budget and carbon < best.carbon:
                now, best = after, _Point(shards_of(carbon, used, after[used], rows), carbon, price)
    return best


def _keeps(market: Market, gang: Integers) -> bool:
    """Whether a slot's gang keeps the job's limits; its room is seen when it is priced."""
    count = int(gang.sum())
    in_range = count == 0 or market.job.at_least <= count <= market.job.at_most
    return in_range and bool((gang >= 0).all()) and market.keeps_zones(gang)


def _slot_changes(now: Integers, other: Integers) -> Iterator[tuple[Integers, Integers]]:
    """Slots with the gangs that they would have: a gang for one of the same size, in the same slot or in another."""
    sizes, wanted = now.sum(axis=1).tolist(), other.sum(axis=1).tolist()
    for slot, size in enumerate(sizes):
        if size and size == wanted[slot] and (now[slot] != other[slot]).any():
            yield np.array([slot]), other[slot : slot + 1]
        elif size and not wanted[slot]:
            for to, there in enumerate(wanted):
                if there == size and not sizes[to]:
                    yield np.array([slot, to]), np.stack((0 * now[slot], other[to]))


def _shard_changes(now: Integers, other: Integers) -> Iterator[tuple[Integers, Integers]]:
    """Slots with the gangs that they would have: one shard elsewhere in the same slot."""
    for slot in np.flatnonzero(now.any(axis=1) & other.any(axis=1)).tolist():
        for there in np.flatnonzero(now[slot] < other[slot]).tolist():
            for here in np.flatnonzero(now[slot] > other[slot]).tolist():
                gang = now[slot].copy()
                gang[here] -= 1
                gang[there] += 1
                yield np.array([slot]), gang[None]
