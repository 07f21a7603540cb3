"""The end of a job's account: how a receipt is judged, when all is settled, and the closure. Pure functions."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from ledger.receipts import amount_due
from ledger.state import ReceiptRecord, State
from node.market.run import Run
from protocol.messages import Closure, Settlement

Outcome = Literal["done", "cancelled", "failed"]
REASON_MAX = 1024


def settlement(record: ReceiptRecord, deltas: Collection[bytes] | None) -> Settlement:
    """The judgement of a receipt by the deltas that reached us.

    `deltas` None: we no longer know them, since we were restarted. Then the doubt is our fault and not the provider's.
    """
    reason = _refusal(record, deltas)
    return Settlement(
        receipt=record.id,
        accepted=not reason,
        amount_microcredits=0 if reason else amount_due(record),
        reason=reason,
    )


def _refusal(record: ReceiptRecord, deltas: Collection[bytes] | None) -> str:
    """Every delta must have reached us, but for the last one: it may have been on its way when the end came."""
    unknown = 0 if deltas is None else sum(delta not in deltas for delta in record.receipt.deltas[:-1])
    if unknown:
        return f"{unknown} of {len(record.receipt.deltas)} deltas never arrived"
    return ""


def is_settled(state: State, run: Run) -> bool:
    """Whether every shard has its final receipt, and that its settlement."""
    leases = [state.placements[member.id.award, member.id.shard].lease for member in run.members.values()]
    return all(
        lease is not None and any(r.receipt.final and r.settlement is not None for r in lease.receipts)
        for lease in leases
    )


def closure(run: Run, outcome: Outcome, reason: str) -> Closure:
    return Closure(
        job=run.id,
        outcome=outcome,
        reason=reason[:REASON_MAX],
        rounds=run.round,
        checkpoint=run.checkpoint,
        loss_first_millinats=run.loss_first_millinats,
        loss_last_millinats=run.loss_last_millinats,
    )
