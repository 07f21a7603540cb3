"""Which zones a job might run in, hour by hour, where a change of zone costs work: candidates, not yet widths.

At a price for an hour of work each hour offers its best width in each zone, and a change of zone costs what it loses;
a dynamic program over hours and last zones is then exact. No price need hit the work exactly, so the routes at many
prices are candidates, and `plan` fits widths to each. All prices are worked at once, as one axis of the arrays.
"""

from __future__ import annotations

import bisect

import numpy as np
from numpy.typing import NDArray

from node.study.allocate import Floats, Throughput, marginal

PRICES = 16
NEAR = 3  # candidates on either side of the price at which the work gets done
IDLE, BEGIN = -1, -2

Route = NDArray[np.intp]  # [hours]: the zone of each hour, or IDLE


def routes(prices: Floats, throughput: Throughput, work: float, move_work: float, at: int | None) -> list[Route]:
    """Candidates for `prices` [zones, hours], the job having last run in zone `at` (None: nowhere yet)."""
    # The right price lies between those with free moves and with none, or near.
    low = marginal(prices.min(axis=0), throughput, work)
    high = min(marginal(alone, throughput, work) for alone in prices)
    worth = np.linspace(0.95 * low, 1.1 * max(low, high), PRICES)
    gains = np.zeros((prices.shape[1], PRICES, prices.shape[0]))  # [hours, prices of work, zones]
    works = np.zeros_like(gains)
    for unit in throughput.yields:  # one by one: strangers may offer many zones, hours and widths at once
        cost = prices.T[:, None, :] - worth[:, None] * unit
        gains += np.minimum(cost, 0.0)
        works += np.where(cost < 0, unit, 0.0)
    came_from, last = _best(gains, worth * move_work, at)
    traced: dict[int, Route] = {}

    def work_of(row: int) -> float:
        route = traced[row] = _traced(came_from[:, row], int(last[row]))
        ran = np.flatnonzero(route != IDLE)
        return float(works[ran, row, route[ran]].sum()) - move_work * moves(route[ran], at)

    crossing = bisect.bisect_left(range(PRICES), work, key=work_of)
    for row in range(max(0, crossing - NEAR), min(PRICES, crossing + NEAR)):
        if row not in traced:
            work_of(row)
    return list({route.tobytes(): route for route in traced.values()}.values())


def moves(ran: Route, at: int | None) -> int:
    """Changes of zone over the zones of the running hours; the first placement is none."""
    if not len(ran):
        return 0
    return int((ran[1:] != ran[:-1]).sum()) + (at is not None and int(ran[0]) != at)


def _best(gains: Floats, move_cost: Floats, at: int | None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """How each state is reached best: the last zone before [hours, prices of work, zones], and the last zone of all."""
    hours, count, zones = gains.shape
    rows, every = np.arange(count), np.arange(zones)
    gains = np.where(gains < 0, gains, np.inf)  # where nothing is gained nothing runs
    cost = np.full((count, zones), np.inf)
    if at is not None:
        cost[:, at] = 0.0
    came_from = np.empty((hours, count, zones), dtype=np.intp)
    for hour in range(hours):
        best = cost.argmin(axis=1)
        moved = (cost[rows, best] + move_cost)[:, None]
        source = np.where(cost <= moved, every, best[:, None])
        before = np.minimum(cost, moved)
        if at is None:  # the first placement is free
            source = np.where(before > 0, BEGIN, source)
            before = np.minimum(before, 0.0)
        before = before + gains[hour]
        came_from[hour] = np.where(before < cost, source, IDLE)
        cost = np.minimum(before, cost)
    return came_from, cost.argmin(axis=1)


def _traced(came_from: NDArray[np.intp], zone: int) -> Route:
    route = np.full(len(came_from), IDLE, dtype=np.intp)
    for hour in range(len(came_from) - 1, -1, -1):
        source = int(came_from[hour, zone])
        if source != IDLE:
            route[hour] = zone
            if source == BEGIN:
                break
            zone = source
    return route
