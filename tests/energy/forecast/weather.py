"""Weather that never was, by seed: for what no trace shows."""

from __future__ import annotations

import math

import numpy as np

from node.energy.forecast.clear_sky import clear_sky_w_per_m2
from node.energy.forecast.history import Hours
from node.energy.supply import EnergyConfig


def wandering(seed: int, hours: int, memory_hours: float) -> Hours:
    """A standard normal series that forgets in `memory_hours`."""
    chance = np.random.default_rng(seed)
    keeps = math.exp(-1 / memory_hours)
    series = np.empty(hours)
    state = chance.standard_normal()
    for hour, push in enumerate(chance.standard_normal(hours) * math.sqrt(1 - keeps * keeps)):
        state = keeps * state + push
        series[hour] = state
    return series


def clear(site: EnergyConfig, first_hour: int, hours: int) -> Hours:
    """J per hour of a plant that leans to the east and has a tree in the west, under a cloudless sky."""
    dial_hour = (first_hour + np.arange(hours) + site.longitude / 15) % 24
    answer = np.where(dial_hour > 15, 0.4, 0.9 - 0.03 * (dial_hour - 9))
    return site.capacity_w * 3.6 * answer * clear_sky_w_per_m2(site.place, first_hour, hours)


def cloudy(site: EnergyConfig, first_hour: int, hours: int, seed: int) -> Hours:
    """The same under clouds that come and go in hours and in days."""
    thickness = 0.6 * wandering(seed, hours, 5.0) + 0.8 * wandering(seed + 1000, hours, 30.0)
    return clear(site, first_hour, hours) * (1 - 0.85 / (1 + np.exp(-2.0 * (thickness - 0.4))))


def windy(site: EnergyConfig, hours: int, seed: int) -> Hours:
    """J per hour of a turbine: the cube of the wind between 3 and 12 m/s."""
    speed_m_per_s = 7 * np.exp(0.5 * wandering(seed, hours, 15.0))
    return site.capacity_w * 3600 * np.clip((speed_m_per_s - 3) / 9, 0, 1) ** 3
