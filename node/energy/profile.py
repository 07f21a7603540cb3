"""The declared profile: a site whose power follows from its place, its carrier and the network's clock.

It serves the demo, devnets and sites without a meter. It is a model, and says so: every reading is marked `modelled`
(`grid_mix` without a source of its own) and carries the uncertainty below. The grid's intensity is the zone's embedded
mean times its shape, or the operator's declared mean, level over the day.

How well the solar profile does was measured on two NREL photovoltaic traces at Golden, Colorado (PVDAQ system 50, the
year 2012, 3.65 kWp; SERF East, summer 2016, 6 kWp assumed): the median hour yields 67 and 70 % of capacity x
sin(elevation), clouds included; hence the default performance ratio of 670 permille. Against the profile so scaled,
hourly energy is off by 49 and 38 % of its mean, and one hour in five with the sun well up yields less than 35 and 46 %
of it. The year's figures are taken. Wind and hydro are guesses, not measured.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from node.energy.curve import Curve, Solar, Steady, Wind
from node.energy.supply import EnergyConfig, Forecast, SupplyReading
from node.energy.watched import Health
from node.energy.zones import GRIDS, LEVEL, Grid, grid_g_per_kwh
from protocol.messages import Carrier, Method


class Quality(NamedTuple):
    """What a profile of one carrier is worth."""

    method: Method
    uncertainty_permille: int
    s20_permille: int  # the 20 % quantile of the surplus, as a share of the profile


QUALITY: dict[Carrier, Quality] = {
    "solar": Quality("modelled", 490, 350),  # measured, see above
    "wind": Quality("modelled", 500, 500),  # guess, not measured
    "hydro": Quality("modelled", 100, 900),  # guess, not measured
    "grid": Quality("grid_mix", 280, 0),  # no surplus; the mean of one year in the next, ES: hourly error 28 %
}

HYDRO_PERMILLE = 500  # of capacity, all year: guess, not measured


class Profile:
    """A Source that computes. Pure: any process with the same configuration gives the same answer, without a clock."""

    def __init__(self, config: EnergyConfig) -> None:
        self._config = config
        self._longitude = config.place.longitude_decidegrees
        self._curve = _curve(config)
        self.health: tuple[Health, ...] = ()
        declared = config.grid_g_per_kwh
        self._grid = GRIDS[config.zone] if declared is None else Grid(declared, LEVEL)

    def read(self, start_ms: int, end_ms: int) -> SupplyReading:
        config, quality = self._config, QUALITY[self._config.carrier]
        meter_start_j, meter_end_j = self._curve.counter_j(start_ms), self._curve.counter_j(end_ms)
        return SupplyReading(
            device_id=config.device_id,
            start_ms=start_ms,
            end_ms=end_ms,
            energy_j=meter_end_j - meter_start_j,
            meter_start_j=meter_start_j,
            meter_end_j=meter_end_j,
            carrier=config.carrier,
            method=quality.method,
            capacity_w=config.capacity_w,
            own_g_per_kwh=config.own_g_per_kwh,
            grid_g_per_kwh=self._grid_g_per_kwh(start_ms, end_ms),
            intensity_kind=self._grid.kind,
            intensity_source=self._grid.provenance,
            uncertainty_permille=quality.uncertainty_permille,
            read_at_ms=end_ms,
        )

    def sample(self, now_ms: int) -> None:
        """Nothing to look at: the profile is exact at any time."""

    def forecast(self, first_slot: int, slots: int, slot_ms: int) -> Forecast:
        edges_ms = [slot * slot_ms for slot in range(first_slot, first_slot + slots + 1)]
        counters_j = [self._curve.counter_j(edge_ms) for edge_ms in edges_ms]
        surplus_j = tuple(later - earlier for earlier, later in pairwise(counters_j))
        s20_permille = QUALITY[self._config.carrier].s20_permille
        return Forecast(
            first_slot=first_slot,
            slot_ms=slot_ms,
            surplus_s50_j=surplus_j,
            surplus_s20_j=tuple(energy_j * s20_permille // 1000 for energy_j in surplus_j),
            grid_g_per_kwh=tuple(self._grid_g_per_kwh(*edges) for edges in pairwise(edges_ms)),
        )

    def _grid_g_per_kwh(self, start_ms: int, end_ms: int) -> int:
        """At the middle of the interval: it is at most an hour long, and so is a step of the shape."""
        return grid_g_per_kwh(self._grid, (start_ms + end_ms) // 2, self._longitude)


def _curve(config: EnergyConfig) -> Curve:
    """Solar power is cut by the base load at every moment, wind and hydro power only on average."""
    match config.carrier:
        case "solar":
            return Solar(
                config.capacity_w,
                config.performance_ratio_permille,
                config.base_load_w,
                config.place.latitude_decidegrees,
                config.place.longitude_decidegrees,
            )
        case "wind":
            own_use_w = config.base_load_w * 1000 // Wind.MEAN_PERMILLE
            return Wind(max(0, config.capacity_w - own_use_w), config.seed)
        case "hydro":
            return Steady(max(0, config.capacity_w * HYDRO_PERMILLE // 1000 - config.base_load_w))
        case "grid":
            return Steady(0)
