"""Facts of the sun that no formula may miss."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from node.energy.forecast.clear_sky import clear_sky_w_per_m2
from protocol.messages import Place


def day(latitude: float, longitude: float, *date: int) -> list[float]:
    first_hour = int(datetime(*date, tzinfo=UTC).timestamp()) // 3600  # type: ignore[arg-type,misc]
    place = Place(zone="ES", latitude_decidegrees=round(latitude * 10), longitude_decidegrees=round(longitude * 10))
    return [float(value) for value in clear_sky_w_per_m2(place, first_hour, 24)]


def test_noon_at_the_equator_at_equinox_is_what_the_formula_says_of_a_sun_overhead() -> None:
    assert max(day(0, 0, 2026, 3, 20)) == pytest.approx(1098 * np.exp(-0.059), rel=0.02)


@pytest.mark.parametrize(("longitude", "noon_utc"), [(7.5, 11), (-105.2, 19), (151.2, 1)])
def test_the_brightest_hour_is_local_noon_in_utc(longitude: float, noon_utc: int) -> None:
    assert abs(int(np.argmax(day(39.7, longitude, 2026, 10, 5))) - noon_utc) <= 1


def test_the_polar_night_is_dark_and_the_polar_day_has_no_night() -> None:
    assert max(day(78.2, 15.6, 2026, 12, 21)) < 1
    assert min(day(78.2, 15.6, 2026, 6, 21)) > 50


def test_june_is_winter_in_the_south() -> None:
    assert sum(day(-33.9, 151.2, 2026, 6, 21)) < 0.55 * sum(day(-33.9, 151.2, 2026, 12, 21))
