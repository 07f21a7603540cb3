"""The checks of attestations by the sun: each broken, and each just kept."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.transitions import ATTESTATION_MAX_MS
from protocol.envelope import Entry
from protocol.units import MS_PER_HOUR
from tests.builders import NOW_MS, SLOT_MS, History
from tests.devices import panels

from .scenes import PROVIDER, assert_valid, assert_void

MORNING_MS = 17 * MS_PER_HOUR // 2  # of the first of January 1970: the sun is 6.8 degrees high in Berlin
TWILIGHT_J = 150  # half a percent of 500 W in a minute
CLEAR_SKY_J = 23_019  # 500 W in that minute, under a clear sky
SOUTH_J = 16_008  # on a plane of 30 degrees that looks south


def history_at(now_ms: int) -> History:
    history = History()
    history.now_ms = now_ms
    return history


def yielded(history: History, energy_j: int, **changes: Any) -> Entry:
    """By half a kilowatt of panels in Berlin, in the minute that has just ended."""
    times = {"start_ms": history.now_ms - SLOT_MS, "end_ms": history.now_ms}
    return history.attestation(PROVIDER, **times | {"carrier": "solar", "energy_j": energy_j} | changes)


def test_void_attestation_check_11_sun_at_night() -> None:
    history = history_at(NOW_MS)
    complaint = (
        f"energy_j {TWILIGHT_J + 1} exceeds {TWILIGHT_J}: the sun stays below -1 degree"
        " at latitude 525 and longitude 134 decidegrees (is the clock or the place wrong?)"
    )
    assert_void(history, yielded(history, TWILIGHT_J + 1), 11, complaint)


def test_valid_attestation_check_11_what_a_meter_says_at_night_for_nothing() -> None:
    history = history_at(NOW_MS)
    assert_valid(history, yielded(history, TWILIGHT_J))


@pytest.mark.parametrize("carrier", ["wind", "hydro"])
def test_valid_attestation_check_11_other_sources_know_no_night(carrier: str) -> None:
    history = history_at(NOW_MS)
    assert_valid(history, yielded(history, 30_000, carrier=carrier))


def test_void_attestation_check_12_more_than_a_clear_sky_gives() -> None:
    history = history_at(MORNING_MS)
    complaint = f"exceeds {CLEAR_SKY_J}, all that 500 W yield under a clear sky"
    assert_void(history, yielded(history, CLEAR_SKY_J + 1), 12, complaint)


def test_valid_attestation_check_12_all_that_a_clear_sky_gives() -> None:
    history = history_at(MORNING_MS)
    assert_valid(history, yielded(history, CLEAR_SKY_J))


def test_void_attestation_check_12_more_than_the_declared_plane_yields() -> None:
    history = history_at(MORNING_MS)
    history.append(PROVIDER, panels())
    assert_void(history, yielded(history, SOUTH_J + 1), 12, f"exceeds {SOUTH_J}")


def test_valid_attestation_check_12_all_that_the_declared_plane_yields() -> None:
    history = history_at(MORNING_MS)
    history.append(PROVIDER, panels())
    assert_valid(history, yielded(history, SOUTH_J))


def test_void_attestation_check_12_an_hour_that_ends_as_bright_was_not_so_bright_all_the_time() -> None:
    history = history_at(MORNING_MS)
    hour = {"start_ms": MORNING_MS - ATTESTATION_MAX_MS, "end_ms": MORNING_MS}
    assert_void(history, yielded(history, 1_174_561, **hour), 12, "exceeds 1174560")
    assert_valid(history, yielded(history, 1_174_560, **hour))
