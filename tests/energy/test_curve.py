"""What a modelled meter promises at any network time: it adds up, never falls, and keeps within its capacity."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.solar import interval_fault
from node.energy.curve import COSINE, STEPS, Curve, Solar, Steady, Wind, cosine_sum
from protocol.messages import INTEGER_MAX
from protocol.units import MS_PER_HOUR, ceil_div

DAY_MS = 24 * MS_PER_HOUR
NOON_UTC_MS = 1_782_043_200_000  # 2026-06-21 12:00
YEAR_2100_MS = 4_102_444_800_000
EQUINOX_MS = 1_773_964_800_000  # 2026-03-20 00:00

times_ms = st.integers(0, YEAR_2100_MS)
capacities_w = st.integers(0, 2_000_000)
curves = st.one_of(
    st.builds(Steady, capacities_w),
    st.builds(Wind, capacities_w, st.integers(0, 2**32)),
    st.builds(
        Solar,
        capacities_w,
        st.integers(1, 1000),
        st.integers(0, 2000),
        st.integers(-900, 900),
        st.integers(-1800, 1800),
    ),
)
UNIT_CURVES: list[Curve] = [
    Steady(1000),
    Wind(1000, seed=7),
    Solar(1000, 1000, 0, 395, -4),
    Solar(1000, 1000, 0, 900, 0),  # at the pole, where the sun does not set in summer
    Solar(1000, 1000, 0, 700, 1795),  # midnight sun on the date line
]


def energy_j(curve: Curve, start_ms: int, end_ms: int) -> int:
    return curve.counter_j(end_ms) - curve.counter_j(start_ms)


@given(curve=curves, moments_ms=st.lists(times_ms, min_size=3, max_size=3))
def test_stretches_add_up_and_no_counter_falls(curve: Curve, moments_ms: list[int]) -> None:
    a, b, c = sorted(moments_ms)
    assert energy_j(curve, a, b) >= 0
    assert energy_j(curve, b, c) >= 0
    assert energy_j(curve, a, b) + energy_j(curve, b, c) == energy_j(curve, a, c)


@given(capacity_w=capacities_w, seed=st.integers(0, 2**32), start_ms=times_ms, duration_ms=st.integers(1, DAY_MS))
def test_wind_yields_at_most_capacity_times_time(capacity_w: int, seed: int, start_ms: int, duration_ms: int) -> None:
    yielded_j = energy_j(Wind(capacity_w, seed), start_ms, start_ms + duration_ms)
    assert yielded_j <= ceil_div(capacity_w * duration_ms, 1000)


@given(
    capacity_w=capacities_w,
    latitude=st.integers(-900, 900),
    longitude=st.integers(-1800, 1800),
    start_ms=times_ms,
    duration_ms=st.integers(1, DAY_MS),
)
def test_sun_yields_at_most_capacity_times_time(
    capacity_w: int, latitude: int, longitude: int, start_ms: int, duration_ms: int
) -> None:
    yielded_j = energy_j(Solar(capacity_w, 1000, 0, latitude, longitude), start_ms, start_ms + duration_ms)
    assert yielded_j <= ceil_div(capacity_w * duration_ms, 1000)


@pytest.mark.parametrize("curve", UNIT_CURVES)
@pytest.mark.parametrize("edge_ms", [1461 * DAY_MS, NOON_UTC_MS - DAY_MS // 2, EQUINOX_MS])
def test_minutes_around_midnight_sum_to_their_stretch(curve: Curve, edge_ms: int) -> None:
    minutes_ms = range(edge_ms - MS_PER_HOUR, edge_ms + MS_PER_HOUR, 60_000)
    parts_j = [energy_j(curve, start_ms, start_ms + 60_000) for start_ms in minutes_ms]
    assert min(parts_j) >= 0
    assert max(parts_j) <= 60_000
    assert sum(parts_j) == energy_j(curve, edge_ms - MS_PER_HOUR, edge_ms + MS_PER_HOUR)


def test_the_largest_counter_fits_a_signed_body() -> None:
    assert Steady(2_000_000).counter_j(YEAR_2100_MS) <= INTEGER_MAX


def test_a_whole_turn_of_the_cosine_sums_to_nothing() -> None:
    assert sum(COSINE) == 0
    assert cosine_sum(STEPS * 5, 5) == 0
    assert cosine_sum(STEPS * 5 * 1_000_000 + 17, 5) == cosine_sum(17, 5)


def test_solar_noon_yields_the_sine_of_the_suns_elevation() -> None:
    # Declination 23.44 degrees; solar noon in Valencia (0.4 W) is 12:03:30 UTC that day.
    power_w = energy_j(Solar(1_000_000, 700, 0, 395, -4), NOON_UTC_MS + 3 * 60_000, NOON_UTC_MS + 4 * 60_000) / 60
    assert power_w == pytest.approx(700_000 * math.sin(math.radians(90 - 39.5 + 23.44)), rel=1e-4)


def test_the_site_uses_its_own_power_first() -> None:
    window = (NOON_UTC_MS, NOON_UTC_MS + MS_PER_HOUR)
    without_j, with_j = (energy_j(Solar(1000, 700, base_w, 395, -4), *window) for base_w in (0, 100))
    assert without_j - with_j == pytest.approx(360_000, abs=1)
    assert energy_j(Solar(1000, 700, 1000, 395, -4), *window) == 0


@pytest.mark.parametrize(
    ("latitude", "longitude", "sunrise_min", "sunset_min"),
    # Moments when the sun's centre crosses the true horizon on 2026-03-20, the equinox: 6 h from solar noon everywhere.
    [(395, -4, 6 * 60 + 9, 18 * 60 + 9), (0, 0, 6 * 60 + 7, 18 * 60 + 8), (-339, 100, 5 * 60 + 27, 17 * 60 + 28)],
)
def test_night_yields_nothing_and_day_something(
    latitude: int, longitude: int, sunrise_min: int, sunset_min: int
) -> None:
    sun = Solar(1_000_000, 1000, 0, latitude, longitude)
    sunrise_ms, sunset_ms = EQUINOX_MS + sunrise_min * 60_000, EQUINOX_MS + sunset_min * 60_000
    margin_ms = 4 * 60_000  # a degree of the earth's turning
    assert energy_j(sun, sunrise_ms - 4 * MS_PER_HOUR, sunrise_ms - margin_ms) == 0
    assert energy_j(sun, sunrise_ms, sunrise_ms + margin_ms) > 0
    assert energy_j(sun, sunset_ms - margin_ms, sunset_ms) > 0
    assert energy_j(sun, sunset_ms + margin_ms, sunset_ms + 4 * MS_PER_HOUR) == 0


def test_the_sun_does_not_set_at_the_summer_pole_nor_rise_at_the_other() -> None:
    day = (NOON_UTC_MS - DAY_MS // 2, NOON_UTC_MS + DAY_MS // 2)
    expected_j = 1000 * 86_400 * math.sin(math.radians(23.44))
    assert energy_j(Solar(1000, 1000, 0, 900, 0), *day) == pytest.approx(expected_j, rel=1e-3)
    assert energy_j(Solar(1000, 1000, 0, -900, 0), *day) == 0


def test_wind_is_seeded_and_never_still() -> None:
    hours_ms = [NOON_UTC_MS + hour * MS_PER_HOUR for hour in range(24 * 14)]
    first, same, other = ([energy_j(Wind(1000, s), t, t + MS_PER_HOUR) for t in hours_ms] for s in (1, 1, 2))
    assert first == same != other
    assert min(first) >= 40 * 3600
    assert max(first) <= 660 * 3600
    assert max(abs(b - a) for a, b in pairwise(first)) < 100 * 3600


@pytest.mark.parametrize("seed", range(20))
def test_what_a_sunny_curve_yields_is_never_void_by_the_sun(seed: int) -> None:
    chance = random.Random(seed)
    latitude, longitude = chance.randint(-700, 700), chance.randint(-1800, 1800)
    curve = Solar(1000, 670, 0, latitude, longitude)
    for _ in range(300):
        start_ms = chance.randrange(1_577_836_800_000, 1_893_456_000_000)  # 2020 to 2030
        end_ms = start_ms + chance.choice([10_000, 60_000, 900_000, 3_600_000])
        yielded_j = curve.counter_j(end_ms) - curve.counter_j(start_ms)
        assert interval_fault(yielded_j, 1000, start_ms, end_ms, latitude, longitude) is None
