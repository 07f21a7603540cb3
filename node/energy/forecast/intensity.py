"""The hourly intensity to come, from the hours so far: median and quantiles. Pure NumPy, no network, no clock.

A day's shape (the same hour of earlier days, the newest counting most) carries the far hours; how the newest hours
deviate from it fades with the lead. What it got wrong on the history itself, lead by lead, makes the quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

HISTORY_MIN_HOURS: Final = 24
DAY_WEIGHTS: Final = 0.75 ** np.arange(7)  # of the same hour one, two, … seven days ago
FADE_PER_HOUR: Final = 0.93  # of the newest deviation from the shape
Z80: Final = 0.8416  # of a normal distribution: half of what lies between its 20 % and 80 % quantiles
SPREAD_MIN: Final = 0.02  # of the mean: no history proves an intensity constant

Hours = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Per hour, in the unit of the history: exceeded four times in five (s20), one time in two, one time in five."""

    s20: Hours
    s50: Hours
    s80: Hours


def forecast(history_g: Hours, first_hour_utc: int, hours: int) -> Quantiles:
    """The `hours` after a history (oldest first), whose first hour was `first_hour_utc` of its day.

    Raises ValueError for fewer than 24 hours of history, or for values that are not finite.
    """
    history = np.asarray(history_g, dtype=np.float64)
    if len(history) < HISTORY_MIN_HOURS:
        raise ValueError(f"a history of {len(history)} hours; at least {HISTORY_MIN_HOURS} are needed")
    if not np.isfinite(history).all():
        raise ValueError("a history holds values that are not finite numbers")
    middle = _point(history, hours)
    spread = Z80 * _spread(history, hours)
    return Quantiles(np.maximum(middle - spread, 0.0), middle, middle + spread)


def _point(history: Hours, hours: int) -> Hours:
    days = min(len(history) // 24, len(DAY_WEIGHTS))
    newest_first = history[len(history) - 24 * days :].reshape(days, 24)[::-1]
    shape = np.average(newest_first, axis=0, weights=DAY_WEIGHTS[:days])
    deviation = history[-1] - shape[-1]
    lead = np.arange(hours)
    return np.maximum(shape[lead % 24] + deviation * FADE_PER_HOUR ** (lead + 1), 0.0)


def _spread(history: Hours, hours: int) -> Hours:
    """The standard deviation of the error by lead, over hindcasts within the history; beyond them as at the end."""
    starts = range(HISTORY_MIN_HOURS, len(history), 3)
    squares, counts = np.zeros(hours), np.zeros(hours)
    for start in starts:
        seen = min(hours, len(history) - start)
        squares[:seen] += (_point(history[:start], seen) - history[start : start + seen]) ** 2
        counts[:seen] += 1
    mean = float(history.mean())
    deviation = np.sqrt(squares / np.maximum(counts, 1))
    known = int((counts >= 8).sum())
    deviation[known:] = deviation[known - 1] if known else float(history.std())
    return np.maximum(np.maximum.accumulate(deviation), SPREAD_MIN * abs(mean))
