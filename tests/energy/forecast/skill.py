"""How good forecasts are: made again and again on a trace, each from what was known by then, and held against it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from node.energy.forecast.foretell import foretell_hours
from node.energy.forecast.history import DAYS_MAX, History, Hours
from node.energy.forecast.intensity import Quantiles
from node.energy.profile import Profile
from tests.energy.forecast.traces import Trace

LEAD_DAYS: Final = 3
HOURS: Final = 24 * LEAD_DAYS
ORIGIN_HOURS: Final = (1, 7, 13, 19)  # UTC
DAYS_BEFORE: Final = 14  # of history at the first origin
DAYLIGHT: Final = 0.02  # of the trace's highest hour; below it a quantile of 0 would be right by nature


@dataclass(slots=True)
class Skill:
    """Of one day of lead: errors summed over the same hours, and how many came out below each quantile."""

    hours: int = 0
    error: float = 0.0
    persistence: float = 0.0  # the same hour of the newest day before the origin
    week: float = 0.0  # the mean of the same hour of the seven days before it
    judged: int = 0  # hours whose quantiles count
    below: Hours = field(default_factory=lambda: np.zeros(3))

    def coverage(self) -> Hours:
        """The shares of hours below s20, s50 and s80: 0.2, 0.5 and 0.8 at best."""
        return self.below / self.judged


def rolling(trace: Trace, origins: Iterable[int]) -> list[Skill]:
    """Per day of lead. An origin counts hours from the start of the trace."""
    skills = [Skill() for _ in range(LEAD_DAYS)]
    floor = DAYLIGHT * np.nanmax(trace.hours) if trace.site.capacity_w else -1.0
    profile = Profile(trace.site)
    for origin in origins:
        said = _forecast(trace, profile, origin)
        for day, skill in enumerate(skills):
            part = slice(24 * day, 24 * day + 24)
            truth = trace.hours[origin:][part]
            yesterday = trace.hours[origin - 24 : origin]
            week = trace.hours[origin - 168 : origin].reshape(7, 24)
            known = np.isfinite(truth) & np.isfinite(yesterday)
            skill.hours += int(known.sum())
            skill.error += float(np.abs(said.s50[part] - truth)[known].sum())
            skill.persistence += float(np.abs(yesterday - truth)[known].sum())
            skill.week += float(np.abs(np.nanmean(week[:, known], axis=0) - truth[known]).sum())
            judged = np.isfinite(truth) & (np.maximum(truth, said.s80[part]) > floor)
            skill.judged += int(judged.sum())
            skill.below += [float((truth < said_to[part])[judged].sum()) for said_to in (said.s20, said.s50, said.s80)]
    return skills


def origins(trace: Trace, every_days: int) -> list[int]:
    """At four hours of every so many days, with enough before and behind them."""
    midnight = -trace.first_hour % 24
    days = range(DAYS_BEFORE + 1, (len(trace.hours) - midnight) // 24 - LEAD_DAYS, every_days)
    return [midnight + 24 * day + hour for day in days for hour in ORIGIN_HOURS]


def _forecast(trace: Trace, profile: Profile, origin: int) -> Quantiles:
    first = max(0, origin - 24 * DAYS_MAX)
    told, untold = trace.hours[first:origin], np.full(origin - first, np.nan)
    is_plant = trace.site.capacity_w > 0
    history = History(trace.first_hour + first, told if is_plant else untold, untold if is_plant else told)
    said = foretell_hours(trace.site, profile, history, trace.first_hour + origin, HOURS)
    return said.surplus_j if is_plant else said.grid_g_per_kwh
