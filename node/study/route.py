"""Which zones a job might run in, hour by hour, where a change of zone costs work: candidates, not yet widths.

At a price for an hour of work each hour offers its best width in each zone, and a change of zone costs what it loses;
a dynamic program over hours and last zones is then exact. No price need hit the work exactly, so the routes at many
prices are candidates, and `plan` fits widths to each. All prices are worked at once, as one axis of the arrays.
"""

from __future__ import annotations

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
    came_from, last, done = _best(prices, throughput, worth, move_work, at)
    enough = np.flatnonzero(done >= work)
    crossing = int(enough[0]) if len(enough) else PRICES - 1
    near = range(max(0, crossing - NEAR), min(PRICES, crossing + NEAR))
    found = [_traced(came_from[:, row], int(last[row])) for row in near]
    return list({route.tobytes(): route for route in found}.values())


def _best(
    prices: Floats, throughput: Throughput, worth: Floats, move_work: float, at: int | None
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """For each price of work: how each state was reached [hours, prices of work, zones], the last zone of the best way,
    and its work, net of what moves lose."""
    zones, hours = prices.shape
    unit_costs = prices.T[:, None, :, None] - worth[:, None, None] * throughput.yields
    gains = np.minimum(unit_costs, 0.0).sum(axis=3)  # [hours, prices of work, zones]
    works = np.where(unit_costs < 0, throughput.yields, 0.0).sum(axis=3)
    rows, every = np.arange(len(worth)), np.arange(zones)
    move_cost = worth * move_work
    cost, done = np.full((len(worth), zones), np.inf), np.zeros((len(worth), zones))
    if at is not None:
        cost[:, at] = 0.0
    came_from = np.empty((hours, len(worth), zones), dtype=np.intp)
    for hour in range(hours):
        best = cost.argmin(axis=1)
        moved = (cost[rows, best] + move_cost)[:, None]
        stays = cost <= moved
        before, was_done = np.where(stays, cost, moved), np.where(stays, done, (done[rows, best] - move_work)[:, None])
        source = np.where(stays, every, best[:, None])
        if at is None:  # the first placement is free
            begins = before > 0
            before, was_done, source = (np.where(begins, *each) for each in ((0.0, before), (0.0, was_done), (BEGIN, source)))
        ran = before + gains[hour]
        runs = (ran < cost) & (gains[hour] < 0)
        came_from[hour] = np.where(runs, source, IDLE)
        cost, done = np.where(runs, ran, cost), np.where(runs, was_done + works[hour], done)
    last = cost.argmin(axis=1)
    return came_from, last, done[rows, last]


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
