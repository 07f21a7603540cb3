"""What an entry makes of the state: one `process_*` per kind, each a numbered list of checks and then the change.

A check that fails makes the entry void: it stays in its feed, and changes nothing. Verdicts use only the entry, what it
refers to and its author's own earlier entries, never what happened to arrive first: so all peers reach the same state
in whatever order entries of different authors arrive. Integers only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ValidationError

from ledger.energy import carbon_ug
from ledger.state import (
    AttestationRecord,
    BidRecord,
    JobRecord,
    LeaseRecord,
    OfferRecord,
    PlacementRecord,
    PlacementStatus,
    ReceiptRecord,
    State,
)
from protocol.adverts import first_fault
from protocol.envelope import Entry
from protocol.messages import (
    BODIES,
    INTEGER_MAX,
    Attestation,
    Award,
    Bid,
    Closure,
    Job,
    Lease,
    Mode,
    Offer,
    Receipt,
    Revocation,
    Settlement,
    SlotEnergy,
)
from protocol.units import MS_PER_HOUR, ceil_div, slot_of

RULES = 1  # raised whenever a verdict or an effect changes: a snapshot of other rules is not used
ATTESTATION_MAX_MS = MS_PER_HOUR
Record = TypeVar("Record")


class Void(Exception):
    """The entry stands in its feed but counts for nothing; the message names the check and the numbers."""


def require(condition: bool, check: int, complaint: str) -> None:
    """Raise Void, naming the check by its number, unless the condition holds."""
    if not condition:
        raise Void(f"check {check}: {complaint}")


def apply(state: State, entry: Entry) -> None:
    """Judge one entry. Everything it refers to must have been judged before.

    A void entry is recorded with its reason. An unknown kind changes nothing: newer programs may know it.
    """
    if state.frozen_from and entry.seq >= state.frozen_from.get(entry.author, INTEGER_MAX):
        fork_seq = state.frozen_from[entry.author]
        state.forked.add(entry.id)
        state.voids[entry.id] = f"check 0: its author signed two histories from seq {fork_seq} on"
        return
    model = BODIES.get(entry.kind)
    if model is None:
        return
    try:
        PROCESS[entry.kind](state, entry, model.model_validate(entry.body))
    except ValidationError as error:
        state.voids[entry.id] = f"check 0: {first_fault(error)}"
    except Void as void:
        state.voids[entry.id] = str(void)


def process_offer(state: State, entry: Entry, offer: Offer) -> None:
    """1. Peak power is not below idle power."""
    require(offer.peak_w >= offer.idle_w, 1, f"peak_w {offer.peak_w} is below idle_w {offer.idle_w}")
    record = OfferRecord(entry.id, entry.author, offer)
    state.offers[entry.id] = record
    state.offer_of[entry.author] = record


def process_attestation(state: State, entry: Entry, attestation: Attestation) -> None:
    """1. It ends after it starts, and spans at most an hour.
    2. It does not reach beyond the moment of its own signing.
    3. The energy is the counter's difference.
    4. The energy is at most capacity times time.
    5. The interval does not overlap an earlier one of the device, and its counter has not gone back.
    """
    a = attestation
    duration_ms = a.end_ms - a.start_ms
    require(0 < duration_ms <= ATTESTATION_MAX_MS, 1, f"spans {duration_ms} ms, 1 to {ATTESTATION_MAX_MS} are allowed")
    require(a.end_ms <= entry.time_ms, 2, f"ends {a.end_ms - entry.time_ms} ms after it was signed")
    metered_j = a.meter_end_j - a.meter_start_j
    require(a.energy_j == metered_j, 3, f"energy_j {a.energy_j} is not the counter's difference {metered_j}")
    bound_j = ceil_div(a.capacity_w * duration_ms, 1000)
    require(a.energy_j <= bound_j, 4, f"energy_j {a.energy_j} exceeds {bound_j}: {a.capacity_w} W x {duration_ms} ms")
    last = state.newest_of_device.get((entry.author, a.device_id))
    if last is not None:
        require(a.start_ms >= last.end_ms, 5, f"starts {last.end_ms - a.start_ms} ms before the device's last ended")
        require(
            a.meter_start_j >= last.meter_end_j, 5, f"counter went back from {last.meter_end_j} to {a.meter_start_j} J"
        )
    record = AttestationRecord(
        id=entry.id,
        author=entry.author,
        start_ms=a.start_ms,
        end_ms=a.end_ms,
        energy_j=a.energy_j,
        meter_end_j=a.meter_end_j,
        own_g_per_kwh=a.own_g_per_kwh,
        grid_g_per_kwh=a.grid_g_per_kwh,
        zone=sys.intern(a.place.zone),
        method=a.method,
        assurance=1 if a.method == "metered" else 0,
        remaining_j=a.energy_j,
    )
    state.attestations[entry.id] = record
    state.attestations_of.setdefault(entry.author, []).append(record)
    state.newest_of_device[entry.author, a.device_id] = record


def process_job(state: State, entry: Entry, job: Job) -> None:
    """1. Bids close after the job was signed."""
    late_ms = entry.time_ms - job.bids_close_at_ms
    require(late_ms <= 0, 1, f"bids closed {late_ms} ms before it")
    state.jobs[entry.id] = JobRecord(entry.id, entry.author, job, entry.time_ms)


def process_bid(state: State, entry: Entry, bid: Bid) -> None:
    """1. The job is referred to and valid.
    2. The offer is referred to and is the bidder's latest.

    A provider's later bid replaces its earlier one.
    """
    job = _referred(state.jobs, entry, bid.job, 1, "job")
    offer = _referred(state.offers, entry, bid.offer, 2, "offer")
    require(state.offer_of.get(entry.author) is offer, 2, "the offer is not the bidder's latest")
    record = BidRecord(entry.id, entry.author, bid, offer, entry.time_ms)
    state.bids[entry.id] = record
    job.bids[entry.author] = record


def process_award(state: State, entry: Entry, award: Award) -> None:
    """1. The job is referred to, is the author's own, and not closed.
    2. Each shard exists, and none is placed twice.
    3. Each bid is referred to, is for this job and by this provider.
    4. The price is within the job's cap.
    5. The slots lie within the job's window.
    6. The provider's pool is one that the job's mode allows.

    A placement on a bid that is void for its author's fork is void alone: one liar must not undo the others' deals.
    """
    job = _referred(state.jobs, entry, award.job, 1, "job")
    require(job.owner == entry.author, 1, "only the job's owner awards")
    require(job.closure is None, 1, "the job is closed")
    taken = set(job.live())
    records = []
    for placement in award.placements:
        shard = placement.shard
        require(shard < job.job.shards, 2, f"shard {shard} of {job.job.shards}")
        require(shard not in taken, 2, f"shard {shard} is placed already")
        taken.add(shard)
        if placement.bid in entry.refs and state.is_forked(placement.bid):
            continue  # the bidder lied to somebody: its part is lost, not the honest ones'
        bid = _referred(state.bids, entry, placement.bid, 3, "bid")
        require(bid.bid.job == award.job, 3, "the bid is for another job")
        require(bid.provider == placement.provider, 3, "the bid is another provider's")
        price, cap = bid.bid.price_microcredits_per_unit_hour, job.job.price_max_microcredits_per_unit_hour
        require(price <= cap, 4, f"price {price} exceeds the cap {cap}")
        slots = (placement.first_slot, placement.first_slot + placement.slots)
        window = (job.job.first_slot, job.job.deadline_slot)
        require(window[0] <= slots[0] and slots[1] <= window[1], 5, f"slots {slots} leave the job's window {window}")
        tenant = bid.offer.offer.tenant
        require(pool_allows(job.job.mode, job.job.tenant, tenant), 6, f"mode {job.job.mode} excludes tenant {tenant!r}")
        records.append(PlacementRecord(entry.id, job, placement, bid))
    require(bool(records), 3, "every bid is void, for its author signed two histories")
    job.awards[entry.id] = award
    job.placements.extend(records)
    for record in records:
        state.placements[entry.id, record.placement.shard] = record


def process_lease(state: State, entry: Entry, lease: Lease) -> None:
    """1. The award is referred to and places this shard on the author.
    2. The placement has no lease yet.
    3. Slots and units are those of the award and the job.
    4. The offer is referred to and is the author's latest.
    5. In no slot do the author's leases bind more units than it offers: overselling is provable.
    """
    placement = _referred_placement(state, entry, lease.award, lease.shard, 1)
    require(placement.placement.provider == entry.author, 1, "the shard is placed on another provider")
    require(placement.lease is None, 2, "the placement has its lease already")
    agreed = (placement.placement.first_slot, placement.placement.slots, placement.job.job.units_per_shard)
    said = (lease.first_slot, lease.slots, lease.units)
    require(said == agreed, 3, f"(first slot, slots, units) {said} differ from the award's {agreed}")
    offer = _referred(state.offers, entry, lease.offer, 4, "offer")
    require(state.offer_of.get(entry.author) is offer, 4, "the offer is not the author's latest")
    leased = state.units_leased_during(entry.author, lease.first_slot, lease.slots)
    for slot, units in enumerate((before + lease.units for before in leased), lease.first_slot):
        require(units <= offer.offer.units, 5, f"slot {slot} would bind {units} of {offer.offer.units} units")
    record = LeaseRecord(entry.id, entry.author, lease, placement)
    placement.lease = record
    placement.advance("lease")
    state.leases[entry.id] = record
    state.leases_of.setdefault(entry.author, []).append(record)


def process_revocation(state: State, entry: Entry, revocation: Revocation) -> None:
    """1. The award is referred to and the author's own.
    2. The placement is neither settled nor revoked before.
    """
    placement = _referred_placement(state, entry, revocation.award, revocation.shard, 1)
    require(placement.job.owner == entry.author, 1, "only the job's owner revokes")
    over = placement.status in (PlacementStatus.SETTLED, PlacementStatus.REVOKED)
    require(not over, 2, f"the placement is {placement.status.value}")
    placement.revocation_reason = revocation.reason
    placement.lost_energy_j = revocation.energy_j
    placement.lost_carbon_ug = revocation.carbon_ug
    placement.advance("revocation")


def process_receipt(state: State, entry: Entry, receipt: Receipt) -> None:
    """1. The lease is referred to, is the author's own, and has no final receipt yet.
    2. Its rounds continue those of the last receipt.
    3. Every slot lies within the lease.
    4. Every row's carbon follows from its numbers.
    5. An attestation is the author's own, referred to, at an assurance that the network accepts, of the same
       intensities, overlapping the slot, and its surplus not yet claimed.
    6. Without an attestation there is no surplus, and the grid counts as dirty as in the bid's dirtiest slot.
    """
    lease = _referred(state.leases, entry, receipt.lease, 1, "lease")
    require(lease.provider == entry.author, 1, "the lease is another provider's")
    if lease.receipts:
        last = lease.receipts[-1].receipt
        require(not last.final, 1, "the lease has its final receipt already")
        expected = last.first_round + len(last.deltas)
        require(receipt.first_round == expected, 2, f"first_round {receipt.first_round}, expected {expected}")
    claims: dict[bytes, int] = {}
    for row in receipt.energy:
        end_slot = lease.lease.first_slot + lease.lease.slots
        require(
            lease.lease.first_slot <= row.slot < end_slot,
            3,
            f"slot {row.slot} is outside the lease's {lease.lease.first_slot} to {end_slot}",
        )
        require(row.surplus_j <= row.energy_j, 4, f"surplus_j {row.surplus_j} exceeds energy_j {row.energy_j}")
        carbon = carbon_ug(row.energy_j, row.surplus_j, row.own_g_per_kwh, row.grid_g_per_kwh, row.embodied_ug)
        require(row.carbon_ug == carbon, 4, f"carbon_ug {row.carbon_ug} in slot {row.slot}, it follows {carbon}")
        if row.attestation is None:
            floor = max(lease.placement.bid.bid.grid_g_per_kwh, default=0)
            require(row.surplus_j == 0, 6, f"slot {row.slot} claims surplus without an attestation")
            require(row.grid_g_per_kwh >= floor, 6, f"grid_g_per_kwh {row.grid_g_per_kwh} is below the bid's {floor}")
        else:
            _check_claim(state, entry, row, row.attestation, claims)
    for attestation_id, claimed_j in claims.items():
        state.attestations[attestation_id].remaining_j -= claimed_j
    record = ReceiptRecord(entry.id, lease, receipt)
    state.receipts[entry.id] = record
    lease.receipts.append(record)
    if receipt.final:
        lease.released_at_slot = slot_of(entry.time_ms, state.slot_ms)
        lease.placement.advance("final receipt")


def _check_claim(state: State, entry: Entry, row: SlotEnergy, attestation_id: bytes, claims: dict[bytes, int]) -> None:
    """Check 5 of a receipt; adds to `claims` what the row takes from the attestation."""
    a = _referred(state.attestations, entry, attestation_id, 5, "attestation")
    require(a.author == entry.author, 5, "the attestation is another peer's")
    overlaps = slot_of(a.start_ms, state.slot_ms) <= row.slot <= slot_of(a.end_ms - 1, state.slot_ms)
    require(overlaps, 5, f"the attestation does not cover slot {row.slot}")
    same = (row.own_g_per_kwh, row.grid_g_per_kwh) == (a.own_g_per_kwh, a.grid_g_per_kwh)
    require(same, 5, f"intensities of slot {row.slot} are not the attestation's")
    # Its grid figure counts no more than its surplus: a provider could attest nothing at 0 g/kWh, and draw on that.
    level, needed = a.assurance, state.surplus_assurance_min
    require(level >= needed, 5, f"assurance A{level} is below A{needed}: the slot counts as unattested")
    claims[attestation_id] = claims.get(attestation_id, 0) + row.surplus_j
    claimed = claims[attestation_id]
    require(claimed <= a.remaining_j, 5, f"claims {claimed} J of {a.remaining_j} J that are left")


def process_settlement(state: State, entry: Entry, settlement: Settlement) -> None:
    """1. The receipt is referred to, for a job of the author, and not settled yet.
    2. The amount is the bid's price for the busy time, or nothing if it is refused.
    """
    record = _referred(state.receipts, entry, settlement.receipt, 1, "receipt")
    placement = record.lease.placement
    require(placement.job.owner == entry.author, 1, "only the job's owner settles")
    require(record.settlement is None, 1, "the receipt is settled already")
    due = amount_due(record) if settlement.accepted else 0
    require(settlement.amount_microcredits == due, 2, f"amount {settlement.amount_microcredits}, due are {due}")
    record.settlement = settlement
    pair = (entry.author, record.lease.provider)
    state.owed_microcredits[pair] = state.owed_microcredits.get(pair, 0) + due
    if record.receipt.final:
        placement.advance("final settlement")


def process_closure(state: State, entry: Entry, closure: Closure) -> None:
    """1. The job is referred to, is the author's own, and not closed before."""
    job = _referred(state.jobs, entry, closure.job, 1, "job")
    require(job.owner == entry.author, 1, "only the job's owner closes it")
    require(job.closure is None, 1, "the job is closed already")
    job.closure = closure


def pool_allows(mode: Mode, job_tenant: str, provider_tenant: str) -> bool:
    """Whether a job of this mode may run on a peer: open peers for open and hybrid jobs, the tenant's own for closed
    and hybrid ones, another tenant's never."""
    if provider_tenant == "":
        return mode in ("open", "hybrid")
    return mode in ("closed", "hybrid") and provider_tenant == job_tenant


def amount_due(record: ReceiptRecord) -> int:
    """Microcredits for a receipt: price per unit and hour, times units, times busy time, rounded up."""
    price = record.lease.placement.bid.bid.price_microcredits_per_unit_hour
    return ceil_div(price * record.lease.lease.units * record.receipt.busy_ms, MS_PER_HOUR)


def _referred(records: dict[bytes, Record], entry: Entry, key: bytes, check: int, what: str) -> Record:
    require(key in entry.refs, check, f"the {what} is not among refs")
    require(key in records, check, f"the {what} {key.hex()[:8]} is void or of another kind")
    return records[key]


def _referred_placement(state: State, entry: Entry, award: bytes, shard: int, check: int) -> PlacementRecord:
    require(award in entry.refs, check, "the award is not among refs")
    require((award, shard) in state.placements, check, f"award {award.hex()[:8]} does not place shard {shard}")
    return state.placements[award, shard]


PROCESS: dict[str, Callable[[State, Entry, Any], None]] = {
    "offer": process_offer,
    "attestation": process_attestation,
    "job": process_job,
    "bid": process_bid,
    "award": process_award,
    "lease": process_lease,
    "revocation": process_revocation,
    "receipt": process_receipt,
    "settlement": process_settlement,
    "closure": process_closure,
}
