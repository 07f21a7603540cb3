"""This node's power as the API shows it. Pure: a Node and a moment in, a resource out."""

from __future__ import annotations

from node.api.energy_resources import EnergyForecast, EnergyNow, IntervalOf, SourceOf
from node.api.views import newest_attestation
from node.core import Node
from node.energy.source import UNIT_OF
from node.energy.supply import Forecast, SupplyReading
from node.energy.watched import Health


def energy(node: Node, now_ms: int) -> EnergyNow:
    sourcing, offer, forecast = node.sourcing, node.provider.offer, node.provider.forecast
    return EnergyNow(
        carrier=offer.carrier if offer else "grid",
        zone=offer.place.zone if offer else "",
        capacity_w=offer.capacity_w if offer else 0,
        now_ms=now_ms,
        assurance=assurance(node),
        surplus_assurance_min=node.identity.genesis.surplus_assurance_min,
        fault=sourcing.fault,
        rules=tuple(map(str, node.pausing.rules)),
        paused_by=node.pausing.standing.paused_by,
        sources=tuple(source_of(health, now_ms) for health in sourcing.sources),
        newest=None if sourcing.newest is None else _interval(sourcing.newest),
        forecast=None if forecast is None else _forecast(forecast),
    )


def assurance(node: Node) -> int:
    """The level at which surplus counts now: that of the newest attestation, and nothing while no reading comes, or
    comes and is not attested."""
    newest = newest_attestation(node)
    return 0 if node.sourcing.fault or node.attesting.refused or newest is None else newest.assurance


def source_of(health: Health, now_ms: int) -> SourceOf:
    """How a source stands."""
    reading = health.last_reading
    return SourceOf(
        name=health.name,
        kind=health.kind.value,
        unit=UNIT_OF[health.kind],
        well=health.is_well,
        value=None if reading is None else reading.value,
        age_ms=None if reading is None else reading.age_ms(now_ms),
        method=None if reading is None else reading.method,
        uncertainty_permille=None if reading is None else reading.uncertainty_permille,
        provenance=None if reading is None else reading.provenance,
        failures=health.failures,
        fault=health.fault,
        remedy=health.remedy,
        retry_in_ms=max(0, health.retry_at_ms - now_ms),
    )


def _interval(reading: SupplyReading) -> IntervalOf:
    return IntervalOf(
        start_ms=reading.start_ms,
        end_ms=reading.end_ms,
        surplus_j=reading.energy_j,
        surplus_w=reading.surplus_w,
        method=reading.method,
        source=reading.source,
        uncertainty_permille=reading.uncertainty_permille,
        own_g_per_kwh=reading.own_g_per_kwh,
        grid_g_per_kwh=reading.grid_g_per_kwh,
        intensity_kind=reading.intensity_kind,
        intensity_source=reading.intensity_source,
        marginal_g_per_kwh=reading.marginal_g_per_kwh,
        carbon_free_permille=reading.carbon_free_permille,
    )


def _forecast(forecast: Forecast) -> EnergyForecast:
    return EnergyForecast(
        first_slot=forecast.first_slot,
        slot_ms=forecast.slot_ms,
        surplus_s50_j=forecast.surplus_s50_j,
        surplus_s20_j=forecast.surplus_s20_j,
        grid_g_per_kwh=forecast.grid_g_per_kwh,
        grid_s20_g_per_kwh=forecast.grid_s20_g_per_kwh,
        grid_s80_g_per_kwh=forecast.grid_s80_g_per_kwh,
        provenance=forecast.provenance,
    )
