"""Real hours of photovoltaic power and of grid intensity: ../shared/data, whose SOURCES.md says where they are from."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from node.energy.forecast.history import Hours, hourly
from node.energy.supply import EnergyConfig
from protocol.units import MS_PER_HOUR
from tests.study import real

QUARTER_MS: Final = 900_000

# Golden, Colorado. Nameplates are inferred (sys50) and assumed (serf); see SOURCES.md.
PV: Final = {
    "sys50 2012": ("pv_nrel_sys50_2012_15min_kw.csv", 3650),
    "serf 2016": ("pv_nrel_serf_east_2016-07_2016-10_15min_kw.csv", 6000),
}
GRIDS: Final = real.NAMES


@dataclass(frozen=True, slots=True)
class Trace:
    """One value per hour from `first_hour` (since 1970, UTC), NaN for a gap: J of a plant, or g/kWh of a grid."""

    name: str
    site: EnergyConfig
    first_hour: int
    hours: Hours


def missing() -> str:
    """What is not there, or nothing."""
    absent = [file for file, _ in PV.values() if not (real.HOME / file).is_file()]
    return f"no {absent[0]} in ../shared/data" if absent else real.missing()


def site(**changes: object) -> EnergyConfig:
    """A 5 kW plant at Golden, Colorado."""
    values: dict[str, object] = {
        "device_id": "plant",
        "zone": "US-NW-PSCO",
        "latitude": 39.742,
        "longitude": -105.173,
        "carrier": "solar",
        "capacity_w": 5000,
        "own_g_per_kwh": 41,
        "grid_g_per_kwh": 500,
    }
    return EnergyConfig.model_validate(values | changes)


def plant(name: str) -> Trace:
    """A photovoltaic trace as a meter would have told it: quarters of an hour, what is below zero at night left out."""
    file, capacity_w = PV[name]
    rows = list(csv.DictReader((real.HOME / file).open()))
    start_ms = np.array([datetime.fromisoformat(row["ts_utc"]).timestamp() for row in rows]) * 1000
    power_w = np.array([max(0.0, float(row["ac_kw"]) * 1000) for row in rows])
    first_hour = int(start_ms[0]) // MS_PER_HOUR
    hours = int(start_ms[-1]) // MS_PER_HOUR + 1 - first_hour
    energy_j = 3600 * hourly(power_w, start_ms, start_ms + QUARTER_MS, first_hour, hours)
    return Trace(name, site(capacity_w=capacity_w), first_hour, energy_j)


def grid(name: str) -> Trace:
    """A zone's life-cycle intensity through a year."""
    year = datetime(int(name[-4:]), 1, 1, tzinfo=UTC)
    return Trace(name, site(carrier="grid", capacity_w=0), int(year.timestamp()) // 3600, real.trace(name).g)
