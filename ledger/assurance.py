"""How far an attestation is to be believed, by whose signatures stand under it; and which devices are the same one.

    A0  declared or modelled
    A1  metered, by its owner's word
    A2  countersigned by an auditor
    A3  also signed by the meter's own key, where an auditor countersigned the device
    A4  not of attestations: energy matched with a certificate that was cancelled for who drew it

Auditors are those of the genesis; for the receipts of a job also those whom its owner names. Any second key is no
independence, so a signature of anybody else is verified and counts for nothing. None of them proves that a meter tells
the truth.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

from ledger.rules import Void, shown
from ledger.state import ATTESTED_MAX, AttestationRecord, DeviceRecord, JobRecord, ReceiptRecord, State
from protocol.devices import audited_statement, counter_statement
from protocol.envelope import Entry
from protocol.identity import verify
from protocol.messages import Attestation, Countersignature, MeterSeal

CERTIFIED = 4

# Registries under more than one name.
REGISTRY_NAMES = {"marktstammdatenregister": "mastr", "gs1": "gsrn"}
PUNCTUATION = re.compile(r"[\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]")
LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}  # of ASCII alone: Unicode's tables change


@lru_cache(maxsize=65_536)
def comparable(device_id: str) -> str:
    """One spelling of a device's id: in lower case and without punctuation behind its registry. An id without a
    registry stands as it is: it names a device within its owner and can be compared with nobody else's."""
    registry, colon, number = device_id.partition(":")
    if not colon:
        return device_id
    name = PUNCTUATION.sub("", registry.translate(LOWER))
    return f"{REGISTRY_NAMES.get(name, name)}:{PUNCTUATION.sub('', number.translate(LOWER))}"


def auditors_of(state: State, job: JobRecord) -> tuple[bytes, ...]:
    """Whose countersignatures count in what is written about a job."""
    return (*state.auditors, *job.job.auditors)


def needed(state: State) -> int:
    """What a claim needs, as a certificate too: a network of A4 issues its certificates at the level below."""
    return min(state.surplus_assurance_min, ATTESTED_MAX)


def level(record: AttestationRecord, auditors: Collection[bytes]) -> int:
    """A0 to A3, if these are the auditors."""
    if record.method != "metered":
        return 0
    reached, device = 1, record.sealed_by
    if record.auditors and any(auditor in auditors for auditor in record.auditors):
        reached = 2
        if device is not None and any(auditor in auditors for auditor in device.auditors):
            reached = 3
    return min(reached, record.ceiling)


def level_of_row(state: State, receipt: ReceiptRecord, row: int) -> int:
    """The lowest level of the joules in a row of a receipt: of its attestation where that covers them, A4 where
    cancelled certificates do. What neither covers is the grid's mix, A0."""
    drawn = receipt.receipt.energy[row]
    matched_j = state.allocated_j.get((receipt.id, row), 0)
    if drawn.surplus_j + matched_j < drawn.energy_j:
        return 0
    if drawn.attestation is None or not drawn.surplus_j:
        return CERTIFIED if matched_j else 0
    return level(state.attestations[drawn.attestation], auditors_of(state, receipt.lease.placement.job))


def countersigners(entry: Entry, signatures: Collection[Countersignature], check: int) -> tuple[bytes, ...]:
    """Who countersigned the body of an entry, but its author. Raises Void for a signature that is not its auditor's."""
    statement = audited_statement(entry.network, entry.author, entry.kind, entry.body)
    for each in signatures:
        if not verify(each.auditor, statement, each.signature):
            raise Void(check, f"countersignature of {shown(each.auditor)} is not under this {entry.kind}")
    return tuple(dict.fromkeys(each.auditor for each in signatures if each.auditor != entry.author))


def sealed_by(
    entry: Entry, attestation: Attestation, device: DeviceRecord | None, seal: MeterSeal, check: int
) -> DeviceRecord:
    """The device whose own key signed both counters. Raises Void for any other key or signature."""
    a = attestation
    if device is None or device.device.key != seal.key:
        raise Void(check, f"meter.key {shown(seal.key)} is a key that does not own the device {a.device_id!r}")
    for end, at_ms, counter_j, signature in (
        ("start", a.start_ms, a.meter_start_j, seal.start_signature),
        ("end", a.end_ms, a.meter_end_j, seal.end_signature),
    ):
        statement = counter_statement(entry.network, entry.author, a.device_id, at_ms, counter_j)
        if not verify(seal.key, statement, signature):
            raise Void(check, f"meter.{end}_signature is not under the counter {counter_j} J at {at_ms}")
    return device
