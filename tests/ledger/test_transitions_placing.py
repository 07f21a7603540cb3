"""The numbered checks of awards, leases and revocations: each broken, and each just kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ledger.state import JobStatus, PlacementStatus
from ledger.transitions import pool_allows
from protocol.bodies import BODIES
from protocol.envelope import Entry
from protocol.messages import Mode
from tests.builders import FIRST_SLOT, SLOT_MS, offer

from .scenes import (
    OTHER,
    OWNER,
    PROVIDER,
    Awarded,
    Bidding,
    Leased,
    assert_valid,
    assert_void,
    awarded,
    bidding,
    delivered,
    leased,
)

# --- award ------------------------------------------------------------------------------------------------------------


def test_void_award_check_1_job_is_not_referred_to() -> None:
    s = awarded()
    body = BODIES["award"].model_validate(s.award.body)
    assert_void(s.history, s.history.append(OWNER, body, s.bid.id), 1, "is not among the entry's")


def test_void_award_check_1_of_anothers_job() -> None:
    s = bidding()
    stolen = s.history.award(s.job, s.history.placement(s.bid), author=PROVIDER)
    assert_void(s.history, stolen, 1, "is not the job's owner")


def test_void_award_check_1_job_is_closed() -> None:
    s = bidding()
    s.history.closure(s.job)
    assert_void(s.history, s.history.award(s.job, s.history.placement(s.bid)), 1, "is done, it must be open or running")


def test_void_award_check_2_shard_does_not_exist() -> None:
    s = bidding(shards=2)
    assert_void(
        s.history, s.history.award(s.job, s.history.placement(s.bid, shard=2)), 2, "shard 2 is none of the job's 0 to 1"
    )


def test_void_award_check_2_shard_placed_twice_in_one_award() -> None:
    s = bidding()
    placement = s.history.placement(s.bid)
    assert_void(s.history, s.history.award(s.job, placement, placement), 2, "shard 0 is placed already")


def test_void_award_check_2_shard_placed_twice_by_two_awards() -> None:
    s = awarded()
    assert_void(s.history, s.history.award(s.job, s.history.placement(s.bid)), 2, "shard 0 is placed already")


def test_valid_award_check_2_shard_placed_anew_after_a_revocation() -> None:
    s = awarded()
    s.history.revocation(s.award)
    assert_valid(s.history, s.history.award(s.job, s.history.placement(s.bid)))


def test_void_award_check_3_bid_is_not_referred_to() -> None:
    s = awarded()
    body = BODIES["award"].model_validate(s.award.body)
    s.history.revocation(s.award)
    assert_void(s.history, s.history.append(OWNER, body, s.job.id), 3, "is not among the entry's")


def test_void_award_check_3_bid_is_void() -> None:
    s = bidding()
    void = s.history.bid(OTHER, s.job, offer=s.offer.id)
    assert_void(s.history, s.history.award(s.job, s.history.placement(void)), 3, "void or of another kind")


def test_void_award_check_3_bid_is_for_another_job() -> None:
    s = bidding()
    other_job = s.history.job(OWNER)
    assert_void(
        s.history,
        s.history.award(other_job, s.history.placement(s.bid)),
        3,
        f"is for job {s.job.id.hex()[:8]}, not {other_job.id.hex()[:8]}",
    )


def test_void_award_check_3_bid_is_another_providers() -> None:
    s = bidding()
    placement = s.history.placement(s.bid, provider=OTHER.public)
    assert_void(s.history, s.history.award(s.job, placement), 3, "is not the bid's")


def test_void_award_check_4_price_above_the_cap() -> None:
    s = bidding(price_max_microcredits_per_unit_hour=199_999)
    placement = s.history.placement(s.bid)
    assert_void(
        s.history,
        s.history.award(s.job, placement),
        4,
        "price_microcredits_per_unit_hour 200000 exceeds the job's cap 199999",
    )


def test_void_award_check_4_price_below_the_bid() -> None:
    s = bidding()
    placement = s.history.placement(s.bid, price_microcredits_per_unit_hour=199_999)
    award = s.history.award(s.job, placement)
    assert_void(s.history, award, 4, "price_microcredits_per_unit_hour 199999 is below the bid's 200000")


def test_valid_award_check_4_price_above_the_bid_and_at_the_cap() -> None:
    s = bidding(price_max_microcredits_per_unit_hour=200_001)
    placement = s.history.placement(s.bid, price_microcredits_per_unit_hour=200_001)
    assert_valid(s.history, s.history.award(s.job, placement))


def test_valid_award_check_4_price_at_the_cap() -> None:
    s = bidding(price_max_microcredits_per_unit_hour=200_000)
    assert_valid(s.history, s.history.award(s.job, s.history.placement(s.bid)))


@pytest.mark.parametrize(("first_slot", "slots"), [(FIRST_SLOT - 1, 3), (FIRST_SLOT + 8, 3), (FIRST_SLOT, 11)])
def test_void_award_check_5_slots_leave_the_jobs_window(first_slot: int, slots: int) -> None:
    s = bidding()
    award = s.history.award(s.job, s.history.placement(s.bid, first_slot=first_slot, slots=slots))
    assert_void(s.history, award, 5, f"slot) ({first_slot}, {first_slot + slots}) leave the job's window (100, 110)")


@pytest.mark.parametrize(("first_slot", "slots"), [(FIRST_SLOT, 3), (FIRST_SLOT + 7, 3), (FIRST_SLOT, 10)])
def test_valid_award_check_5_slots_touch_the_windows_ends(first_slot: int, slots: int) -> None:
    s = bidding()
    assert_valid(s.history, s.history.award(s.job, s.history.placement(s.bid, first_slot=first_slot, slots=slots)))


def test_valid_award_check_1_to_7_as_was_bid() -> None:
    s = bidding()
    placements = (s.history.placement(s.bid), s.history.placement(s.bid, shard=1))
    award = s.history.award(s.job, *placements)
    assert_valid(s.history, award)
    assert {p.placement for p in s.history.state.jobs[s.job.id].live().values()} == set(placements)


# Mode of the job, its tenant, the provider's tenant, and whether the one may run on the other.
POOLS: list[tuple[Mode, str, str, bool]] = [
    ("open", "", "", True),
    ("open", "lab", "", True),
    ("open", "lab", "lab", False),
    ("open", "", "lab", False),
    ("closed", "lab", "lab", True),
    ("closed", "lab", "", False),
    ("closed", "lab", "other", False),
    ("closed", "", "", False),
    ("hybrid", "lab", "lab", True),
    ("hybrid", "lab", "", True),
    ("hybrid", "lab", "other", False),
    ("hybrid", "", "lab", False),
]


@pytest.mark.parametrize(("mode", "job_tenant", "provider_tenant", "allowed"), POOLS)
def test_award_check_6_mode_and_tenants_decide_who_may_run_a_job(
    mode: Mode, job_tenant: str, provider_tenant: str, allowed: bool
) -> None:
    assert pool_allows(mode, job_tenant, provider_tenant) is allowed
    s = bidding(offer={"tenant": provider_tenant}, mode=mode, tenant=job_tenant)
    award = s.history.award(s.job, s.history.placement(s.bid))
    if allowed:
        assert_valid(s.history, award)
    else:
        assert_void(s.history, award, 6, f"mode {mode} excludes tenant {provider_tenant!r}")


def test_void_award_check_6_pool_excluded_by_the_mode() -> None:
    s = bidding(mode="closed", tenant="lab")
    assert_void(s.history, s.history.award(s.job, s.history.placement(s.bid)), 6, "mode closed excludes tenant ''")


def another_bids(s: Bidding, **offered: Any) -> Entry:
    s.history.offer(OTHER, **offered)
    return s.history.bid(OTHER, s.job)


def test_void_award_check_7_like_is_not_paid_alike() -> None:
    s = bidding()
    dearer = s.history.placement(another_bids(s), shard=1, price_microcredits_per_unit_hour=200_001)
    award = s.history.award(s.job, s.history.placement(s.bid), dearer)
    assert_void(s.history, award, 7, "price_microcredits_per_unit_hour 200001 beside 200000 for the like of it")


@pytest.mark.parametrize(
    ("offered", "placed"),
    [
        ({"place": offer().place.model_copy(update={"zone": "PL"})}, {}),
        ({"device": "another"}, {}),
        ({}, {"first_slot": FIRST_SLOT + 1}),
        ({}, {"slots": 4}),
    ],
    ids=["zone", "device", "start", "length"],
)
def test_valid_award_check_7_unlike_in(offered: dict[str, Any], placed: dict[str, Any]) -> None:
    s = bidding()
    dearer = s.history.placement(
        another_bids(s, **offered), shard=1, price_microcredits_per_unit_hour=200_001, **placed
    )
    assert_valid(s.history, s.history.award(s.job, s.history.placement(s.bid), dearer))


def test_valid_award_check_7_a_later_award_has_its_own_price() -> None:
    s = awarded()
    dearer = s.history.placement(another_bids(s), shard=1, price_microcredits_per_unit_hour=200_001)
    assert_valid(s.history, s.history.award(s.job, dearer))


def test_a_void_award_places_none_of_its_shards() -> None:
    s = bidding()
    good, bad = s.history.placement(s.bid), s.history.placement(s.bid, shard=1, slots=200)
    assert_void(s.history, s.history.award(s.job, good, bad), 5)
    assert s.history.state.placements == {}
    assert s.history.state.jobs[s.job.id].live() == {}


def test_a_job_runs_once_every_shard_is_placed() -> None:
    s = bidding(shards=2)
    record = s.history.state.jobs[s.job.id]
    statuses = [record.status]
    s.history.award(s.job, s.history.placement(s.bid))
    statuses.append(record.status)
    award = s.history.award(s.job, s.history.placement(s.bid, shard=1))
    statuses.append(record.status)
    s.history.revocation(award, 1)
    statuses.append(record.status)
    assert statuses == [JobStatus.OPEN, JobStatus.OPEN, JobStatus.RUNNING, JobStatus.OPEN]


# --- lease ------------------------------------------------------------------------------------------------------------


def test_void_lease_check_1_award_is_not_referred_to() -> None:
    s = leased()
    body = BODIES["lease"].model_validate(s.lease.body)
    assert_void(s.history, s.history.append(PROVIDER, body, s.offer.id), 1, "is not among the entry's")


def test_void_lease_check_1_award_does_not_place_this_shard() -> None:
    s = awarded()
    body = BODIES["lease"].model_validate({**leased().lease.body, "award": s.award.id, "shard": 1})
    void = s.history.append(PROVIDER, body, s.award.id, s.offer.id)
    assert_void(s.history, void, 1, "does not place shard 1")


def test_void_lease_check_1_shard_is_placed_on_another_provider() -> None:
    s = awarded()
    s.history.offer(OTHER)
    assert_void(s.history, s.history.lease(s.award, author=OTHER), 1, "is not the placement's provider")


def test_void_lease_check_2_placement_has_its_lease_already() -> None:
    s = leased()
    assert_void(s.history, s.history.lease(s.award), 2, "has its lease already")


@pytest.mark.parametrize("changes", [{"first_slot": FIRST_SLOT + 1}, {"slots": 2}, {"units": 1}, {"units": 3}])
def test_void_lease_check_3_differs_from_the_award(changes: dict[str, Any]) -> None:
    s = awarded()
    assert_void(s.history, s.history.lease(s.award, **changes), 3, "differ from the award's (100, 3, 2)")


def test_void_lease_check_4_offer_is_not_the_latest() -> None:
    s = awarded()
    s.history.offer(PROVIDER)
    assert_void(s.history, s.history.lease(s.award, offer=s.offer.id), 4, "not the author's latest")


def test_void_lease_check_4_offer_is_not_referred_to() -> None:
    s = awarded()
    body = BODIES["lease"].model_validate({**leased().lease.body, "award": s.award.id, "offer": s.offer.id})
    assert_void(s.history, s.history.append(PROVIDER, body, s.award.id), 4, "is not among the entry's")


def test_valid_lease_check_1_to_4_as_awarded_under_the_latest_offer() -> None:
    s = leased()
    assert_valid(s.history, s.lease)
    assert s.history.state.placements[s.award.id, 0].status is PlacementStatus.LEASED


def two_shards(units: int, second_first_slot: int = FIRST_SLOT) -> Leased:
    """Two shards of two units each on a provider of so many; the first is leased."""
    s = bidding(offer={"units": units})
    later = s.history.placement(s.bid, shard=1, first_slot=second_first_slot)
    award = s.history.award(s.job, s.history.placement(s.bid), later)
    return Leased(s.history, s.offer, s.job, s.bid, award, s.history.lease(award, 0))


def test_void_lease_check_5_oversells_a_slot() -> None:
    s = two_shards(3)
    assert_void(s.history, s.history.lease(s.award, 1), 5, "units 2 would bind 4 of 3 in slot 100")


def test_void_lease_check_5_oversells_the_last_slot_only() -> None:
    s = two_shards(3, FIRST_SLOT + 2)
    assert_void(s.history, s.history.lease(s.award, 1), 5, "units 2 would bind 4 of 3 in slot 102")


def test_valid_lease_check_5_fills_a_slot_or_follows_in_the_next() -> None:
    for s in (two_shards(4), two_shards(2, FIRST_SLOT + 3)):
        assert_valid(s.history, s.history.lease(s.award, 1))


def test_valid_lease_check_5_capacity_is_free_again_after_the_final_receipt() -> None:
    s = two_shards(2, FIRST_SLOT + 2)
    s.history.now_ms += 2 * SLOT_MS
    s.history.receipt(s.lease)
    assert_valid(s.history, s.history.lease(s.award, 1))


def test_void_lease_check_5_a_smaller_offer_does_not_unbind_what_is_leased() -> None:
    s = two_shards(4)
    s.history.offer(PROVIDER, units=3)
    assert_void(s.history, s.history.lease(s.award, 1), 5, "units 2 would bind 4 of 3 in slot 100")


def test_a_lease_of_a_revoked_placement_binds_capacity_and_revives_nothing() -> None:
    s = awarded()
    s.history.revocation(s.award)
    assert_valid(s.history, s.history.lease(s.award))
    assert s.history.state.placements[s.award.id, 0].status is PlacementStatus.REVOKED
    assert s.history.state.units_leased(PROVIDER.public, FIRST_SLOT) == 2


# --- revocation -------------------------------------------------------------------------------------------------------


def test_void_revocation_check_1_award_is_not_referred_to() -> None:
    s = awarded()
    body = BODIES["revocation"].model_validate(
        {"award": s.award.id, "shard": 0, "reason": "", "energy_j": 0, "carbon_ug": 0}
    )
    assert_void(s.history, s.history.append(OWNER, body), 1, "is not among the entry's")


def test_void_revocation_check_1_award_is_not_the_authors() -> None:
    s = awarded()
    assert_void(s.history, s.history.revocation(s.award, author=PROVIDER), 1, "is not the job's owner")


def test_void_revocation_check_1_shard_is_not_placed() -> None:
    s = awarded()
    assert_void(s.history, s.history.revocation(s.award, 1), 1, "does not place shard 1")


def test_void_revocation_check_2_revoked_before() -> None:
    s = awarded()
    s.history.revocation(s.award)
    assert_void(s.history, s.history.revocation(s.award), 2, "shard 0 is revoked, it must not be over")


def test_void_revocation_check_2_settled_before() -> None:
    s = delivered()
    s.history.settlement(s.receipt)
    assert_void(s.history, s.history.revocation(s.award), 2, "shard 0 is settled, it must not be over")


@pytest.mark.parametrize("scene", [awarded, leased, delivered])
def test_valid_revocation_check_1_and_2_until_it_is_settled(scene: Callable[[], Awarded]) -> None:
    s = scene()
    assert_valid(s.history, s.history.revocation(s.award))
    placed = s.history.state.placements[s.award.id, 0]
    assert placed.status is PlacementStatus.REVOKED
    assert (placed.revocation_reason, placed.lost_energy_j, placed.lost_carbon_ug) == ("unreachable", 500, 50_000)
