"""Certified energy, stores and devices as the API shows them, and what an operator asks for as claims. Pure.

A request names entries by a few digits; here they become the ids that a claim holds. What is ambiguous or unknown is
refused before anything is judged.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch

from pydantic import ValidationError

from ledger.assurance import comparable
from ledger.certificates import drawn_beyond_surplus_j
from ledger.state import LotRecord, LotStatus, State
from node.api.certificate_resources import (
    Acted,
    Allocate,
    CancellationOf,
    CancelLot,
    CertificateList,
    ChargeStore,
    ClaimKind,
    DeclareDevice,
    DeviceList,
    DeviceOf,
    DischargeStore,
    Issue,
    LotOf,
    OnLot,
    SplitLot,
    TransferLot,
)
from node.api.problems import Conflict, NotFound
from node.api.views import peer
from node.core import Node
from node.documents import faults_of, invalid
from node.home.keys import key_of
from protocol.certificates import Allocation, Cancellation, Certificate, Lot, Split, Transfer
from protocol.devices import Charge, Claim, Device
from protocol.envelope import Entry
from protocol.messages import ARRAY_MAX, Attestation
from protocol.units import ceil_div

KIND_OF: dict[type, ClaimKind] = {
    Certificate: "certificate",
    Split: "split",
    Transfer: "transfer",
    Cancellation: "cancellation",
    Allocation: "allocation",
    Charge: "charge",
}


# --- what is asked for ------------------------------------------------------------------------------------------------


@singledispatch
def claim_of(asked: object, node: Node) -> Claim:
    """The body that an operator wants signed. Raises NotFound, Conflict or LocalError."""
    raise TypeError(f"no claim is made of {type(asked).__name__}")


@claim_of.register
def _(asked: Issue, node: Node) -> Claim:
    state = node.ledger.state
    attestation = _found(asked.attestation, state.attestations, "attestation")
    left_j = state.attestations[attestation].remaining_j
    return Certificate(
        attestation=attestation,
        holder=node.identity.key if asked.holder is None else key_of(asked.holder),
        energy_j=_energy_j(asked.energy_j, left_j, f"attestation {asked.attestation} has nothing left to certify"),
    )


@claim_of.register
def _(asked: SplitLot, node: Node) -> Claim:
    return Split(lot=_lot(asked, node.ledger.state), parts_j=asked.parts_j)


@claim_of.register
def _(asked: TransferLot, node: Node) -> Claim:
    return Transfer(lot=_lot(asked, node.ledger.state), recipient=key_of(asked.recipient))


@claim_of.register
def _(asked: CancelLot, node: Node) -> Claim:
    beneficiary = node.identity.key if asked.beneficiary is None else key_of(asked.beneficiary)
    return Cancellation(lot=_lot(asked, node.ledger.state), beneficiary=beneficiary, purpose=asked.purpose)


@claim_of.register
def _(asked: Allocate, node: Node) -> Claim:
    state = node.ledger.state
    cancellation = _found(asked.cancellation, state.cancellations, "cancellation")
    receipt = _found(asked.receipt, state.receipts, "receipt")
    cancelled, rows = state.cancellations[cancellation], state.receipts[receipt].receipt.energy
    if asked.row >= len(rows):
        cause = f"receipt {asked.receipt} has {len(rows)} rows of energy, and no row {asked.row}"
        raise NotFound("HEL-CERTIFICATE-003", cause, "Rows count from 0; see: heliotrope ledger show RECEIPT")
    left_j = min(
        cancelled.lot.energy_j - cancelled.allocated_j,
        drawn_beyond_surplus_j(rows[asked.row]) - state.allocated_j.get((receipt, asked.row), 0),
    )
    energy_j = _energy_j(asked.energy_j, left_j, "nothing is left to match: all is allocated, or covered by surplus")
    return Allocation(cancellation=cancellation, receipt=receipt, row=asked.row, energy_j=energy_j)


@claim_of.register
def _(asked: ChargeStore, node: Node) -> Claim:
    state = node.ledger.state
    if asked.lot is not None:
        entry = _found(asked.lot, {entry: None for entry, _ in state.lots}, "lot")
        lot = state.lots.get((entry, asked.index))
        left_j, named = lot.energy_j if lot else 0, Lot(entry=entry, index=asked.index)
        energy_j = _energy_j(asked.energy_j, left_j, f"lot {asked.lot}/{asked.index} does not exist")
        return Charge(device_id=asked.device_id, attestation=None, lot=named, energy_j=energy_j)
    attestation = _found(asked.attestation or "", state.attestations, "attestation")
    left_j = state.attestations[attestation].remaining_j
    energy_j = _energy_j(asked.energy_j, left_j, f"attestation {asked.attestation} has nothing left to charge")
    return Charge(device_id=asked.device_id, attestation=attestation, lot=None, energy_j=energy_j)


def device_of(asked: DeclareDevice) -> Device:
    """The declaration that is asked for. Raises Invalid for one that cannot be."""
    place = {
        "zone": asked.zone,
        "latitude_decidegrees": round(asked.latitude * 10),
        "longitude_decidegrees": round(asked.longitude * 10),
    }
    fields = asked.model_dump(exclude={"zone", "latitude", "longitude", "dry_run", "key"})
    key = None if asked.key is None else bytes.fromhex(asked.key)
    try:
        return Device.model_validate(fields | {"place": place, "key": key, "countersignatures": ()})
    except ValidationError as error:
        raise invalid("the device", list(faults_of(error, Device).values())) from None


def discharge_of(asked: DischargeStore, node: Node, now_ms: int) -> Attestation:
    """What came out of a store of this node's, as dirty as what is in it. Raises NotFound and Conflict."""
    state, key = node.ledger.state, (node.identity.key, comparable(asked.device_id))
    store, newest, reading = state.stores.get(key), state.newest_of_device.get(key), node.sourcing.newest
    if store is None:
        cause = f"{asked.device_id!r} is no battery that this node has declared"
        raise NotFound("HEL-DEVICE-003", cause, "Declare it with: heliotrope device declare --store ID")
    if reading is None:
        cause = "what the grid emits is not known yet: the energy source has not answered"
        raise Conflict("HEL-DEVICE-004", cause, "Wait for the next reading; see: heliotrope energy sources")
    if asked.seconds is None and newest is None:
        cause = f"nothing of {asked.device_id!r} is attested yet: since when its counter rose is not known"
        raise Conflict("HEL-DEVICE-005", cause, "Say in how many seconds it rose, an hour at most.")
    device, start_j = state.devices[key].device, newest.meter_end_j if newest else 0
    since_ms = now_ms - asked.seconds * 1000 if asked.seconds is not None else newest.end_ms if newest else 0
    return Attestation(
        device_id=device.device_id,
        carrier=device.carrier,
        method="metered",
        start_ms=since_ms,
        end_ms=now_ms,
        energy_j=max(0, asked.counter_j - start_j) if asked.energy_j is None else asked.energy_j,
        meter_start_j=start_j,
        meter_end_j=asked.counter_j,
        capacity_w=device.capacity_w,
        place=device.place,
        own_g_per_kwh=ceil_div(store.held_g_j_per_kwh, store.held_j) if store.held_j else 0,
        grid_g_per_kwh=reading.grid_g_per_kwh,
        intensity_kind=reading.intensity_kind,
        intensity_source=reading.intensity_source,
        uncertainty_permille=asked.uncertainty_permille,
        source="the operator's reading of its counter",
        marginal_g_per_kwh=reading.marginal_g_per_kwh,
        carbon_free_permille=reading.carbon_free_permille,
    )


def _lot(asked: OnLot, state: State) -> Lot:
    return Lot(entry=_found(asked.entry, {entry: None for entry, _ in state.lots}, "lot"), index=asked.index)


def _found(name: str, table: Iterable[bytes], what: str) -> bytes:
    """The one id that begins with these digits."""
    found = [entry for entry in table if entry.hex().startswith(name)]
    if not name or not found:
        cause = f"no {what} that begins with {name!r} is known here, or it is void"
        raise NotFound("HEL-CERTIFICATE-001", cause, "List what there is with: heliotrope certificate list")
    if len(found) > 1:
        raise Conflict("HEL-CERTIFICATE-002", f"{len(found)} of them begin with {name!r}", "Give more digits.")
    return found[0]


def _energy_j(asked_j: int | None, left_j: int, nothing: str) -> int:
    if asked_j is not None:
        return asked_j
    if left_j < 1:
        raise Conflict("HEL-CERTIFICATE-004", nothing, "List what there is with: heliotrope certificate list")
    return left_j


# --- what there is ----------------------------------------------------------------------------------------------------


def certificates(node: Node) -> CertificateList:
    """Lots that this node holds, the newest hour first, and what was cancelled in its favour."""
    me, state = node.identity.key, node.ledger.state
    held = [lot for lot in state.lots.values() if lot.holder == me and lot.status is LotStatus.HELD]
    held.sort(key=lambda lot: (-lot.attestation.start_ms, lot.entry, lot.index))
    favours = [cancelled for cancelled in state.cancellations.values() if cancelled.beneficiary == me]
    return CertificateList(
        lots=tuple(lot_of(node, lot) for lot in held),
        cancellations=tuple(
            CancellationOf(
                entry=each.id.hex(),
                beneficiary=peer(node, each.beneficiary),
                energy_j=each.lot.energy_j,
                allocated_j=each.allocated_j,
                zone=each.lot.attestation.zone,
                start_ms=each.lot.attestation.start_ms,
            )
            for each in favours
        ),
    )


def lot_of(node: Node, lot: LotRecord) -> LotOf:
    made = lot.attestation
    return LotOf(
        entry=lot.entry.hex(),
        index=lot.index,
        holder=peer(node, lot.holder),
        energy_j=lot.energy_j,
        status=lot.status.value,
        attestation=made.id.hex(),
        producer=peer(node, made.author),
        zone=made.zone,
        start_ms=made.start_ms,
        end_ms=made.end_ms,
        own_g_per_kwh=made.own_g_per_kwh,
        assurance=made.assurance,
    )


def acted(node: Node, claim: Claim, entry: Entry | None) -> Acted:
    """What was signed; `entry` None: what would be."""
    lots = node.ledger.state.lots
    made = [lots[entry.id, index] for index in range(ARRAY_MAX) if (entry.id, index) in lots] if entry else []
    match claim:
        case Split():
            energy_j = sum(claim.parts_j)
        case Transfer() | Cancellation():
            energy_j = lots[claim.lot.entry, claim.lot.index].energy_j
        case _:
            energy_j = claim.energy_j
    return Acted(
        kind=KIND_OF[type(claim)],
        entry=entry.id.hex() if entry else None,
        energy_j=energy_j,
        lots=tuple(lot_of(node, lot) for lot in made),
    )


def devices(node: Node) -> DeviceList:
    """What this node has declared, and who countersigned it."""
    state, found = node.ledger.state, []
    for key, record in state.devices.items():
        if record.owner != node.identity.key:
            continue
        d, store = record.device, state.stores.get(key)
        found.append(
            DeviceOf(
                entry=record.id.hex(),
                zone=d.place.zone,
                latitude=d.place.latitude_decidegrees / 10,
                longitude=d.place.longitude_decidegrees / 10,
                held_j=None if store is None else store.held_j,
                key=None if d.key is None else d.key.hex(),
                auditors=tuple(peer(node, auditor) for auditor in record.auditors),
                **d.model_dump(
                    include={
                        *("device_id", "carrier", "capacity_w", "tilt_degrees", "azimuth_degrees"),
                        *("storage_j", "efficiency_permille"),
                    }
                ),
            )
        )
    attesting = node.attesting
    return DeviceList(devices=tuple(found), waiting=attesting.operators_waiting, unaudited=attesting.unaudited)
