"""The periodic pass: whatever an event path does, this does again from the ledger's state.

A message may be lost, a node may be restarted between two entries. Nothing here may act twice: each step asks the state
whether the act is still due.
"""

from __future__ import annotations

from ledger.state import PlacementRecord, PlacementStatus
from node.actions import SetTimeout
from node.events import (
    Timer,
    TimerKind,
)
from node.market.credit import Credit
from node.market.provider import Provider
from node.market.requester import Requester
from node.turn import Turn

RECONCILE_EVERY_MS = 5_000  # guess, not measured: the delay that a lost message may cost


def reconcile(turn: Turn, provider: Provider, requester: Requester, credit: Credit) -> None:
    """1. Bid on open jobs that lack our bid. 2. Countersign awards that lack our lease. 3. Stop what was withdrawn.
    4. Settle receipts that lack our settlement. 5. Ask whether a deal that waits is final. 6. Say again what our jobs'
    providers have not answered. 7. Bring credit limits in line, and acknowledge what we settled."""
    me = turn.identity.key
    for job in list(turn.state.jobs.values()):
        if me not in job.bids:
            provider.on_job(turn, job.id)
        for award_id, award in job.awards.items():
            placements = (turn.state.placements.get((award_id, p.shard)) for p in award.placements)
            if any(placement is not None and _awaits_lease(placement, me) for placement in placements):
                provider.on_award(turn, award_id, award)
        for placement in job.placements:
            for receipt in placement.lease.receipts if placement.lease is not None else ():
                requester.on_receipt(turn, receipt)
    for shard, work in list(provider.works.items()):
        placement = work.lease.placement
        if placement.job.closure is not None:
            provider.on_withdrawn(turn, placement.job.id, None, "the job was closed")
        elif placement.status is PlacementStatus.REVOKED:
            provider.on_withdrawn(turn, placement.job.id, shard, placement.revocation_reason)
    provider.ask_for_finality(turn)
    requester.remind(turn)
    credit.reconcile(turn)
    turn.do(SetTimeout(Timer(TimerKind.RECONCILE), RECONCILE_EVERY_MS))


def _awaits_lease(placement: PlacementRecord, provider: bytes) -> bool:
    return placement.placement.provider == provider and placement.status is PlacementStatus.AWARDED
