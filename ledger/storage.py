"""Devices as their owners declare them, and stores: what may come out of one went into it before, and was attested.

A store is a heap of joules without an order: what comes out has the mean intensity of what is in it. Losses are taken
off when it is charged, and the grams of what was lost stay with the rest: they were emitted for it. So neither joules
nor cleanness are made by storing. What a store loses by standing idle is not known here: the heap is a bound.

All of it is in one feed, that of the store's owner, so no order of arrival matters.
"""

from __future__ import annotations

from ledger import assurance
from ledger.assurance import comparable
from ledger.certificates import held_lot
from ledger.rules import Void, referred, require, require_author, shown
from ledger.state import AttestationRecord, ChargeRecord, DeviceRecord, LotRecord, State, StoreRecord
from protocol.devices import Charge, Device
from protocol.envelope import Entry
from protocol.messages import Attestation
from protocol.units import ceil_div


def process_device(state: State, entry: Entry, device: Device) -> None:
    """1. It stores something exactly if its carrier is storage, and only a store loses something.
    2. Its carrier and its losses are those of the author's earlier declaration: a store that loses nothing while it is
       charged, and what it does while an auditor looks, would make joules.
    3. Its key is not the author's own: an owner is not its own meter.
    4. Every countersignature is its auditor's, under this declaration.
    """
    record = judge_device(state, entry, device)
    key = (entry.author, comparable(device.device_id))
    state.devices[key] = record
    if device.carrier == "storage":
        state.stores.setdefault(key, StoreRecord())


def judge_device(state: State, entry: Entry, device: Device) -> DeviceRecord:
    """The checks of `process_device`, without a change. Raises Void."""
    d = device
    is_store = d.carrier == "storage"
    require((d.storage_j > 0) == is_store, 1, f"storage_j {d.storage_j} with carrier {d.carrier}")
    require(
        is_store or d.efficiency_permille == 1000, 1, f"efficiency_permille {d.efficiency_permille} without a store"
    )
    known = state.devices.get((entry.author, comparable(d.device_id)))
    if known is not None:
        for name in ("carrier", "efficiency_permille"):
            said, before = getattr(d, name), getattr(known.device, name)
            require(said == before, 2, f"{name} {said} of device {d.device_id!r} was {before} before")
    require(d.key != entry.author, 3, f"key {shown(entry.author)} is the author's own")
    return DeviceRecord(entry.id, entry.author, d, assurance.countersigners(entry, d.countersignatures, 4))


def require_agreement(device: DeviceRecord | None, attestation: Attestation, check: int) -> None:
    """Raise Void unless an attestation agrees with what is declared of its device; what comes from a store needs a
    declared one."""
    a = attestation
    if device is None:
        if a.carrier == "storage":
            raise Void(check, f"carrier storage, but device {a.device_id!r} is not declared")
        return
    d = device.device
    if a.carrier != d.carrier:
        raise Void(check, f"carrier {a.carrier} is not the device's {d.carrier}")
    if a.place != d.place:
        raise Void(check, f"place {_spelled(a)} is not the device's {_spelled(d)}")
    if a.capacity_w > d.capacity_w:
        raise Void(check, f"capacity_w {a.capacity_w} exceeds the device's {d.capacity_w}")


def process_charge(state: State, entry: Entry, charge: Charge) -> None:
    """1. The device is a store that the author has declared.
    2. The attestation is referred to, the author's own, at an assurance that the network accepts, and this much of it
       is left; or the lot is referred to, held by the author, not spent, and of exactly this much.
    3. It was made in the store's zone.
    4. With it the store holds no more than it can.
    """
    store, record, lot = judge_charge(state, entry, charge)
    made = record.attestation
    if lot is not None:
        lot.advance("charge")
    else:
        made.remaining_j -= charge.energy_j
    # Losses take joules and leave their grams.
    store.assurance = min(store.assurance, made.assurance) if store.held_j else made.assurance
    store.held_j += record.kept_j
    store.held_g_j_per_kwh += record.energy_j * made.own_g_per_kwh
    store.charged_until_ms = max(store.charged_until_ms, made.end_ms)
    store.charges.append(record)


def judge_charge(state: State, entry: Entry, charge: Charge) -> tuple[StoreRecord, ChargeRecord, LotRecord | None]:
    """The store, what would be charged, and the lot that it would use up. Raises Void."""
    key = (entry.author, comparable(charge.device_id))
    store = state.stores.get(key)
    if store is None:
        raise Void(1, f"device {charge.device_id!r} is no store that its author has declared")
    declared, energy_j = state.devices[key].device, charge.energy_j
    lot = None if charge.lot is None else held_lot(state, entry, charge.lot, 2)
    made = _attestation(state, entry, charge) if lot is None else lot.attestation
    require(lot is None or energy_j == lot.energy_j, 2, f"energy_j {energy_j} is not the lot's {lot and lot.energy_j}")
    require(made.zone == declared.place.zone, 3, f"zone {made.zone} is not the store's {declared.place.zone}")
    kept_j = energy_j * declared.efficiency_permille // 1000
    held_j = store.held_j + kept_j
    require(held_j <= declared.storage_j, 4, f"the store would hold {held_j} J of at most {declared.storage_j} J")
    return store, ChargeRecord(entry.id, made, lot is not None, energy_j, kept_j), lot


def _attestation(state: State, entry: Entry, charge: Charge) -> AttestationRecord:
    """Check 2 of a charge from the author's own attestation."""
    made = referred(state.attestations, entry, charge.attestation or b"", 2, "attestation")
    require_author(entry, made.author, 2, "the attestation's author")
    needed, left_j = assurance.needed(state), made.remaining_j
    require(made.assurance >= needed, 2, f"assurance A{made.assurance} is below the network's A{needed}")
    require(charge.energy_j <= left_j, 2, f"energy_j {charge.energy_j} exceeds the {left_j} J that are left")
    return made


def discharge(store: StoreRecord, record: AttestationRecord) -> None:
    """Take out what an attestation says. Grams are rounded in favour of what stays, so that they never vanish."""
    if record.energy_j:
        store.held_g_j_per_kwh -= store.held_g_j_per_kwh * record.energy_j // store.held_j
        store.held_j -= record.energy_j
    store.discharges.append(record)


def require_stored(store: StoreRecord, attestation: Attestation, check: int) -> None:
    """Raise Void unless the energy was in the store before, and is told to be as dirty as what is in it."""
    a = attestation
    if a.start_ms < store.charged_until_ms:
        raise Void(check, f"start_ms {a.start_ms} is before the store was charged, until {store.charged_until_ms}")
    if a.energy_j > store.held_j:
        raise Void(check, f"energy_j {a.energy_j} exceeds the {store.held_j} J that the store holds")
    dirtiness = ceil_div(store.held_g_j_per_kwh, store.held_j) if store.held_j else 0
    if a.energy_j and a.own_g_per_kwh < dirtiness:
        raise Void(check, f"own_g_per_kwh {a.own_g_per_kwh} is below the {dirtiness} of what the store holds")


def _spelled(where: Attestation | Device) -> str:
    place = where.place
    return f"{place.zone} {place.latitude_decidegrees}/{place.longitude_decidegrees} decidegrees"
