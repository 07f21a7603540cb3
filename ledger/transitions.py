"""What an entry makes of the state: one `process_*` per kind, each a numbered list of checks and then the change.

A check that fails makes the entry void: it stays in its feed, and changes nothing. Verdicts use only the entry, what it
refers to and its author's own earlier entries, never what happened to arrive first: so all peers reach the same state
in whatever order entries of different authors arrive. Integers only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from ledger import assurance, certificates, credit, forecasts, receipts, solar, storage
from ledger.assurance import comparable
from ledger.places import describe_far, far_from_zone
from ledger.rules import Void, referred, require, require_author, require_ref, shown
from ledger.state import (
    ATTESTED_MAX,
    AttestationRecord,
    BidRecord,
    JobRecord,
    LeaseRecord,
    OfferRecord,
    PlacementRecord,
    PlacementStatus,
    State,
)
from protocol.adverts import first_fault
from protocol.bodies import BODIES
from protocol.envelope import Entry
from protocol.messages import (
    INTEGER_MAX,
    Attestation,
    Award,
    Bid,
    Closure,
    Job,
    Lease,
    Mode,
    Offer,
    Placement,
    Revocation,
)
from protocol.units import MS_PER_HOUR, ceil_div

RULES = 4  # raised whenever a verdict or an effect changes: a snapshot of other rules is not used
ATTESTATION_MAX_MS = MS_PER_HOUR

PriceGroup = tuple[str, str, int, int]  # zone, device, first slot, slots


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
    """1. Peak power is not below idle power.
    2. The place is not far from its zone.
    """
    require(offer.peak_w >= offer.idle_w, 1, f"peak_w {offer.peak_w} is below idle_w {offer.idle_w}")
    if far_from_zone(offer.place):
        raise Void(2, describe_far(offer.place))
    record = OfferRecord(entry.id, entry.author, offer)
    state.offers[entry.id] = record
    state.offer_of[entry.author] = record


def process_attestation(state: State, entry: Entry, attestation: Attestation) -> None:
    """1. It ends after it starts, and spans at most an hour.
    2. It does not reach beyond the moment of its own signing.
    3. The energy is at most the counter's difference.
    4. The energy is at most capacity times time.
    5. The interval does not overlap an earlier one of the device, and its counter has not gone back.
    6. It says of the device what the author's latest declaration says; energy from a store is of a declared one.
    7. Its meter's signatures are by the key that is declared for the device, under these counters.
    8. Every countersignature is its auditor's, under this attestation.
    9. What comes from a store was in it before, and is at least as dirty as what is in it.
    10. The place is not far from its zone.
    11. Solar: nothing that counts is yielded while the sun stays below -1 degree.
    12. Solar: the energy is at most what a clear sky gives, on the declared plane, or on one that follows the sun.
    """
    record = judge_attestation(state, entry, attestation)
    state.attestations[entry.id] = record
    state.attestations_of.setdefault(entry.author, []).append(record)
    state.newest_of_device[entry.author, record.device_id] = record
    if attestation.carrier == "storage":
        storage.discharge(state.stores[entry.author, record.device_id], record)
    forecasts.attest(state, record)


def judge_attestation(state: State, entry: Entry, attestation: Attestation) -> AttestationRecord:
    """The checks of `process_attestation`, without a change: an auditor makes them too, before anything is signed.
    Raises Void."""
    a = attestation
    duration_ms = a.end_ms - a.start_ms
    metered_j = a.meter_end_j - a.meter_start_j
    bound_j = ceil_div(a.capacity_w * duration_ms, 1000)
    key = (entry.author, comparable(a.device_id))
    last, device = state.newest_of_device.get(key), state.devices.get(key)
    # Plain conditions, not `require`: of all entries these are by far the most, and five texts would cost more than all
    # their checks.
    if not 0 < duration_ms <= ATTESTATION_MAX_MS:
        raise Void(1, f"end_ms - start_ms is {duration_ms}, 1 to {ATTESTATION_MAX_MS} are allowed")
    if a.end_ms > entry.time_ms:
        raise Void(2, f"end_ms {a.end_ms} is after it was signed, at {entry.time_ms}")
    if a.energy_j > metered_j:
        raise Void(3, f"energy_j {a.energy_j} exceeds the counter's difference {metered_j}")
    if a.energy_j > bound_j:
        raise Void(4, f"energy_j {a.energy_j} exceeds {bound_j}: {a.capacity_w} W x {duration_ms} ms")
    if last is not None and a.start_ms < last.end_ms:
        raise Void(5, f"start_ms {a.start_ms} is before the device's last ended, at {last.end_ms}")
    if last is not None and a.meter_start_j < last.meter_end_j:
        raise Void(5, f"meter_start_j {a.meter_start_j} is below the device's last, {last.meter_end_j}")
    if device is not None or a.carrier == "storage":
        storage.require_agreement(device, a, 6)
    sealed_by = None if a.meter is None else assurance.sealed_by(entry, a, device, a.meter, 7)
    auditors = assurance.countersigners(entry, a.countersignatures, 8) if a.countersignatures else ()
    store = state.stores[key] if a.carrier == "storage" else None
    if store is not None:
        storage.require_stored(store, a, 9)
    if far_from_zone(a.place):
        raise Void(10, describe_far(a.place))
    fault = solar.attestation_fault(a, None if device is None else device.device)
    if fault is not None:
        raise Void(11 if fault.is_night else 12, fault.complaint)
    record = AttestationRecord(
        id=entry.id,
        author=entry.author,
        device_id=sys.intern(key[1]),
        start_ms=a.start_ms,
        end_ms=a.end_ms,
        energy_j=a.energy_j,
        meter_start_j=a.meter_start_j,
        meter_end_j=a.meter_end_j,
        own_g_per_kwh=a.own_g_per_kwh,
        grid_g_per_kwh=a.grid_g_per_kwh,
        zone=sys.intern(a.place.zone),
        carrier=a.carrier,
        method=a.method,
        source=sys.intern(a.source),
        intensity_source=sys.intern(a.intensity_source),
        uncertainty_permille=a.uncertainty_permille,
        marginal_g_per_kwh=a.marginal_g_per_kwh,
        carbon_free_permille=a.carbon_free_permille,
        auditors=auditors,
        sealed_by=sealed_by,
        ceiling=ATTESTED_MAX if store is None else store.assurance,
        assurance=0,
        remaining_j=a.energy_j,
    )
    record.assurance = assurance.level(record, state.auditors)
    return record


def process_job(state: State, entry: Entry, job: Job) -> None:
    """1. Bids close after the job was signed."""
    late_ms = entry.time_ms - job.bids_close_at_ms
    require(late_ms <= 0, 1, f"bids_close_at_ms {job.bids_close_at_ms} is before it was signed, at {entry.time_ms}")
    state.jobs[entry.id] = JobRecord(entry.id, entry.author, job, entry.time_ms)


def process_bid(state: State, entry: Entry, bid: Bid) -> None:
    """1. The job is referred to and valid.
    2. The offer is referred to and is the bidder's latest.

    A provider's later bid replaces its earlier one.
    """
    job = referred(state.jobs, entry, bid.job, 1, "job")
    offer = referred(state.offers, entry, bid.offer, 2, "offer")
    _require_latest_offer(state, entry, offer, 2)
    record = BidRecord(entry.id, entry.author, bid, offer, entry.time_ms)
    record.reliability_permille = forecasts.foretell(state, record)
    state.bids[entry.id] = record
    job.bids[entry.author] = record


def process_award(state: State, entry: Entry, award: Award) -> None:
    """1. The job is referred to, is the author's own, and not closed.
    2. Each shard exists, and none is placed twice.
    3. Each bid is referred to, is for this job and by this provider.
    4. The price is no less than the bid's and no more than the job's cap.
    5. The slots lie within the job's window.
    6. The provider's pool is one that the job's mode allows.
    7. Placements in the same zone, on the same device and in the same slots have one price.

    A placement on a bid that is void for its author's fork is void alone: one liar must not undo the others' deals.
    """
    job = referred(state.jobs, entry, award.job, 1, "job")
    require_author(entry, job.owner, 1, "the job's owner")
    require(job.closure is None, 1, f"job {shown(award.job)} is {job.status.value}, it must be open or running")
    taken = set(job.live())
    prices: dict[PriceGroup, int] = {}
    records = []
    for placement in award.placements:
        shard = placement.shard
        require(shard < job.job.shards, 2, f"shard {shard} is none of the job's 0 to {job.job.shards - 1}")
        require(shard not in taken, 2, f"shard {shard} is placed already, at most once is allowed")
        taken.add(shard)
        if placement.bid in entry.refs and state.is_forked(placement.bid):
            continue  # the bidder lied to somebody: its part is lost, not the honest ones'
        bid = referred(state.bids, entry, placement.bid, 3, "bid")
        require(
            bid.bid.job == award.job, 3, f"bid {shown(bid.id)} is for job {shown(bid.bid.job)}, not {shown(award.job)}"
        )
        require(
            bid.provider == placement.provider,
            3,
            f"provider {shown(placement.provider)} is not the bid's {shown(bid.provider)}",
        )
        price, cap = placement.price_microcredits_per_unit_hour, job.job.price_max_microcredits_per_unit_hour
        asked = bid.bid.price_microcredits_per_unit_hour
        require(price >= asked, 4, f"price_microcredits_per_unit_hour {price} is below the bid's {asked}")
        require(price <= cap, 4, f"price_microcredits_per_unit_hour {price} exceeds the job's cap {cap}")
        slots = (placement.first_slot, placement.first_slot + placement.slots)
        window = (job.job.first_slot, job.job.deadline_slot)
        require(
            window[0] <= slots[0] and slots[1] <= window[1],
            5,
            f"(first slot, end slot) {slots} leave the job's window {window}",
        )
        tenant = bid.offer.offer.tenant
        require(pool_allows(job.job.mode, job.job.tenant, tenant), 6, f"mode {job.job.mode} excludes tenant {tenant!r}")
        agreed = prices.setdefault(price_group(placement, bid), price)
        require(price == agreed, 7, f"price_microcredits_per_unit_hour {price} beside {agreed} for the like of it")
        records.append(PlacementRecord(entry.id, job, placement, bid))
    require(bool(records), 3, "every bid is void, for its author signed two histories")
    job.awards[entry.id] = award
    job.award_seqs[entry.id] = entry.seq
    job.placements.extend(records)
    for record in records:
        state.placements[entry.id, record.placement.shard] = record
    if len(job.live()) == job.job.shards:
        job.advance("last shard placed")


def process_lease(state: State, entry: Entry, lease: Lease) -> None:
    """1. The award is referred to and places this shard on the author.
    2. The placement has no lease yet.
    3. Slots and units are those of the award and the job.
    4. The offer is referred to and is the author's latest.
    5. In no slot do the author's leases bind more units than it offers: overselling is provable.
    """
    placement = _referred_placement(state, entry, lease.award, lease.shard, 1)
    require_author(entry, placement.placement.provider, 1, "the placement's provider")
    require(
        placement.lease is None,
        2,
        f"shard {lease.shard} of award {shown(lease.award)} has its lease already, at most 1 is allowed",
    )
    agreed = (placement.placement.first_slot, placement.placement.slots, placement.job.job.units_per_shard)
    said = (lease.first_slot, lease.slots, lease.units)
    require(said == agreed, 3, f"(first slot, slots, units) {said} differ from the award's {agreed}")
    offer = referred(state.offers, entry, lease.offer, 4, "offer")
    _require_latest_offer(state, entry, offer, 4)
    leased = state.units_leased_during(entry.author, lease.first_slot, lease.slots)
    for slot, units in enumerate((before + lease.units for before in leased), lease.first_slot):
        require(
            units <= offer.offer.units,
            5,
            f"units {lease.units} would bind {units} of {offer.offer.units} in slot {slot}",
        )
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
    require_author(entry, placement.job.owner, 1, "the job's owner")
    over = placement.status in (PlacementStatus.SETTLED, PlacementStatus.REVOKED)
    require(not over, 2, f"shard {revocation.shard} is {placement.status.value}, it must not be over")
    placement.revocation_reason = revocation.reason
    placement.lost_energy_j = revocation.energy_j
    placement.lost_carbon_ug = revocation.carbon_ug
    placement.advance("revocation")
    placement.job.advance("revocation")


def process_closure(state: State, entry: Entry, closure: Closure) -> None:
    """1. The job is referred to, is the author's own, and not closed before."""
    job = referred(state.jobs, entry, closure.job, 1, "job")
    require_author(entry, job.owner, 1, "the job's owner")
    require(job.closure is None, 1, f"job {shown(job.id)} is {job.status.value} already, at most one closure counts")
    job.closure = closure
    job.advance(closure.outcome)


def pool_allows(mode: Mode, job_tenant: str, provider_tenant: str) -> bool:
    """Whether a job of this mode may run on a peer: open peers for open and hybrid jobs, the tenant's own for closed
    and hybrid ones, another tenant's never."""
    if provider_tenant == "":
        return mode in ("open", "hybrid")
    return mode in ("closed", "hybrid") and provider_tenant == job_tenant


def price_group(placement: Placement, bid: BidRecord) -> PriceGroup:
    """Placements of one award that agree in this are paid alike."""
    offer = bid.offer.offer
    return offer.place.zone, offer.device, placement.first_slot, placement.slots


def _require_latest_offer(state: State, entry: Entry, offer: OfferRecord, check: int) -> None:
    latest = state.offer_of.get(entry.author)
    found = "none" if latest is None else shown(latest.id)
    require(latest is offer, check, f"offer {shown(offer.id)} is not the author's latest, {found}")


def _referred_placement(state: State, entry: Entry, award: bytes, shard: int, check: int) -> PlacementRecord:
    require_ref(entry, award, check, "award")
    require(
        (award, shard) in state.placements,
        check,
        f"award {shown(award)} is void, of another kind, or does not place shard {shard}",
    )
    return state.placements[award, shard]


PROCESS: dict[str, Callable[[State, Entry, Any], None]] = {
    "offer": process_offer,
    "device": storage.process_device,
    "attestation": process_attestation,
    "charge": storage.process_charge,
    "job": process_job,
    "bid": process_bid,
    "award": process_award,
    "lease": process_lease,
    "revocation": process_revocation,
    "closure": process_closure,
    "receipt": receipts.process_receipt,
    "settlement": receipts.process_settlement,
    "certificate": certificates.process_certificate,
    "split": certificates.process_split,
    "transfer": certificates.process_transfer,
    "cancellation": certificates.process_cancellation,
    "allocation": certificates.process_allocation,
    "credit_limit": credit.process_credit_limit,
    "iou": credit.process_iou,
    "discharge": credit.process_discharge,
}

# What whoever is about to sign asks first: the checks alone, without a change.
JUDGE: dict[str, Callable[[State, Entry, Any], object]] = {
    "device": storage.judge_device,
    "attestation": judge_attestation,
    "charge": storage.judge_charge,
    "certificate": certificates.judge_certificate,
    "split": certificates.judge_split,
    "transfer": certificates.judge_transfer,
    "cancellation": certificates.judge_cancellation,
    "allocation": certificates.judge_allocation,
}
