"""A declared site as a Supply: readings, forecasts, and the configuration that names it."""

from __future__ import annotations

import tomllib
from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError

from node.claims.attesting import attestation
from node.energy.profile import Profile
from node.energy.supply import CAPACITY_MAX_W, EnergyConfig, SupplyReading
from node.energy.zones import GRIDS, grid_g_per_kwh
from protocol.units import MS_PER_HOUR
from tests.builders import offer

NOON_UTC_MS = 1_782_043_200_000  # 2026-06-21 12:00
VALENCIA: dict[str, Any] = {
    "device_id": "roof",
    "zone": "ES",
    "latitude": 39.5,
    "longitude": -0.4,
    "carrier": "solar",
    "capacity_w": 1000,
    "own_g_per_kwh": 41,
}


def config(**changes: Any) -> EnergyConfig:
    return EnergyConfig.model_validate(VALENCIA | changes)


def source(**changes: Any) -> Profile:
    return Profile(config(**changes))


def reading(**changes: Any) -> SupplyReading:
    valid: dict[str, Any] = {
        "device_id": "roof",
        "start_ms": 0,
        "end_ms": 1000,
        "energy_j": 5,
        "meter_start_j": 10,
        "meter_end_j": 15,
        "carrier": "solar",
        "method": "metered",
        "capacity_w": 1000,
        "own_g_per_kwh": 41,
        "grid_g_per_kwh": 200,
        "intensity_kind": "avg_lifecycle",
        "intensity_source": "test",
        "uncertainty_permille": 10,
        "read_at_ms": 1000,
    }
    return SupplyReading(**valid | changes)


@pytest.mark.parametrize("carrier", ["solar", "wind", "hydro", "grid"])
def test_a_reading_becomes_an_attestation_without_change(carrier: str) -> None:
    site = config(carrier=carrier, capacity_w=0 if carrier == "grid" else 1000)
    read = Profile(site).read(NOON_UTC_MS, NOON_UTC_MS + 60_000)
    body = attestation(read, offer(place=site.place))
    assert body.energy_j <= 1000 * 60
    assert body.method == ("grid_mix" if carrier == "grid" else "modelled")


def test_consecutive_readings_have_consecutive_counters() -> None:
    site = source()
    readings = [site.read(NOON_UTC_MS + n * 7_777, NOON_UTC_MS + (n + 1) * 7_777) for n in range(20)]
    assert all(a.meter_end_j == b.meter_start_j for a, b in pairwise(readings))


def test_the_forecast_of_a_profile_comes_true() -> None:
    slot_ms = 10_000
    first_slot = NOON_UTC_MS // slot_ms
    forecast = source().forecast(first_slot, 5, slot_ms)
    read = [source().read(slot * slot_ms, (slot + 1) * slot_ms) for slot in range(first_slot, first_slot + 5)]
    assert forecast.surplus_s50_j == tuple(r.energy_j for r in read)
    assert forecast.grid_g_per_kwh == tuple(r.grid_g_per_kwh for r in read)
    assert all(0 < s20 < s50 for s20, s50 in zip(forecast.surplus_s20_j, forecast.surplus_s50_j, strict=True))


def test_a_site_on_the_grid_has_no_surplus() -> None:
    forecast = source(carrier="grid", capacity_w=0).forecast(NOON_UTC_MS // MS_PER_HOUR, 24, MS_PER_HOUR)
    assert forecast.surplus_s50_j == forecast.surplus_s20_j == (0,) * 24


@pytest.mark.parametrize(("carrier", "mean_w"), [("wind", 350 - 100), ("hydro", 500 - 100)])
def test_the_base_load_is_served_before_training(carrier: str, mean_w: int) -> None:
    forecast = source(carrier=carrier, base_load_w=100).forecast(NOON_UTC_MS // MS_PER_HOUR, 24 * 365, MS_PER_HOUR)
    assert sum(forecast.surplus_s50_j) / (24 * 365 * 3600) == pytest.approx(mean_w, rel=0.02)
    thirsty = source(carrier=carrier, base_load_w=1_000_000).read(NOON_UTC_MS, NOON_UTC_MS + 1000)
    assert thirsty.energy_j == 0


def test_the_grid_follows_the_local_sun_and_keeps_its_mean() -> None:
    california = GRIDS["US-CAL-CISO"]
    midnight_ms = NOON_UTC_MS - 12 * MS_PER_HOUR
    hours = [grid_g_per_kwh(california, midnight_ms + hour * MS_PER_HOUR, -1200) for hour in range(24)]
    assert hours.index(min(hours)) in range(17, 22)  # 120 W: noon is 20:00 UTC
    assert hours[4] > california.mean_g_per_kwh  # eight in the evening
    assert sum(hours) / 24 == pytest.approx(california.mean_g_per_kwh, abs=1)


def test_a_declared_mean_serves_a_zone_without_an_embedded_one() -> None:
    read = source(zone="PT-MA", grid_g_per_kwh=428).read(NOON_UTC_MS, NOON_UTC_MS + 1000)
    assert (read.grid_g_per_kwh, read.intensity_source) == (428, "annual mean declared by the operator")


def test_an_embedded_mean_says_whose_it_is() -> None:
    read = source().read(NOON_UTC_MS, NOON_UTC_MS + 1000)
    assert read.intensity_source == "Electricity Maps annual mean 2022 (ODbL 1.0) x shape by solar hour"


def test_reject_zone_without_a_known_mean_and_name_its_neighbours() -> None:
    with pytest.raises(ValidationError, match=r"zone US-CAL-CISA \(nearest: US-CAL-CISO.*set grid_g_per_kwh"):
        config(zone="US-CAL-CISA")


def test_reject_place_far_from_its_zone_and_name_the_slip() -> None:
    with pytest.raises(ValidationError, match=r"from zone ES; the sign of the latitude\?"):
        config(latitude=-39.5)


def test_reject_capacity_of_a_site_on_the_grid() -> None:
    with pytest.raises(ValidationError, match="capacity_w 1000 with carrier grid"):
        config(carrier="grid")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("latitude", 91),
        ("longitude", float("nan")),
        ("capacity_w", CAPACITY_MAX_W + 1),
        ("capacity_w", "1000"),
        ("performance_ratio_permille", 0),
        ("source", "crystal ball"),
        ("capacity_kw", 1),
    ],
)
def test_reject_configuration_out_of_bounds(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        config(**{field: value})


def test_a_configuration_is_read_from_toml() -> None:
    text = """
        device_id = "roof"
        zone = "ES"
        latitude = 39
        longitude = -0.43
        carrier = "solar"
        capacity_w = 1000
        own_g_per_kwh = 41
    """
    place = EnergyConfig.model_validate(tomllib.loads(text)).place
    assert (place.zone, place.latitude_decidegrees, place.longitude_decidegrees) == ("ES", 390, -4)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"end_ms": 0}, "a reading of 0 ms"),
        ({"end_ms": MS_PER_HOUR + 1}, "3600001 ms; 1 to 3600000 ms are allowed"),
        ({"energy_j": 6}, "energy_j 6, but the counter rose from 10 by 5 J"),
        ({"energy_j": -1}, "energy_j -1"),
        ({"energy_j": 0, "meter_end_j": 9}, "rose from 10 by -1 J"),
    ],
)
def test_reject_reading_that_would_be_a_void_attestation(changes: dict[str, int], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        reading(**changes)
