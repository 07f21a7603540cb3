"""Every promise that the audit keeps: a fault planted in the state by hand is found and named."""

from __future__ import annotations

from typing import TypeVar

from ledger.audit import violations
from ledger.state import (
    Account,
    AllocationRecord,
    CancellationRecord,
    DischargeRecord,
    IouRecord,
    JobStatus,
    LotStatus,
    PlacementRecord,
    PlacementStatus,
    State,
)
from protocol.credit import UNIT
from protocol.messages import Body
from protocol.units import MS_PER_HOUR
from tests.builders import FIRST_SLOT, SLOT_MS, digest, slot_energy, whole_history

from .scenes import (
    DUE_MICROCREDITS,
    OTHER,
    OWNER,
    PROVIDER,
    attested,
    bidding,
    delivered,
    issued,
    leased,
    settled,
)

Model = TypeVar("Model", bound=Body)


def with_fields(body: Model, **changes: object) -> Model:
    return body.model_copy(update=changes)


def only(state: State) -> str:
    """The one thing that the audit finds."""
    found = violations(state)
    assert len(found) == 1, found
    return found[0]


def test_an_honest_ledger_breaks_no_promise() -> None:
    assert violations(whole_history().state) == []


def test_find_a_slot_that_is_sold_beyond_the_offer() -> None:
    state = leased().history.state
    record = next(iter(state.leases.values()))
    record.lease = with_fields(record.lease, units=5)
    found = violations(state)
    name = PROVIDER.public.hex()[:8]
    assert found == [f"{name} oversold slot {slot}: 5 of 4 units" for slot in range(FIRST_SLOT, FIRST_SLOT + 3)]


def test_a_slot_counts_until_the_final_receipt_frees_it() -> None:
    state = leased().history.state
    record = next(iter(state.leases.values()))
    record.lease = with_fields(record.lease, units=5)
    record.released_at_slot = FIRST_SLOT + 1
    assert f"oversold slot {FIRST_SLOT}" in only(state)


def test_a_larger_offer_for_another_time_excuses_no_oversold_slot() -> None:
    s = bidding(offer={"units": 2})
    award = s.history.award(s.job, s.history.placement(s.bid), s.history.placement(s.bid, shard=1, first_slot=105))
    first = s.history.lease(award, 0)
    s.history.offer(PROVIDER, units=100)
    s.history.lease(award, 1)
    record = s.history.state.leases[first.id]
    record.lease = with_fields(record.lease, units=3, slots=1)
    assert only(s.history.state).endswith(f"oversold slot {FIRST_SLOT}: 3 of 2 units")


def test_find_surplus_that_is_claimed_twice() -> None:
    s = attested()
    row = slot_energy(surplus_j=6000, attestation=s.attestation.id)
    receipt = s.history.receipt(s.lease, row)
    record = s.history.state.receipts[receipt.id]
    rows = (record.receipt.energy[0],) * 3
    record.receipt = with_fields(record.receipt, energy=rows)
    assert "18000 J claimed of 12000 J, 6000 J left" in only(s.history.state)


def test_find_a_running_total_of_surplus_that_has_gone_astray() -> None:
    s = attested()
    for remaining_j in (11_999, 12_001, -1):
        s.history.state.attestations[s.attestation.id].remaining_j = remaining_j
        assert f"0 J claimed of 12000 J, {remaining_j} J left" in only(s.history.state)


def test_find_a_shard_that_is_placed_twice() -> None:
    s = leased()
    job = s.history.state.jobs[s.job.id]
    job.placements.append(job.placements[0])
    assert only(s.history.state) == f"job {s.job.id.hex()[:8]}: shard 0 placed 2 times"
    job.placements[0].status = PlacementStatus.REVOKED
    assert violations(s.history.state) == []


def test_find_carbon_that_does_not_follow() -> None:
    s = delivered()
    record = s.history.state.receipts[s.receipt.id]
    row = record.receipt.energy[0]
    record.receipt = with_fields(record.receipt, energy=(with_fields(row, carbon_ug=row.carbon_ug - 1),))
    assert (
        only(s.history.state) == f"receipt {s.receipt.id.hex()[:8]}: carbon_ug {row.carbon_ug - 1} in slot {FIRST_SLOT}"
    )


def test_find_a_job_on_a_peer_that_its_mode_excludes() -> None:
    s = leased()
    offer = s.history.state.offers[s.offer.id]
    offer.offer = with_fields(offer.offer, tenant="lab")
    assert only(s.history.state) == f"job {s.job.id.hex()[:8]}: shard 0: mode open on tenant 'lab'"


def test_find_a_job_that_is_not_what_its_entries_make_of_it() -> None:
    s = leased()
    s.history.state.jobs[s.job.id].status = JobStatus.RUNNING
    assert only(s.history.state).endswith("is running, and follows to be open")
    s.history.state.jobs[s.job.id].status = JobStatus.OPEN
    s.history.closure(s.job)
    s.history.state.jobs[s.job.id].status = JobStatus.OPEN
    assert only(s.history.state).endswith("is open, and follows to be done")


def test_find_a_debt_that_differs_from_what_was_settled() -> None:
    s = delivered()
    s.history.settlement(s.receipt)
    state, pair = s.history.state, (OWNER.public, PROVIDER.public)
    due = state.owed_microcredits[pair]
    for booked in (0, due - 1, due + 1):
        state.owed_microcredits[pair] = booked
        assert only(state).endswith(f"{booked}, settled: {due}")


def test_find_a_debt_that_was_forgotten() -> None:
    s = delivered()
    s.history.settlement(s.receipt)
    s.history.state.owed_microcredits.clear()
    assert only(s.history.state).endswith("0, settled: 6667")


def test_find_a_debt_that_nothing_explains() -> None:
    s = delivered()
    s.history.state.owed_microcredits[OWNER.public, OTHER.public] = 1
    assert only(s.history.state).endswith("1, settled: 0")


def test_find_a_lease_that_charges_more_time_than_it_binds() -> None:
    s = delivered()
    record = s.history.state.receipts[s.receipt.id]
    record.receipt = with_fields(record.receipt, busy_ms=3 * SLOT_MS + 1)
    assert only(s.history.state) == f"lease {s.lease.id.hex()[:8]}: 180001 ms charged of 180000 ms"


def test_find_energy_that_a_receipt_and_a_certificate_claim() -> None:
    s = issued()
    s.history.state.lots[s.certificate.id, 0].energy_j = 6001
    assert only(s.history.state).endswith("12001 J claimed of 12000 J, 0 J left")


def test_find_a_lot_whose_parts_are_more_or_less_than_it_was() -> None:
    s = issued()
    parts = s.history.split(s.certificate, 2000, 4000)
    for part_j in (1999, 2001):
        s.history.state.lots[parts.id, 0].energy_j = part_j
        assert only(s.history.state).endswith(f"/0, split: {part_j + 4000} J live on of 6000 J")


def test_find_a_lot_that_lives_on_although_it_was_never_spent() -> None:
    s = issued()
    s.history.transfer(s.certificate, OTHER)
    s.history.state.lots[s.certificate.id, 0].status = LotStatus.HELD
    assert only(s.history.state).endswith("/0, held: 6000 J live on of 0 J")


def test_find_a_lot_that_is_cancelled_twice() -> None:
    s = issued()
    cancelled = s.history.cancellation(s.certificate, OTHER)
    state = s.history.state
    state.cancellations[digest("again")] = CancellationRecord(
        digest("again"), state.lots[s.certificate.id, 0], PROVIDER.public
    )
    assert only(state).endswith("/0, cancelled: cancelled 2 times")
    del state.cancellations[digest("again")], state.cancellations[cancelled.id]
    assert only(state).endswith("/0, cancelled: cancelled 0 times")


def matched() -> tuple[State, AllocationRecord]:
    """A thousand certified joules are matched with a row that the grid fed."""
    s = issued()
    cancelled = s.history.cancellation(s.certificate, PROVIDER)
    allocation = s.history.allocation(cancelled, s.receipt, row=1)
    assert violations(s.history.state) == []
    return s.history.state, s.history.state.allocations[allocation.id]


def test_find_more_matched_than_was_cancelled() -> None:
    state, allocation = matched()
    allocation.energy_j = 6001
    assert "6001 J matched of 6000 J, 1000 J booked" in violations(state)[0]


def test_find_more_matched_than_was_drawn() -> None:
    state, allocation = matched()
    allocation.row = 0
    state.allocated_j = {(allocation.receipt.id, 0): 6000}
    allocation.energy_j = allocation.cancellation.allocated_j = 6000
    row = allocation.receipt.receipt.energy[0]
    assert (row.energy_j, row.surplus_j) == (6000, 6000)
    assert only(state).endswith("row 0: 6000 J matched of 0 J, 6000 J booked")


def test_find_a_running_total_of_matched_energy_that_has_gone_astray() -> None:
    state, allocation = matched()
    allocation.cancellation.allocated_j = 999
    assert only(state).endswith("1000 J matched of 6000 J, 999 J booked")
    allocation.cancellation.allocated_j = 1000
    state.allocated_j.clear()
    assert only(state).endswith("row 1: 1000 J matched of 6000 J, 0 J booked")


def test_find_energy_that_was_made_in_another_hour_or_zone_than_it_was_used() -> None:
    state, allocation = matched()
    made = allocation.cancellation.lot.attestation
    made.zone = "FR"
    assert only(state).endswith("made in (hour, zone) (1, 'FR'), used in (1, 'DE')")
    made.zone, made.start_ms = "DE", made.start_ms + MS_PER_HOUR
    assert only(state).endswith("made in (hour, zone) (2, 'DE'), used in (1, 'DE')")


def test_find_a_placement_outside_its_jobs_window() -> None:
    s = leased()
    placed = s.history.state.placements[s.award.id, 0]
    for first_slot in (FIRST_SLOT - 1, FIRST_SLOT + 8):
        placed.placement = with_fields(placed.placement, first_slot=first_slot)
        assert only(s.history.state).endswith(f"slots {first_slot} to {first_slot + 2} outside 100 to 109")


def test_find_a_placement_above_its_jobs_price() -> None:
    s = leased()
    bid = s.history.state.bids[s.bid.id]
    bid.bid = with_fields(bid.bid, price_microcredits_per_unit_hour=300_001)
    assert only(s.history.state).endswith("price 200000, 300001 to 300000 are allowed")


def test_find_like_that_is_not_paid_alike() -> None:
    s = leased()
    state = s.history.state
    placed = state.placements[s.award.id, 0]
    dearer = with_fields(placed.placement, shard=1, price_microcredits_per_unit_hour=200_001)
    state.placements[s.award.id, 1] = PlacementRecord(s.award.id, placed.job, dearer, placed.bid)
    assert only(state).endswith("shard 1: price 200001, the like of it 200000")


def test_find_a_placement_on_a_peer_that_did_not_bid() -> None:
    s = leased()
    placed = s.history.state.placements[s.award.id, 0]
    placed.placement = with_fields(placed.placement, provider=OTHER.public)
    assert only(s.history.state).endswith("is for another job or another's")


def promised() -> tuple[State, IouRecord, Account]:
    """The owner has acknowledged its debt, and half of it is paid."""
    s = settled()
    iou = s.history.iou(s.limit, s.settlement)
    s.history.discharge(iou, DUE_MICROCREDITS // 2)
    state = s.history.state
    return state, state.ious[iou.id], state.accounts[OWNER.public, PROVIDER.public, UNIT]


def test_find_an_iou_that_says_something_else_than_was_settled() -> None:
    state, iou, _ = promised()
    for total in (DUE_MICROCREDITS - 1, DUE_MICROCREDITS + 1):
        iou.total = total
        assert any(
            f"IOU {total}, of {total} promised and {DUE_MICROCREDITS} acknowledged" in found
            for found in violations(state)
        )


def test_find_an_iou_that_fell() -> None:
    state, iou, account = promised()
    account.iou = state.ious[digest("later")] = IouRecord(digest("later"), iou.account, iou.total - 1, iou.limit, None)
    assert any(found.endswith("total fell from 6667 to 6666") for found in violations(state))


def test_find_an_iou_above_its_limit() -> None:
    state, iou, _ = promised()
    iou.limit.limit = DUE_MICROCREDITS - 1
    assert only(state).endswith("6667 owed of at most 6666")


def test_find_a_settlement_that_no_iou_acknowledges_and_none_is_waited_for() -> None:
    state, _, account = promised()
    s = settled()
    s.history.state.accounts[OWNER.public, PROVIDER.public, UNIT].pending.clear()
    found = violations(s.history.state)
    assert any(fault.endswith("0 waits for an IOU, settled without one: 6667") for fault in found)
    assert "credits: 6667 earned by all, 0 owed by all" in found
    account.pending[digest("settlement")] = next(iter(state.receipts.values()))
    assert any(fault.endswith("6667 waits for an IOU, settled without one: 0") for fault in violations(state))


def test_find_a_discharge_that_fell_or_exceeds_what_was_promised() -> None:
    state, iou, account = promised()
    (first,) = state.discharges.values()
    account.discharge = state.discharges[digest("later")] = DischargeRecord(digest("later"), iou.account, 9, 1)
    assert only(state).endswith(f"total fell from {DUE_MICROCREDITS // 2} to 1")
    del state.discharges[digest("later")]
    account.discharge = first
    first.total = DUE_MICROCREDITS + 1
    assert only(state).endswith("6668 discharged of 6667 promised, 6668 booked")
    first.total = 1
    account.discharge = None
    assert only(state).endswith("1 discharged of 6667 promised, 0 booked")


def test_find_credits_that_nobody_owes() -> None:
    state, _, _ = promised()
    (leases,) = state.leases_of.values()
    leases.extend(leases[:1])
    assert f"credits: {2 * DUE_MICROCREDITS} earned by all, {DUE_MICROCREDITS} owed by all" in violations(state)


def test_several_faults_are_all_named() -> None:
    s = delivered()
    s.history.now_ms += SLOT_MS
    s.history.state.owed_microcredits[OWNER.public, OTHER.public] = 1
    job = s.history.state.jobs[s.job.id]
    job.placements.append(job.placements[0])
    assert len(violations(s.history.state)) == 2
