"""No kilowatt-hour twice: what two owners claim of one device is found, in whichever spelling and time zone."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.doubles import described, doubles
from protocol.units import MS_PER_HOUR
from tests.builders import SLOT_MS, History

from .scenes import OTHER, OWNER, PROVIDER

DEVICE = "mastr:SEE900000000001"


def claimed(*claims: tuple[Any, dict[str, Any]]) -> History:
    history = History()
    history.now_ms = 30 * MS_PER_HOUR
    for owner, changes in claims:
        history.attestation(owner, **{"device_id": DEVICE} | changes)
    assert not history.state.voids
    return history


def reasons(history: History) -> list[str]:
    return [described(double) for double in doubles(history.state)]


def test_two_owners_claim_the_same_minute_of_a_device_in_two_spellings() -> None:
    history = claimed((PROVIDER, {}), (OTHER, {"device_id": "Marktstammdatenregister: SEE-9000 0000 0001"}))
    (found,) = reasons(history)
    assert "claims in attestation" in found
    assert "device 'mastr:see900000000001'" in found
    assert "a clock wrong?" in found


def test_owners_whose_intervals_only_touch_claim_different_joules() -> None:
    later = {"start_ms": 30 * MS_PER_HOUR - SLOT_MS, "meter_start_j": 12_000}
    earlier = {"start_ms": 30 * MS_PER_HOUR - 2 * SLOT_MS, "end_ms": 30 * MS_PER_HOUR - SLOT_MS}
    assert doubles(claimed((PROVIDER, earlier), (OTHER, later)).state) == []


@pytest.mark.parametrize("hours", [1, 2, 11])
def test_the_same_joules_claimed_in_another_time_zone(hours: int) -> None:
    shifted = {"start_ms": (30 - hours) * MS_PER_HOUR - SLOT_MS, "end_ms": (30 - hours) * MS_PER_HOUR}
    history = claimed((PROVIDER, {"meter_start_j": 5000}), (OTHER, {"meter_start_j": 5000} | shifted))
    (found,) = reasons(history)
    assert f"is a clock {hours} h off, or local time?" in found
    assert "counter up to 17000 J and from 5000 J" in found


def test_a_counter_that_begins_anew_is_asked_whether_the_meter_was_replaced() -> None:
    old = {"start_ms": 2 * MS_PER_HOUR, "end_ms": 2 * MS_PER_HOUR + SLOT_MS}
    (found,) = reasons(claimed((PROVIDER, old), (OTHER, {})))
    assert "was the meter replaced?" in found


def test_names_without_a_registry_say_nothing_about_other_owners() -> None:
    assert doubles(claimed((PROVIDER, {"device_id": "meter"}), (OTHER, {"device_id": "meter"})).state) == []


def test_a_short_claim_within_a_long_one_does_not_hide_the_next() -> None:
    hour = 30 * MS_PER_HOUR
    history = claimed(
        (PROVIDER, {"start_ms": hour - MS_PER_HOUR, "end_ms": hour, "energy_j": 0}),
        (OTHER, {"start_ms": hour - 20 * SLOT_MS, "end_ms": hour - 19 * SLOT_MS, "energy_j": 0}),
        (OWNER, {"start_ms": hour - 10 * SLOT_MS, "end_ms": hour - 9 * SLOT_MS, "energy_j": 0}),
    )
    assert [(d.first.author, d.second.author) for d in doubles(history.state)] == [
        (PROVIDER.public, OTHER.public),
        (PROVIDER.public, OWNER.public),
    ]


def test_what_others_claim_makes_no_entry_void() -> None:
    history = claimed((PROVIDER, {}), (OTHER, {}))
    assert history.broken == []
