"""The numbered checks of certificates: each broken, and each just kept; and what nobody can do with a joule twice."""

from __future__ import annotations

import dataclasses

import pytest

from ledger.state import LotStatus
from protocol.certificates import Allocation, Certificate, Lot, Transfer
from protocol.envelope import Entry
from protocol.messages import Place
from protocol.units import MS_PER_HOUR
from tests.builders import FIRST_SLOT, SLOT_MS, History, digest, slot_energy

from .scenes import OTHER, OWNER, PROVIDER, Issued, assert_valid, assert_void, attested, issued


def lots(history: History) -> list[tuple[int, LotStatus]]:
    return [(lot.energy_j, lot.status) for lot in history.state.lots.values()]


# --- certificate ------------------------------------------------------------------------------------------------------


def test_void_certificate_check_1_attestation_is_not_referred_to() -> None:
    s = attested()
    body = Certificate(attestation=s.attestation.id, holder=PROVIDER.public, energy_j=1)
    assert_void(s.history, s.history.append(PROVIDER, body), 1, "is not among the entry's 0 refs")


def test_void_certificate_check_1_attestation_is_void() -> None:
    s = attested(capacity_w=1)
    assert_void(s.history, s.history.certificate(s.attestation), 1, "is void or of another kind")


def test_void_certificate_check_1_of_another_peers_energy() -> None:
    s = attested()
    stolen = s.history.certificate(s.attestation, author=OTHER, holder=OTHER.public)
    assert_void(s.history, stolen, 1, "is not the attestation's author")


def test_void_certificate_check_2_assurance_below_what_the_network_accepts() -> None:
    s = attested(method="modelled")
    assert_void(s.history, s.history.certificate(s.attestation), 2, "assurance A0 is below the network's A1")


def test_void_certificate_check_3_the_interval_crosses_the_hour() -> None:
    history = History()
    history.now_ms = 2 * MS_PER_HOUR + 1
    crossing = history.attestation(PROVIDER, start_ms=2 * MS_PER_HOUR - 1, end_ms=2 * MS_PER_HOUR + 1, energy_j=1)
    assert_void(history, history.certificate(crossing), 3, "spans hours 1 to 2, it must lie within one")


def test_void_certificate_check_4_certifies_a_joule_twice() -> None:
    s = attested()
    s.history.certificate(s.attestation, energy_j=12_000)
    again = s.history.certificate(s.attestation, energy_j=1)
    assert_void(s.history, again, 4, "energy_j 1 exceeds the 0 J that are left")


def test_void_certificate_check_4_certifies_what_a_receipt_has_claimed() -> None:
    s = attested()
    s.history.receipt(s.lease, slot_energy(surplus_j=6000, attestation=s.attestation.id))
    void = s.history.certificate(s.attestation, energy_j=6001)
    assert_void(s.history, void, 4, "energy_j 6001 exceeds the 6000 J that are left")


def test_void_receipt_that_claims_what_a_certificate_has() -> None:
    s = attested()
    s.history.certificate(s.attestation, energy_j=6001)
    void = s.history.receipt(s.lease, slot_energy(surplus_j=6000, attestation=s.attestation.id))
    assert_void(s.history, void, 5, "surplus_j 6000 in all exceeds the 5999 J that are left")


def test_valid_certificate_check_1_to_4_of_all_that_is_left_for_anybody() -> None:
    s = attested()
    assert_valid(s.history, s.history.certificate(s.attestation, holder=OTHER.public))
    (lot,) = s.history.state.lots.values()
    assert (lot.holder, lot.energy_j, lot.status) == (OTHER.public, 12_000, LotStatus.HELD)
    assert s.history.state.attestations[s.attestation.id].remaining_j == 0


def test_valid_certificate_check_3_of_a_whole_hour() -> None:
    history = History()
    history.now_ms = 2 * MS_PER_HOUR
    hour = history.attestation(PROVIDER, start_ms=MS_PER_HOUR, end_ms=2 * MS_PER_HOUR)
    assert_valid(history, history.certificate(hour))


# --- what spends a lot ------------------------------------------------------------------------------------------------

SPENDERS = ("split", "transfer", "cancellation")


def spend(s: Issued, kind: str, lot: Entry, author: object = None) -> Entry:
    """One of the three acts on a lot of six kilojoules."""
    by = {"author": author} if author is not None else {}
    match kind:
        case "split":
            return s.history.split(lot, 2000, 4000, **by)  # type: ignore[arg-type]
        case "transfer":
            return s.history.transfer(lot, OWNER, **by)  # type: ignore[arg-type]
    return s.history.cancellation(lot, OWNER, **by)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", SPENDERS)
def test_nobody_but_its_holder_spends_a_lot(kind: str) -> None:
    s = issued()
    assert_void(s.history, spend(s, kind, s.certificate, OTHER), 1, "is not the holder of lot")


@pytest.mark.parametrize("second", SPENDERS)
@pytest.mark.parametrize("first", SPENDERS)
def test_a_lot_is_spent_once(first: str, second: str) -> None:
    s = issued()
    assert_valid(s.history, spend(s, first, s.certificate))
    status = s.history.state.lots[s.certificate.id, 0].status.value
    again = spend(s, second, s.certificate, PROVIDER)
    assert_void(s.history, again, 1, f"/0 is {status} already, it must be held")


@pytest.mark.parametrize("kind", SPENDERS)
def test_a_lot_that_was_never_made_cannot_be_spent(kind: str) -> None:
    s = issued()
    assert_void(s.history, spend(s, kind, s.attestation, PROVIDER), 1, "does not exist")


@pytest.mark.parametrize("kind", SPENDERS)
def test_a_lot_of_a_void_entry_cannot_be_spent(kind: str) -> None:
    s = issued()
    void = s.history.split(s.certificate, 1, 1)
    assert_void(s.history, spend(s, kind, void, PROVIDER), 1, "does not exist")


def test_void_split_check_1_by_another() -> None:
    s = issued()
    assert_void(s.history, s.history.split(s.certificate, 1, 5999, author=OTHER), 1, "is not the holder of lot")


@pytest.mark.parametrize("parts_j", [(2000, 3999), (2000, 4001), (6000, 6000)])
def test_void_split_check_2_parts_do_not_sum_to_the_lot(parts_j: tuple[int, int]) -> None:
    s = issued()
    void = s.history.split(s.certificate, *parts_j)
    assert_void(s.history, void, 2, f"parts_j sum to {sum(parts_j)}, the lot has 6000 J")
    assert lots(s.history) == [(6000, LotStatus.HELD)]


def test_valid_split_check_1_and_2_parts_can_be_split_again() -> None:
    s = issued()
    parts = s.history.split(s.certificate, 1, 2, 5997)
    assert_valid(s.history, parts)
    assert_valid(s.history, s.history.split(parts, 5000, 997, index=2))
    held_j = [energy_j for energy_j, status in lots(s.history) if status is LotStatus.HELD]
    assert sorted(held_j) == [1, 2, 997, 5000]


def test_void_transfer_check_1_lot_is_not_referred_to() -> None:
    s = issued()
    body = Transfer(lot=Lot(entry=s.certificate.id, index=0), recipient=OWNER.public)
    assert_void(s.history, s.history.append(PROVIDER, body), 1, "lot.entry")


def test_void_transfer_check_1_back_to_where_it_was_spent() -> None:
    s = issued()
    sold = s.history.transfer(s.certificate, OTHER)
    s.history.transfer(sold, PROVIDER)
    again = s.history.transfer(s.certificate, OWNER)
    assert_void(s.history, again, 1, "is transferred already, it must be held")


def test_void_transfer_check_2_to_oneself() -> None:
    s = issued()
    assert_void(s.history, s.history.transfer(s.certificate, PROVIDER), 2, "is the author itself")


def test_valid_transfer_check_1_and_2_and_the_recipient_hands_it_on() -> None:
    s = issued()
    sold = s.history.transfer(s.certificate, OTHER)
    resold = s.history.transfer(sold, OWNER)
    assert_valid(s.history, sold)
    assert_valid(s.history, resold)
    assert s.history.state.lots[resold.id, 0].holder == OWNER.public


def test_void_cancellation_check_1_by_a_former_holder() -> None:
    s = issued()
    sold = s.history.transfer(s.certificate, OTHER)
    assert_void(s.history, s.history.cancellation(sold, PROVIDER, author=PROVIDER), 1, "is not the holder of lot")


def test_void_cancellation_check_1_cancelled_already() -> None:
    s = issued()
    s.history.cancellation(s.certificate, PROVIDER)
    assert_void(s.history, s.history.cancellation(s.certificate, OTHER), 1, "is cancelled already, it must be held")


def test_valid_cancellation_check_1_names_anybody_as_beneficiary() -> None:
    s = issued()
    cancelled = s.history.cancellation(s.certificate, OTHER)
    assert_valid(s.history, cancelled)
    assert s.history.state.cancellations[cancelled.id].beneficiary == OTHER.public


# --- allocation -------------------------------------------------------------------------------------------------------

GRID_ROW = 1  # of the scene's receipt: six kilojoules from the grid


@dataclasses.dataclass(slots=True)
class Cancelled(Issued):
    """The certified half is cancelled in the provider's favour."""

    cancellation: Entry


def cancelled() -> Cancelled:
    s = issued()
    fields = {field.name: getattr(s, field.name) for field in dataclasses.fields(s)}
    return Cancelled(**fields, cancellation=s.history.cancellation(s.certificate, PROVIDER))


def allocate(s: Cancelled, **changes: object) -> Entry:
    return s.history.allocation(s.cancellation, s.receipt, **{"row": GRID_ROW} | changes)  # type: ignore[arg-type]


def test_void_allocation_check_1_cancellation_is_not_referred_to() -> None:
    s = cancelled()
    body = Allocation(cancellation=s.cancellation.id, receipt=s.receipt.id, row=GRID_ROW, energy_j=1)
    assert_void(s.history, s.history.append(PROVIDER, body, s.receipt.id), 1, "cancellation")


def test_void_allocation_check_1_by_another_than_the_beneficiary() -> None:
    s = cancelled()
    assert_void(s.history, allocate(s, author=OTHER), 1, "is not the beneficiary")


def test_void_allocation_check_1_of_a_lot_that_is_not_cancelled() -> None:
    s = cancelled()
    void = s.history.allocation(s.certificate, s.receipt, row=GRID_ROW)
    assert_void(s.history, void, 1, "is void or of another kind")


def test_void_allocation_check_2_receipt_is_void() -> None:
    s = cancelled()
    void = s.history.receipt(s.lease, first_round=99)
    assert_void(s.history, allocate(s, receipt=void.id), 2, "is void or of another kind")


def test_void_allocation_check_2_receipt_is_another_peers() -> None:
    s = issued()
    favour = s.history.cancellation(s.certificate, OTHER)
    void = s.history.allocation(favour, s.receipt, row=GRID_ROW, author=OTHER)
    assert_void(s.history, void, 2, "is not the receipt's author")


def test_void_allocation_check_2_receipt_has_no_such_row() -> None:
    s = cancelled()
    assert_void(s.history, allocate(s, row=2), 2, "row 2 is none of the receipt's 2 rows")


def test_void_allocation_check_3_consumed_in_another_hour() -> None:
    s = issued()
    s.history.now_ms = (FIRST_SLOT + 21) * SLOT_MS  # slot 120 begins an hour
    later = s.history.certificate(s.history.attestation(PROVIDER))
    void = s.history.allocation(s.history.cancellation(later, PROVIDER), s.receipt, row=GRID_ROW)
    assert_void(s.history, void, 3, "slot 100 lies in hours 1 to 1, the energy in 2")


def test_void_allocation_check_4_consumed_in_another_zone() -> None:
    s = issued()
    elsewhere = s.history.attestation(OTHER, place=Place(zone="FR", latitude_decidegrees=488, longitude_decidegrees=23))
    favour = s.history.cancellation(s.history.certificate(elsewhere), PROVIDER)
    void = s.history.allocation(favour, s.receipt, row=GRID_ROW)
    assert_void(s.history, void, 4, "zone DE of the receipt's offer is not the energy's FR")


def test_void_allocation_check_5_matches_more_than_was_cancelled() -> None:
    s = issued()
    parts = s.history.split(s.certificate, 2000, 4000)
    favour = s.history.cancellation(parts, PROVIDER)
    s.history.allocation(favour, s.receipt, row=GRID_ROW, energy_j=1500)
    void = s.history.allocation(favour, s.receipt, row=GRID_ROW, energy_j=501)
    assert_void(s.history, void, 5, "energy_j 501 exceeds the 500 J that are left of the cancelled")


def test_void_allocation_check_6_matches_what_surplus_covers_already() -> None:
    s = cancelled()
    assert_void(s.history, allocate(s, row=0, energy_j=1), 6, "energy_j 1 exceeds the 0 J of the row not matched yet")


def test_void_allocation_check_6_matches_a_joule_that_was_drawn_twice() -> None:
    s = cancelled()
    allocate(s, energy_j=5000)
    more = s.history.cancellation(s.history.certificate(s.history.attestation(OTHER)), PROVIDER)
    assert_void(s.history, allocate(s, cancellation=more.id, energy_j=1001), 6, "exceeds the 1000 J of the row")


def test_valid_allocation_check_1_to_6_all_that_was_cancelled_for_all_that_was_drawn() -> None:
    s = cancelled()
    assert_valid(s.history, allocate(s, energy_j=2000))
    assert_valid(s.history, allocate(s, energy_j=4000))
    assert s.history.state.allocated_j == {(s.receipt.id, GRID_ROW): 6000}
    assert s.history.state.cancellations[s.cancellation.id].allocated_j == 6000


def test_a_void_act_leaves_no_trace() -> None:
    s = cancelled()
    before = (lots(s.history), dict(s.history.state.allocations), dict(s.history.state.allocated_j))
    s.history.certificate(s.attestation)
    s.history.split(s.certificate, 3000, 3000, author=PROVIDER)
    allocate(s, receipt=digest("no receipt"))  # waits
    allocate(s, energy_j=6001)
    assert (lots(s.history), s.history.state.allocations, s.history.state.allocated_j) == before
