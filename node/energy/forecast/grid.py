"""The grid's intensity to come: from its hours so far, from a source's own forecast, and from how far both went astray.

The forecast of `intensity` is made again at the hour of now on every day of the history. Where a source foretells too,
the two are averaged as `weighing` does. The quantiles are those of what came true against what was said at that lead;
all of it as logarithms, so that errors are shares.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from node.energy.forecast import intensity
from node.energy.forecast.history import LEADS_MAX, Hours
from node.energy.forecast.intensity import Quantiles
from node.energy.forecast.weighing import said_before, weighted_quantiles

NEAR_HOURS: Final = 2  # leads so close are judged together
# How much of the median error is taken off the median. It wavers with the weather: on five traces all of it calibrates
# best, and half of it errs least, by 4 % at three days' lead.
CORRECTED: Final = 0.7
WARM_DAYS: Final = 7  # of history that a forecast wants to be judged, where there are twice as many
INTENSITY_MIN_G: Final = 1.0  # g/kWh; a cleaner grid counts as this clean, since nothing has no logarithm


def forecast(history_g: Hours, first_hour: int, foretold_g: Hours | None, hours: int) -> Quantiles:
    """The hours after a history of whole days that end now (from `first_hour` since 1970; NaN for gaps), in g/kWh.

    `foretold_g`: [days + 1, hours], what a source foretold on each day at the hour of now; now is last. A source that
    is not yet measured counts as much as the history, and narrows no quantile.
    """
    filled = _filled(history_g)
    days, leads = len(filled) // 24, min(hours, LEADS_MAX)
    first = min(WARM_DAYS, (days + 1) // 2)
    made = [intensity.forecast(filled[: 24 * day], first_hour % 24, leads) for day in range(first, days + 1)]
    own = np.stack([*np.full((first, leads), np.nan), *(quantiles.s50 for quantiles in made)])
    guesses = _log(np.stack([own] if foretold_g is None else [own, foretold_g[-days - 1 :, :leads]]))
    known = _log(np.append(history_g[len(history_g) - len(filled) :], np.full(leads, np.nan)))
    came_true = known[24 * np.arange(days + 1)[:, None] + np.arange(leads)]
    now = made[-1]
    prior = _log(np.stack([now.s20, now.s50, now.s80])) - _log(now.s50)
    result = np.empty((3, leads))
    for hour in range(leads):
        before = said_before(guesses, came_true, hour, NEAR_HOURS)
        errors = np.append(before.came_true - before.said, prior[:, hour])
        s20, s50, s80 = weighted_quantiles(errors, np.append(before.weight, np.ones(3)))
        result[:, hour] = before.says + np.array(
            [min(s20, CORRECTED * s50), CORRECTED * s50, max(s80, CORRECTED * s50)]
        )
    lead = np.arange(hours)
    return Quantiles(*np.exp(result[:, np.where(lead < LEADS_MAX, lead, LEADS_MAX - 24 + lead % 24)]))


def _log(intensity_g: Hours) -> Hours:
    logs: Hours = np.log(np.maximum(intensity_g, INTENSITY_MIN_G))
    return logs


def _filled(history_g: Hours) -> Hours:
    """From the first day on that knows anything. A gap holds what the same hour of the day before had; on the first
    day, a line between what is known."""
    by_day = history_g.reshape(-1, 24).copy()
    by_day = by_day[int(np.argmax(np.isfinite(by_day).any(axis=1))) :]
    known = np.isfinite(by_day[0])
    by_day[0] = np.interp(np.arange(24), np.arange(24)[known], by_day[0][known])
    for day in range(1, len(by_day)):
        by_day[day] = np.where(np.isfinite(by_day[day]), by_day[day], by_day[day - 1])
    filled: Hours = by_day.ravel()
    return filled
