"""What a site has seen, hour by hour: the past of a forecast, with its gaps. Pure NumPy.

A node has it for nothing: its own attestations say what surplus there was and what the grid emitted meanwhile.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from protocol.units import MS_PER_HOUR

DAYS_MAX: Final = 60  # older days tell of another season
INTERVALS_MAX: Final = 100_000  # the newest that are read: 60 days in slots of a minute; a devnet's slots last seconds
COVERED_MIN: Final = 0.5  # of an hour; what is known of less says little of the rest

LEADS_MAX: Final = 96  # hours ahead that are told apart; each later day is told as the fourth

Hours = NDArray[np.float64]  # one value per hour, NaN for a gap


class Interval(Protocol):
    """An AttestationRecord is one, and so is a SupplyReading."""

    @property
    def start_ms(self) -> int: ...
    @property
    def end_ms(self) -> int: ...
    @property
    def energy_j(self) -> int: ...
    @property
    def grid_g_per_kwh(self) -> int: ...


@dataclass(frozen=True, slots=True)
class History:
    """Hours from `first_hour` on (hours since 1970, UTC), oldest first: joules of surplus, and g/kWh of the grid."""

    first_hour: int
    energy_j: Hours
    grid_g_per_kwh: Hours

    @property
    def until_hour(self) -> int:
        """The first hour that it does not hold."""
        return self.first_hour + len(self.energy_j)

    def before(self, hour: int) -> History:
        """The whole days that end with `hour`, at most DAYS_MAX, from the first that knows anything. Without any it is
        empty, and begins there."""
        at = hour - self.first_hour - 24 * DAYS_MAX + np.arange(24 * DAYS_MAX)
        inside = (at >= 0) & (at < len(self.energy_j))
        energy_j, grid_g = (
            np.where(inside, np.append(values, np.nan)[np.where(inside, at, -1)], np.nan)
            for values in (self.energy_j, self.grid_g_per_kwh)
        )
        known = (np.isfinite(energy_j) | np.isfinite(grid_g)).reshape(DAYS_MAX, 24).any(axis=1)
        days = DAYS_MAX - int(known.argmax()) if known.any() else 0
        start = 24 * (DAYS_MAX - days)
        return History(hour - 24 * days, energy_j[start:], grid_g[start:])


def history_of(intervals: Sequence[Interval], until_hour: int) -> History:
    """The DAYS_MAX days before `until_hour`, from intervals of any length, in order and without overlap.

    Energy counts as even within an interval. An hour of which less than half is covered is a gap; of any other the
    covered part speaks for the whole.
    """
    first_hour = until_hour - 24 * DAYS_MAX
    oldest = bisect_right(intervals, first_hour * MS_PER_HOUR, key=lambda interval: interval.end_ms)
    kept = intervals[max(oldest, len(intervals) - INTERVALS_MAX) :]
    count = len(kept)
    start_ms = np.fromiter((interval.start_ms for interval in kept), np.float64, count)
    end_ms = np.fromiter((interval.end_ms for interval in kept), np.float64, count)
    energy_j = np.fromiter((interval.energy_j for interval in kept), np.float64, count)
    grid_g = np.fromiter((interval.grid_g_per_kwh for interval in kept), np.float64, count)
    return History(
        first_hour,
        MS_PER_HOUR * hourly(energy_j / (end_ms - start_ms), start_ms, end_ms, first_hour, 24 * DAYS_MAX),
        hourly(grid_g, start_ms, end_ms, first_hour, 24 * DAYS_MAX),
    )


def hourly(level: Hours, start_ms: Hours, end_ms: Hours, first_hour: int, hours: int) -> Hours:
    """The mean in each hour of a level that holds from each start to its end (in order, without overlap)."""
    if not len(level):
        return np.full(hours, np.nan)
    length_ms = end_ms - start_ms
    # Running sums, known at both ends of each interval and linear within it, are read at the edges of the hours.
    at_ms = np.column_stack((start_ms, end_ms)).ravel()
    edges_ms = (first_hour + np.arange(hours + 1.0)) * MS_PER_HOUR
    covered_ms = np.diff(np.interp(edges_ms, at_ms, _running(length_ms)))
    summed = np.diff(np.interp(edges_ms, at_ms, _running(level * length_ms)))
    known = covered_ms >= COVERED_MIN * MS_PER_HOUR
    return np.where(known, summed / np.where(known, covered_ms, 1.0), np.nan)


def _running(parts: Hours) -> Hours:
    """The sum before and after each part, in turn."""
    until = np.cumsum(parts)
    return np.column_stack((until - parts, until)).ravel()
