"""The question that a requester puts to the matching, made from the ledger: bids as candidates, a job as a demand."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_low
from typing import Any, NamedTuple

from ledger import assurance
from ledger.forecasts import reliability_permille
from ledger.state import BidRecord, JobStatus, State
from node.actions import Match
from node.market.run import Phase, Run
from node.matching.bids.baselines import compare
from node.matching.bids.demand import RIVALS_MAX, Candidate, Demand
from node.matching.bids.explain import summary
from node.matching.bids.match import match
from node.matching.bids.plan import Plan
from node.matching.bids.record import read, record
from node.matching.bids.turns import told, yielded
from node.matching.rivals import before
from node.peers import Peers
from node.turn import Turn
from protocol.adverts import SignedAdvert
from protocol.errors import VerificationFailed
from protocol.messages import Job, Offer
from protocol.units import ceil_div

BIDS_MAX = 256  # considered in one matching, so that its record fits into a message; guess, not measured
RIVALS_WITHIN_MS = (
    5_000  # between the ends of bidding of two jobs that take turns; after that, leases show what is gone
)


class Window(NamedTuple):
    """Shards start at `first_slot` or later and take `slots` each, all before `deadline_slot`."""

    first_slot: int
    slots: int
    deadline_slot: int


def window(run: Run, slot: int, slot_ms: int) -> Window:
    """When the shards that nobody has may run; without slots if it is too late.

    A gang has all of the job's time. A replacement starts at once: before training begins, for as long as the others
    are leased, who wait for it; later, for the rounds that are left, at the declared pace or at the real one if that is
    slower.
    """
    job = run.record.job
    first_slot = max(job.first_slot, slot)
    if run.phase is Phase.PLACING and run.members:
        first_slot = max(first_slot, *(member.first_slot for member in run.members.values()))
        end_slot = min(member.end_slot for member in run.members.values())
        return Window(first_slot, end_slot - first_slot, end_slot)
    rounds_left = job.training.rounds - run.round
    needed = ceil_div(job.slots * rounds_left, job.training.rounds)
    if run.history:
        pace_ms = median_low(each.duration_ms for each in run.history)
        needed = max(needed, ceil_div(rounds_left * pace_ms, slot_ms) + 1)  # the present slot is not whole any more
    slots = min(needed, job.deadline_slot - first_slot)
    return Window(first_slot, slots, first_slot + slots if run.members else job.deadline_slot)


def question(turn: Turn, run: Run, peers: Peers, shards: tuple[int, ...], wanted: Window) -> Match:
    """Who may take these shards of a job. A bidder whom we cannot reach is excluded: nobody could lead it."""
    bids = dict(sorted(run.record.bids.items())[:BIDS_MAX])
    away = {p: "not connected" for p in bids if p not in peers.connected and p != turn.identity.key}
    excluded = {p: why for p, why in (away | run.excluded).items() if p in bids}
    demand = demand_of_job(
        run.record.job,
        run.id,
        turn.identity.genesis.slot_ms,
        shards=shards,
        slots=wanted.slots,
        first_slot=wanted.first_slot,
        deadline_slot=wanted.deadline_slot,
        excluded=tuple(sorted(excluded.items())),
        occupied=tuple(member.provider for _, member in sorted(run.members.items())),
        rivals=_rivals(turn, run),
    )
    candidates = tuple(candidate_of_bid(bid, turn.state, peers.label(provider)) for provider, bid in bids.items())
    return Match(run.id, candidates, demand)


def _rivals(turn: Turn, run: Run) -> tuple[Demand, ...]:
    """Open jobs whose bidding ends about now and whose turn comes before this one's. A job that trains already waits
    for nobody."""
    if run.phase is Phase.TRAINING:
        return ()
    asking = {
        record.id.hex(): record
        for record in turn.state.jobs.values()
        if record.id != run.id
        and record.status is JobStatus.OPEN
        and abs(record.job.bids_close_at_ms - turn.now_ms) <= RIVALS_WITHIN_MS
    }
    first = before(run.id.hex(), asking, turn.slot)[:RIVALS_MAX]
    return tuple(rival_of_job(asking[name].job, asking[name].id, turn.identity.genesis.slot_ms) for name in first)


def rival_of_job(job: Job, job_id: bytes, slot_ms: int) -> Demand:
    """What a job is expected to ask for when its bidding ends: all of its shards, in all of its time."""
    return demand_of_job(
        job, job_id, slot_ms, shards=tuple(range(job.shards)), slots=job.slots, first_slot=job.first_slot
    )


def answer(candidates: Sequence[Candidate], demand: Demand) -> tuple[Plan, bytes, dict[str, Any]]:
    """What the shells do to carry out a Match: the plan, the record of what it was made from, and what it saves."""
    left = yielded(candidates, demand)
    plan = told(match(left, demand), candidates)
    return plan, record(candidates, demand), summary(plan, compare(left, plan))


def summary_of_record(raw: bytes) -> dict[str, Any] | None:
    """What a recorded matching, repeated, saves against its baselines; None where it was made by another matcher."""
    try:
        candidates, demand = read(raw)
    except VerificationFailed:
        return None
    left = yielded(candidates, demand)
    plan = match(left, demand)
    return summary(plan, compare(left, plan))


def candidate_of_bid(bid: BidRecord, state: State, label: str) -> Candidate:
    """A bid as the matching sees it. Leases that the provider has signed since then count against it."""
    body = bid.bid
    return _candidate(
        state,
        bid.offer.offer,
        bid.provider,
        bid.id,
        label,
        auditors=assurance.auditors_of(state, state.jobs[body.job]),
        price=body.price_microcredits_per_unit_hour,
        first_slot=body.first_slot,
        free_units=tuple(
            min(free, max(0, bid.offer.offer.units - state.units_leased(bid.provider, slot)))
            for slot, free in enumerate(body.free_units, start=body.first_slot)
        ),
        surplus_j=body.surplus_s20_j,
        reliability_permille=bid.reliability_permille,
        newcomer=state.is_newcomer(bid.provider, state.jobs[body.job].owner),
        grid_g_per_kwh=body.grid_g_per_kwh,
        attestations=body.attestations,
    )


def candidate_of_advert(signed: SignedAdvert, state: State, label: str, requester: bytes) -> Candidate:
    """An advert as if it were a bid to `requester`, for a plan before anybody was asked. The peer's key stands for the
    bid."""
    advert = signed.advert
    return _candidate(
        state,
        advert.offer,
        signed.author,
        signed.author,
        label,
        auditors=state.auditors,
        price=advert.offer.price_microcredits_per_unit_hour,
        first_slot=advert.first_slot,
        free_units=(advert.free_units,) * len(advert.surplus_s20_j),
        surplus_j=advert.surplus_s20_j,
        reliability_permille=reliability_permille(state.tracks.get(signed.author)),
        newcomer=state.is_newcomer(signed.author, requester),
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
    auditors: tuple[bytes, ...],
    price: int,
    first_slot: int,
    free_units: tuple[int, ...],
    surplus_j: tuple[int, ...],
    reliability_permille: int,
    newcomer: bool,
    grid_g_per_kwh: tuple[int, ...],
    attestations: tuple[bytes, ...],
) -> Candidate:
    """Surplus counts by its lower quantile, as far as the provider's forecasts came true (`ledger.forecasts`), and not
    at all where the network does not accept the assurance of the attestations behind it."""
    attested = [state.attestations[a] for a in attestations if a in state.attestations]
    green = bool(attested) and all(
        r.author == provider and assurance.level(r, auditors) >= state.surplus_assurance_min for r in attested
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
        newcomer=newcomer,
        own_g_per_kwh=offer.own_g_per_kwh,
        first_slot=first_slot,
        free_units=free_units,
        surplus_j=tuple(each * reliability_permille // 1000 if green else 0 for each in surplus_j),
        grid_g_per_kwh=grid_g_per_kwh,
    )


def demand_of_job(
    job: Job,
    job_id: bytes,
    slot_ms: int,
    *,
    shards: tuple[int, ...],
    slots: int,
    first_slot: int,
    deadline_slot: int | None = None,
    excluded: tuple[tuple[bytes, str], ...] = (),
    occupied: tuple[bytes, ...] = (),
    rivals: tuple[Demand, ...] = (),
) -> Demand:
    """A job's question to the matching. `deadline_slot` None: the job's own."""
    return Demand(
        job=job_id,
        mode=job.mode,
        tenant=job.tenant,
        shards=shards,
        slots=slots,
        first_slot=first_slot,
        deadline_slot=job.deadline_slot if deadline_slot is None else deadline_slot,
        units_per_shard=job.units_per_shard,
        memory_mb=job.memory_mb,
        rate_tps=job.rate_tps,
        bandwidth_mbps=job.bandwidth_mbps,
        price_max_microcredits_per_unit_hour=job.price_max_microcredits_per_unit_hour,
        carbon_max_g_per_kwh=job.carbon_max_g_per_kwh,
        slot_ms=slot_ms,
        excluded=excluded,
        occupied=occupied,
        rivals=rivals,
    )
