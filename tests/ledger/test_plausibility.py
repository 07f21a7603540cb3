"""What is held against a device: honest plants are left alone, lies are found, and the innocent cause is named."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable

import pytest

from ledger import mounts, solar
from ledger.mounts import Fixed, Mount, Yield
from ledger.plausibility import Cause, Device, Finding, device_findings, distance_km, round_trip_finding
from tests.ledger.plants import plant

HOUR_MS = 3_600_000
START_MS = 1_743_465_600_000  # April 2025
MADRID, NEW_YORK, SYDNEY = (404, -37), (407, -740), (-339, 1512)
ROOF = Device("solar", 5000, *MADRID, tilt_degrees=30, azimuth_degrees=180)
HONEST_SEEDS = range(100, 112)
PERFORMANCE = 0.8


def undeclared(device: Device) -> Device:
    return dataclasses.replace(device, tilt_degrees=None, azimuth_degrees=None)


def times(factor: float, yields: Iterable[Yield]) -> list[Yield]:
    return [dataclasses.replace(y, energy_j=int(y.energy_j * factor)) for y in yields]


def later(by_ms: int, yields: Iterable[Yield]) -> list[Yield]:
    return [Yield(y.start_ms + by_ms, y.end_ms + by_ms, y.energy_j) for y in yields]


def sunny(
    device: Device = ROOF,
    mount: Mount | None = None,
    days: int = 31,
    minutes: int = 15,
    performance: float = PERFORMANCE,
) -> list[Yield]:
    """What a plant gives under skies that are clear on four days of five, and grey on the fifth."""
    mount = mount or device.plane() or mounts.TwoAxes()
    step_ms = minutes * 60_000
    yields = []
    for start_ms in range(START_MS, START_MS + days * solar.DAY_MS, step_ms):
        sky = mounts.sky_at(start_ms + step_ms // 2, device.latitude_decidegrees, device.longitude_decidegrees)
        clear = mounts.clear_share(mount, sky) if sky.up > 0 else 0.0
        grey = 0.2 if (start_ms - START_MS) // solar.DAY_MS % 5 == 4 else 1.0
        yields.append(
            Yield(start_ms, start_ms + step_ms, int(device.capacity_w * performance * clear * grey * minutes * 60))
        )
    return yields


def checks(findings: Iterable[Finding]) -> set[str]:
    return {finding.check for finding in findings}


# --- honest plants ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", HONEST_SEEDS)
def test_an_honest_plant_is_left_alone(seed: int) -> None:
    honest = plant(seed, minutes=(5, 15, 60)[seed % 3])
    assert device_findings(honest.device, honest.yields) == [], honest.about
    assert device_findings(undeclared(honest.device), honest.yields) == [], honest.about


def test_a_clipping_inverter_takes_the_top_off_and_makes_no_liar() -> None:
    clipped = [dataclasses.replace(y, energy_j=min(y.energy_j, 3_000 * 900)) for y in sunny()]
    assert device_findings(ROOF, clipped) == []
    assert device_findings(undeclared(ROOF), clipped) == []


@pytest.mark.parametrize("days", [0, 1, 9])
def test_what_is_too_little_to_judge_is_not_judged(days: int) -> None:
    assert device_findings(ROOF, times(1.4, sunny(days=days, performance=0.7))) == []


def test_a_dark_month_is_not_judged() -> None:
    arctic = Device("solar", 5000, 780, 150, 40, 180)
    night = [Yield(y.start_ms - 100 * solar.DAY_MS, y.end_ms - 100 * solar.DAY_MS, 0) for y in sunny()]
    assert device_findings(arctic, night) == []


def test_a_plant_without_capacity_or_claims_is_not_judged() -> None:
    assert device_findings(dataclasses.replace(ROOF, capacity_w=0), sunny()) == []
    assert device_findings(dataclasses.replace(ROOF, carrier="hydro"), times(1.2, sunny())) == []


# --- lies -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("performance", [0.65, 0.75, 0.85])
def test_half_as_much_again_is_found_where_the_orientation_is_declared(performance: float) -> None:
    honest = sunny(performance=performance)
    assert device_findings(ROOF, honest) == []
    (found,) = [f for f in device_findings(ROOF, times(1.5, honest)) if f.check == "plane"][:1]
    assert found.value == pytest.approx(1.5 * performance, rel=0.02)
    assert found.bound == 0.9
    assert found.cause is Cause.CAPACITY
    assert "at most 0.90 is likely" in found.sentence


@pytest.mark.parametrize(
    "mount",
    [Fixed.at(10, 90), Fixed.at(30, 180), Fixed.at(50, 250), mounts.OneAxis(), mounts.TwoAxes()],
    ids=["east", "south", "west", "one axis", "two axes"],
)
def test_twice_as_much_is_found_where_the_orientation_is_not_declared(mount: Mount) -> None:
    honest = sunny(undeclared(ROOF), mount, performance=0.75)
    assert device_findings(undeclared(ROOF), honest) == []
    assert "window" in checks(device_findings(undeclared(ROOF), times(2, honest)))


def test_a_plane_that_is_not_the_declared_one_is_taken_for_that() -> None:
    """A roof that is level on paper and looks south in autumn yields more than a level one can."""
    level = dataclasses.replace(ROOF, tilt_degrees=0, latitude_decidegrees=600)
    steep = sunny(level, Fixed.at(60, 180), performance=0.85)
    (found,) = [f for f in device_findings(level, steep) if f.check == "plane"][:1]
    assert found.cause is Cause.ORIENTATION


@pytest.mark.parametrize("hours", [-1, 1, 2])
def test_a_clock_off_by_an_hour_is_taken_for_that(hours: int) -> None:
    (found,) = [f for f in device_findings(ROOF, later(hours * HOUR_MS, sunny())) if f.check == "centre"][-1:]
    assert found.value == pytest.approx(60 * hours, abs=15)  # what it makes of nights is not looked at
    assert found.cause is Cause.CLOCK
    assert f"{abs(found.value):.0f} minutes {'late' if hours > 0 else 'early'}" in found.sentence
    assert "daylight saving?" in found.sentence


@pytest.mark.parametrize("degrees", [-30, -15, 15, 30])
def test_a_longitude_off_by_fifteen_degrees_is_found(degrees: int) -> None:
    elsewhere = dataclasses.replace(ROOF, longitude_decidegrees=ROOF.longitude_decidegrees + degrees * 10)
    assert "centre" in checks(device_findings(elsewhere, sunny()))
    assert "night" in checks(device_findings(undeclared(elsewhere), sunny()))


def test_energy_at_night_is_found_on_its_day_and_taken_for_a_wrong_clock() -> None:
    yields = sunny(days=3)
    yields[8] = dataclasses.replace(yields[8], energy_j=300_000)  # two in the morning
    (found,) = device_findings(ROOF, yields)
    assert (found.check, found.value, found.cause) == ("night", 1, Cause.CLOCK)
    assert found.start_ms <= yields[8].start_ms < found.end_ms
    assert "300000 exceeds 22500" in found.sentence


def test_a_day_beyond_a_clear_one_is_found() -> None:
    (found,) = device_findings(ROOF, sunny(days=1, performance=1.12))
    assert (found.check, found.cause) == ("day", Cause.CAPACITY)


def test_wind_that_never_calms_is_found() -> None:
    turbine = Device("wind", 5000, *MADRID)
    gale = [Yield(START_MS + k * HOUR_MS, START_MS + (k + 1) * HOUR_MS, 5000 * 3600 * 9 // 10) for k in range(24 * 40)]
    found = device_findings(turbine, gale)
    assert {(f.check, f.value) for f in found} == {("wind", 0.9)}
    assert device_findings(turbine, times(0.7, gale)) == []
    assert device_findings(turbine, gale[:100]) == []


def test_findings_do_not_depend_on_the_order_of_the_claims() -> None:
    lies = times(1.5, sunny())
    assert device_findings(ROOF, lies[::-1]) == device_findings(ROOF, lies)


def test_a_month_of_five_minutes_is_judged_within_a_second() -> None:
    month = sunny(days=30, minutes=5)
    began = time.process_time()
    device_findings(ROOF, month)
    assert time.process_time() - began < 1


# --- places -----------------------------------------------------------------------------------------------------------


def test_distances_are_those_of_the_globe() -> None:
    assert distance_km(MADRID, NEW_YORK) == pytest.approx(5770, rel=0.005)
    assert distance_km(MADRID, MADRID) == 0
    assert distance_km((0, 0), (0, 1800)) == pytest.approx(math.pi * 6371)
    assert distance_km((0, 1795), (0, -1795)) == pytest.approx(math.pi * 6371 / 180)


def test_an_answer_too_soon_for_the_declared_place_is_found() -> None:
    found = round_trip_finding(20.0, SYDNEY, MADRID)
    assert found is not None
    assert (found.check, found.cause, round(found.bound)) == ("round trip", Cause.PLACE, 2016)
    assert "it answers in 20 ms, so within 2016 km" in found.sentence


@pytest.mark.parametrize("round_trip_ms", [58.0, 300.0])
def test_an_answer_that_light_could_bring_is_not_found_fault_with(round_trip_ms: float) -> None:
    assert round_trip_finding(round_trip_ms, NEW_YORK, MADRID) is None


def test_a_neighbour_may_answer_at_once() -> None:
    assert round_trip_finding(0.0, (404, -37), (404, -38)) is None
