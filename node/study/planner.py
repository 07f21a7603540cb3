"""A job's plan: when, where and how wide to run, by the grams expected.

Planning again each hour is planning anew from what is left. Waiting longer in the hope of better hours than expected
was tried (a dynamic program over a deviation that fades, the mean over scenarios of errors, thresholds up to 6 % off)
and refused: on real traces none emitted less, for work put off costs later what the plan says, within 2 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from node.study.allocate import WORK_MARGIN, Floats, Throughput, allocate
from node.study.route import IDLE, Route, moves, routes

REFITS = 3  # a move that needs no work of its own any more may free further hours


@dataclass(frozen=True, slots=True)
class Plan:
    """For each hour the zone's row and the width; a width of 0 is idle. `is_enough`: it does the work."""

    zones: Route
    widths: Floats
    grams: float  # by the prices that it was made with
    is_enough: bool


def plan(
    prices: Floats, throughput: Throughput, work: float, move_work: float | None = None, at: int | None = None
) -> Plan:
    """The plan of least grams over `prices` [zones, hours] that does `work`, as many hours of it as are left.

    `move_work`: what a change of zone loses; None: one zone for the whole job. `at`: the zone last run in. Exact for
    one zone; of several, the best of many candidates, no dearer than any zone alone. If the work cannot be done any
    more, as much of it as possible.
    """
    zones, hours = prices.shape
    alone = [at] if at is not None and move_work is None else range(zones)
    found = [_fitted(prices, throughput, work, move_work, at, np.full(hours, zone)) for zone in alone]
    if move_work is not None and zones > 1:
        found += [
            _fitted(prices, throughput, work, move_work, at, _filled(prices, route, at))
            for route in routes(prices, throughput, work, move_work, at)
        ]
    return min(found, key=lambda plan: (not plan.is_enough, plan.grams if plan.is_enough else -plan.widths.sum()))


def _fitted(
    prices: Floats, throughput: Throughput, work: float, move_work: float | None, at: int | None, zones: Route
) -> Plan:
    """Widths for a given zone of each hour."""
    per_hour = prices[zones, np.arange(prices.shape[1])]
    cost_of_moves = move_work or 0.0
    needed, widths = work + cost_of_moves * moves(zones, at), np.zeros(len(zones))
    for _ in range(REFITS):
        widths = allocate(per_hour, throughput, needed + WORK_MARGIN * (needed > 0))
        fewer = work + cost_of_moves * moves(zones[widths > 0], at)
        if fewer >= needed:
            break
        needed = fewer
    needed = work + cost_of_moves * moves(zones[widths > 0], at)
    return Plan(zones, widths, float(widths @ per_hour), throughput.work(widths) >= needed)


def _filled(prices: Floats, route: Route, at: int | None) -> Route:
    """An idle hour gets the cheaper of the zones run in before and after it: using it then costs no further move."""
    hours = np.arange(len(route))
    ran = np.flatnonzero(route != IDLE)
    if not len(ran):
        return np.full(len(route), int(prices.min(axis=1).argmin()) if at is None else at)
    position = np.searchsorted(ran, hours, side="right")
    after = route[ran[np.minimum(np.searchsorted(ran, hours), len(ran) - 1)]]
    before = np.where(position > 0, route[ran[np.maximum(position - 1, 0)]], after if at is None else at)
    idle = np.where(prices[before, hours] <= prices[after, hours], before, after)
    # Between two runs a switch to and fro would be two moves: once the later zone, always the later zone.
    filled = np.where(route == IDLE, idle, route)
    for left, right in zip(np.append(-1, ran), np.append(ran, len(route)), strict=True):
        gap = slice(left + 1, right)
        later = np.flatnonzero(filled[gap] != before[gap])
        if len(later):
            filled[gap][later[0] :] = after[gap][later[0] :]
    return filled
