"""What was delivered, what it drew, and what is owed for it: receipts and settlements.

A receipt is its provider's statement; whatever in it follows from other numbers is recomputed here by everyone. A
settlement is the judgement of the job's owner; its amount follows from the award.
"""

from __future__ import annotations

from collections.abc import Iterable

from ledger import assurance, credit
from ledger.energy import carbon_ug, embodied_ug, idle_energy_j, transfer_energy_j
from ledger.rules import referred, require, require_author, shown
from ledger.state import LeaseRecord, ReceiptRecord, State
from protocol.envelope import Entry
from protocol.messages import Receipt, Settlement, SlotEnergy
from protocol.units import MS_PER_HOUR, ceil_div, slot_of


def process_receipt(state: State, entry: Entry, receipt: Receipt) -> None:
    """1. The lease is referred to, is the author's own, and has no final receipt yet.
    2. Its rounds continue those of the last receipt.
    3. Every slot lies within the lease.
    4. Every row's carbon follows from its numbers.
    5. An attestation is the author's own, referred to, at an assurance that the network accepts (by the auditors of the
       genesis and of the job), of the same intensities, overlapping the slot, and its surplus not yet claimed.
    6. Without an attestation there is no surplus, and the grid counts as dirty as in the bid's dirtiest slot.
    7. The lease's receipts charge no more time than it binds, and this one no less energy than idle units draw in the
       time that it charges, and of the making of its units no less than falls into it.
    8. Every delta was moved, a byte a parameter at least, unless the provider works for itself; and the carbon of all
       that was moved follows, at the dirtiest grid that the provider has named for this work.
    """
    lease = referred(state.leases, entry, receipt.lease, 1, "lease")
    require_author(entry, lease.provider, 1, "the lease's provider")
    if lease.receipts:
        last = lease.receipts[-1].receipt
        require(not last.final, 1, f"lease {shown(lease.id)} has its final receipt already, at most 1 is allowed")
        expected = last.first_round + len(last.deltas)
        require(receipt.first_round == expected, 2, f"first_round {receipt.first_round}, expected {expected}")
    claims: dict[bytes, int] = {}
    for row in receipt.energy:
        end_slot = lease.lease.first_slot + lease.lease.slots
        require(
            lease.lease.first_slot <= row.slot < end_slot,
            3,
            f"slot {row.slot} is outside the lease's {lease.lease.first_slot} to {end_slot - 1}",
        )
        require(row.surplus_j <= row.energy_j, 4, f"surplus_j {row.surplus_j} exceeds energy_j {row.energy_j}")
        carbon = carbon_ug(row.energy_j, row.surplus_j, row.own_g_per_kwh, row.grid_g_per_kwh, row.embodied_ug)
        require(
            row.carbon_ug == carbon, 4, f"carbon_ug {row.carbon_ug} in slot {row.slot} is not the {carbon} that follow"
        )
        if row.attestation is None:
            floor = max(lease.placement.bid.bid.grid_g_per_kwh, default=0)
            require(
                row.surplus_j == 0, 6, f"surplus_j {row.surplus_j} in slot {row.slot} exceeds 0 without an attestation"
            )
            require(row.grid_g_per_kwh >= floor, 6, f"grid_g_per_kwh {row.grid_g_per_kwh} is below the bid's {floor}")
        else:
            _check_claim(state, entry, lease, row, row.attestation, claims)
    _check_time(state, lease, receipt)
    _check_transfer(lease, receipt)
    for attestation_id, claimed_j in claims.items():
        state.attestations[attestation_id].remaining_j -= claimed_j
    record = ReceiptRecord(entry.id, lease, receipt)
    state.receipts[entry.id] = record
    lease.receipts.append(record)
    if receipt.final:
        lease.released_at_slot = slot_of(entry.time_ms, state.slot_ms)
        lease.placement.advance("final receipt")


def _check_time(state: State, lease: LeaseRecord, receipt: Receipt) -> None:
    """Check 7 of a receipt. The floor is what the bidder declared of itself: it ties joules to the time that is paid
    for, so that neither can be shrunk alone."""
    busy_ms = receipt.busy_ms + sum(earlier.receipt.busy_ms for earlier in lease.receipts)
    leased_ms = lease.lease.slots * state.slot_ms
    require(busy_ms <= leased_ms, 7, f"busy_ms {busy_ms} in all exceeds the {leased_ms} ms that the lease binds")
    offer = lease.placement.bid.offer.offer
    energy_j = sum(row.energy_j for row in receipt.energy)
    idle_j = idle_energy_j(
        units=lease.lease.units, idle_w=offer.idle_w, pue_permille=offer.pue_permille, duration_ms=receipt.busy_ms
    )
    require(energy_j >= idle_j, 7, f"energy_j {energy_j} in all is below {idle_j}: idle units in {receipt.busy_ms} ms")
    embodied = sum(row.embodied_ug for row in receipt.energy)
    making = embodied_ug(lease.lease.units, offer.embodied_ug_per_unit_hour, receipt.busy_ms)
    held = f"{lease.lease.units} units in {receipt.busy_ms} ms"
    require(embodied >= making, 7, f"embodied_ug {embodied} in all is below {making}: {held}")


def _check_transfer(lease: LeaseRecord, receipt: Receipt) -> None:
    """Check 8 of a receipt."""
    least_bytes = least_moved_bytes(lease, len(receipt.deltas))
    moved_bytes = receipt.moved_bytes
    require(moved_bytes >= least_bytes, 8, f"moved_bytes {moved_bytes} is below {least_bytes}: the deltas alone")
    due_ug = transfer_ug(lease, moved_bytes, receipt.energy)
    require(receipt.transfer_ug == due_ug, 8, f"transfer_ug {receipt.transfer_ug} is not the {due_ug} that follow")


def least_moved_bytes(lease: LeaseRecord, deltas: int) -> int:
    """What so many deltas weigh at the least: they are int8. A provider's own job may never leave it."""
    job = lease.placement.job
    return 0 if lease.provider == job.owner else deltas * job.job.training.model.parameters


def transfer_ug(lease: LeaseRecord, moved_bytes: int, rows: Iterable[SlotEnergy]) -> int:
    """Micrograms of moving so many bytes. Nobody attests the networks between: their grid counts as dirty as the
    dirtiest that the provider has named for this work, in its bid or in these rows."""
    bid = lease.placement.bid.bid
    dirtiest_g_per_kwh = max((*bid.grid_g_per_kwh, *(row.grid_g_per_kwh for row in rows)), default=0)
    return carbon_ug(transfer_energy_j(moved_bytes), 0, 0, dirtiest_g_per_kwh, 0)


def _check_claim(
    state: State, entry: Entry, lease: LeaseRecord, row: SlotEnergy, attestation_id: bytes, claims: dict[bytes, int]
) -> None:
    """Check 5 of a receipt; adds to `claims` what the row takes from the attestation."""
    a = referred(state.attestations, entry, attestation_id, 5, "attestation")
    require_author(entry, a.author, 5, "the attestation's author")
    first, last = slot_of(a.start_ms, state.slot_ms), slot_of(a.end_ms - 1, state.slot_ms)
    require(first <= row.slot <= last, 5, f"slot {row.slot} is outside the attestation's {first} to {last}")
    said, attested = (row.own_g_per_kwh, row.grid_g_per_kwh), (a.own_g_per_kwh, a.grid_g_per_kwh)
    require(said == attested, 5, f"(own, grid) g/kWh {said} in slot {row.slot} are not the attestation's {attested}")
    # Its grid figure counts no more than its surplus: a provider could attest nothing at 0 g/kWh, and draw on that.
    needed = state.surplus_assurance_min
    level = assurance.level(a, assurance.auditors_of(state, lease.placement.job))
    require(level >= needed, 5, f"assurance A{level} is below A{needed}: the slot counts as unattested")
    claims[attestation_id] = claims.get(attestation_id, 0) + row.surplus_j
    claimed = claims[attestation_id]
    require(claimed <= a.remaining_j, 5, f"surplus_j {claimed} in all exceeds the {a.remaining_j} J that are left")


def process_settlement(state: State, entry: Entry, settlement: Settlement) -> None:
    """1. The receipt is referred to, for a job of the author, and not settled yet.
    2. The amount is the award's price for the busy time, or nothing if it is refused.
    """
    record = referred(state.receipts, entry, settlement.receipt, 1, "receipt")
    placement = record.lease.placement
    require_author(entry, placement.job.owner, 1, "the job's owner")
    require(record.settlement is None, 1, f"receipt {shown(record.id)} is settled already, at most once is allowed")
    due = amount_due(record) if settlement.accepted else 0
    require(
        settlement.amount_microcredits == due, 2, f"amount_microcredits {settlement.amount_microcredits}, due are {due}"
    )
    record.settlement = settlement
    pair = (entry.author, record.lease.provider)
    state.owed_microcredits[pair] = state.owed_microcredits.get(pair, 0) + due
    if settlement.accepted:
        state.first_settled.setdefault(pair, entry.seq)
    credit.await_iou(state, entry, record)
    if record.receipt.final:
        placement.advance("final settlement")


def amount_due(record: ReceiptRecord) -> int:
    """Microcredits for a receipt: the award's price for the leased units in the busy time."""
    price = record.lease.placement.placement.price_microcredits_per_unit_hour
    return price_of(price, record.lease.lease.units, record.receipt.busy_ms)


def price_of(price_microcredits_per_unit_hour: int, units: int, duration_ms: int) -> int:
    """Microcredits for so many units and so long, rounded up."""
    return ceil_div(price_microcredits_per_unit_hour * units * duration_ms, MS_PER_HOUR)
