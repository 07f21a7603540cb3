"""What must hold in every state, computed a second time from the records and not from the running totals.

`violations(state) == []` is asserted after every step in the tests, and by `heliotrope ledger verify`. Each promise
costs one pass over its records, so that a ledger of a million entries is audited in seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from ledger.certificates import drawn_beyond_surplus_j
from ledger.credit import amount_settled
from ledger.energy import carbon_ug
from ledger.receipts import amount_due, transfer_ug
from ledger.rules import shown
from ledger.state import AccountKey, LotStatus, PlacementRecord, PlacementStatus, ReceiptRecord, State
from ledger.transitions import PriceGroup, pool_allows, price_group
from protocol.credit import UNIT
from protocol.units import MS_PER_HOUR


def violations(state: State) -> list[str]:
    """Every broken promise, in words with numbers; empty for a sound state."""
    return [
        *_oversold_slots(state),
        *_time_charged_twice(state),
        *_energy_claimed_twice(state),
        *_stores_out_of_balance(state),
        *_lots_out_of_balance(state),
        *_lots_cancelled_twice(state),
        *_matched_beyond_cancelled(state),
        *_matched_beyond_drawn(state),
        *_shards_placed_twice(state),
        *_unsound_awards(state),
        *_unequal_prices(state),
        *_wrong_job_statuses(state),
        *_wrong_carbon(state),
        *_wrong_amounts(state),
        *_wrong_ious(state),
        *_wrong_discharges(state),
        *_lost_credits(state),
    ]


def _oversold_slots(state: State) -> list[str]:
    """Capacity: in no slot do a provider's leases bind more units than the offer that the last of them names."""
    found = []
    for provider, leases in state.leases_of.items():
        bound: Counter[int] = Counter()
        offered: dict[int, int] = {}
        for record in leases:
            end_slot = record.lease.first_slot + record.lease.slots
            if record.released_at_slot is not None:
                end_slot = min(end_slot, record.released_at_slot)
            for slot in range(record.lease.first_slot, end_slot):
                bound[slot] += record.lease.units
                offered[slot] = state.offers[record.lease.offer].offer.units
        found += [
            f"{shown(provider)} oversold slot {slot}: {units} of {offered[slot]} units"
            for slot, units in sorted(bound.items())
            if units > offered[slot]
        ]
    return found


def _time_charged_twice(state: State) -> list[str]:
    """Time: the receipts of a lease charge no more than it binds."""
    found = []
    for lease in state.leases.values():
        busy_ms = sum(r.receipt.busy_ms for r in lease.receipts)
        leased_ms = lease.lease.slots * state.slot_ms
        if busy_ms > leased_ms:
            found.append(f"lease {shown(lease.id)}: {busy_ms} ms charged of {leased_ms} ms")
    return found


def _energy_claimed_twice(state: State) -> list[str]:
    """Energy: what receipts, certificates and stores claim of an attestation is at most what it attests."""
    claimed: Counter[bytes] = Counter()
    for record in state.receipts.values():
        for row in record.receipt.energy:
            if row.attestation is not None:
                claimed[row.attestation] += row.surplus_j
    for lot in state.lots.values():
        if lot.parent is None:
            claimed[lot.attestation.id] += lot.energy_j
    for store in state.stores.values():
        for charge in store.charges:
            if not charge.is_of_lot:
                claimed[charge.attestation.id] += charge.energy_j
    return [
        f"attestation {shown(r.id)}: {claimed[r.id]} J claimed of {r.energy_j} J, {r.remaining_j} J left"
        for r in state.attestations.values()
        if r.remaining_j < 0 or r.remaining_j != r.energy_j - claimed[r.id]
    ]


def _stores_out_of_balance(state: State) -> list[str]:
    """Stores: what came out and what is left is what went in less losses, of joules, and no gram has vanished."""
    found = []
    for (owner, device_id), store in state.stores.items():
        name = f"store {device_id!r} of {shown(owner)}"
        in_j = sum(min(charge.kept_j, charge.energy_j) for charge in store.charges)
        out_j = sum(record.energy_j for record in store.discharges)
        if store.held_j < 0 or out_j + store.held_j != in_j:
            found.append(f"{name}: {out_j} J came out, {store.held_j} J are left of {in_j} J")
        in_g_j_per_kwh = sum(charge.energy_j * charge.attestation.own_g_per_kwh for charge in store.charges)
        out_g_j_per_kwh = sum(record.energy_j * record.own_g_per_kwh for record in store.discharges)
        if out_g_j_per_kwh + store.held_g_j_per_kwh < in_g_j_per_kwh:
            found.append(
                f"{name}: {out_g_j_per_kwh + store.held_g_j_per_kwh} J x g/kWh out and left of {in_g_j_per_kwh} in"
            )
    stored = Counter(charge.id for store in state.stores.values() for charge in store.charges if charge.is_of_lot)
    lots = sum(lot.status is LotStatus.STORED for lot in state.lots.values())
    if lots != stored.total() or len(stored) != stored.total():
        found.append(f"stores: {stored.total()} charges of lots, {lots} lots stored")
    return found


def _lots_out_of_balance(state: State) -> list[str]:
    """Lots: a split or transferred lot lives on in others of exactly its energy; any other has none."""
    children_j: Counter[tuple[bytes, int]] = Counter()
    for lot in state.lots.values():
        if lot.parent is not None:
            children_j[lot.parent] += lot.energy_j
    found = []
    for key, lot in state.lots.items():
        expected_j = lot.energy_j if lot.status in (LotStatus.SPLIT, LotStatus.TRANSFERRED) else 0
        if children_j[key] != expected_j:
            found.append(
                f"lot {shown(lot.entry)}/{lot.index}, {lot.status.value}: {children_j[key]} J live on of {expected_j} J"
            )
    return found


def _lots_cancelled_twice(state: State) -> list[str]:
    """Lots: a cancelled lot has one cancellation, and any other none."""
    cancelled = Counter((c.lot.entry, c.lot.index) for c in state.cancellations.values())
    return [
        f"lot {shown(lot.entry)}/{lot.index}, {lot.status.value}: cancelled {cancelled[key]} times"
        for key, lot in state.lots.items()
        if cancelled[key] != (lot.status is LotStatus.CANCELLED)
    ]


def _matched_beyond_cancelled(state: State) -> list[str]:
    """Allocations: no more is matched than was cancelled."""
    matched_j: Counter[bytes] = Counter()
    for allocation in state.allocations.values():
        matched_j[allocation.cancellation.id] += allocation.energy_j
    return [
        f"cancellation {shown(c.id)}: {matched_j[c.id]} J matched of {c.lot.energy_j} J, {c.allocated_j} J booked"
        for c in state.cancellations.values()
        if matched_j[c.id] > c.lot.energy_j or matched_j[c.id] != c.allocated_j
    ]


def _matched_beyond_drawn(state: State) -> list[str]:
    """Allocations: no more is matched with a row of a receipt than it drew beyond its surplus, all of it made in the
    same hour and zone."""
    matched_j: Counter[tuple[bytes, int]] = Counter()
    found = []
    for a in state.allocations.values():
        matched_j[a.receipt.id, a.row] += a.energy_j
        made = a.cancellation.lot.attestation
        used_ms = a.receipt.receipt.energy[a.row].slot * state.slot_ms
        zone = state.offers[a.receipt.lease.lease.offer].offer.place.zone
        made_in, used_in = (made.start_ms // MS_PER_HOUR, made.zone), (used_ms // MS_PER_HOUR, zone)
        if made_in != used_in:
            found.append(f"allocation {shown(a.id)}: made in (hour, zone) {made_in}, used in {used_in}")
    for key in sorted(matched_j.keys() | state.allocated_j.keys()):
        receipt, row = key
        drawn_j = drawn_beyond_surplus_j(state.receipts[receipt].receipt.energy[row])
        booked_j = state.allocated_j.get(key, 0)
        if matched_j[key] > drawn_j or matched_j[key] != booked_j:
            found.append(
                f"receipt {shown(receipt)}, row {row}: {matched_j[key]} J matched of {drawn_j} J, {booked_j} J booked"
            )
    return found


def _shards_placed_twice(state: State) -> list[str]:
    """Awards: a shard has one live placement at most."""
    found = []
    for job in state.jobs.values():
        live = Counter(p.placement.shard for p in job.placements if p.status is not PlacementStatus.REVOKED)
        found += [f"job {shown(job.id)}: shard {s} placed {n} times" for s, n in sorted(live.items()) if n > 1]
    return found


def _unsound_awards(state: State) -> list[str]:
    """Awards: each placement is a bidder's that answered this job, in a pool that its mode allows, within its window
    and its price."""
    return [
        f"job {shown(p.job.id)}: shard {p.placement.shard}: {fault}"
        for p in state.placements.values()
        for fault in _faults_of_placement(p)
    ]


def _faults_of_placement(p: PlacementRecord) -> Iterator[str]:
    job, bid, placed, tenant = p.job.job, p.bid.bid, p.placement, p.bid.offer.offer.tenant
    if (bid.job, p.bid.provider) != (p.job.id, placed.provider):
        yield f"bid {shown(p.bid.id)} is for another job or another's"
    if not pool_allows(job.mode, job.tenant, tenant):
        yield f"mode {job.mode} on tenant {tenant!r}"
    if placed.first_slot < job.first_slot or placed.first_slot + placed.slots > job.deadline_slot:
        yield (
            f"slots {placed.first_slot} to {placed.first_slot + placed.slots - 1}"
            f" outside {job.first_slot} to {job.deadline_slot - 1}"
        )
    price, asked = placed.price_microcredits_per_unit_hour, bid.price_microcredits_per_unit_hour
    if not asked <= price <= job.price_max_microcredits_per_unit_hour:
        yield f"price {price}, {asked} to {job.price_max_microcredits_per_unit_hour} are allowed"


def _unequal_prices(state: State) -> list[str]:
    """Awards: like is paid alike."""
    agreed: dict[tuple[bytes, PriceGroup], int] = {}
    found = []
    for p in state.placements.values():
        price = p.placement.price_microcredits_per_unit_hour
        like = agreed.setdefault((p.award, price_group(p.placement, p.bid)), price)
        if price != like:
            found.append(f"award {shown(p.award)}: shard {p.placement.shard}: price {price}, the like of it {like}")
    return found


def _wrong_job_statuses(state: State) -> list[str]:
    """Jobs: one that is closed is what its closure says; of the others, those whose shards are all placed run."""
    found = []
    for job in state.jobs.values():
        placed = len(job.live()) == job.job.shards
        status = job.closure.outcome if job.closure is not None else "running" if placed else "open"
        if job.status.value != status:
            found.append(f"job {shown(job.id)}: is {job.status.value}, and follows to be {status}")
    return found


def _wrong_carbon(state: State) -> list[str]:
    """Carbon: every row of every receipt follows from its joules and intensities, and its transfer from its bytes."""
    return [
        f"receipt {shown(record.id)}: carbon_ug {row.carbon_ug} in slot {row.slot}"
        for record in state.receipts.values()
        for row in record.receipt.energy
        if row.carbon_ug
        != carbon_ug(row.energy_j, row.surplus_j, row.own_g_per_kwh, row.grid_g_per_kwh, row.embodied_ug)
    ] + [
        f"receipt {shown(record.id)}: transfer_ug {record.receipt.transfer_ug} for {record.receipt.moved_bytes} bytes"
        for record in state.receipts.values()
        if record.receipt.transfer_ug != transfer_ug(record.lease, record.receipt.moved_bytes, record.receipt.energy)
    ]


def _wrong_amounts(state: State) -> list[str]:
    """Credit: what is owed is the sum of what was settled, each at the award's price."""
    owed: Counter[tuple[bytes, bytes]] = Counter()
    for record in state.receipts.values():
        if record.settlement is not None and record.settlement.accepted:
            owed[record.lease.placement.job.owner, record.lease.provider] += amount_due(record)
    booked = Counter(state.owed_microcredits)
    return [
        f"{shown(debtor)} owes {shown(creditor)} {booked[debtor, creditor]}, settled: {owed[debtor, creditor]}"
        for debtor, creditor in sorted(owed.keys() | booked.keys())
        if booked[debtor, creditor] != owed[debtor, creditor]
    ]


def _wrong_ious(state: State) -> list[str]:
    """Credit: IOUs never fall, keep to their limit, and say what the settlements that they acknowledge say; every other
    settlement waits for one."""
    acknowledged: Counter[AccountKey] = Counter()
    waiting: Counter[AccountKey] = Counter()
    for key, record in _debts(state.receipts.values()):
        (waiting if record.iou is None else acknowledged)[key] += amount_settled(record)
    found = []
    total: dict[AccountKey, int] = {}
    for iou in state.ious.values():
        net, before = iou.total - (iou.discharge.total if iou.discharge else 0), total.get(iou.account, 0)
        if iou.total < before:
            found.append(f"iou {shown(iou.id)}: total fell from {before} to {iou.total}")
        if net > iou.limit.limit:
            found.append(f"iou {shown(iou.id)}: {net} owed of at most {iou.limit.limit}")
        total[iou.account] = iou.total
    for key in sorted(acknowledged.keys() | waiting.keys() | state.accounts.keys()):
        account = state.accounts.get(key)
        latest = account.iou.total if account and account.iou else 0
        pending = sum(map(amount_settled, account.pending.values())) if account else 0
        promised = total.get(key, 0)
        if not latest == promised == acknowledged[key]:
            found.append(f"{_pair(key)}: IOU {latest}, of {promised} promised and {acknowledged[key]} acknowledged")
        if pending != waiting[key]:
            found.append(f"{_pair(key)}: {pending} waits for an IOU, settled without one: {waiting[key]}")
    return found


def _wrong_discharges(state: State) -> list[str]:
    """Credit: discharges never fall, and never exceed what was promised."""
    found = []
    total: dict[AccountKey, int] = {}
    for discharge in state.discharges.values():
        before = total.get(discharge.account, 0)
        if discharge.total < before:
            found.append(f"discharge {shown(discharge.id)}: total fell from {before} to {discharge.total}")
        total[discharge.account] = discharge.total
    for key, account in sorted(state.accounts.items(), key=lambda item: item[0]):
        paid, promised = total.get(key, 0), account.iou.total if account.iou else 0
        booked = account.discharge.total if account.discharge else 0
        if paid > promised or paid != booked:
            found.append(f"{_pair(key)}: {paid} discharged of {promised} promised, {booked} booked")
    return found


def _lost_credits(state: State) -> list[str]:
    """Credit is conserved: what all providers earned, by their leases, is what all debtors owe, by their accounts."""
    earned = sum(
        amount_settled(record)
        for leases in state.leases_of.values()
        for lease in leases
        for _, record in _debts(lease.receipts)
    )
    owed = sum(
        (account.iou.total if account.iou else 0) + sum(map(amount_settled, account.pending.values()))
        for account in state.accounts.values()
    )
    return [f"credits: {earned} earned by all, {owed} owed by all"] if earned != owed else []


def _debts(records: Iterable[ReceiptRecord]) -> Iterator[tuple[AccountKey, ReceiptRecord]]:
    """What one peer settled of another's work, by account; nobody owes itself."""
    for record in records:
        debtor, creditor = record.lease.placement.job.owner, record.lease.provider
        if amount_settled(record) and debtor != creditor:
            yield (debtor, creditor, UNIT), record


def _pair(key: AccountKey) -> str:
    debtor, creditor, unit = key
    return f"{shown(debtor)} to {shown(creditor)} in {unit}s"
