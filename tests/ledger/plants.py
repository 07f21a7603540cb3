"""Honest solar plants that nobody has: pvlib's sky, modules and inverter at random places, in random hands.

What can raise a plant is drawn too: thin, clean air at altitude, cold, snow on the ground, bright clouds, a nameplate
understated by up to a tenth, an oversized inverter, trackers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pvlib

from ledger.mounts import Yield
from ledger.plausibility import Device

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Plant:
    """One plant and what its meter said; the device is as its owner would declare it, orientation included if fixed."""

    device: Device
    yields: list[Yield]
    about: str


def plant(seed: int, days: int = 31, minutes: int = 15) -> Plant:
    """The plant of this seed, over so many days in intervals of so many minutes."""
    rng = np.random.default_rng(seed)
    latitude, longitude = float(rng.uniform(-55, 62)), float(rng.uniform(-180, 180))
    altitude = float(rng.choice([0, 50, 200, 500, 1000, 1800, 3000]))
    start = pd.Timestamp("2010-01-01", tz="UTC") + pd.Timedelta(days=int(rng.integers(0, 12 * 365)))
    times = pd.date_range(start, periods=days * 1440 // minutes, freq=f"{minutes}min")
    middles = times + pd.Timedelta(minutes=minutes / 2)
    sun = pvlib.solarposition.get_solarposition(middles, latitude, longitude, altitude)
    pressure = pvlib.atmosphere.alt2pres(altitude)
    clear = pvlib.clearsky.simplified_solis(
        sun.apparent_elevation,
        aod700=float(rng.uniform(0.02, 0.25)),
        precipitable_water=float(rng.uniform(0.3, 3)),
        pressure=pressure,
        dni_extra=pvlib.irradiance.get_extra_radiation(middles),
    )
    index = _clearness(rng, days, minutes)[: len(times)]
    direct = clear["dni"].to_numpy() * np.clip((index - 0.25) / 0.75, 0, 1)
    level = clear["ghi"].to_numpy() * index
    diffuse = np.clip(level - direct * np.sin(np.radians(sun.elevation.clip(lower=0).to_numpy())), 0, None)
    snow = abs(latitude) > 35 and rng.random() < 0.2
    mount = str(rng.choice(["fixed", "fixed", "fixed", "fixed", "one axis", "two axes"]))
    tilt, azimuth = _orientation(rng, mount, latitude, sun)
    light = pvlib.irradiance.get_total_irradiance(
        tilt, azimuth, sun.apparent_zenith, sun.azimuth, direct, level, diffuse,
        dni_extra=pvlib.irradiance.get_extra_radiation(middles), albedo=0.6 if snow else 0.2, model="haydavies",
    ).poa_global.fillna(0).to_numpy()  # fmt: skip
    incidence = pvlib.irradiance.aoi(tilt, azimuth, sun.apparent_zenith, sun.azimuth)
    light = light * (0.2 + 0.8 * pvlib.iam.ashrae(np.clip(incidence, 0, 89)))
    capacity_w = int(rng.choice([400, 3000, 5000, 10_000, 100_000]))
    cell = pvlib.temperature.pvsyst_cell(light, _air(rng, sun, latitude, altitude, snow), wind_speed=float(rng.uniform(0.5, 4)))
    nameplate, losses = float(rng.uniform(0.97, 1.10)), float(rng.uniform(0.05, 0.20))
    direct_current = pvlib.pvsystem.pvwatts_dc(light, cell, capacity_w * nameplate * (1 - losses), -0.004)
    inverter_w = capacity_w / float(rng.uniform(0.9, 1.5))
    power = np.clip(np.asarray(pvlib.inverter.pvwatts(direct_current, inverter_w / 0.96)), 0, None)
    start_ms = times.as_unit("ms").asi8
    yields = [
        Yield(int(at_ms), int(at_ms) + minutes * 60_000, min(int(watts * minutes * 60), capacity_w * minutes * 60))
        for at_ms, watts in zip(start_ms, power, strict=True)
    ]
    oriented = mount == "fixed"
    device = Device(
        "solar", capacity_w, round(latitude * 10), round(longitude * 10),
        round(float(np.mean(tilt))) if oriented else None, round(float(np.mean(azimuth))) % 360 if oriented else None,
    )  # fmt: skip
    about = f"{latitude:.0f}° {altitude:.0f} m {start:%b} {mount} x{nameplate:.2f} -{losses:.2f} {'snow' if snow else ''}"
    return Plant(device, yields, about)


def _orientation(
    rng: np.random.Generator, mount: str, latitude: float, sun: pd.DataFrame
) -> tuple[Floats | float, Floats | float]:
    if mount == "fixed":
        toward = 180 if latitude > 0 else 0
        return float(rng.uniform(0, 60)), float((toward + rng.normal(0, 50)) % 360)
    if mount == "two axes":
        return np.clip(sun.apparent_zenith.to_numpy(), 0, 90), sun.azimuth.to_numpy()
    turned = pvlib.tracking.singleaxis(sun.apparent_zenith, sun.azimuth, max_angle=60, backtrack=False)
    return turned.surface_tilt.fillna(0).to_numpy(), turned.surface_azimuth.fillna(0).to_numpy()


def _air(rng: np.random.Generator, sun: pd.DataFrame, latitude: float, altitude: float, snow: bool) -> Floats:
    """Air in degrees Celsius: the latitude's, less 6.5 K a kilometre, warmer by day, with weather of its own."""
    height = np.sin(np.radians(sun.elevation.clip(lower=0).to_numpy()))
    mean = 22 - 0.4 * max(abs(latitude) - 20, 0) - 0.0065 * altitude - (12 if snow else 0)
    return np.asarray(mean + 14 * height + rng.normal(0, 4), dtype=float)


def _clearness(rng: np.random.Generator, days: int, minutes: int) -> Floats:
    """Light as a share of the clear sky's: clear, broken and grey spells of hours; broken ones also brighten it."""
    steps, out = days * 1440 // minutes, []
    cloudiness = float(rng.uniform(0.05, 0.8))
    while len(out) < steps:
        spell = int(rng.integers(1, 8 * 60)) // minutes + 1
        if rng.random() > cloudiness:
            out += [1.0] * spell
        elif rng.random() < 0.5:
            out += list(np.clip(rng.normal(0.75, 0.3, spell), 0.1, 1.25))
        else:
            out += list(np.clip(rng.normal(0.3, 0.1, spell), 0.05, 0.7))
    return np.array(out[:steps])
