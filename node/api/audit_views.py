"""A job's audit as the API shows it. Pure."""

from __future__ import annotations

from dataclasses import asdict

from ledger.state import PlacementRecord, ReceiptRecord
from node.accounts.auditing import AwardAudit, JobAudit
from node.accounts.carbon import job_account, receipt_ug
from node.api.ledger_resources import AwardAuditOf, ChainOf, DeliveryOf, Exclusion, JobAuditOf, Totals
from node.api.ledger_views import Names


def audit_of(found: JobAudit, names: Names) -> JobAuditOf:
    job = found.job
    sums = asdict(job_account(job))
    chains = tuple(_chain(placement, names) for placement in job.placements)
    deliveries = [delivery for chain in chains for delivery in chain.deliveries]
    return JobAuditOf(
        ok=found.ok,
        job=job.id.hex(),
        name=job.job.name,
        owner=names(job.owner),
        status=str(job.status),
        bids=len(job.bids),
        awards=tuple(_award(award, names) for award in found.awards),
        shards=chains,
        totals=Totals(
            owed_microcredits=sum(each.amount_microcredits for each in deliveries if each.accepted),
            **{name: sums[name] for name in Totals.model_fields if name in sums},
        ),
        violations=found.violations,
        doubts=found.doubts,
    )


def _award(found: AwardAudit, names: Names) -> AwardAuditOf:
    return AwardAuditOf(
        id=found.award.hex(),
        matcher=found.body.matcher,
        instance_sha256=found.body.instance_sha256.hex(),
        follows=found.follows,
        placements=len(found.body.placements),
        candidates=found.candidates,
        left_out=tuple(map(names, found.left_out)),
        excluded=tuple(Exclusion(provider=names(provider), reason=reason) for provider, reason in found.excluded),
        findings=found.findings,
    )


def _chain(record: PlacementRecord, names: Names) -> ChainOf:
    placement, lease = record.placement, record.lease
    return ChainOf(
        shard=placement.shard,
        provider=names(placement.provider),
        status=str(record.status),
        bid=placement.bid.hex(),
        award=record.award.hex(),
        lease=lease.id.hex() if lease else None,
        energy_j=placement.energy_j,
        carbon_ug=placement.carbon_ug,
        deliveries=tuple(map(_delivery, lease.receipts)) if lease else (),
        reason=record.revocation_reason,
    )


def _delivery(record: ReceiptRecord) -> DeliveryOf:
    receipt, settlement = record.receipt, record.settlement
    return DeliveryOf(
        receipt=record.id.hex(),
        method=receipt.method,
        tokens=receipt.tokens,
        energy_j=sum(row.energy_j for row in receipt.energy),
        surplus_j=sum(row.surplus_j for row in receipt.energy),
        carbon_ug=receipt_ug(receipt),
        accepted=settlement.accepted if settlement else None,
        amount_microcredits=settlement.amount_microcredits if settlement else 0,
        reason=settlement.reason if settlement else "",
    )
