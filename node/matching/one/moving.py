"""One job whose moves cost something: which gang runs in which slot.

A gang is how many shards run on which peer in one slot. Of a pool of gangs the best sequence is found exactly, by a
dynamic program over the last gang and the shard-slots done. The pool has the gangs of the placement that is cheapest
when moving is free, and those that are cheapest where they stay for some slots. Then every slot's gang is chosen anew
for its neighbours, exactly, and what that finds joins the pool, until nothing improves. Where there are few gangs at
all the pool has every one of them, and the result is exact; else it never costs more than the placement that is
cheapest when moving is free, with its moves paid.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter

import numpy as np

from node.matching.load import Costs
from node.matching.one.market import Found, Market, gangs_of, shards_of
from node.matching.one.ranking import rank
from node.matching.one.schedule import cheapest_schedule, windows
from node.matching.problem import NEVER, Integers

# The time grows with the square of the pool. On 1,000 peers 24 leave 2 % more carbon, 64 hardly less (measured).
POOL_MAX = 48

# Different gangs of one size that stay for one length of time.
STARTS_MAX = 4

# Rows looked at in a slot beyond those that a gang needs.
SPARE = 4

# Most jobs end after the second.
ROUNDS_MAX = 4


class _Sequence:
    """Which gang runs when, and what that costs with its arrivals: `gangs` [used slots, rows]."""

    __slots__ = ("cost", "gangs", "slots")

    def __init__(self, market: Market, slots: Integers, gangs: Integers) -> None:
        self.slots, self.gangs, self.cost = slots, gangs, market.cost(slots, gangs)


def cheapest_moving(market: Market, arrivals: Integers) -> Found | None:
    """Shards that make the whole job at a low sum of costs and arrivals, or None if none were found. `arrivals` is the
    market's own."""
    free = cheapest_schedule(market)
    if free is None:
        return None
    rows = np.arange(len(market.zones)) if _few(market) else _candidates(market, arrivals, free)
    small, arrivals = market.only(rows), arrivals[:, rows]
    best = _Sequence(small, *gangs_of(free, rows))
    if best.cost > free.cost:
        found = _sequence(small, arrivals, _every_gang(small)) if _few(small) else _search(small, arrivals, best)
        best = _better(best, found)
    if best.cost >= NEVER:
        return None
    return shards_of(best.cost, best.slots, best.gangs, rows)


def _search(market: Market, arrivals: Integers, best: _Sequence) -> _Sequence:
    pool = _distinct([*best.gangs, *_staying(market, best)])
    for _ in range(ROUNDS_MAX):
        before = best.cost
        best = _better(best, _swept(market, arrivals, best))
        found = _sequence(market, arrivals, pool)
        if found is not None:
            best = _better(best, _swept(market, arrivals, found))
        if best.cost >= before:
            break
        pool = _distinct([*best.gangs, *pool])
    return best


def _better(one: _Sequence, other: _Sequence | None) -> _Sequence:
    return one if other is None or one.cost <= other.cost else other


def _candidates(market: Market, arrivals: Integers, free: Found) -> Integers:
    """The rows that can be the best newcomers of some slot, with arrival or without, and those that stay cheaply."""
    room = np.where(arrivals < NEVER, market.costs.room, 0)
    carbon = market.costs.carbon + np.where(arrivals < NEVER, arrivals, 0)
    markets = [market, Market(market.job, Costs(carbon, room), market.zones, market.price, market.together)]
    markets += [windows(market, length) for length in _lengths(market)]
    rows = [free.rows]
    wide = dataclasses.replace(market.job, at_most=market.job.at_most + SPARE)
    for each in markets:
        ranked = rank(dataclasses.replace(each, job=wide))
        for slot, sums in enumerate(ranked.sums):
            if count := int((sums < NEVER).sum()):
                rows.append(ranked.rows(slot, count))
    return np.unique(np.concatenate(rows))


def _lengths(market: Market) -> range:
    """For how many slots in a row a gang may stay."""
    return range(1, min(market.costs.room.shape[0], max(2, -(-market.job.work // market.job.at_most))) + 1)


def _staying(market: Market, best: _Sequence) -> list[Integers]:
    """Gangs that are cheapest over some slots in a row: for every length and size the best of each, then the second."""
    common = Counter(best.gangs.sum(axis=1).tolist()).most_common(2)
    sizes = {market.job.at_least, market.job.at_most, *(size for size, _ in common)}
    found: list[list[Integers]] = [[] for _ in range(STARTS_MAX)]
    for length in reversed(_lengths(market)):
        ranked = rank(windows(market, length))
        for size in sorted(size for size in sizes if size <= ranked.sums.shape[1]):
            each = ranked.sums[:, size - 1]
            gangs: dict[bytes, Integers] = {}
            for start in np.argsort(each, kind="stable").tolist():
                if each[start] >= NEVER or len(gangs) == STARTS_MAX:
                    break
                gang = np.bincount(ranked.rows(start, size), minlength=len(market.zones))
                gangs.setdefault(gang.tobytes(), gang)
            for place, gang in enumerate(gangs.values()):
                found[place].append(gang)
    return [gang for place in found for gang in place]


def _distinct(gangs: list[Integers]) -> Integers:
    """[gangs, rows]: the first POOL_MAX that differ."""
    return np.array(list({gang.tobytes(): gang for gang in gangs}.values())[:POOL_MAX])


def _few(market: Market) -> bool:
    """Whether all gangs fit into a pool."""
    places = int(_most(market).sum())
    return sum(math.comb(places, size) for size in range(market.job.at_least, market.job.at_most + 1)) <= POOL_MAX


def _most(market: Market) -> Integers:
    """How many shards may run on each row, in its best slot."""
    most: Integers = market.costs.room.max(axis=0)
    return np.minimum(most, len(market.costs.carbon))


def _every_gang(market: Market) -> Integers:
    """All gangs that keep the limits of peer and zone."""
    rows = np.repeat(np.arange(len(market.zones)), _most(market)).tolist()
    chosen = {
        gang
        for size in range(market.job.at_least, market.job.at_most + 1)
        for gang in itertools.combinations(rows, size)
    }
    gangs = [np.bincount(gang, minlength=len(market.zones)) for gang in sorted(chosen)]
    return np.array([gang for gang in gangs if market.keeps_zones(gang)])


def _sequence(market: Market, arrivals: Integers, pool: Integers) -> _Sequence | None:
    """The cheapest sequence of gangs of the pool, exactly."""
    slots, sizes = len(arrivals), pool.sum(axis=1)
    unit = math.gcd(market.job.work, *sizes.tolist())
    work, steps = market.job.work // unit, sizes // unit
    runs = np.stack([_runs(market, gang) for gang in pool], axis=1)  # [slots, gangs]
    moves = np.stack([_moves(arrivals, pool, gang) for gang in pool], axis=1)  # [slots, to, from]
    # The least cost in the slots so far, by the last gang and by what is done.
    done = np.full((slots + 1, len(pool), work + 1), NEVER)
    for slot in range(slots):
        done[slot + 1] = done[slot]
        for step in np.unique(steps[steps <= work]).tolist():
            to = np.flatnonzero((steps == step) & (runs[slot] < NEVER))
            before = (done[slot, None, :, : work + 1 - step] + moves[slot, to, :, None]).min(axis=1)
            before[:, 0] = 0  # the first gang of all
            after = np.where(before < NEVER, before + runs[slot, to, None], NEVER)
            done[slot + 1, to, step:] = np.minimum(done[slot, to, step:], after)
    last, left = int(done[slots, :, work].argmin()), work
    if done[slots, last, work] >= NEVER:
        return None
    used: list[tuple[int, int]] = []
    for slot in reversed(range(slots)):
        if done[slot, last, left] == done[slot + 1, last, left]:
            continue
        used.insert(0, (slot, last))
        left -= int(steps[last])
        if not left:
            break
        last = int((done[slot, :, left] + moves[slot, last]).argmin())
    return _Sequence(market, np.array([slot for slot, _ in used]), pool[[gang for _, gang in used]])


def _runs(market: Market, gang: Integers) -> Integers:
    """What a gang costs in each slot without arrivals, NEVER where it does not fit."""
    rows = np.flatnonzero(gang)
    ranks = np.arange(len(market.costs.carbon))[:, None, None]
    cost = np.where(ranks < gang[rows], market.costs.carbon[:, :, rows], 0).sum(axis=(0, 2))
    fits = (gang[rows] <= market.costs.room[:, rows]).all(axis=1) & (gang[rows] <= len(ranks)).all()
    return np.where(fits, cost, NEVER)


def _moves(arrivals: Integers, pool: Integers, gang: Integers) -> Integers:
    """What it costs when `gang` follows each of the pool, [slots, pool]; NEVER where a shard cannot arrive."""
    rows = np.flatnonzero(gang)
    count = np.maximum(0, gang[rows] - pool[:, rows])
    each = arrivals[:, rows]
    forbidden = (each >= NEVER).astype(np.int64) @ count.T
    return np.where(forbidden > 0, NEVER, np.where(each < NEVER, each, 0) @ count.T)


def _swept(market: Market, arrivals: Integers, start: _Sequence) -> _Sequence:
    """Every slot's gang chosen anew for its neighbours, again and again while that helps; counts stay."""
    # So dear that one forbidden arrival outweighs all else, where that fits into 64 bits.
    peak = int(np.abs(market.costs.carbon).max()) + int(np.where(arrivals < NEVER, arrivals, 0).max())
    dear = min(NEVER // (4 * market.job.work), 4 * market.job.work * (peak + 1))
    each = np.where(arrivals < NEVER, arrivals, dear)
    ranks = np.arange(len(market.costs.carbon))[:, None]
    best = start
    for _ in range(ROUNDS_MAX):
        gangs = best.gangs.copy()
        for at, slot in enumerate(best.slots.tolist()):
            carbon = market.costs.carbon[:, slot].copy()
            if at:
                carbon += np.where(ranks >= gangs[at - 1], each[slot], 0)
            if at + 1 < len(gangs):
                carbon -= np.where(ranks < gangs[at + 1], each[best.slots[at + 1]], 0)
            costs = Costs(carbon[:, None], market.costs.room[slot : slot + 1])
            one_slot = Market(market.job, costs, market.zones, market.price, market.together)
            rows = rank(one_slot).rows(0, int(gangs[at].sum()))
            gangs[at] = np.bincount(rows, minlength=len(market.zones))
        found = _Sequence(market, best.slots, gangs)
        if found.cost >= best.cost:
            break
        best = found
    return best
