"""Jobs as the API shows them: what the ledger says of each, and of our own what their run adds. Pure."""

from __future__ import annotations

from dataclasses import asdict

from ledger.state import JobRecord, PlacementRecord, PlacementStatus, ReceiptRecord
from node.accounts.carbon import job_account, receipt_ug, receipts_of
from node.api.carbon_views import account_of, assurance_of
from node.api.resources import (
    BlobOf,
    DryRun,
    JobDetail,
    JobList,
    JobSummary,
    Matching,
    PlacementOf,
    ReceiptOf,
    Round,
)
from node.api.views import market, peer
from node.core import Node
from node.market.question import candidate_of_advert, demand_of_job
from node.market.receipts import is_confirmed
from node.market.run import Run
from node.matching.bids.demand import Candidate, Demand
from node.matching.bids.explain import table
from node.matching.bids.plan import Plan
from protocol.messages import Blob, Job

DRY_RUN_ID = bytes(32)  # a plan asks before there is a job


def jobs(node: Node) -> JobList:
    """Every job that the ledger knows, the newest first."""
    records = sorted(node.ledger.state.jobs.values(), key=lambda record: (record.time_ms, record.id), reverse=True)
    return JobList(jobs=tuple(summary(node, record) for record in records))


def summary(node: Node, record: JobRecord) -> JobSummary:
    run = node.requester.runs.get(record.id)
    return JobSummary(
        id=record.id.hex(),
        name=record.job.name,
        owner=peer(node, record.owner),
        own=record.owner == node.identity.key,
        mode=record.job.mode,
        status=str(record.status),
        phase=str(run.phase) if run else None,
        shards=record.job.shards,
        rounds_done=_rounds_done(record, run),
        rounds=record.job.training.rounds,
        submitted_at_ms=record.time_ms,
    )


def detail(node: Node, record: JobRecord) -> JobDetail:
    run, closure, state = node.requester.runs.get(record.id), record.closure, node.ledger.state
    checkpoint = closure.checkpoint if closure else None
    matchings = _matchings(run)
    return JobDetail(
        **summary(node, record).model_dump(exclude={"owner"}),
        owner=peer(node, record.owner),
        request=record.job.model_dump(mode="json"),
        bids=len(record.bids),
        bids_close_at_ms=record.job.bids_close_at_ms,
        placements=tuple(_placement(node, placement) for placement in record.placements),
        matchings=matchings,
        unplaceable=closure is not None and closure.outcome == "failed" and bool(matchings) and not record.placements,
        history=tuple(Round(**asdict(each)) for each in run.history) if run else (),
        replaced_shards=sum(placement.status is PlacementStatus.REVOKED for placement in record.placements),
        loss_first_millinats=closure.loss_first_millinats if closure else run.loss_first_millinats if run else 0,
        loss_last_millinats=closure.loss_last_millinats if closure else run.loss_last_millinats if run else 0,
        account=account_of(state, record, run, job_account(record)),
        receipts=tuple(_receipt(node, receipt) for receipt in receipts_of(record)),
        outcome=closure.outcome if closure else None,
        reason=closure.reason if closure else "",
        checkpoint=_blob(checkpoint) if checkpoint else None,
        sample=run.sample if run else "",
    )


def question(node: Node, job: Job, now_ms: int) -> tuple[tuple[Candidate, ...], Demand]:
    """What the matching would be asked if everyone bid what they advertise now."""
    candidates = tuple(
        candidate_of_advert(signed, node.ledger.state, node.peers.label(signed.author), node.identity.key)
        for signed in market(node, now_ms)
    )
    demand = demand_of_job(
        job,
        DRY_RUN_ID,
        node.identity.genesis.slot_ms,
        shards=tuple(range(job.shards)),
        slots=job.slots,
        first_slot=job.first_slot,
    )
    return candidates, demand


def dry_run(job: Job, plan: Plan, totals: dict[str, object]) -> DryRun:
    """A plan and its comparison with the baselines, as `node.matching.bids.explain.summary` makes it."""
    return DryRun(
        feasible=bool(plan.placements),
        candidates=len(plan.choices),
        slots=job.slots,
        first_slot=job.first_slot,
        deadline_slot=job.deadline_slot,
        tokens=job.training.tokens_per_shard * job.shards,
        table=tuple(table(plan)),
        summary=totals,
    )


def _matchings(run: Run | None) -> tuple[Matching, ...]:
    if run is None:
        return ()
    pairs = zip(run.tables, run.summaries, strict=True)
    return tuple(Matching(table=tuple(rows), summary=totals) for rows, totals in pairs)


def _rounds_done(record: JobRecord, run: Run | None) -> int:
    if record.closure is not None:
        return record.closure.rounds
    if run is not None:
        return run.round
    return max((r.receipt.first_round + len(r.receipt.deltas) for r in receipts_of(record)), default=0)


def _placement(node: Node, record: PlacementRecord) -> PlacementOf:
    placement = record.placement
    return PlacementOf(
        award=record.award.hex(),
        shard=placement.shard,
        provider=peer(node, placement.provider),
        status=str(record.status),
        first_slot=placement.first_slot,
        slots=placement.slots,
        price_microcredits_per_unit_hour=placement.price_microcredits_per_unit_hour,
        energy_j=placement.energy_j,
        carbon_ug=placement.carbon_ug,
        reason=record.revocation_reason,
        confirmed=_confirmed(node, record),
    )


def _confirmed(node: Node, record: PlacementRecord) -> bool | None:
    if not node.ledger.genesis.witnesses:
        return None
    return record.lease is not None and is_confirmed(node.ledger, record.lease)


def _receipt(node: Node, record: ReceiptRecord) -> ReceiptOf:
    receipt, settlement = record.receipt, record.settlement
    return ReceiptOf(
        id=record.id.hex(),
        provider=peer(node, record.lease.provider),
        shard=record.lease.lease.shard,
        first_round=receipt.first_round,
        rounds=len(receipt.deltas),
        final=receipt.final,
        tokens=receipt.tokens,
        energy_j=sum(row.energy_j for row in receipt.energy),
        surplus_j=sum(row.surplus_j for row in receipt.energy),
        moved_bytes=receipt.moved_bytes,
        transfer_ug=receipt.transfer_ug,
        carbon_ug=receipt_ug(receipt),
        method=receipt.method,
        power_source=receipt.power_source,
        assurance=assurance_of(node.ledger.state, [record]),
        uncertainty_permille=receipt.uncertainty_permille,
        accepted=settlement.accepted if settlement else None,
        amount_microcredits=settlement.amount_microcredits if settlement else 0,
        reason=settlement.reason if settlement else "",
    )


def _blob(blob: Blob) -> BlobOf:
    return BlobOf(sha256=blob.sha256.hex(), size_bytes=blob.size_bytes)
