"""All slots: how many shards of a job run when, exactly, where one slot costs nothing to the next.

A rigid job takes its cheapest slots. An elastic one is a multiple-choice knapsack: a dynamic program over the
shard-slots that are done. Most choices are settled before it by a price for a shard-slot (a Lagrange multiplier): in a
cheapest schedule no slot's choice lies further above the slot's best one than the whole schedule lies above the sum of
all best ones. (Pisinger 1995, "A minimal algorithm for the multiple-choice knapsack problem", has that core.)

Ties: seen from the last slot, a slot stays empty if it can, else it takes as many shards as it can.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from node.matching.load import Costs
from node.matching.one.market import Found, Market
from node.matching.one.ranking import rank
from node.matching.problem import NEVER, Integers, Job

# Beyond so many steps in plain Python the program over whole arrays is faster.
_STEPS_MAX = 2_000


def cheapest_schedule(market: Market) -> Found | None:
    """The shards with the least sum of costs, or None if the job does not fit. Arrivals are not counted."""
    if market.job.block:
        return _block(market)
    ranked = rank(market)
    counts = chosen(market.job, ranked.sums)
    if counts is None:
        return None
    used = [(slot, count) for slot, count in enumerate(counts) if count]
    cost = sum(int(ranked.sums[slot, count - 1]) for slot, count in used)
    slots = np.repeat(np.array([slot for slot, _ in used], np.int64), [count for _, count in used])
    return Found(cost, slots, np.concatenate([ranked.rows(slot, count) for slot, count in used]))


def chosen(job: Job, sums: Integers) -> list[int] | None:
    """How many shards run in each slot with the least sum of costs, or None if the work does not fit; `sums` as in
    `Ranked`."""
    return _rigid(job, sums) if job.rigid else _elastic(job, sums)


def _block(market: Market) -> Found | None:
    """The cheapest gang over all starts: a window costs the sum of its slots, and has the room of the tightest."""
    length, rest = divmod(market.job.work, market.job.at_most)
    if rest or market.costs.room.shape[0] < length:
        return None
    ranked = rank(windows(market, length))
    if ranked.sums.shape[1] < market.job.at_most:
        return None
    each = ranked.sums[:, market.job.at_most - 1]
    start = int(each.argmin())
    if each[start] >= NEVER:
        return None
    slots = np.repeat(np.arange(start, start + length), market.job.at_most)
    return Found(int(each[start]), slots, np.tile(ranked.rows(start, market.job.at_most), length))


def windows(market: Market, length: int) -> Market:
    """The market of shards that keep their peer for `length` slots: one slot for each start."""
    view = np.lib.stride_tricks.sliding_window_view
    carbon = view(market.costs.carbon, length, axis=1).sum(axis=3)
    room = view(market.costs.room, length, axis=0).min(axis=2)
    return Market(market.job, Costs(carbon, room), market.zones, market.price, market.together)


def _rigid(job: Job, sums: Integers) -> list[int] | None:
    """Always as many shards: the cheapest slots."""
    slots, width = sums.shape
    if width < job.at_most:
        return None
    each = sums[:, job.at_most - 1]
    chosen = np.argsort(each, kind="stable")[: job.work // job.at_most]
    if len(chosen) * job.at_most < job.work or each[chosen[-1]] >= NEVER:
        return None
    counts = [0] * slots
    for slot in chosen.tolist():
        counts[slot] = job.at_most
    return counts


def _elastic(job: Job, sums: Integers) -> list[int] | None:
    least, (slots, width) = job.at_least, sums.shape
    if width < least:
        return None
    possible = sums[:, least - 1 :] < NEVER
    most = np.where(possible.any(axis=1), width - possible[:, ::-1].argmax(axis=1), 0)
    if int(most.sum()) < job.work:
        return None
    counts = np.array([0, *range(least, width + 1)])
    table = np.concatenate((np.zeros((slots, 1), np.int64), sums[:, least - 1 :]), axis=1)
    chosen = _near_best(job, sums, table, counts)
    return _dense(job, table, counts, most) if chosen is None else chosen


def _near_best(job: Job, sums: Integers, table: Integers, counts: Integers) -> list[int] | None:
    """The shards of each slot by the choices near each slot's best one; None where these are too many or not enough."""
    reduced = _reduced(job, sums, table, counts)
    if reduced is None:
        return None
    for tolerance in _tolerances(reduced):
        core = _core(job, reduced, counts, tolerance)
        if core is not None and tolerance < core[0] < NEVER:
            # No slot of an equally good schedule exceeds the excess of one in hand, so that this search is the last.
            core = _core(job, reduced, counts, core[0])
        if core is None:
            return None
        if core[0] < NEVER:
            return core[1]
    return None


def _tolerances(reduced: Integers) -> Iterator[int]:
    """How far above its best choice to look in each slot: ever further, as long as few choices are that near."""
    yield 0
    for nearest in (2, 4):
        if nearest * len(reduced) < reduced.size:
            found = int(np.partition(reduced, nearest * len(reduced), axis=None)[nearest * len(reduced)])
            if found < NEVER:
                yield found


def _reduced(job: Job, sums: Integers, table: Integers, counts: Integers) -> Integers | None:
    """at_least times how far each choice of a slot lies above its best one, when a shard-slot is worth what the last
    one costs that the work needs; None where that would not fit into 64 bits. With any price the program stays exact;
    with this one few choices lie near the best."""
    least, width = job.at_least, sums.shape[1]
    real = table < NEVER
    peak = int(np.abs(np.where(real, table, 0)).max())
    if peak * least * (width + 1) * 4 >= NEVER:
        return None
    steps = np.where(real[:, 2:], (table[:, 2:] - table[:, 1:-1]) * least, NEVER)
    slopes = np.concatenate((np.repeat(sums[:, least - 1 : least], least, axis=1), steps), axis=1)
    price = int(np.partition(slopes, job.work - 1, axis=None)[job.work - 1])
    above = np.where(real, table * least - price * counts, NEVER)
    return np.where(real, above - above.min(axis=1, keepdims=True), NEVER)


def _core(job: Job, reduced: Integers, counts: Integers, tolerance: int) -> tuple[int, list[int]] | None:
    """(excess, shards of each slot) of the best schedule of choices within the tolerance; (NEVER, []) if there is
    none, and None if the search would be long."""
    chosen = [0] * len(reduced)
    choices: list[list[tuple[int, int]]] = [[] for _ in chosen]
    slots, columns = np.nonzero(reduced <= tolerance)
    extras = reduced[slots, columns].tolist()
    for slot, count, extra in zip(slots.tolist(), counts[columns].tolist(), extras, strict=True):
        choices[slot].append((count, extra))
    done = 0
    for slot, options in enumerate(choices):
        if len(options) == 1:  # its extra is 0: a best choice is always within the tolerance
            chosen[slot] = options[0][0]
            done += chosen[slot]
    free = [slot for slot, options in enumerate(choices) if len(options) > 1]
    low = high = job.work - done
    low -= sum(choices[slot][-1][0] for slot in free)
    high -= sum(choices[slot][0][0] for slot in free)
    states, trail, steps = {0: 0}, [], 0
    for slot in free:
        trail.append(states)
        options = choices[slot]
        steps += len(states) * len(options)
        if steps > _STEPS_MAX:
            return None
        low += options[-1][0]
        high += options[0][0]
        reached: dict[int, int] = {}
        for before, cost in states.items():
            for count, extra in options:
                after = before + count
                if low <= after <= high and cost + extra < reached.get(after, NEVER):
                    reached[after] = cost + extra
        states = reached
    left = job.work - done
    if left not in states:
        return NEVER, []
    excess = cost = states[left]
    for slot, before_it in zip(reversed(free), reversed(trail), strict=True):
        options = choices[slot]
        for count, extra in [*options[:1], *options[:0:-1]] if options[0][0] == 0 else options[::-1]:
            if before_it.get(left - count, NEVER) + extra == cost:
                break
        chosen[slot], left, cost = count, left - count, cost - extra
    return excess, chosen


def _dense(job: Job, table: Integers, counts: Integers, most: Integers) -> list[int] | None:
    """The program over all choices: `done[w]` is the least cost of w shard-slots in the slots so far."""
    work, slots, pad = job.work, len(table), int(counts[-1])
    trail = np.full((slots + 1, pad + work + 1), 2 * NEVER)  # and still not possible when costs below zero are added
    trail[0, pad] = 0
    window = np.lib.stride_tricks.sliding_window_view
    later = [*np.cumsum(most[::-1])[::-1].tolist(), 0]  # shard-slots that the slots from here on can still do
    for slot in range(slots):
        trail[slot + 1] = trail[slot]
        size = int(most[slot])
        if not size:
            continue
        low = max(0, work - later[slot + 1])  # with less than this done, the rest does not fit any more
        # One row for each count, from the most down: what had been done before it.
        befores = window(trail[slot, pad + low - size : pad + work + 1 - job.at_least], work + 1 - low)
        adds = table[slot, size - job.at_least + 1 : 0 : -1]
        done = trail[slot + 1, pad + low :]
        np.minimum(done, (befores + adds[:, None]).min(axis=0), out=done)
        done[done >= NEVER] = 2 * NEVER
    if trail[slots, pad + work] >= NEVER:
        return None
    left, chosen = pad + work, [0] * slots
    for slot in reversed(range(slots)):
        cost = trail[slot + 1, left]
        if trail[slot, left] == cost:
            continue
        size = int(most[slot])
        befores = trail[slot, left - size : left - job.at_least + 1]
        chosen[slot] = size - int((befores + table[slot, size - job.at_least + 1 : 0 : -1] == cost).argmax())
        left -= chosen[slot]
    return chosen
