"""Where the sun stands, against pvlib; and what its bounds promise, whatever is claimed."""

from __future__ import annotations

import math
import random
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pvlib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import solar
from tests.ledger.plants import plant

YEAR_MS = (1_735_689_600_000, 1_767_225_600_000)  # 2025
HALF_CENTURY_MS = (946_684_800_000, 2_556_144_000_000)  # 2000 to 2050


class Claim(NamedTuple):
    """The arguments of `interval_fault`."""

    energy_j: int
    capacity_w: int
    start_ms: int
    end_ms: int
    latitude_decidegrees: int
    longitude_decidegrees: int
    tilt_degrees: int | None
    azimuth_degrees: int | None


@st.composite
def claims(draw: st.DrawFn) -> Claim:
    start_ms = draw(st.integers(*HALF_CENTURY_MS))
    return Claim(
        draw(st.integers(0, 10**7)),
        draw(st.integers(0, 10_000)),
        start_ms,
        start_ms + draw(st.integers(1, 3_600_000)),
        draw(st.integers(-900, 900)),
        draw(st.integers(-1800, 1800)),
        *draw(st.one_of(st.just((None, None)), st.tuples(st.integers(0, 90), st.integers(0, 359)))),
    )


def directions(at_ms: list[int], latitude_decidegrees: int, longitude_decidegrees: int) -> npt.NDArray[np.float64]:
    """East, north, up, one row each."""
    rows = [solar.direction(solar.equatorial(t), t, latitude_decidegrees, longitude_decidegrees) for t in at_ms]
    return np.array(rows).T / solar.ONE


@pytest.mark.parametrize("span", [YEAR_MS, HALF_CENTURY_MS], ids=["a year", "half a century"])
def test_the_sun_stands_where_pvlib_says_all_over_the_globe(span: tuple[int, int]) -> None:
    chance = random.Random(1)
    for _ in range(40):
        latitude, longitude = chance.randint(-900, 900), chance.randint(-1800, 1800)
        at_ms = [chance.randrange(*span) for _ in range(500)]
        east, north, up = directions(at_ms, latitude, longitude)
        referee = pvlib.solarposition.get_solarposition(
            pd.to_datetime(at_ms, unit="ms", utc=True), latitude / 10, longitude / 10
        )
        elevation = np.degrees(np.arcsin(np.clip(up, -1, 1)))
        assert np.abs(elevation - referee.elevation).max() < 0.05
        turned = (np.degrees(np.arctan2(east, north)) - referee.azimuth + 180) % 360 - 180
        assert np.abs(turned * np.cos(np.radians(elevation))).max() < 0.05


def test_the_sun_is_the_same_on_every_machine() -> None:
    chance = random.Random(2)
    seen = sha256(repr(solar.SINES).encode())
    for _ in range(2000):
        at_ms, latitude, longitude = chance.randrange(2**42), chance.randint(-900, 900), chance.randint(-1800, 1800)
        at = solar.direction(solar.equatorial(at_ms), at_ms, latitude, longitude)
        light = solar.irradiance(at, chance.randint(0, 90), chance.randint(0, 359))
        seen.update(repr((at, solar.clear_sky(at[2]), light)).encode())
    assert seen.hexdigest() == "d44dadf1ca50da58e2180f08574ee287486aadd5a7ea7be883a3ca58c19a5477"


def test_no_sine_of_the_table_is_near_a_tie() -> None:
    exact = solar.ONE * np.sin(np.radians(np.arange(901) / 10))
    assert np.abs(exact % 1 - 0.5).min() > 1e-4


def test_a_direction_has_the_length_of_one() -> None:
    chance = random.Random(3)
    at_ms = [chance.randrange(*HALF_CENTURY_MS) for _ in range(1000)]
    for latitude in (-900, -451, 0, 233, 900):
        length = np.sqrt((directions(at_ms, latitude, 17) ** 2).sum(axis=0))
        assert np.abs(length - 1).max() < 2e-6


@pytest.mark.parametrize("altitude_m", [0, 1000, 2500])
def test_the_clear_sky_with_its_margin_encloses_that_of_pvlib(altitude_m: int) -> None:
    elevation = np.arange(-0.5, 90.5, 0.5)
    refracted = pvlib.spa.atmospheric_refraction_correction(1013, 12, elevation, 0.5667)
    sky = pvlib.clearsky.simplified_solis(
        elevation + refracted, 0.02, 0.3, pvlib.atmosphere.alt2pres(altitude_m), dni_extra=1361 * 1.017
    )
    bounds = np.array([solar.clear_sky(round(solar.ONE * np.sin(np.radians(e)))) for e in elevation]).T
    assert (bounds.sum(axis=0) * solar.CLEAR_SKY_PERMILLE / 1000 >= sky["dni"] + sky["dhi"]).all()


@pytest.mark.parametrize("seed", range(6))
def test_no_interval_of_an_honest_plant_is_at_fault(seed: int) -> None:
    honest = plant(seed, minutes=(5, 15, 60)[seed % 3])
    d = honest.device
    for y in honest.yields:
        for plane in ((None, None), (d.tilt_degrees, d.azimuth_degrees)):
            place = (d.latitude_decidegrees, d.longitude_decidegrees)
            assert solar.interval_fault(y.energy_j, d.capacity_w, y.start_ms, y.end_ms, *place, *plane) is None, honest


@given(claims())
def test_a_fault_depends_on_energy_and_capacity_as_it_must(claim: Claim) -> None:
    if solar.interval_fault(*claim) is None:
        assert solar.interval_fault(*claim._replace(energy_j=claim.energy_j // 2)) is None
        assert solar.interval_fault(*claim._replace(capacity_w=claim.capacity_w + 1)) is None
    else:
        assert solar.interval_fault(*claim._replace(energy_j=claim.energy_j + 1)) is not None


@given(claims())
def test_a_fault_is_by_night_exactly_if_the_sun_stays_down(claim: Claim) -> None:
    found = solar.interval_fault(*claim._replace(energy_j=10**12))
    assert found is not None
    step_ms = max((claim.end_ms - claim.start_ms) // 6, 1)
    _, _, up = directions(
        list(range(claim.start_ms, claim.end_ms + 1, step_ms)), claim.latitude_decidegrees, claim.longitude_decidegrees
    )
    if up.max() < math.sin(math.radians(-1.1)):
        assert found.is_night
    if up.max() > math.sin(math.radians(-0.9)):
        assert not found.is_night


def test_a_fault_names_its_figures_and_the_likeliest_innocent_cause() -> None:
    midnight_ms = 1_751_320_800_000  # in Berlin, July 2025
    night = solar.interval_fault(3_600_000, 5000, midnight_ms, midnight_ms + 900_000, 525, 134)
    assert night == solar.Fault(
        bound_j=22_500,
        is_night=True,
        complaint="energy_j 3600000 exceeds 22500: the sun stays below -1 degree at latitude 525 and longitude 134"
        " decidegrees (is the clock or the place wrong?)",
    )
    morning_ms = midnight_ms + 5 * 3_600_000
    bright = solar.interval_fault(4_400_000, 5000, morning_ms, morning_ms + 900_000, 525, 134)
    assert bright is not None
    assert not bright.is_night
    assert "(is the capacity, the clock or the place wrong?)" in bright.complaint
