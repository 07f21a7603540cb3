"""The grid's intensity to come: from its hours so far, and from a source's own forecast where there is one."""

from __future__ import annotations

from typing import Final

import numpy as np

from node.energy.forecast import intensity
from node.energy.forecast.history import LEADS_MAX, Hours
from node.energy.forecast.intensity import Z80, Quantiles

MEASURED_MIN: Final = 24  # hours foretold and come true before a source's forecast counts as measured


def forecast(history_g: Hours, first_hour: int, foretold_g: Hours | None, hours: int) -> Quantiles:
    """The hours after a history of whole days that end now (from `first_hour` since 1970; NaN for gaps), in its unit.

    `foretold_g`: [days + 1, hours], what a source foretold at the hour of now on each day before, and now. Where it
    speaks of an hour to come, the two are averaged with weights inverse to their mean squared errors; one that is not
    yet measured counts as much as the own. Half-widths are averaged alike: the errors of two forecasts of one grid go
    together, so nothing is won by the second.
    """
    lead = np.arange(hours)
    lead = np.where(lead < LEADS_MAX, lead, LEADS_MAX - 24 + lead % 24)
    near = intensity.forecast(_filled(history_g), first_hour % 24, min(hours, LEADS_MAX))
    own = Quantiles(near.s20[lead], near.s50[lead], near.s80[lead])
    if foretold_g is None:
        return own
    speaks = np.isfinite(foretold_g[-1])
    own_half = (own.s80 - own.s20) / 2
    their_half = np.where(speaks, _half_widths(history_g, foretold_g, own_half), 1.0)
    theirs = np.where(speaks, 1 / np.maximum(their_half, 1e-6) ** 2, 0.0)
    trust = theirs / (theirs + 1 / np.maximum(own_half, 1e-6) ** 2)
    middle = own.s50 + trust * (np.where(speaks, foretold_g[-1], own.s50) - own.s50)
    # What is not measured narrows nothing.
    half = own_half + trust * (their_half - own_half)
    return Quantiles(
        np.maximum(middle - half * (own.s50 - own.s20) / np.maximum(own_half, 1e-6), 0.0),
        middle,
        middle + half * (own.s80 - own.s50) / np.maximum(own_half, 1e-6),
    )


def _half_widths(history_g: Hours, foretold_g: Hours, own_half: Hours) -> Hours:
    """Half of what lies between a source's 20 and 80 % quantiles, by its errors in each day of lead."""
    days, hours = len(foretold_g) - 1, len(own_half)
    known = np.append(history_g, np.full(hours, np.nan))
    wrong = foretold_g - known[24 * np.arange(days + 1)[:, None] + np.arange(hours)]
    result = own_half.copy()
    for start in range(0, hours, 24):
        measured = wrong[:, start : start + 24]
        measured = measured[np.isfinite(measured)]
        if len(measured) >= MEASURED_MIN:
            result[start : start + 24] = Z80 * np.sqrt(np.mean(measured**2))
    return result


def _filled(history_g: Hours) -> Hours:
    """From the first known hour on. A gap holds what the same hour of the day before had; on the first day, a line
    between what is known. Whole days that end now stay whole."""
    by_day = history_g.reshape(-1, 24).copy()
    first = int(np.argmax(np.isfinite(by_day).any(axis=1)))
    by_day = by_day[first:]
    known = np.isfinite(by_day[0])
    by_day[0] = np.interp(np.arange(24), np.arange(24)[known], by_day[0][known])
    for day in range(1, len(by_day)):
        by_day[day] = np.where(np.isfinite(by_day[day]), by_day[day], by_day[day - 1])
    filled: Hours = by_day.ravel()
    return filled
