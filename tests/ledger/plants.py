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
Plane = tuple[Floats | int, Floats | int]  # tilt and azimuth, always or at each moment


@dataclass(frozen=True, slots=True)
class Plant:
    """One plant and what its meter said; a single fixed plane is declared by its device."""

    device: Device
    yields: list[Yield]
    about: str


@dataclass(frozen=True, slots=True)
class Weather:
    """The sun and its light at the middles of the intervals, in W/m²."""

    sun: pd.DataFrame
    extra: pd.Series
    direct: Floats
    diffuse: Floats
    level: Floats
    albedo: float

    def on(self, tilt: Floats | int, azimuth: Floats | int) -> Floats:
        """What reaches the cells of a plane, behind their glass."""
        zenith, sun_azimuth = self.sun.apparent_zenith, self.sun.azimuth
        sky = (self.direct, self.level, self.diffuse, self.extra)
        light = pvlib.irradiance.get_total_irradiance(
            tilt, azimuth, zenith, sun_azimuth, *sky, albedo=self.albedo, model="haydavies"
        ).fillna(0)
        incidence = np.clip(pvlib.irradiance.aoi(tilt, azimuth, zenith, sun_azimuth), 0, 89)
        return np.asarray(light.poa_direct * pvlib.iam.ashrae(incidence) + light.poa_diffuse * 0.95)


def plant(seed: int, days: int = 31, minutes: int = 15) -> Plant:
    """The plant of this seed, over so many days in intervals of so many minutes."""
    rng = np.random.default_rng(seed)
    latitude, longitude = float(rng.uniform(-55, 62)), float(rng.uniform(-180, 180))
    altitude_m = float(rng.choice([0, 50, 200, 500, 1000, 1800, 3000]))
    start = pd.Timestamp("2010-01-01", tz="UTC") + pd.Timedelta(days=int(rng.integers(0, 12 * 365)))
    times = pd.date_range(start, periods=days * 1440 // minutes, freq=f"{minutes}min")
    middles = times + pd.Timedelta(minutes=minutes / 2)
    has_snow = abs(latitude) > 35 and rng.random() < 0.2
    weather = _weather(rng, middles, (latitude, longitude, altitude_m), minutes, has_snow)
    mount = str(rng.choice(["fixed", "fixed", "fixed", "fixed", "two roofs", "one axis", "two axes"]))
    planes = _planes(rng, mount, latitude, weather.sun)
    light = np.mean([weather.on(*plane) for plane in planes], axis=0)
    air = _air_c(rng, weather.sun, latitude, altitude_m, has_snow)
    cell = pvlib.temperature.pvsyst_cell(light, air, wind_speed=float(rng.uniform(0.5, 4)))
    capacity_w = int(rng.choice([400, 3000, 5000, 10_000, 100_000]))
    nameplate, losses = float(rng.uniform(0.97, 1.10)), float(rng.uniform(0.05, 0.20))
    at_cells_w = pvlib.pvsystem.pvwatts_dc(light, cell, capacity_w * nameplate * (1 - losses), -0.004)
    inverter_w = capacity_w / float(rng.uniform(0.9, 1.5))
    power_w = np.clip(np.asarray(pvlib.inverter.pvwatts(at_cells_w, inverter_w / 0.96)), 0, capacity_w)
    yields = [
        Yield(int(at_ms), int(at_ms) + minutes * 60_000, int(watts * minutes * 60))
        for at_ms, watts in zip(times.as_unit("ms").asi8, power_w, strict=True)
    ]
    tilt, azimuth = planes[0]
    oriented = (int(tilt), int(azimuth)) if isinstance(tilt, int) and mount == "fixed" else (None, None)
    device = Device("solar", capacity_w, round(latitude * 10), round(longitude * 10), *oriented)
    about = f"{latitude:.0f} degrees, {altitude_m:.0f} m, {start:%b}, {mount}, nameplate x{nameplate:.2f} -{losses:.0%}"
    return Plant(device, yields, about)


def _weather(
    rng: np.random.Generator,
    middles: pd.DatetimeIndex,
    place: tuple[float, float, float],
    minutes: int,
    has_snow: bool,
) -> Weather:
    sun = pvlib.solarposition.get_solarposition(middles, *place)
    extra = pvlib.irradiance.get_extra_radiation(middles)
    clear = pvlib.clearsky.simplified_solis(
        sun.apparent_elevation,
        aod700=float(rng.uniform(0.02, 0.25)),
        precipitable_water=float(rng.uniform(0.3, 3)),
        pressure=pvlib.atmosphere.alt2pres(place[2]),
        dni_extra=extra,
    )
    clearness = _clearness(rng, len(middles), minutes)
    direct = clear["dni"].to_numpy() * np.clip((clearness - 0.25) / 0.75, 0, 1)
    level = clear["ghi"].to_numpy() * clearness
    diffuse = np.clip(level - direct * np.sin(np.radians(sun.elevation.clip(lower=0).to_numpy())), 0, None)
    return Weather(sun, extra, direct, diffuse, level, 0.6 if has_snow else 0.2)


def _clearness(rng: np.random.Generator, steps: int, minutes: int) -> Floats:
    """Light as a share of the clear sky's, in clear, broken and grey spells of hours; broken skies also brighten it."""
    cloudiness = float(rng.uniform(0.05, 0.8))
    shares: list[float] = []
    while len(shares) < steps:
        spell = int(rng.integers(1, 8 * 60)) // minutes + 1
        if rng.random() > cloudiness:
            shares += [1.0] * spell
        elif rng.random() < 0.5:
            shares += np.clip(rng.normal(0.75, 0.3, spell), 0.1, 1.25).tolist()
        else:
            shares += np.clip(rng.normal(0.3, 0.1, spell), 0.05, 0.7).tolist()
    return np.array(shares[:steps])


def _planes(rng: np.random.Generator, mount: str, latitude: float, sun: pd.DataFrame) -> list[Plane]:
    """Those of equal parts of the modules."""
    if mount in ("fixed", "two roofs"):
        tilt = int(rng.integers(0, 60))
        azimuth = int((180 if latitude > 0 else 0) + rng.normal(0, 50)) % 360
        planes: list[Plane] = [(tilt, azimuth), (tilt, (azimuth + 180) % 360)]
        return planes[: 1 if mount == "fixed" else 2]
    if mount == "two axes":
        return [(np.clip(sun.apparent_zenith.to_numpy(), 0, 90), sun.azimuth.to_numpy())]
    turned = pvlib.tracking.singleaxis(sun.apparent_zenith, sun.azimuth, max_angle=60, backtrack=False)
    return [(turned.surface_tilt.fillna(0).to_numpy(), turned.surface_azimuth.fillna(0).to_numpy())]


def _air_c(rng: np.random.Generator, sun: pd.DataFrame, latitude: float, altitude_m: float, has_snow: bool) -> Floats:
    """Air of the latitude, less 6.5 degrees a kilometre, warmer by day; snow lies in the cold."""
    mean = 22 - 0.4 * max(abs(latitude) - 20, 0) - 0.0065 * altitude_m - (12 if has_snow else 0)
    return np.asarray(mean + 14 * np.sin(np.radians(sun.elevation.clip(lower=0).to_numpy())) + rng.normal(0, 4))
