"""Power curves with an exact meter: how many joules a modelled source has yielded since 1970, at any network time.

Three promises hold by construction, because power is a whole number in each step of time and energy is its sum:
a counter never falls, stretches add up (both follow from one function of time and one rounding), and no stretch holds
more than capacity times time. Nothing is summed in a loop: one table holds the running sums of a cosine, and a sunny
day is a piece of a cosine as much as a gust of wind is.

Not here: clouds, temperature, tilt. A curve is what the owner declares, not what the sky does.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from bisect import bisect_right
from typing import Protocol

from node.energy.sun import CYCLE_DAYS, DAY_MS, MS_PER_DECIDEGREE, sun_of_cycle

STEPS = 1440  # of a period
HALF = STEPS // 2
DAY_STEP_MS = DAY_MS // STEPS  # a minute
SCALE = 10**9
# A whole turn of the cosine, each step at its middle, from its lowest (midnight) over its highest (noon): mirrored
# from one quarter, so that the turn sums to exactly nothing.
_QUARTER = tuple(round(SCALE * math.cos(2 * math.pi * (step + 0.5) / STEPS)) for step in range(STEPS // 4))
_RISING = tuple(-c for c in _QUARTER) + _QUARTER[::-1]
COSINE = _RISING + _RISING[::-1]
_RUNNING = tuple(itertools.accumulate(COSINE, initial=0))


def cosine_sum(at_ms: int, step_ms: int) -> int:
    """The integral of the cosine of period STEPS x step_ms from 0 to `at_ms`, in 1/SCALE ms."""
    steps, rest_ms = divmod(at_ms, step_ms)
    step = steps % STEPS
    return _RUNNING[step] * step_ms + COSINE[step] * rest_ms


class Curve(Protocol):
    """The surplus power of one modelled source."""

    def counter_j(self, at_ms: int) -> int:
        """Joules yielded from 1970 to `at_ms`, rounded down: additive, never falling, in constant time."""


class Steady:
    """The same power at all times: run-of-river hydro, or nothing at all."""

    def __init__(self, power_w: int) -> None:
        self._power_w = power_w

    def counter_j(self, at_ms: int) -> int:
        return self._power_w * at_ms // 1000


class Wind:
    """Capacity times a smooth share between 4 and 66 %, the sum of three cosines whose phases follow from a seed.

    Mean and swings are a guess, not measured: the mean is near that of European onshore wind, the long swing lasts as
    long as a weather system takes to pass.
    """

    MEAN_PERMILLE = 350
    SWINGS = ((180, 222_000), (90, 78_000), (40, 25_000))  # permille of capacity; ms per step: 3.7 days, 31 h, 10 h

    def __init__(self, capacity_w: int, seed: int) -> None:
        self._capacity_w = capacity_w
        self._phases_ms = [
            int.from_bytes(hashlib.sha256(f"wind {seed} {step_ms}".encode()).digest()[:8], "big") % (STEPS * step_ms)
            for _, step_ms in self.SWINGS
        ]

    def counter_j(self, at_ms: int) -> int:
        share = self.MEAN_PERMILLE * SCALE * at_ms
        for (swing_permille, step_ms), phase_ms in zip(self.SWINGS, self._phases_ms, strict=True):
            share += swing_permille * (cosine_sum(at_ms + phase_ms, step_ms) - cosine_sum(phase_ms, step_ms))
        return self._capacity_w * share // (SCALE * 1_000_000)  # permille and ms


class Solar:
    """A flat panel less the site's own use: capacity x performance ratio x sin(elevation) - base load, or nothing.

    sin(elevation) = sin(latitude) sin(declination) + cos(latitude) cos(declination) cos(hour angle): within a day, a
    level plus a swing times one cosine. The sun keeps its declination for one UTC day.
    """

    def __init__(
        self,
        capacity_w: int,
        performance_ratio_permille: int,
        base_load_w: int,
        latitude_decidegrees: int,
        longitude_decidegrees: int,
    ) -> None:
        self._peak_mw = capacity_w * performance_ratio_permille
        self._base_mw = base_load_w * 1000
        self._latitude = math.radians(latitude_decidegrees / 10)
        self._offset_ms = longitude_decidegrees * MS_PER_DECIDEGREE
        totals = (self._day(day).total for day in range(CYCLE_DAYS))
        self._before_day = tuple(itertools.accumulate(totals, initial=0))

    def counter_j(self, at_ms: int) -> int:
        days, time_ms = divmod(at_ms, DAY_MS)
        cycles, day = divmod(days, CYCLE_DAYS)
        before = cycles * self._before_day[-1] + self._before_day[day]
        return (before + self._day(day).until(time_ms)) // (SCALE * 1_000_000)  # mW and ms

    def _day(self, day: int) -> _SolarDay:
        declination, ahead_ms = sun_of_cycle()[day]
        level_mw = self._peak_mw * math.sin(self._latitude) * math.sin(declination) - self._base_mw
        swing_mw = self._peak_mw * math.cos(self._latitude) * math.cos(declination)
        return _SolarDay(math.floor(level_mw), math.floor(swing_mw), (self._offset_ms + ahead_ms) % DAY_MS)


class _SolarDay:
    """One UTC day of a Solar curve. Energies are in mW x 1/SCALE ms; `dial_ms` is sundial time since its midnight."""

    def __init__(self, level_mw: int, swing_mw: int, dial_at_start_ms: int) -> None:
        self._level = level_mw * SCALE
        self._swing_mw = swing_mw
        self._dial_at_start_ms = dial_at_start_ms
        # The first step of the rising half with power above zero; the last one of the day mirrors it. At a pole there
        # is no swing, and the day is all light or all dark.
        dawn = bisect_right(COSINE, -self._level // swing_mw, 0, HALF) if swing_mw else 0 if level_mw > 0 else HALF
        self._dawn_ms = dawn * DAY_STEP_MS
        self.total = self._since_midnight(DAY_MS)  # wherever 0:00 UTC cuts it, a day is one whole turn

    def until(self, time_ms: int) -> int:
        """Yield from 0:00 UTC to `time_ms` after it."""
        start_ms = self._dial_at_start_ms
        return self._since_start_of_dial(start_ms + time_ms) - self._since_start_of_dial(start_ms)

    def _since_start_of_dial(self, dial_ms: int) -> int:
        turns, rest_ms = divmod(dial_ms, DAY_MS)
        return turns * self.total + self._since_midnight(rest_ms)

    def _since_midnight(self, dial_ms: int) -> int:
        lit_ms = min(max(dial_ms, self._dawn_ms), DAY_MS - self._dawn_ms)
        swing = cosine_sum(lit_ms, DAY_STEP_MS) - cosine_sum(self._dawn_ms, DAY_STEP_MS)
        return self._level * (lit_ms - self._dawn_ms) + self._swing_mw * swing
