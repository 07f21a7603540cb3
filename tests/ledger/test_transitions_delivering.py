"""The numbered checks of receipts, settlements and closures: each broken, and each just kept."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.state import JobStatus, PlacementStatus
from protocol.bodies import BODIES
from tests.builders import FIRST_SLOT, SLOT_MS, History, digest, slot_energy, training

from .scenes import (
    DUE_MICROCREDITS,
    OTHER,
    OWNER,
    PROVIDER,
    Attested,
    assert_valid,
    assert_void,
    attested,
    bidding,
    delivered,
    leased,
)

# --- receipt ----------------------------------------------------------------------------------------------------------


def test_void_receipt_check_1_lease_is_not_referred_to() -> None:
    s = delivered()
    body = BODIES["receipt"].model_validate(s.receipt.body)
    assert_void(s.history, s.history.append(PROVIDER, body), 1, "is not among the entry's")


def test_void_receipt_check_1_lease_is_anothers() -> None:
    s = leased()
    assert_void(s.history, s.history.receipt(s.lease, author=OTHER), 1, "is not the lease's provider")


def test_void_receipt_check_1_after_the_final_one() -> None:
    s = delivered()
    assert_void(s.history, s.history.receipt(s.lease), 1, "has its final receipt already")


@pytest.mark.parametrize("first_round", [0, 1, 3])
def test_void_receipt_check_2_gap_or_repetition_of_rounds(first_round: int) -> None:
    s = leased()
    s.history.receipt(s.lease, final=False)
    void = s.history.receipt(s.lease, first_round=first_round)
    assert_void(s.history, void, 2, f"first_round {first_round}, expected 2")


def test_valid_receipt_check_1_and_2_continues_the_last() -> None:
    s = leased()
    for _ in range(2):
        assert_valid(s.history, s.history.receipt(s.lease, final=False))
    last = s.history.receipt(s.lease, deltas=())
    assert_valid(s.history, last)
    assert last.body["first_round"] == 4


def test_valid_receipt_check_2_the_first_begins_where_a_lost_shard_was_left() -> None:
    s = leased()
    assert_valid(s.history, s.history.receipt(s.lease, first_round=17))


@pytest.mark.parametrize("slot", [FIRST_SLOT - 1, FIRST_SLOT + 3])
def test_void_receipt_check_3_slot_outside_the_lease(slot: int) -> None:
    s = leased()
    void = s.history.receipt(s.lease, slot_energy(slot=slot))
    assert_void(s.history, void, 3, f"slot {slot} is outside the lease's 100 to 102")


def test_valid_receipt_check_3_first_and_last_slot_of_the_lease() -> None:
    s = leased()
    rows = (slot_energy(slot=FIRST_SLOT), slot_energy(slot=FIRST_SLOT + 2))
    assert_valid(s.history, s.history.receipt(s.lease, *rows))


@pytest.mark.parametrize("off_by", [-1, 1])
def test_void_receipt_check_4_carbon_does_not_follow(off_by: int) -> None:
    s = leased()
    true_ug = slot_energy().carbon_ug
    void = s.history.receipt(s.lease, slot_energy(carbon_ug=true_ug + off_by))
    assert_void(s.history, void, 4, f"carbon_ug {true_ug + off_by} in slot 100 is not the {true_ug} that follow")


def test_void_receipt_check_4_more_surplus_than_energy() -> None:
    s = attested()
    row = slot_energy(energy_j=10, surplus_j=11, attestation=s.attestation.id)
    assert_void(s.history, s.history.receipt(s.lease, row), 4, "surplus_j 11 exceeds energy_j 10")


def test_valid_receipt_check_4_carbon_follows() -> None:
    s = leased()
    assert_valid(s.history, s.history.receipt(s.lease, slot_energy(energy_j=1, embodied_ug=7), busy_ms=0))


def claim(s: Attested, **changes: Any) -> Any:
    return slot_energy(**{"surplus_j": 6000, "attestation": s.attestation.id} | changes)


def test_void_receipt_check_5_attestation_is_not_referred_to() -> None:
    s = attested()
    good = s.history.receipt(s.lease, claim(s), final=False)
    body = BODIES["receipt"].model_validate({**good.body, "first_round": 2})
    assert_void(s.history, s.history.append(PROVIDER, body, s.lease.id), 5, "is not among the entry's")


def test_void_receipt_check_5_attestation_is_void() -> None:
    s = attested(capacity_w=1)
    assert_void(s.history, s.history.receipt(s.lease, claim(s)), 5, "is void or of another kind")


def test_void_receipt_check_5_attestation_is_another_peers() -> None:
    s = attested()
    foreign = s.history.attestation(OTHER)
    void = s.history.receipt(s.lease, claim(s, attestation=foreign.id))
    assert_void(s.history, void, 5, "is not the attestation's author")


@pytest.mark.parametrize("slot", [FIRST_SLOT + 1, FIRST_SLOT + 2])
def test_void_receipt_check_5_attestation_does_not_cover_the_slot(slot: int) -> None:
    s = attested()
    assert_void(
        s.history,
        s.history.receipt(s.lease, claim(s, slot=slot)),
        5,
        f"slot {slot} is outside the attestation's 100 to 100",
    )


@pytest.mark.parametrize("change", [{"own_g_per_kwh": 35}, {"grid_g_per_kwh": 359}])
def test_void_receipt_check_5_intensities_are_not_the_attestations(change: dict[str, int]) -> None:
    s = attested()
    void = s.history.receipt(s.lease, claim(s, **change))
    assert_void(s.history, void, 5, "in slot 100 are not the attestation's (36, 360)")


def test_void_receipt_check_5_assurance_below_what_the_network_accepts() -> None:
    s = attested(method="modelled")
    assert_void(s.history, s.history.receipt(s.lease, claim(s)), 5, "assurance A0 is below A1")


def test_void_receipt_check_5_the_grid_figure_of_an_attestation_below_what_the_network_accepts() -> None:
    s = attested(method="modelled")
    assert_void(s.history, s.history.receipt(s.lease, claim(s, surplus_j=0)), 5, "assurance A0 is below A1")


def test_void_receipt_check_5_claims_more_than_is_left_by_an_earlier_receipt() -> None:
    s = attested()
    s.history.receipt(s.lease, claim(s), final=False)
    void = s.history.receipt(s.lease, claim(s, energy_j=6001, surplus_j=6001))
    assert_void(s.history, void, 5, "surplus_j 6001 in all exceeds the 6000 J that are left")


def test_void_receipt_check_5_claims_more_than_is_left_within_one_receipt() -> None:
    s = attested()
    rows = (claim(s), claim(s), claim(s, energy_j=1, surplus_j=1))
    assert_void(
        s.history, s.history.receipt(s.lease, *rows), 5, "surplus_j 12001 in all exceeds the 12000 J that are left"
    )


def test_a_void_receipt_claims_nothing() -> None:
    s = attested()
    s.history.receipt(s.lease, claim(s), slot_energy(slot=FIRST_SLOT + 3))
    assert s.history.state.attestations[s.attestation.id].remaining_j == 12_000
    assert s.history.state.leases[s.lease.id].receipts == []


def test_valid_receipt_check_5_claims_all_that_was_attested() -> None:
    s = attested()
    assert_valid(s.history, s.history.receipt(s.lease, claim(s), claim(s)))
    assert s.history.state.attestations[s.attestation.id].remaining_j == 0


def test_valid_receipt_check_5_attestation_touches_the_slot() -> None:
    s = attested(start_ms=(FIRST_SLOT + 1) * SLOT_MS - 1, end_ms=(FIRST_SLOT + 1) * SLOT_MS, energy_j=0)
    assert_valid(s.history, s.history.receipt(s.lease, claim(s, surplus_j=0)))


def test_void_receipt_check_6_surplus_without_an_attestation() -> None:
    s = leased()
    void = s.history.receipt(s.lease, slot_energy(surplus_j=1))
    assert_void(s.history, void, 6, "surplus_j 1 in slot 100 exceeds 0 without an attestation")


def test_void_receipt_check_6_grid_cleaner_than_the_bids_dirtiest_slot() -> None:
    s = leased()
    void = s.history.receipt(s.lease, slot_energy(grid_g_per_kwh=359))
    assert_void(s.history, void, 6, "grid_g_per_kwh 359 is below the bid's 360")


@pytest.mark.parametrize("grid_g_per_kwh", [360, 900])
def test_valid_receipt_check_6_grid_as_dirty_as_the_bid_said_or_dirtier(grid_g_per_kwh: int) -> None:
    s = leased()
    assert_valid(s.history, s.history.receipt(s.lease, slot_energy(grid_g_per_kwh=grid_g_per_kwh)))


@pytest.mark.parametrize("earlier_ms", [0, SLOT_MS])
def test_void_receipt_check_7_more_time_than_the_lease_binds(earlier_ms: int) -> None:
    s = leased()
    s.history.receipt(s.lease, busy_ms=earlier_ms, final=False)
    row = slot_energy(energy_j=50_000)
    void = s.history.receipt(s.lease, row, busy_ms=3 * SLOT_MS - earlier_ms + 1)
    assert_void(s.history, void, 7, "busy_ms 180001 in all exceeds the 180000 ms that the lease binds")


def test_void_receipt_check_7_less_energy_than_idle_units_draw() -> None:
    s = leased()
    void = s.history.receipt(s.lease, slot_energy(energy_j=1199), slot_energy(energy_j=1200))
    assert_void(s.history, void, 7, "energy_j 2399 in all is below 2400: idle units in 60000 ms")


def test_void_receipt_check_7_less_of_the_making_than_falls_into_the_time() -> None:
    s = leased()
    void = s.history.receipt(s.lease, slot_energy(embodied_ug=9_999), slot_energy(embodied_ug=10_000))
    assert_void(s.history, void, 7, "embodied_ug 19999 in all is below 20000: 2 units in 60000 ms")


def test_valid_receipt_check_7_all_of_the_leased_time_at_idle_power() -> None:
    s = leased()
    row = slot_energy(energy_j=3 * 2400, embodied_ug=3 * 20_000)
    assert_valid(s.history, s.history.receipt(s.lease, row, busy_ms=3 * SLOT_MS))


LEAST_BYTES = 2 * training().model.parameters  # of the two deltas of a receipt, int8
TRANSFER_UG = 100  # 13,408 bytes at 27 kJ/GB are 0.36 J, rounded up to 1; 360 g/kWh are 100 µg/J


def test_void_receipt_check_8_deltas_weigh_more_than_was_moved() -> None:
    s = leased()
    void = s.history.receipt(s.lease, moved_bytes=LEAST_BYTES - 1)
    assert_void(s.history, void, 8, f"moved_bytes {LEAST_BYTES - 1} is below {LEAST_BYTES}: the deltas alone")


@pytest.mark.parametrize("off_by", [-1, 1])
def test_void_receipt_check_8_transfer_does_not_follow(off_by: int) -> None:
    s = leased()
    void = s.history.receipt(s.lease, transfer_ug=TRANSFER_UG + off_by)
    assert_void(s.history, void, 8, f"transfer_ug {TRANSFER_UG + off_by} is not the {TRANSFER_UG} that follow")


def test_void_receipt_check_8_transfer_at_less_than_the_dirtiest_grid_named() -> None:
    s = leased()
    void = s.history.receipt(s.lease, slot_energy(grid_g_per_kwh=720), transfer_ug=TRANSFER_UG)
    assert_void(s.history, void, 8, f"is not the {2 * TRANSFER_UG} that follow")


def test_valid_receipt_check_8_the_least_and_more() -> None:
    s = leased()
    assert_valid(s.history, s.history.receipt(s.lease, moved_bytes=LEAST_BYTES, transfer_ug=TRANSFER_UG, final=False))
    assert_valid(s.history, s.history.receipt(s.lease, moved_bytes=10**9, transfer_ug=27_000 * TRANSFER_UG))


def test_valid_receipt_check_8_who_works_for_itself_moves_nothing() -> None:
    history = History()
    history.offer(OWNER)
    job = history.job(OWNER)
    award = history.award(job, history.placement(history.bid(OWNER, job)))
    receipt = history.receipt(history.lease(award), busy_ms=0)
    assert_valid(history, receipt)
    assert (receipt.body["moved_bytes"], receipt.body["transfer_ug"]) == (0, 0)


def test_a_final_receipt_delivers_and_frees_the_capacity_from_its_slot_on() -> None:
    s = leased()
    s.history.receipt(s.lease, final=False)
    assert s.history.state.placements[s.award.id, 0].status is PlacementStatus.LEASED
    s.history.receipt(s.lease)
    assert s.history.state.placements[s.award.id, 0].status is PlacementStatus.DELIVERED
    units = [s.history.state.units_leased(PROVIDER.public, slot) for slot in range(FIRST_SLOT, FIRST_SLOT + 4)]
    assert units == [2, 0, 0, 0]


# --- settlement -------------------------------------------------------------------------------------------------------


def test_void_settlement_check_1_receipt_is_not_referred_to() -> None:
    s = delivered()
    fields = {"receipt": s.receipt.id, "accepted": False, "amount_microcredits": 0, "reason": ""}
    void = s.history.append(OWNER, BODIES["settlement"].model_validate(fields))
    assert_void(s.history, void, 1, "is not among the entry's")


@pytest.mark.parametrize("author", [PROVIDER, OTHER])
def test_void_settlement_check_1_by_another_than_the_owner(author: Any) -> None:
    s = delivered()
    assert_void(s.history, s.history.settlement(s.receipt, author=author), 1, "is not the job's owner")


@pytest.mark.parametrize("accepted", [True, False])
def test_void_settlement_check_1_settled_already(accepted: bool) -> None:
    s = delivered()
    s.history.settlement(s.receipt, accepted=accepted)
    assert_void(s.history, s.history.settlement(s.receipt), 1, "settled already")


@pytest.mark.parametrize("amount", [0, DUE_MICROCREDITS - 1, DUE_MICROCREDITS + 1])
def test_void_settlement_check_2_amount_is_not_the_awards_price(amount: int) -> None:
    s = delivered()
    void = s.history.settlement(s.receipt, amount_microcredits=amount)
    assert_void(s.history, void, 2, f"amount_microcredits {amount}, due are {DUE_MICROCREDITS}")


def test_void_settlement_check_2_refused_work_is_paid() -> None:
    s = delivered()
    void = s.history.settlement(s.receipt, accepted=False, amount_microcredits=DUE_MICROCREDITS)
    assert_void(s.history, void, 2, "due are 0")


def test_valid_settlement_check_1_and_2_owes_the_awards_price() -> None:
    s = delivered()
    assert_valid(s.history, s.history.settlement(s.receipt, amount_microcredits=DUE_MICROCREDITS))
    assert s.history.state.owed_microcredits == {(OWNER.public, PROVIDER.public): DUE_MICROCREDITS}
    assert s.history.state.placements[s.award.id, 0].status is PlacementStatus.SETTLED


def test_valid_settlement_check_2_the_awards_price_is_above_the_bids() -> None:
    s = bidding()
    award = s.history.award(s.job, s.history.placement(s.bid, price_microcredits_per_unit_hour=300_000))
    lease = s.history.lease(award)
    s.history.now_ms += SLOT_MS
    receipt = s.history.receipt(lease)
    assert_valid(s.history, s.history.settlement(receipt, amount_microcredits=10_000))
    assert s.history.state.owed_microcredits == {(OWNER.public, PROVIDER.public): 10_000}


def test_valid_settlement_check_2_refused_work_is_owed_nothing() -> None:
    s = delivered()
    assert_valid(s.history, s.history.settlement(s.receipt, accepted=False))
    assert s.history.state.owed_microcredits == {(OWNER.public, PROVIDER.public): 0}


def test_a_receipt_that_is_not_final_is_settled_by_itself() -> None:
    s = leased()
    part = s.history.receipt(s.lease, final=False)
    assert_valid(s.history, s.history.settlement(part))
    assert s.history.state.placements[s.award.id, 0].status is PlacementStatus.LEASED


def test_revoked_work_that_was_receipted_may_still_be_paid() -> None:
    s = delivered()
    s.history.revocation(s.award)
    assert_valid(s.history, s.history.settlement(s.receipt))
    assert s.history.state.placements[s.award.id, 0].status is PlacementStatus.REVOKED


# --- closure ----------------------------------------------------------------------------------------------------------


def test_void_closure_check_1_job_is_not_referred_to() -> None:
    s = bidding()
    body = BODIES["closure"].model_validate(
        {"job": s.job.id, "outcome": "done", "reason": "", "rounds": 0, "checkpoint": None}
        | {"loss_first_millinats": 0, "loss_last_millinats": 0}
    )
    assert_void(s.history, s.history.append(OWNER, body), 1, "is not among the entry's")


def test_void_closure_check_1_of_anothers_job() -> None:
    s = bidding()
    assert_void(s.history, s.history.closure(s.job, author=PROVIDER), 1, "is not the job's owner")


def test_void_closure_check_1_closed_already() -> None:
    s = bidding()
    s.history.closure(s.job)
    assert_void(s.history, s.history.closure(s.job, outcome="failed"), 1, "is done already, at most one closure counts")
    assert s.history.state.jobs[s.job.id].status is JobStatus.DONE


@pytest.mark.parametrize("outcome", ["done", "cancelled", "failed"])
def test_valid_closure_check_1_at_any_time(outcome: str) -> None:
    s = bidding()
    assert_valid(s.history, s.history.closure(s.job, outcome=outcome, checkpoint=None))
    assert s.history.state.jobs[s.job.id].status == outcome


def test_an_entry_that_refers_to_nothing_that_exists_is_not_void_but_waits() -> None:
    s = bidding()
    lost = s.history.bid(PROVIDER, s.job, digest("never delivered"))
    assert s.history.void(lost) is None
    assert not s.history.ledger.is_judged(lost.id)
