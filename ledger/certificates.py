"""Certificates: lots of attested joules, each made by one entry and spent by one other.

Every act on a lot stands in the feed of its holder, not of its issuer: no issuer must be online for a lot to change
hands, and nobody but the holder can act on it. A transfer makes a new lot in the recipient's hands, and whoever acts on
that refers to the transfer. So a lot spent twice is two entries of one feed, of which the second is void, or a fork,
which is a proof; and the order of arrival cannot matter.

Each kind is judged by a function of its own, without a change: whoever is about to sign asks it first.

Receipts and certificates draw on the same `remaining_j` of an attestation: no joule is claimed by both. A signature
never proves that a meter told the truth.
"""

from __future__ import annotations

from ledger import assurance
from ledger.rules import Void, referred, require, require_author, require_ref, shown
from ledger.state import (
    AllocationRecord,
    AttestationRecord,
    CancellationRecord,
    LotRecord,
    LotStatus,
    ReceiptRecord,
    State,
)
from protocol.certificates import Allocation, Cancellation, Certificate, Lot, Split, Transfer
from protocol.envelope import Entry
from protocol.messages import SlotEnergy
from protocol.units import MS_PER_HOUR


def process_certificate(state: State, entry: Entry, certificate: Certificate) -> None:
    """1. The attestation is referred to and the author's own.
    2. It is at an assurance that the network accepts, A3 where it accepts certificates alone: by the auditors of the
       genesis, for a lot knows no job.
    3. Its interval lies within one hour of network time: else nobody knew in which hour its joules can be used.
    4. The energy is at most what neither receipts nor certificates have claimed of it.
    """
    a = judge_certificate(state, entry, certificate)
    a.remaining_j -= certificate.energy_j
    _make(state, entry, 0, certificate.holder, certificate.energy_j, a, None)


def judge_certificate(state: State, entry: Entry, certificate: Certificate) -> AttestationRecord:
    """The attestation that it draws on. Raises Void."""
    a = referred(state.attestations, entry, certificate.attestation, 1, "attestation")
    require_author(entry, a.author, 1, "the attestation's author")
    needed = assurance.needed(state)
    require(a.assurance >= needed, 2, f"assurance A{a.assurance} is below the network's A{needed}")
    last_hour = (a.end_ms - 1) // MS_PER_HOUR
    require(_hour(a) == last_hour, 3, f"the attestation spans hours {_hour(a)} to {last_hour}, it must lie within one")
    claimed_j = certificate.energy_j
    require(claimed_j <= a.remaining_j, 4, f"energy_j {claimed_j} exceeds the {a.remaining_j} J that are left")
    return a


def process_split(state: State, entry: Entry, split: Split) -> None:
    """1. The lot is referred to, held by the author, and not spent.
    2. The parts sum exactly to it.
    """
    lot = judge_split(state, entry, split)
    lot.advance("split")
    for index, part_j in enumerate(split.parts_j):
        _make(state, entry, index, lot.holder, part_j, lot.attestation, (lot.entry, lot.index))


def judge_split(state: State, entry: Entry, split: Split) -> LotRecord:
    """The lot that it divides. Raises Void."""
    lot = held_lot(state, entry, split.lot, 1)
    total_j = sum(split.parts_j)
    require(total_j == lot.energy_j, 2, f"parts_j sum to {total_j}, the lot has {lot.energy_j} J")
    return lot


def process_transfer(state: State, entry: Entry, transfer: Transfer) -> None:
    """1. The lot is referred to, held by the author, and not spent.
    2. The recipient is another key.
    """
    lot = judge_transfer(state, entry, transfer)
    lot.advance("transfer")
    _make(state, entry, 0, transfer.recipient, lot.energy_j, lot.attestation, (lot.entry, lot.index))


def judge_transfer(state: State, entry: Entry, transfer: Transfer) -> LotRecord:
    """The lot that it hands on. Raises Void."""
    lot = held_lot(state, entry, transfer.lot, 1)
    require(transfer.recipient != entry.author, 2, f"recipient {shown(transfer.recipient)} is the author itself")
    return lot


def process_cancellation(state: State, entry: Entry, cancellation: Cancellation) -> None:
    """1. The lot is referred to, held by the author, and not spent."""
    lot = judge_cancellation(state, entry, cancellation)
    lot.advance("cancellation")
    state.cancellations[entry.id] = CancellationRecord(entry.id, lot, cancellation.beneficiary)


def judge_cancellation(state: State, entry: Entry, cancellation: Cancellation) -> LotRecord:
    """The lot that it uses up. Raises Void."""
    return held_lot(state, entry, cancellation.lot, 1)


def process_allocation(state: State, entry: Entry, allocation: Allocation) -> None:
    """1. The cancellation is referred to, and names the author as beneficiary.
    2. The receipt is referred to, is the author's own, and has this row.
    3. The row's slot lies in the hour of the cancelled energy.
    4. The row was drawn in the zone of the cancelled energy.
    5. The energy is at most what was cancelled and is not allocated yet.
    6. The energy is at most what the row drew beyond its own surplus, and is not matched yet.
    """
    cancelled, receipt = judge_allocation(state, entry, allocation)
    key = (receipt.id, allocation.row)
    cancelled.allocated_j += allocation.energy_j
    state.allocated_j[key] = state.allocated_j.get(key, 0) + allocation.energy_j
    state.allocations[entry.id] = AllocationRecord(entry.id, cancelled, receipt, allocation.row, allocation.energy_j)


def judge_allocation(state: State, entry: Entry, allocation: Allocation) -> tuple[CancellationRecord, ReceiptRecord]:
    """What it matches. Raises Void."""
    cancelled = referred(state.cancellations, entry, allocation.cancellation, 1, "cancellation")
    require_author(entry, cancelled.beneficiary, 1, "the beneficiary")
    receipt = referred(state.receipts, entry, allocation.receipt, 2, "receipt")
    require_author(entry, receipt.lease.provider, 2, "the receipt's author")
    rows = receipt.receipt.energy
    require(allocation.row < len(rows), 2, f"row {allocation.row} is none of the receipt's {len(rows)} rows")
    row, produced = rows[allocation.row], cancelled.lot.attestation
    first_ms, last_ms = row.slot * state.slot_ms, (row.slot + 1) * state.slot_ms - 1
    hours = (first_ms // MS_PER_HOUR, last_ms // MS_PER_HOUR)
    made = _hour(produced)
    require(hours == (made, made), 3, f"slot {row.slot} lies in hours {hours[0]} to {hours[1]}, the energy in {made}")
    zone = state.offers[receipt.lease.lease.offer].offer.place.zone
    require(zone == produced.zone, 4, f"zone {zone} of the receipt's offer is not the energy's {produced.zone}")
    energy_j, left_j = allocation.energy_j, cancelled.lot.energy_j - cancelled.allocated_j
    require(energy_j <= left_j, 5, f"energy_j {energy_j} exceeds the {left_j} J that are left of the cancelled")
    key = (receipt.id, allocation.row)
    unmatched_j = drawn_beyond_surplus_j(row) - state.allocated_j.get(key, 0)
    require(energy_j <= unmatched_j, 6, f"energy_j {energy_j} exceeds the {unmatched_j} J of the row not matched yet")
    return cancelled, receipt


def drawn_beyond_surplus_j(row: SlotEnergy) -> int:
    """Joules of a receipt's row that no attestation covers: what certificates may be matched with."""
    return row.energy_j - row.surplus_j


def _hour(attestation: AttestationRecord) -> int:
    """The hour of network time in which an attestation's interval begins."""
    return attestation.start_ms // MS_PER_HOUR


def held_lot(state: State, entry: Entry, lot: Lot, check: int) -> LotRecord:
    """The lot that an entry spends: one it refers to, held by its author. Raises Void."""
    require_ref(entry, lot.entry, check, "lot.entry")
    name = f"lot {shown(lot.entry)}/{lot.index}"
    record = state.lots.get((lot.entry, lot.index))
    if record is None:
        raise Void(check, f"{name} does not exist: its entry is void, of another kind, or makes fewer lots")
    require_author(entry, record.holder, check, f"the holder of {name}")
    require(record.status is LotStatus.HELD, check, f"{name} is {record.status.value} already, it must be held")
    return record


def _make(
    state: State,
    entry: Entry,
    index: int,
    holder: bytes,
    energy_j: int,
    attestation: AttestationRecord,
    parent: tuple[bytes, int] | None,
) -> None:
    state.lots[entry.id, index] = LotRecord(entry.id, index, holder, energy_j, attestation, parent)
