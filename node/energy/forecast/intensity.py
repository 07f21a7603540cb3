"""The hourly intensity to come, from the hours so far: median and quantiles. Pure NumPy, no network, no clock.

Two views that err differently, averaged as logarithms: Gaussian processes, each weighed by how well it explains this
very history (`kernels`), and the plain rule that a day looks like the days before while the newest deviation fades.
Averaged they choose better hours than either, on zones that neither was fitted to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from node.energy.forecast.kernels import go_on

HISTORY_MIN_HOURS: Final = 24
HISTORY_USED_HOURS: Final = 168  # a week holds each hour of the day often enough, and one weekend
DAY_WEIGHTS: Final = 0.88 ** np.arange(7)  # of the same hour one, two, … seven days ago
FADE_PER_HOUR: Final = 0.96  # of the newest deviation from the shape
FAR_HOURS: Final = 240  # further ahead every day is as the last one before
FLOOR_SHARE: Final = 0.01  # of the mean: below it a grid counts as clean as this, or logarithms would run away
Z80: Final = 0.8416  # of a normal distribution: half of what lies between its 20 % and 80 % quantiles
SPREAD_MIN: Final = 0.02  # of log intensity: no history proves an intensity constant

Hours = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Per hour, in the unit of the history: exceeded four times in five (s20), one time in two, one time in five."""

    s20: Hours
    s50: Hours
    s80: Hours


def forecast(history_g: Hours, first_hour_utc: int, hours: int) -> Quantiles:
    """The `hours` after a history (oldest first), whose first value is of the hour `first_hour_utc` of a day.

    The shape of the day is read from the history itself, so that the hour of the day changes no figure yet; callers
    know it, and a model that knows the sun would ask.

    Raises ValueError for fewer than 24 hours of history, or for values that are negative or not finite.
    """
    history = np.asarray(history_g, dtype=np.float64)[-HISTORY_USED_HOURS:]
    if len(history) < HISTORY_MIN_HOURS:
        raise ValueError(f"a history of {len(history)} hours; at least {HISTORY_MIN_HOURS} are needed")
    if not (np.isfinite(history).all() and (history >= 0).all()):
        raise ValueError("a history holds values that are negative or not finite")
    mean_g = float(history.mean())
    if not mean_g:
        return Quantiles(np.zeros(hours), np.zeros(hours), np.zeros(hours))
    logs = np.log(np.maximum(history, FLOOR_SHARE * mean_g))
    level = float(logs.mean())
    explained, spread = go_on(logs - level, FAR_HOURS)
    ahead = np.arange(hours)
    # Beyond FAR_HOURS the last day again and again.
    ahead = np.where(ahead < FAR_HOURS, ahead, FAR_HOURS - 24 + (ahead - FAR_HOURS) % 24)
    middle = level + (explained + _faded(logs - level, FAR_HOURS))[ahead] / 2
    spread = Z80 * np.maximum(spread[ahead], SPREAD_MIN)
    return Quantiles(np.exp(middle - spread), np.exp(middle), np.exp(middle + spread))


def _faded(deviations: Hours, hours: int) -> Hours:
    """The mean shape of the days so far, the newer counting more, and what is left of the newest deviation from it."""
    days = min(len(deviations) // 24, len(DAY_WEIGHTS))
    newest_first = deviations[len(deviations) - 24 * days :].reshape(days, 24)[::-1]
    shape = np.average(newest_first, axis=0, weights=DAY_WEIGHTS[:days])
    lead = np.arange(hours)
    return np.asarray(shape[lead % 24] + (deviations[-1] - shape[-1]) * FADE_PER_HOUR ** (lead + 1))
