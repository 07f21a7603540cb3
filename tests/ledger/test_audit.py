"""Every promise that the audit keeps: a fault planted in the state by hand is found and named."""

from __future__ import annotations

from typing import TypeVar

from ledger.audit import violations
from ledger.state import PlacementStatus, State
from protocol.messages import Body
from tests.builders import FIRST_SLOT, SLOT_MS, slot_energy, whole_history

from .scenes import OTHER, OWNER, PROVIDER, attested, bidding, delivered, leased

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


def test_several_faults_are_all_named() -> None:
    s = delivered()
    s.history.now_ms += SLOT_MS
    s.history.state.owed_microcredits[OWNER.public, OTHER.public] = 1
    job = s.history.state.jobs[s.job.id]
    job.placements.append(job.placements[0])
    assert len(violations(s.history.state)) == 2
