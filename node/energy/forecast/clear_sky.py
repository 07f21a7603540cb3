"""What the sun would give through a sky without clouds, hour by hour: a scale for a plant's history, no verdict.

Haurwitz's formula for the global horizontal irradiance, 1098 W/m2 x cos(zenith) x exp(-0.059 / cos(zenith)) (B.
Haurwitz, Journal of Meteorology 2 (1945) and 5 (1948)), at the sun of `node/energy/sun.py`. Neither tilt nor turbidity
enters: how a plant answers at each hour of the day is learned from its own best days.
"""

from __future__ import annotations

import functools
import math
from typing import Final

import numpy as np

from node.energy.forecast.history import Hours
from node.energy.sun import CYCLE_DAYS, MS_PER_DECIDEGREE, sun_of_cycle
from protocol.messages import Place
from protocol.units import MS_PER_HOUR

PEAK_W_PER_M2: Final = 1000.0  # at which a plant's capacity is rated
MOMENTS: Final = 4  # of an hour, whose mean stands for it


def clear_sky_w_per_m2(place: Place, first_hour: int, hours: int) -> Hours:
    """The mean of each hour from `first_hour` on (hours since 1970, UTC)."""
    declination, ahead_hours = _sun()
    at_hour = first_hour + (np.arange(hours * MOMENTS) + 0.5) / MOMENTS
    day = (at_hour // 24).astype(np.int64) % CYCLE_DAYS
    dial_hour = at_hour + place.longitude_decidegrees * MS_PER_DECIDEGREE / MS_PER_HOUR + ahead_hours[day]
    hour_angle = 2 * np.pi * (dial_hour % 24 - 12) / 24
    latitude = math.radians(place.latitude_decidegrees / 10)
    level = math.sin(latitude) * np.sin(declination[day])
    swing = math.cos(latitude) * np.cos(declination[day])
    height = np.maximum(level + swing * np.cos(hour_angle), 1e-3)  # cos(zenith); below, nothing shines through
    irradiance: Hours = (1098.0 * height * np.exp(-0.059 / height)).reshape(hours, MOMENTS).mean(axis=1)
    return irradiance


@functools.cache
def _sun() -> tuple[Hours, Hours]:
    """Of each day of the cycle: declination in radians, and the sundial's lead in hours."""
    declination, ahead_ms = np.array(sun_of_cycle()).T
    return declination, ahead_ms / MS_PER_HOUR
