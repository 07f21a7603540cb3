"""The buying half of a node: submits jobs, collects bids, awards, replaces who is lost, settles and closes.

The market is here; the rounds of training are in `rounds`. Every decision others must be able to check is an entry:
an award names the recorded input of its matching, a settlement follows from the receipt and the bid.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ledger.state import ReceiptRecord
from ledger.transitions import amount_due
from node import rounds
from node.events import (
    CloseModel,
    FinishModel,
    JobSubmitted,
    LeadFailed,
    Match,
    Matched,
    ModelFinished,
    ModelReady,
    OuterStepped,
    PrepareModel,
    Send,
    SetTimeout,
    SetTimer,
    ShardId,
    Timer,
    TimerKind,
)
from node.matching.explain import table
from node.matching.instance import MATCHER
from node.peers import Peers
from node.question import candidate_of_bid, demand_of_job, slots_left
from node.run import Member, Phase, Run
from node.tickets import TicketOffice
from node.turn import Turn
from protocol.direct import Assignment, Failure, Finish, Ready, RoundDelta
from protocol.messages import Award, Closure, Lease, Revocation, Settlement

REBID_MS = 1_500  # guess, not measured: gossip reaches a small network in a tenth of it
RETRY_MS = 5_000  # until the next matching, when nobody could take a shard
LEASES_DUE_MS = 5_000
SHARD_READY_DUE_MS = 60_000  # a worker's start, with the data to fetch
PEER_GRACE_MS = 1_000  # a connection may break and come back
RECEIPTS_DUE_MS = 20_000
AWARD_PLACEMENTS_MAX = 15  # an award refers to its job and its bids: 16 refs


@dataclass(slots=True)
class Requester:
    """All jobs of this node's own users."""

    peers: Peers
    tickets: TicketOffice
    runs: dict[bytes, Run] = field(default_factory=dict)

    def on_started(self, turn: Turn) -> None:
        """A restarted lead has lost its optimiser's momentum and its workers: say so rather than pretend."""
        reason = "the leading node was restarted"
        for record in list(turn.state.jobs.values()):
            if record.owner == turn.identity.key and record.closure is None:
                run = self.runs[record.id] = Run(record)
                self._close(turn, run, "failed", reason)

    def on_submitted(self, turn: Turn, event: JobSubmitted) -> None:
        entry = turn.record(event.job, ())
        if entry is not None:
            self.runs[entry.id] = Run(turn.state.jobs[entry.id])
            turn.do(SetTimer(Timer(TimerKind.BIDS_CLOSE, entry.id), event.job.bids_close_at_ms))
            turn.notify("job submitted", job=entry.id.hex(), name=event.job.name)

    def on_cancelled(self, turn: Turn, job: bytes) -> None:
        run = self.runs.get(job)
        if run is not None and run.phase is not Phase.OVER:
            self._close(turn, run, "cancelled", "cancelled by its owner")

    # --- placing ----------------------------------------------------------------------------------------------------

    def on_bids_close(self, turn: Turn, job_id: bytes, number: int) -> None:
        """Match what is not placed among the bids that are there."""
        run = self.runs.get(job_id)
        if run is None or run.phase in (Phase.CLOSING, Phase.OVER) or run.matching or number != run.rematch:
            return
        job = run.record.job
        missing = tuple(index for index in range(job.shards) if index not in run.members)
        first_slot = max(job.first_slot, turn.slot)
        slots = slots_left(run.record, run.round, first_slot)
        if not missing or slots < 1:
            return
        run.matching = True
        candidates = tuple(
            candidate_of_bid(bid, turn.state, self.peers.label(bid.provider))
            for _, bid in sorted(run.record.bids.items())
        )
        demand = demand_of_job(
            job,
            run.id,
            turn.identity.genesis.slot_ms,
            shards=missing,
            slots=slots,
            first_slot=first_slot,
            excluded=tuple(sorted(run.excluded.items())),
            occupied=tuple(member.provider for _, member in sorted(run.members.items())),
        )
        turn.do(Match(run.id, candidates, demand))

    def on_matched(self, turn: Turn, event: Matched) -> None:
        run = self.runs[event.job]
        run.matching = False
        if run.phase in (Phase.CLOSING, Phase.OVER):
            return
        plan = event.plan
        run.tables.append(table(plan))
        run.summaries.append(dict(event.summary))
        turn.notify("matched", job=run.id.hex(), table=run.tables[-1], summary=run.summaries[-1])
        if not plan.placements:
            remedy = plan.relaxation.text if plan.relaxation else "no single relaxation would place it"
            if run.phase is Phase.BIDDING:
                self._close(turn, run, "failed", f"no feasible placement; {remedy}")
            else:
                self._match_again(turn, run, RETRY_MS)
            return
        placements = tuple(p.placement() for p in plan.placements)
        for start in range(0, len(placements), AWARD_PLACEMENTS_MAX):
            part = placements[start : start + AWARD_PLACEMENTS_MAX]
            body = Award(job=run.id, instance_sha256=event.instance.sha256, matcher=MATCHER, placements=part)
            award = turn.record(body, (run.id, *(p.bid for p in part)))
            if award is None:
                self._close(turn, run, "failed", "the award would be void")
                return
            for p in part:
                run.members[p.shard] = Member(ShardId(award.id, p.shard), p.provider, p.first_slot)
            turn.do(SetTimeout(Timer(TimerKind.LEASES_DUE, award.id), LEASES_DUE_MS))
        if run.phase is Phase.BIDDING:
            run.phase = Phase.PLACING
            turn.do(PrepareModel(run.id, run.record.job.training))

    def on_lease(self, turn: Turn, lease: Lease) -> None:
        """A provider agreed: give it its shard when the leased time begins."""
        found = self._find(ShardId(lease.award, lease.shard))
        if found is None:
            return
        run, member = found
        member.leased = True
        starts_at_ms = member.first_slot * turn.identity.genesis.slot_ms
        if starts_at_ms > turn.now_ms:
            turn.do(SetTimer(Timer(TimerKind.ASSIGN, lease.award, lease.shard), starts_at_ms))
        else:
            self.on_assign(turn, ShardId(lease.award, lease.shard))

    def on_assign(self, turn: Turn, shard: ShardId) -> None:
        found = self._find(shard)
        if found is None:
            return
        run, member = found
        data = tuple(self.tickets.issue(turn, blob, member.provider) for blob in run.record.job.training.data)
        turn.do(Send(member.provider, Assignment(award=shard.award, shard=shard.shard, data=data)))
        turn.do(SetTimeout(Timer(TimerKind.SHARD_READY_DUE, shard.award, shard.shard), SHARD_READY_DUE_MS))

    def on_leases_due(self, turn: Turn, award: bytes) -> None:
        for run, member in self._members():
            if member.id.award == award and not member.leased:
                self._lose(turn, run, member, f"no lease within {LEASES_DUE_MS} ms")

    def on_ready_due(self, turn: Turn, shard: ShardId) -> None:
        found = self._find(shard)
        if found is not None and not found[1].ready:
            self._lose(turn, *found, f"not ready within {SHARD_READY_DUE_MS} ms")

    # --- losing and replacing ---------------------------------------------------------------------------------------

    def on_disconnected(self, turn: Turn, peer: bytes) -> None:
        if any(member.provider == peer for _, member in self._members()):
            turn.do(SetTimeout(Timer(TimerKind.PEER_GRACE, peer), PEER_GRACE_MS))

    def on_grace_over(self, turn: Turn, peer: bytes) -> None:
        if peer in self.peers.connected or peer == turn.identity.key:
            return
        for run, member in self._members():
            if member.provider == peer:
                self._lose(turn, run, member, "the peer is gone")

    def on_failure(self, turn: Turn, peer: bytes, message: Failure) -> None:
        found = self._find(ShardId(message.award, message.shard))
        if found is not None and found[1].provider == peer:
            self._lose(turn, *found, message.reason)

    def _lose(self, turn: Turn, run: Run, member: Member, reason: str) -> None:
        """Revoke a placement and ask for new bids; the others train on."""
        index = member.id.shard
        del run.members[index]
        run.former[member.id] = member
        run.excluded[member.provider] = reason[:256]
        if run.phase is Phase.CLOSING:
            self._close_if_settled(turn, run)
            return
        run.replaced += 1
        body = Revocation(
            award=member.id.award,
            shard=index,
            reason=reason[:1024],
            energy_j=member.energy_j,
            carbon_ug=member.carbon_ug,
        )
        turn.record(body, (member.id.award,), tell=member.provider if member.provider in self.peers.connected else None)
        label = self.peers.label(member.provider)
        turn.notify("shard lost", job=run.id.hex(), shard=index, provider=label, reason=reason, round=run.round)
        rounds.drop(turn, run, index)
        self._match_again(turn, run, REBID_MS)

    def _match_again(self, turn: Turn, run: Run, after_ms: int) -> None:
        run.rematch += 1
        turn.do(SetTimeout(Timer(TimerKind.BIDS_CLOSE, run.id, run.rematch), after_ms))

    # --- training ---------------------------------------------------------------------------------------------------

    def on_ready(self, turn: Turn, peer: bytes, message: Ready) -> None:
        found = self._find(ShardId(message.award, message.shard))
        if found is None or found[1].provider != peer:
            return
        run, member = found
        member.ready = True
        turn.notify("shard ready", job=run.id.hex(), shard=message.shard, provider=self.peers.label(peer))
        self._begin_when_ready(turn, run)

    def on_model_ready(self, turn: Turn, event: ModelReady) -> None:
        run = self.runs[event.job]
        run.parameters = event.parameters
        run.loss_first_millinats = event.loss_millinats
        self._begin_when_ready(turn, run)

    def _begin_when_ready(self, turn: Turn, run: Run) -> None:
        """The first round waits for all shards; later ones take whoever is there."""
        complete = len(run.members) == run.record.job.shards and all(m.ready for m in run.members.values())
        if run.phase is Phase.PLACING and complete and run.parameters is not None:
            run.phase = Phase.TRAINING
        if run.phase is Phase.TRAINING:
            rounds.begin_round(turn, run, self.tickets)

    def on_delta(self, turn: Turn, peer: bytes, message: RoundDelta) -> None:
        found = self._find(ShardId(message.award, message.shard))
        if found is not None and found[1].provider == peer and message.delta.server == peer:
            rounds.take_delta(turn, found[0], found[1], message)

    def on_round_due(self, turn: Turn, job: bytes, number: int) -> None:
        run = self.runs[job]
        for member in rounds.on_due(turn, run, number):
            self._lose(turn, run, member, f"no delta for round {number}, though waited for {rounds.EXTENSIONS_MAX} times")

    def on_stepped(self, turn: Turn, event: OuterStepped) -> None:
        run = self.runs[event.job]
        if run.phase is not Phase.TRAINING:
            return
        run.parameters = event.parameters
        if not rounds.on_stepped(turn, run, event.round):
            rounds.begin_round(turn, run, self.tickets)
            return
        run.phase = Phase.CLOSING
        for member in run.members.values():
            turn.do(Send(member.provider, Finish(award=member.id.award, shard=member.id.shard)))
        turn.do(FinishModel(run.id, event.parameters))
        turn.do(SetTimeout(Timer(TimerKind.RECEIPTS_DUE, run.id), RECEIPTS_DUE_MS))

    def on_lead_failed(self, turn: Turn, event: LeadFailed) -> None:
        """A delta that cannot be had costs its shard; a failure of our own worker costs the job."""
        run = self.runs[event.job]
        member = run.find(event.shard) if event.shard is not None else None
        if member is not None and run.stepping:
            run.stepping = False
            self._lose(turn, run, member, f"its delta could not be fetched: {event.reason}")
            rounds.begin_round(turn, run, self.tickets)
        elif run.phase is not Phase.OVER:
            self._close(turn, run, "failed", event.reason)

    # --- settling and closing ---------------------------------------------------------------------------------------

    def on_receipt(self, turn: Turn, record: ReceiptRecord) -> None:
        """Judge a receipt by the deltas that reached us, and settle it."""
        run = self.runs.get(record.lease.placement.job.id)
        if run is None or record.settlement is not None:
            return
        shard = ShardId(record.lease.lease.award, record.lease.lease.shard)
        member = run.find(shard) or run.former.get(shard)
        unknown = [d for d in record.receipt.deltas if member is None or d not in member.deltas]
        accepted = not unknown
        body = Settlement(
            receipt=record.id,
            accepted=accepted,
            amount_microcredits=amount_due(record) if accepted else 0,
            reason="" if accepted else f"{len(unknown)} of {len(record.receipt.deltas)} deltas never arrived",
        )
        turn.record(body, (record.id,), tell=record.lease.provider)
        self._close_if_settled(turn, run)

    def on_model_finished(self, turn: Turn, event: ModelFinished) -> None:
        run = self.runs[event.job]
        run.checkpoint, run.loss_last_millinats, run.sample = event.checkpoint, event.loss_millinats, event.sample
        self._close_if_settled(turn, run)

    def on_receipts_due(self, turn: Turn, job: bytes) -> None:
        run = self.runs[job]
        if run.phase is Phase.CLOSING and run.checkpoint is not None:
            self._close(turn, run, "done", "some receipts never came")

    def _close_if_settled(self, turn: Turn, run: Run) -> None:
        if run.phase is not Phase.CLOSING or run.checkpoint is None:
            return
        for member in run.members.values():
            lease = turn.state.placements[member.id.award, member.id.shard].lease
            if lease is None or not any(r.receipt.final and r.settlement is not None for r in lease.receipts):
                return
        self._close(turn, run, "done", "")

    def _close(self, turn: Turn, run: Run, outcome: str, reason: str) -> None:
        body = Closure.model_validate(
            {
                "job": run.id,
                "outcome": outcome,
                "reason": reason[:1024],
                "rounds": run.round,
                "checkpoint": run.checkpoint,
                "loss_first_millinats": run.loss_first_millinats,
                "loss_last_millinats": run.loss_last_millinats,
            }
        )
        turn.record(body, (run.id,))
        if run.phase is not Phase.OVER:
            run.phase = Phase.OVER
            turn.do(CloseModel(run.id))
        turn.notify("job over", job=run.id.hex(), outcome=outcome, reason=reason)

    def _find(self, shard: ShardId) -> tuple[Run, Member] | None:
        for run in self.runs.values():
            member = run.find(shard)
            if member is not None and run.phase is not Phase.OVER:
                return run, member
        return None

    def _members(self) -> Iterable[tuple[Run, Member]]:
        return [(run, m) for run in self.runs.values() if run.phase is not Phase.OVER for m in run.members.values()]
