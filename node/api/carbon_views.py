"""A job's carbon as the API shows it: from the ledger, and from the record of its first matching. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from ledger.state import JobRecord, ReceiptRecord, State
from node.accounts.carbon import Account, counterfactuals, receipts_of
from node.accounts.figures import report
from node.api.resources import CarbonAccount, Counterfactual, JobCarbon
from node.market.run import Run


def carbon_of(state: State, job: JobRecord, run: Run | None, summary: Mapping[str, Any] | None) -> JobCarbon:
    """What a job emitted, told in every way that the ledger allows. `summary`: of its first matching, which placed all
    shards (`node.market.question.summary_of_record`); None where its record is not at hand."""
    told = report(state, job)
    account, other = told.account, counterfactuals(told.account, summary) if summary is not None else None
    return JobCarbon(
        id=job.id.hex(),
        name=job.job.name,
        status=str(job.status),
        account=account_of(state, job, run, account),
        location=told.location,
        market=told.market,
        certified_j=told.certified_j,
        carbon_free=told.carbon_free,
        marginal=told.marginal,
        marginal_known_j=told.marginal_known_j,
        sci_per_token=told.sci_per_token,
        sci_per_step=told.sci_per_step,
        shares=told.shares,
        counterfactuals=None if other is None else {n: _against(account.carbon_ug, ug) for n, ug in other.items()},
    )


def account_of(state: State, job: JobRecord, run: Run | None, account: Account) -> CarbonAccount:
    """A job's totals, and what its run, if it is led here, has heard of its shards."""
    members = [*run.members.values(), *run.former.values()] if run else []
    return CarbonAccount(
        **asdict(account),
        assurance=assurance_of(state, receipts_of(job)),
        reported_energy_j=sum(member.energy_j for member in members),
        reported_carbon_ug=sum(member.carbon_ug for member in members),
    )


def assurance_of(state: State, receipts: Iterable[ReceiptRecord]) -> int | None:
    """The lowest level behind any surplus that these receipts claim; None where none is claimed."""
    rows = (row for record in receipts for row in record.receipt.energy)
    claimed = (row.attestation for row in rows if row.attestation is not None and row.surplus_j)
    return min((state.attestations[attestation].assurance for attestation in claimed), default=None)


def _against(carbon_ug: int, otherwise_ug: int) -> Counterfactual:
    saved_ug = otherwise_ug - carbon_ug
    return Counterfactual(carbon_ug=otherwise_ug, saving_permille=saved_ug * 1000 // max(1, otherwise_ug))
