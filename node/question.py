"""The question that a requester puts to the matching, made from the ledger: bids as candidates, a job as a demand."""

from __future__ import annotations

from ledger.state import BidRecord, JobRecord, State
from node.matching.problem import Candidate, Demand
from protocol.adverts import SignedAdvert
from protocol.messages import Job, Offer
from protocol.units import ceil_div


def candidate_of_bid(bid: BidRecord, state: State, label: str) -> Candidate:
    """A bid as the matching sees it."""
    body = bid.bid
    return _candidate(
        state,
        bid.offer.offer,
        bid.provider,
        bid.id,
        label,
        price=body.price_microcredits_per_unit_hour,
        first_slot=body.first_slot,
        free_units=body.free_units,
        surplus_j=body.surplus_s20_j,
        grid_g_per_kwh=body.grid_g_per_kwh,
        attestations=body.attestations,
    )


def candidate_of_advert(signed: SignedAdvert, state: State, label: str) -> Candidate:
    """An advert as if it were a bid, for a plan before anybody was asked. The peer's key stands for the bid."""
    advert = signed.advert
    return _candidate(
        state,
        advert.offer,
        signed.author,
        signed.author,
        label,
        price=advert.offer.price_microcredits_per_unit_hour,
        first_slot=advert.first_slot,
        free_units=(advert.free_units,) * len(advert.surplus_s20_j),
        surplus_j=advert.surplus_s20_j,
        grid_g_per_kwh=advert.grid_g_per_kwh,
        attestations=advert.attestations,
    )


def _candidate(
    state: State,
    offer: Offer,
    provider: bytes,
    bid: bytes,
    label: str,
    *,
    price: int,
    first_slot: int,
    free_units: tuple[int, ...],
    surplus_j: tuple[int, ...],
    grid_g_per_kwh: tuple[int, ...],
    attestations: tuple[bytes, ...],
) -> Candidate:
    """Surplus counts by its lower quantile, and not at all where the network does not accept the assurance of the
    attestations behind it."""
    attested = [state.attestations[a] for a in attestations if a in state.attestations]
    green = bool(attested) and all(
        r.author == provider and r.assurance >= state.surplus_assurance_min for r in attested
    )
    return Candidate(
        bid=bid,
        provider=provider,
        label=label,
        device=offer.device,
        units=offer.units,
        memory_mb=offer.memory_mb,
        rate_tps=offer.rate_tps,
        idle_w=offer.idle_w,
        peak_w=offer.peak_w,
        pue_permille=offer.pue_permille,
        embodied_ug_per_unit_hour=offer.embodied_ug_per_unit_hour,
        bandwidth_mbps=offer.bandwidth_mbps,
        price_microcredits_per_unit_hour=price,
        tenant=offer.tenant,
        zone=offer.place.zone,
        own_g_per_kwh=offer.own_g_per_kwh,
        first_slot=first_slot,
        free_units=free_units,
        surplus_j=surplus_j if green else (0,) * len(surplus_j),
        grid_g_per_kwh=grid_g_per_kwh,
    )


def slots_left(record: JobRecord, round_: int, first_slot: int) -> int:
    """Slots that a shard still needs when `round_` rounds are done: its share of the job's, within the deadline."""
    job = record.job
    share = ceil_div(job.slots * (job.training.rounds - round_), job.training.rounds)
    return min(max(1, share), job.deadline_slot - first_slot)


def demand_of_job(
    job: Job,
    job_id: bytes,
    slot_ms: int,
    *,
    shards: tuple[int, ...],
    slots: int,
    first_slot: int,
    excluded: tuple[tuple[bytes, str], ...] = (),
    occupied: tuple[bytes, ...] = (),
) -> Demand:
    """A job's question to the matching."""
    return Demand(
        job=job_id,
        mode=job.mode,
        tenant=job.tenant,
        shards=shards,
        slots=slots,
        first_slot=first_slot,
        deadline_slot=job.deadline_slot,
        units_per_shard=job.units_per_shard,
        memory_mb=job.memory_mb,
        rate_tps=job.rate_tps,
        bandwidth_mbps=job.bandwidth_mbps,
        price_max_microcredits_per_unit_hour=job.price_max_microcredits_per_unit_hour,
        carbon_max_g_per_kwh=job.carbon_max_g_per_kwh,
        slot_ms=slot_ms,
        excluded=excluded,
        occupied=occupied,
    )
