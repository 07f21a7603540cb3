"""A plant's surplus to come, from its surplus so far: several guesses, weighed by how wrong each was.

All is told in shares of a scale: for the sun, what a cloudless sky would yield as far as the plant's best recent days
show at each hour of the day (so orientation, shade and inverter are learned, and drift with the season); for wind and
water, capacity. Every day of the history, at the hour of now, is an origin at which the same guesses are made:

    yesterday    the newest day's share at that hour: persistence
    the shape    the mean of recent days at that hour, the newest counting most
    the level    the mean of recent days at all hours
    now          the newest hours' share: clear mornings make clear noons
    declared     the owner's profile
    foretold     a source's own forecast, where there is one

For each hour to come they are averaged with weights inverse to their mean squared errors at that lead. The quantiles
are those of what came true when that average had said much the same: so a bias corrects itself, and a clear sky has
another spread than a broken one. Days count less as they grow old. Pure NumPy; nothing is fitted to any trace.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from node.energy.forecast.history import LEADS_MAX, Hours
from node.energy.forecast.intensity import Quantiles
from node.energy.forecast.weighing import said_before, weighted_quantiles

# Guesses by their meaning. On two photovoltaic traces the error moves by less than 2 % when any is halved or doubled.
BEST_FADES: Final = 0.99  # per day: a best day is forgotten as fast as the sun's path moves near the equinox
SHAPE_DAYS: Final = 12.0  # after which a day's weight in a mean has fallen to 1/e: the length of a spell of weather
NOW_HOURS: Final = 2.5  # likewise for the newest hours
ALIKE: Final = 0.2  # shares this far apart are alike, as the standard deviation of a normal kernel
STRANGE: Final = 1e-3  # weight of what is not alike at all: it decides only where nothing else is known
SHARE_MAX: Final = 1.6  # clouds that mirror the sun can beat the best recent day; a broken meter is no sky
NEAR_HOURS: Final = 1  # leads so close are judged together
LIT: Final = 0.02  # of the highest: a scale below it is night


def forecast(
    energy_j: Hours,
    scale_j: Hours,
    declared_j: Hours | None,
    foretold_j: Hours | None,
    *,
    declared_s20: float,
    follows_sun: bool,
) -> Quantiles:
    """The hours after a history, in joules.

    `energy_j`: whole days of hours that end now, NaN for gaps. `scale_j`, `declared_j`: the same hours and those to
    come. `foretold_j`: [days + 1, hours to come], what a source foretold on each day at the hour of now; now is last.
    The last two may be None: not asked. `declared_s20`: the declared 20 % quantile as a share of its median.
    `follows_sun`: the scale is a clear sky's, and the plant's answer to it is learned.
    """
    days, hours = len(energy_j) // 24, len(scale_j) - len(energy_j)
    lit = scale_j > LIT * scale_j.max()
    share = np.where(lit, np.append(energy_j, np.full(hours, np.nan)) / np.where(lit, scale_j, 1.0), np.nan)
    by_day = share[: len(energy_j)].reshape(days, 24)
    best = _best(by_day, scale_j[: len(energy_j)].reshape(days, 24)) if follows_sun else np.ones((days + 1, 24))
    answer = _repeat(best, hours)  # [origins, hours to come]
    # Every origin sees the same number of hours ahead of it; those behind now have come true.
    ahead = 24 * np.arange(days + 1)[:, None] + np.arange(hours)
    came_true = np.minimum(share[ahead] / answer, SHARE_MAX)
    weight_by_day = np.where(lit, scale_j, 0.0)[: len(energy_j)].reshape(days, 24)
    guesses = [_repeat(guess, hours) for guess in _from_history(by_day, best, weight_by_day)]
    lit_j = np.where(lit, scale_j, np.nan)[ahead] * answer
    if declared_j is not None:
        guesses.append(declared_j[ahead] / lit_j)
    if foretold_j is not None:
        guesses.append(foretold_j / lit_j)
    prior = np.array([declared_s20, 1.0, 1.0 + (1.0 - declared_s20) / 2])
    shares = _quantiles(np.minimum(np.stack(guesses), SHARE_MAX), came_true, prior)
    yields = np.where(lit, scale_j, 0.0)[len(energy_j) :] * answer[-1]
    return Quantiles(*(shares * yields))


def _repeat(by_hour: Hours, hours: int) -> Hours:
    """[origins, 24] to [origins, hours]: the next day is told as this one."""
    return np.tile(by_hour, (1, -(-hours // 24)))[:, :hours]


def _best(share: Hours, scale_j: Hours) -> Hours:
    """At each origin and hour of the day, the best share of the days before, fading; where none was seen, the mean of
    the other hours' bests. [days, 24] to [days + 1, 24]."""
    best = np.full((len(share) + 1, 24), np.nan)
    for day, seen in enumerate(share):
        best[day + 1] = np.fmax(best[day] * BEST_FADES, seen)
    best[0] = best[1]
    weight = np.where(np.isfinite(best), scale_j.mean(axis=0), 0.0)
    mean = np.where(np.isfinite(best), best, 0.0) * weight
    overall = mean.sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-9)
    best = np.where(np.isfinite(best), best, overall[:, None])
    return np.where(best > 0, best, 1.0)


def _from_history(share: Hours, best: Hours, weight: Hours) -> tuple[Hours, Hours, Hours, Hours]:
    """Yesterday, the shape, the level, now: [days + 1, 24] each, in shares of each origin's best."""
    origins = len(best)
    yesterday, shape, level, now = (np.full((origins, 24), np.nan) for _ in range(4))
    newest, summed, counted = np.full(24, np.nan), np.zeros(24), np.zeros(24)
    recent, recent_weight = 0.0, 0.0
    day_fades, hour_fades = math.exp(-1 / SHAPE_DAYS), math.exp(-1 / NOW_HOURS)
    for day, seen in enumerate(share):
        known = np.isfinite(seen)
        newest = np.where(known, seen, newest)
        summed = day_fades * summed + np.where(known, seen, 0.0)
        counted = day_fades * counted + known
        at = best[day + 1]
        yesterday[day + 1] = newest / at
        ever = counted > 0
        shape[day + 1] = np.where(ever, summed / np.where(ever, counted, 1.0), np.nan) / at
        if ever.any():
            level[day + 1] = (summed / at * weight[day]).sum() / max((counted * weight[day]).sum(), 1e-9)
        # The lit hours of the day, newest last: each fades the sum of those before it.
        shares, weights = (seen / at)[known], weight[day][known]
        fades = hour_fades ** np.arange(len(shares), -1, -1)
        recent = recent * fades[0] + float((shares * weights) @ fades[1:])
        recent_weight = recent_weight * fades[0] + float(weights @ fades[1:])
        now[day + 1] = recent / recent_weight if recent_weight > 0 else np.nan
    return yesterday, shape, level, now


def _quantiles(guesses: Hours, came_true: Hours, prior: Hours) -> Hours:
    """[guesses, origins, hours], [origins, hours] to [3, hours]: shares at the last origin."""
    hours = came_true.shape[1]
    result = np.zeros((3, hours))
    for hour in range(hours):
        if hour >= LEADS_MAX:
            result[:, hour] = result[:, hour - 24]
        elif np.isfinite(guesses[:, -1, hour]).any():  # else night
            before = said_before(guesses, came_true, hour, NEAR_HOURS)
            alike = np.exp(-0.5 * ((before.said - before.says) / ALIKE) ** 2) + STRANGE
            # The declared spread counts as a day's word, so that a young history is not believed too much.
            values = np.append(before.came_true, before.says * prior)
            result[:, hour] = weighted_quantiles(values, np.append(before.weight * alike, np.ones(3)))
    return np.maximum(result, 0.0)
