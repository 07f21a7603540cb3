"""A job audited: whether each award follows from the matching that was recorded for it, and what became of it. Pure.

An award names the hash of everything that its matching read. Whoever has that record and the ledger can repeat the
choice, and see that what was read is what the bidders had signed. That proves the choice among the recorded bids, not
that every bid was let in: bids of the ledger that the record lacks are named, and are no finding; they may have come
late. What could not be checked never counts as checked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from hashlib import sha256
from itertools import accumulate

from ledger.audit import violations
from ledger.doubles import described, doubles
from ledger.doubts import doubts
from ledger.state import JobRecord, State
from node.accounts.carbon import receipts_of
from node.market.placing import AWARD_PLACEMENTS_MAX
from node.market.question import candidate_of_bid, demand_of_job, rival_of_job
from node.matching.bids.demand import Candidate, Demand
from node.matching.bids.match import match
from node.matching.bids.record import MATCHER, read
from node.matching.bids.turns import yielded
from protocol.errors import VerificationFailed
from protocol.messages import Award, Placement

Matching = Callable[[bytes], bytes | None]  # the record of a matching by its hash, where it is at hand


@dataclass(frozen=True, slots=True)
class AwardAudit:
    """`follows`: whether the award is what its record gives; None where the record is not at hand. `left_out`: bidders
    of the ledger that the record lacks. `excluded`: bidders that the requester ruled out, each with its reason."""

    award: bytes
    body: Award
    follows: bool | None
    candidates: int = 0
    left_out: tuple[bytes, ...] = ()
    excluded: tuple[tuple[bytes, str], ...] = ()
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobAudit:
    """`violations` are of the whole ledger: energy, capacity and credit are shared by all of its jobs. `doubts` are
    about the devices whose energy the job claims; they prove nothing, and fail no audit."""

    job: JobRecord
    awards: tuple[AwardAudit, ...]
    violations: tuple[str, ...]
    doubts: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.violations and all(award.follows for award in self.awards)


def audit(job: JobRecord, state: State, matching: Matching) -> JobAudit:
    """Repeat every award of a job and check the ledger's promises."""
    return JobAudit(job, audit_awards(job, state, matching), tuple(violations(state)), audit_energy(job, state))


def audit_energy(job: JobRecord, state: State) -> tuple[str, ...]:
    """First what another owner claims as well; then what is hard to believe of the devices behind a job's receipts,
    each with its likeliest innocent cause."""
    rows = (row for record in receipts_of(job) for row in record.receipt.energy)
    claimed = dict.fromkeys(row.attestation for row in rows if row.attestation is not None)
    twice = [described(d) for d in doubles(state) if {d.first.id, d.second.id} & claimed.keys()]
    return (*twice, *doubts(state, [state.attestations[attestation] for attestation in claimed]))


def audit_awards(job: JobRecord, state: State, matching: Matching) -> tuple[AwardAudit, ...]:
    """Repeat every award of a job. It may run beside others who read and extend the state."""
    awards = tuple(job.awards.items())
    return tuple(_audit_award(job, award, body, state, matching) for award, body in awards)


def recorded_matchings(job: JobRecord) -> tuple[bytes, ...]:
    """The hashes of all that an audit of the job needs."""
    return tuple(dict.fromkeys(body.instance_sha256 for body in job.awards.values()))


def _audit_award(job: JobRecord, award: bytes, body: Award, state: State, matching: Matching) -> AwardAudit:
    """1. The record is at hand, and of the hash that the award names. 2. It can be read, and was made by this matcher.
    3. It asks what the job asks. 4. Its candidates are bids of the ledger. 5. The matching, repeated, gives the award.
    """
    raw = matching(body.instance_sha256)
    if raw is None:
        why = f"check 1: the recorded matching {body.instance_sha256.hex()[:16]} is not at hand"
        return AwardAudit(award, body, None, findings=(why,))
    if sha256(raw).digest() != body.instance_sha256:
        return AwardAudit(award, body, False, findings=("check 1: the record is not of the hash that the award names",))
    try:
        candidates, demand = read(raw)
    except VerificationFailed as failure:
        return AwardAudit(award, body, False, findings=(f"check 2: {failure.cause}",))
    findings = []
    if body.matcher != MATCHER:
        findings.append(f"check 2: the award names matcher {body.matcher!r}, its record {MATCHER!r}")
    findings += (f"check 3: {fault}" for fault in _demand_faults(job, demand, state))
    findings += (f"check 4: {fault}" for fault in _candidates_faults(job, award, candidates, state))
    findings += (f"check 5: {fault}" for fault in _choice_faults(body, candidates, demand))
    recorded = {candidate.provider for candidate in candidates}
    return AwardAudit(
        award,
        body,
        follows=not findings,
        candidates=len(candidates),
        left_out=tuple(sorted(job.bids.keys() - recorded)),
        excluded=demand.excluded,
        findings=tuple(findings),
    )


def _demand_faults(job: JobRecord, demand: Demand, state: State) -> list[str]:
    """What is fixed by the job must be as the job says. Which shards are sought, in which of the job's slots, beside
    whom, who is ruled out, and which rivals were known is the requester's word."""
    expected = demand_of_job(
        job.job,
        job.id,
        state.slot_ms,
        shards=demand.shards,
        slots=demand.slots,
        first_slot=demand.first_slot,
        deadline_slot=demand.deadline_slot,
        excluded=demand.excluded,
        occupied=demand.occupied,
        rivals=tuple(
            rival_of_job(state.jobs[rival.job].job, rival.job, state.slot_ms) if rival.job in state.jobs else rival
            for rival in demand.rivals
        ),
    )
    faults = _differences(demand, expected, "the job says")
    if demand.first_slot < job.job.first_slot or demand.deadline_slot > job.job.deadline_slot:
        faults.append(
            f"slots {demand.first_slot} to {demand.deadline_slot} are not within the job's, {job.job.first_slot} to"
            f" {job.job.deadline_slot}"
        )
    faults += [f"shard {s} is none of the job's {job.job.shards}" for s in demand.shards if s >= job.job.shards]
    faults += [f"rival {r.job.hex()[:16]} is no job of the ledger" for r in demand.rivals if r.job not in state.jobs]
    placed = {placement.placement.provider for placement in job.placements}
    faults += [f"{p.hex()[:16]} holds no shard of the job" for p in sorted(set(demand.occupied) - placed)]
    return faults


def _candidates_faults(job: JobRecord, award: bytes, candidates: tuple[Candidate, ...], state: State) -> list[str]:
    """The matching may have been made some entries before the award: so work that its owner settled in between is no
    fault of it, and work that it settled later is no excuse."""
    faults = []
    if len({candidate.provider for candidate in candidates}) < len(candidates):
        faults.append("a provider stands in it twice")
    for candidate in candidates:
        bid = state.bids.get(candidate.bid)
        name = f"candidate {candidate.provider.hex()[:16]}"
        if bid is None:
            why = state.voids.get(candidate.bid, "it is not in the ledger")
            faults.append(f"{name}: bid {candidate.bid.hex()[:16]} does not count: {why}")
        elif bid.bid.job != job.id:
            faults.append(f"{name}: its bid is for job {bid.bid.job.hex()[:16]}")
        else:
            expected = candidate_of_bid(bid, state, candidate.label)
            but = ("free_units", "newcomer")
            faults += (f"{name}: {fault}" for fault in _differences(candidate, expected, "the bid says", *but))
            if not candidate.newcomer and state.is_newcomer(candidate.provider, job.owner, job.award_seqs[award]):
                faults.append(f"{name}: newcomer False, but the owner had settled no work of it before this award")
            faults += (f"{name}: {fault}" for fault in _free_units_faults(candidate, bid.bid.free_units, state))
    return faults


def _free_units_faults(candidate: Candidate, bid_units: tuple[int, ...], state: State) -> list[str]:
    """Leases that the provider signed before the matching count against its bid; which were known then, nobody can say.
    So more than it bid is a fault, and less than all its leases together explain."""
    if len(candidate.free_units) != len(bid_units):
        return []  # a difference of other fields too, which name it
    leased = _units_ever_leased(candidate, state)
    return [
        f"free_units {recorded} in slot {slot}: the bid says {bid}, with {taken} of {candidate.units} leased by now"
        for slot, (recorded, bid, taken) in enumerate(
            zip(candidate.free_units, bid_units, leased, strict=True), start=candidate.first_slot
        )
        if not min(bid, max(0, candidate.units - taken)) <= recorded <= min(bid, candidate.units)
    ]


def _units_ever_leased(candidate: Candidate, state: State) -> list[int]:
    """In each slot of the bid, those that were released later too."""
    slots = len(candidate.free_units)
    changes = [0] * (slots + 1)
    for record in state.leases_of.get(candidate.provider, ()):
        start = max(record.lease.first_slot - candidate.first_slot, 0)
        end = min(record.lease.first_slot + record.lease.slots - candidate.first_slot, slots)
        if start < end:
            changes[start] += record.lease.units
            changes[end] -= record.lease.units
    return list(accumulate(changes[:-1]))


def _choice_faults(body: Award, candidates: tuple[Candidate, ...], demand: Demand) -> list[str]:
    """An award carries so many placements of a plan, in the plan's order: the first part, or the next ones."""
    planned = tuple(placed.placement() for placed in match(yielded(candidates, demand), demand).placements)
    parts = [planned[at : at + AWARD_PLACEMENTS_MAX] for at in range(0, len(planned), AWARD_PLACEMENTS_MAX)]
    if body.placements in parts:
        return []
    by_shard = {placement.shard: placement for placement in planned}
    faults = [_other_choice(p, by_shard.get(p.shard)) for p in body.placements if by_shard.get(p.shard) != p]
    return faults or ["its placements are a part of the plan that no award of it would carry"]


def _other_choice(awarded: Placement, planned: Placement | None) -> str:
    was = f"shard {awarded.shard} was awarded to {_described(awarded)}"
    return f"{was}; the matching places it " + (f"on {_described(planned)}" if planned else "nowhere")


def _described(placement: Placement) -> str:
    first, last = placement.first_slot, placement.first_slot + placement.slots - 1
    used = f"{placement.energy_j} J and {placement.carbon_ug} ug"
    return f"{placement.provider.hex()[:16]}, slots {first} to {last}, for {used}"


def _differences(found: Candidate | Demand, expected: Candidate | Demand, source: str, *but: str) -> list[str]:
    pairs = ((f.name, getattr(found, f.name), getattr(expected, f.name)) for f in fields(found) if f.name not in but)
    return [f"{name} {_quoted(a)}, {source} {_quoted(b)}" for name, a, b in pairs if a != b]


def _quoted(value: object) -> str:
    text = value.hex()[:16] if isinstance(value, bytes) else repr(value)
    return text if len(text) <= 60 else text[:60] + "..."
