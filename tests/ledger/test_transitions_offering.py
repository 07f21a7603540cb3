"""The numbered checks of offers, attestations, jobs and bids: each broken, and each just kept."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.bodies import BODIES
from protocol.messages import Place
from protocol.units import MS_PER_HOUR
from tests.builders import NOW_MS, SLOT_MS, History, entry

from .scenes import OTHER, OWNER, PROVIDER, assert_valid, assert_void, bidding

# --- what concerns every kind -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BODIES)
def test_void_body_that_is_not_of_its_kind(kind: str) -> None:
    history = History()
    malformed = entry(PROVIDER, kind=kind, body={"unheard_of": 1})
    history.ledger.extend(malformed, NOW_MS)
    assert_void(history, malformed, 0)


def test_an_unknown_kind_is_seen_and_changes_nothing() -> None:
    history = History()
    unknown = entry(PROVIDER, kind="prophecy", body={"deep": ({"er": None},)})
    assert history.ledger.extend(unknown, NOW_MS) == [unknown]
    assert history.void(unknown) is None
    assert history.ledger.is_judged(unknown.id)


def test_a_void_entry_keeps_its_place_in_the_feed() -> None:
    history = History()
    void = history.offer(PROVIDER, peak_w=1, idle_w=2)
    following = history.offer(PROVIDER)
    assert (following.seq, following.prev) == (1, void.id)
    assert_valid(history, following)


# --- offer ------------------------------------------------------------------------------------------------------------


def test_void_offer_check_1_peak_below_idle() -> None:
    history = History()
    assert_void(history, history.offer(PROVIDER, idle_w=101, peak_w=100), 1, "peak_w 100 is below idle_w 101")
    assert PROVIDER.public not in history.state.offer_of


def test_valid_offer_check_1_peak_equals_idle() -> None:
    history = History()
    assert_valid(history, history.offer(PROVIDER, idle_w=100, peak_w=100))


def test_void_offer_check_2_far_from_its_zone() -> None:
    history = History()
    far = Place(zone="DE", latitude_decidegrees=525, longitude_decidegrees=-134)
    assert_void(history, history.offer(PROVIDER, place=far), 2, "zone DE; the sign of the longitude?")
    assert PROVIDER.public not in history.state.offer_of


def test_valid_offer_check_2_of_a_zone_that_no_map_has() -> None:
    history = History()
    assert_valid(
        history, history.offer(PROVIDER, place=Place(zone="ZZ", latitude_decidegrees=0, longitude_decidegrees=0))
    )


def test_the_latest_offer_counts() -> None:
    history = History()
    history.offer(PROVIDER, units=1)
    latest = history.offer(PROVIDER, units=2)
    assert history.state.offer_of[PROVIDER.public].id == latest.id


# --- attestation ------------------------------------------------------------------------------------------------------


def attest(**changes: Any) -> tuple[History, Any]:
    history = History()
    history.now_ms = 3 * MS_PER_HOUR
    return history, history.attestation(PROVIDER, **changes)


@pytest.mark.parametrize("spans_ms", [0, -1, MS_PER_HOUR + 1])
def test_void_attestation_check_1_spans_nothing_or_more_than_an_hour(spans_ms: int) -> None:
    history, attested = attest(start_ms=MS_PER_HOUR, end_ms=MS_PER_HOUR + spans_ms, energy_j=0)
    assert_void(history, attested, 1, f"end_ms - start_ms is {spans_ms}, 1 to 3600000 are allowed")


@pytest.mark.parametrize("spans_ms", [1, MS_PER_HOUR])
def test_valid_attestation_check_1_spans_a_millisecond_or_an_hour(spans_ms: int) -> None:
    assert_valid(*attest(start_ms=MS_PER_HOUR, end_ms=MS_PER_HOUR + spans_ms, energy_j=0))


def test_void_attestation_check_2_of_the_future() -> None:
    history, attested = attest(start_ms=3 * MS_PER_HOUR - 10, end_ms=3 * MS_PER_HOUR + 1, energy_j=0)
    assert_void(history, attested, 2, "is after it was signed, at")


def test_valid_attestation_check_2_up_to_this_moment() -> None:
    assert_valid(*attest(start_ms=3 * MS_PER_HOUR - 10, end_ms=3 * MS_PER_HOUR, energy_j=0))


def test_void_attestation_check_3_more_energy_than_the_counters_difference() -> None:
    history, attested = attest(energy_j=12_000, meter_start_j=0, meter_end_j=11_999)
    assert_void(history, attested, 3, "energy_j 12000 exceeds the counter's difference 11999")


def test_void_attestation_check_3_counter_runs_backwards_within() -> None:
    history, attested = attest(energy_j=0, meter_start_j=10, meter_end_j=9)
    assert_void(history, attested, 3, "-1")


@pytest.mark.parametrize("own_use_j", [0, 1])
def test_valid_attestation_check_3_the_counters_difference_less_the_sites_own_use(own_use_j: int) -> None:
    assert_valid(*attest(energy_j=12_000, meter_start_j=5, meter_end_j=12_005 + own_use_j))


def test_void_attestation_check_4_more_than_the_source_can_give() -> None:
    history, attested = attest(capacity_w=200, energy_j=12_001)
    assert_void(history, attested, 4, "energy_j 12001 exceeds 12000: 200 W x 60000 ms")


def test_valid_attestation_check_4_all_that_the_source_can_give_rounded_up() -> None:
    assert_valid(*attest(capacity_w=200, energy_j=12_000))
    assert_valid(*attest(capacity_w=1, energy_j=1, start_ms=0, end_ms=1))


def test_void_attestation_check_5_overlaps_the_devices_last() -> None:
    history, first = attest()
    again = history.attestation(PROVIDER, start_ms=first.body["end_ms"] - 1, end_ms=first.body["end_ms"], energy_j=0)
    assert_void(history, again, 5, "is before the device's last ended, at")


def test_void_attestation_check_5_counter_has_gone_back() -> None:
    history, first = attest(meter_start_j=1000)
    history.now_ms += SLOT_MS
    meter_end_j = first.body["meter_end_j"]
    again = history.attestation(PROVIDER, meter_start_j=meter_end_j - 1)
    assert_void(history, again, 5, f"meter_start_j {meter_end_j - 1} is below the device's last, {meter_end_j}")


def test_valid_attestation_check_5_begins_where_the_last_one_ended() -> None:
    history, first = attest()
    history.now_ms += SLOT_MS
    again = history.attestation(PROVIDER, meter_start_j=first.body["meter_end_j"])
    assert_valid(history, again)
    assert again.body["start_ms"] == first.body["end_ms"]


def test_valid_attestation_check_5_another_device_or_author_may_overlap() -> None:
    history, _ = attest(meter_start_j=1000)
    assert_valid(history, history.attestation(PROVIDER, device_id="second inverter"))
    assert_valid(history, history.attestation(OTHER))


def test_valid_attestation_check_5_a_void_one_does_not_count_as_the_last() -> None:
    history, _ = attest(capacity_w=1)
    assert_valid(history, history.attestation(PROVIDER))


def test_void_attestation_check_10_far_from_its_zone() -> None:
    history, a = attest(place=Place(zone="DE", latitude_decidegrees=134, longitude_decidegrees=525))
    assert_void(history, a, 10, "zone DE; are latitude and longitude swapped?")


def test_valid_attestation_check_10_wind_off_its_zones_coast() -> None:
    assert_valid(
        *attest(carrier="wind", place=Place(zone="DE", latitude_decidegrees=545, longitude_decidegrees=64))
    )  # alpha ventus


@pytest.mark.parametrize(("method", "assurance"), [("metered", 1), ("modelled", 0), ("certificate", 0)])
def test_only_what_was_metered_has_assurance_1(method: str, assurance: int) -> None:
    history, attested = attest(method=method)
    assert history.state.attestations[attested.id].assurance == assurance


# --- job --------------------------------------------------------------------------------------------------------------


def test_void_job_check_1_bids_closed_before_it_was_signed() -> None:
    history = History()
    late = history.job(OWNER, bids_close_at_ms=NOW_MS - 1)
    assert_void(history, late, 1, "is before it was signed, at")


def test_valid_job_check_1_bids_close_at_once() -> None:
    history = History()
    assert_valid(history, history.job(OWNER, bids_close_at_ms=NOW_MS))


# --- bid --------------------------------------------------------------------------------------------------------------


def test_void_bid_check_1_job_is_not_referred_to() -> None:
    s = bidding()
    body = BODIES["bid"].model_validate(s.bid.body)
    assert_void(s.history, s.history.append(PROVIDER, body, s.offer.id), 1, "is not among the entry's")


def test_void_bid_check_1_job_is_void() -> None:
    s = bidding()
    late = s.history.job(OWNER, bids_close_at_ms=0)
    assert_void(s.history, s.history.bid(PROVIDER, late), 1, f"job {late.id.hex()[:8]} is void or of another kind")


def test_void_bid_check_1_job_is_no_job() -> None:
    s = bidding()
    assert_void(s.history, s.history.bid(PROVIDER, s.offer), 1, "void or of another kind")


def test_void_bid_check_2_offer_is_not_referred_to() -> None:
    s = bidding()
    body = BODIES["bid"].model_validate(s.bid.body)
    assert_void(s.history, s.history.append(PROVIDER, body, s.job.id), 2, "is not among the entry's")


def test_void_bid_check_2_offer_is_another_providers() -> None:
    s = bidding()
    foreign = s.history.offer(OTHER)
    assert_void(s.history, s.history.bid(PROVIDER, s.job, offer=foreign.id), 2, "is not the author's latest")
    assert_void(s.history, s.history.bid(OWNER, s.job, offer=foreign.id), 2, "is not the author's latest")


def test_void_bid_check_2_offer_is_not_the_latest() -> None:
    s = bidding()
    s.history.offer(PROVIDER)
    assert_void(s.history, s.history.bid(PROVIDER, s.job, offer=s.offer.id), 2, "is not the author's latest")


def test_valid_bid_check_1_and_2_job_and_latest_offer() -> None:
    s = bidding()
    assert_valid(s.history, s.bid)
    s.history.offer(PROVIDER)
    assert_valid(s.history, s.history.bid(PROVIDER, s.job))


def test_a_later_bid_replaces_the_earlier_and_both_may_be_awarded() -> None:
    s = bidding()
    later = s.history.bid(PROVIDER, s.job)
    assert s.history.state.jobs[s.job.id].bids[PROVIDER.public].id == later.id
    assert {s.bid.id, later.id} <= s.history.state.bids.keys()
