"""How good the forecasts of surplus and intensity are on real traces, against persistence and the mean of a week.

Each is made four times a day, on every second day, from at most 60 days before it and nothing else.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import numpy as np

from node.energy.forecast.foretell import foretell
from node.energy.forecast.history import History
from node.energy.profile import Profile
from protocol.units import MS_PER_HOUR
from tests.bench.figures import Figure
from tests.energy.forecast import skill, traces

EVERY_DAYS = 2
POINTS = 5.0  # by which a share of hours may miss its quantile


def figures() -> Iterator[Figure]:
    yield _duration()
    if missing := traces.missing():
        print(f"bench forecast: {missing}: NO SKILL MEASURED", file=sys.stderr)
        return
    for trace in map(traces.plant, traces.PV):
        yield from _skill(trace, 3600.0, "W", "daylight hours")
    for trace in map(traces.grid, traces.GRIDS):
        yield from _skill(trace, 1.0, "g/kWh", "hours")


def _duration() -> Figure:
    site = traces.site(base_load_w=100)
    profile = Profile(site)
    chance = np.random.default_rng(5)
    first_hour = 410_000
    surplus_j = np.array(profile.forecast(first_hour, 720, MS_PER_HOUR).surplus_s50_j) * chance.uniform(0.1, 1.2, 720)
    history = History(first_hour, surplus_j, chance.uniform(100, 500, 720))
    best_s = np.inf
    for _ in range(9):
        began = time.perf_counter()
        foretell(site, profile, history, first_hour + 720, 72, MS_PER_HOUR)
        best_s = min(best_s, time.perf_counter() - began)
    return Figure("forecast", "72 h from 30 days", best_s * 1e3, "ms", "its budget", 50.0, 1.0, at_most=True)


def _skill(trace: traces.Trace, unit: float, unit_name: str, counted: str) -> Iterator[Figure]:
    for day, found in enumerate(skill.rolling(trace, skill.origins(trace, EVERY_DAYS))):
        lead = f"{trace.name}, {24 * day + 1}-{24 * day + 24} h ahead"
        error, persistence, week = (total / found.hours for total in (found.error, found.persistence, found.week))
        label = f"{lead}: mean absolute error, {found.hours} hours"
        yield Figure(
            "forecast", label, error / unit, unit_name, "24 h persistence", persistence / unit, 1.0, at_most=True
        )
        yield Figure("forecast", label, error / unit, unit_name, "mean of a week", week / unit)
        for name, aim, share in zip(("s20", "s50", "s80"), (20, 50, 80), 100 * found.coverage(), strict=True):
            told = f"{lead}: {share:.1f} % of {found.judged} {counted} below {name}, off by"
            yield Figure("forecast", told, abs(float(share) - aim), "points", "at most", POINTS, 1.0, at_most=True)
