"""The buying half of a node: submits jobs, collects bids, awards, replaces who is lost, settles and closes.

What happens to a job is here; how its shards find peers is in `placing`, the rounds of training in `rounds`, the
judgement of receipts in `settling`. Every decision others must be able to check is an entry: an award names the
recorded input of its matching, a settlement follows from the receipt and the bid.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ledger.state import ReceiptRecord
from node.actions import (
    CloseModel,
    FinishModel,
    KeepMoments,
    Send,
    SetTimeout,
    SetTimer,
)
from node.events import (
    JobSubmitted,
    LeadFailed,
    Matched,
    ModelFinished,
    ModelReady,
    MomentsKept,
    OuterStepped,
    ShardId,
    Timer,
    TimerKind,
)
from node.market import placing, rounds
from node.market.run import Member, Phase, Run
from node.market.settling import Outcome, closure, is_settled, settlement
from node.market.tickets import TicketOffice
from node.matching.bids.explain import table
from node.peers import Peers
from node.turn import Turn
from protocol.direct import Assignment, Failure, Finish, Handover, Ready, RoundDelta
from protocol.messages import Lease

SHARD_READY_DUE_MS = 60_000  # a worker's start, with the data to fetch
PEER_GRACE_MS = 1_000  # a connection may break and come back
RECEIPTS_DUE_MS = 20_000


@dataclass(slots=True)
class Requester:
    """All jobs of this node's own users."""

    peers: Peers
    tickets: TicketOffice
    runs: dict[bytes, Run] = field(default_factory=dict)

    def on_started(self, turn: Turn) -> None:
        """A restarted lead has lost its optimiser's momentum and its workers: say so rather than pretend."""
        for record in list(turn.state.jobs.values()):
            if record.owner == turn.identity.key and record.closure is None:
                run = self.runs[record.id] = Run(record)
                self._close(turn, run, "failed", "the leading node was restarted")

    def on_submitted(self, turn: Turn, event: JobSubmitted) -> None:
        entry = turn.record(event.job, ())
        if entry is not None:
            self.runs[entry.id] = Run(turn.state.jobs[entry.id])
            turn.do(SetTimer(Timer(TimerKind.BIDS_CLOSE, entry.id), event.job.bids_close_at_ms))
            turn.notify("job submitted", job=entry.id.hex(), name=event.job.name)

    def on_cancelled(self, turn: Turn, job: bytes) -> None:
        run = self._running(job)
        if run is not None:
            self._close(turn, run, "cancelled", "cancelled by its owner")

    # --- placing ----------------------------------------------------------------------------------------------------

    def on_bids_close(self, turn: Turn, job: bytes, number: int) -> None:
        """Match what is not placed among the bids that are there."""
        run = self._running(job)
        if run is not None and run.phase is not Phase.CLOSING and number == run.rematch:
            reason = placing.seek(turn, run, self.peers)
            if reason:
                self._close(turn, run, "failed", reason)

    def on_matched(self, turn: Turn, event: Matched) -> None:
        run = self._running(event.job)
        if run is None or run.phase is Phase.CLOSING:
            return
        run.matching = False
        plan = event.plan
        run.tables.append(table(plan))
        run.summaries.append(dict(event.summary))
        turn.notify("matched", job=run.id.hex(), table=run.tables[-1], summary=run.summaries[-1])
        if plan.placements:
            if not placing.award(turn, run, plan, event.instance):
                self._close(turn, run, "failed", "the award would be void")
        elif run.phase is Phase.BIDDING:
            remedy = plan.relaxation.text if plan.relaxation else "no single relaxation would place it"
            self._close(turn, run, "failed", f"no feasible placement; {remedy}")
        else:
            placing.nobody_found(turn, run)

    def on_lease(self, turn: Turn, lease: Lease) -> None:
        """A provider agreed: give it its shard when the leased time begins."""
        shard = ShardId(lease.award, lease.shard)
        found = self._find(shard)
        if found is None:
            return
        _, member = found
        member.leased = True
        starts_at_ms = member.first_slot * turn.identity.genesis.slot_ms
        if starts_at_ms > turn.now_ms:
            turn.do(SetTimer(Timer(TimerKind.ASSIGN, lease.award, lease.shard), starts_at_ms))
        else:
            self.on_assign(turn, shard)

    def on_assign(self, turn: Turn, shard: ShardId) -> None:
        found = self._find(shard)
        if found is not None:
            self._assign(turn, *found)
            turn.do(SetTimeout(Timer(TimerKind.SHARD_READY_DUE, shard.award, shard.shard), SHARD_READY_DUE_MS))

    def _assign(self, turn: Turn, run: Run, member: Member) -> None:
        data = tuple(
            self.tickets.issue(turn, blob, member.provider, member.id) for blob in run.record.job.training.data
        )
        kept = run.moments.get(member.id.shard)
        moments = None if kept is None else self.tickets.issue(turn, kept, member.provider, member.id)
        assignment = Assignment(award=member.id.award, shard=member.id.shard, data=data, moments=moments)
        turn.do(Send(member.provider, assignment))

    def on_leases_due(self, turn: Turn, award: bytes) -> None:
        for run, member in self._members():
            if member.id.award == award and not member.leased:
                self._lose(turn, run, member, f"no lease within {placing.LEASES_DUE_MS} ms")

    def on_ready_due(self, turn: Turn, shard: ShardId) -> None:
        found = self._find(shard)
        if found is not None and not found[1].ready:
            self._lose(turn, *found, f"not ready within {SHARD_READY_DUE_MS} ms")

    # --- losing and replacing ---------------------------------------------------------------------------------------

    def on_disconnected(self, turn: Turn, peer: bytes) -> None:
        if any(member.provider == peer for _, member in self._members()):
            turn.do(SetTimeout(Timer(TimerKind.PEER_GRACE, peer), PEER_GRACE_MS))

    def on_grace_over(self, turn: Turn, peer: bytes) -> None:
        if peer in self.peers.connected:
            return
        for run, member in self._members():
            if member.provider == peer:
                self._lose(turn, run, member, "the peer is gone")

    def on_failure(self, turn: Turn, peer: bytes, message: Failure) -> None:
        found = self._find(ShardId(message.award, message.shard))
        if found is not None and found[1].provider == peer:
            self._lose(turn, *found, message.reason)

    def _lose(self, turn: Turn, run: Run, member: Member, reason: str) -> None:
        """Revoke a placement and ask for new bids; the others train on. Once training is over, only receipts matter."""
        if run.phase in (Phase.CLOSING, Phase.OVER):
            return
        placing.revoke(turn, run, member, reason)
        placing.exclude(turn, run, member, reason)
        label = self.peers.label(member.provider)
        turn.notify(
            "shard lost", job=run.id.hex(), shard=member.id.shard, provider=label, reason=reason, round=run.round
        )
        rounds.drop(turn, run, member.id.shard)
        if run.phase is Phase.TRAINING:
            rounds.begin_round(turn, run, self.tickets)
        placing.seek_again(turn, run, placing.REBID_MS)

    def on_handover(self, turn: Turn, peer: bytes, message: Handover) -> None:
        """A provider gives a shard back, by no fault. Its moments are fetched before it is let go, and its last delta
        enters the step for which it was trained."""
        found = self._find(ShardId(message.award, message.shard))
        if found is None or found[1].provider != peer or found[1].leaving:
            return
        run, member = found
        member.leaving = message.reason or "handed over"
        if message.moments is not None and message.moments.server == peer:
            turn.do(KeepMoments(run.id, member.id, message.moments))
        else:
            member.parted = True
        if member.id.shard not in run.deltas:
            rounds.drop(turn, run, member.id.shard)
        if run.phase is Phase.TRAINING:
            rounds.begin_round(turn, run, self.tickets)
        self._let_part(turn, run)

    def on_moments(self, turn: Turn, event: MomentsKept) -> None:
        """They count even where the shard was lost while they were fetched."""
        run = self._running(event.job)
        if run is None:
            return
        if event.moments is not None:
            run.moments[event.shard.shard] = event.moments
        member = run.find(event.shard)
        if member is not None:
            member.parted = True
            self._let_part(turn, run)

    def _let_part(self, turn: Turn, run: Run) -> None:
        """Withdraw the placements of those who have handed over all they had, and look for others: the matching sees
        the bids of all, theirs too, and moves the shard or lets it wait."""
        parting = [m for m in run.members.values() if m.parted and run.in_round.get(m.id.shard) != m.id]
        if not parting or run.phase in (Phase.CLOSING, Phase.OVER):
            return
        for member in parting:
            reason = f"handed over: {member.leaving}"[:1024]
            placing.revoke(turn, run, member, reason)
            if not member.deltas:
                placing.exclude(turn, run, member, reason)
            label = self.peers.label(member.provider)
            turn.notify(
                "shard handed over",
                job=run.id.hex(),
                shard=member.id.shard,
                provider=label,
                reason=member.leaving,
                round=run.round,
            )
        if run.phase is Phase.TRAINING:
            rounds.begin_round(turn, run, self.tickets)
        placing.seek_again(turn, run, placing.REBID_MS)

    def on_refolded(self, turn: Turn) -> None:
        """Shards whose provider turned out to have signed two histories are lost; the others go on."""
        for run in self.runs.values():
            run.record = turn.state.jobs.get(run.id, run.record)
        for run, member in self._members():
            placement = turn.state.placements.get((member.id.award, member.id.shard))
            if placement is None or (member.leased and placement.lease is None):
                placing.forget(run, member)
                self._lose(turn, run, member, "its provider signed two histories")
                self._close_if_settled(turn, run)

    # --- training ---------------------------------------------------------------------------------------------------

    def on_ready(self, turn: Turn, peer: bytes, message: Ready) -> None:
        found = self._find(ShardId(message.award, message.shard))
        if found is None:
            return
        run, member = found
        if member.provider != peer or not member.leased or member.ready:
            return
        member.ready = True
        turn.notify("shard ready", job=run.id.hex(), shard=message.shard, provider=self.peers.label(peer))
        self._begin_when_ready(turn, run)

    def on_model_ready(self, turn: Turn, event: ModelReady) -> None:
        run = self._running(event.job)
        if run is not None:
            run.parameters = event.parameters
            run.loss_first_millinats = event.loss_millinats
            self._begin_when_ready(turn, run)

    def _begin_when_ready(self, turn: Turn, run: Run) -> None:
        """The first round waits for all shards; later ones take whoever is there."""
        complete = not placing.missing(run) and all(member.ready for member in run.members.values())
        if run.phase is Phase.PLACING and complete and run.parameters is not None:
            run.phase = Phase.TRAINING
        if run.phase is Phase.TRAINING:
            rounds.begin_round(turn, run, self.tickets)

    def on_delta(self, turn: Turn, peer: bytes, message: RoundDelta) -> None:
        found = self._find(ShardId(message.award, message.shard))
        if found is not None and found[1].provider == peer and message.delta.server == peer:
            rounds.take_delta(turn, *found, message)

    def on_round_due(self, turn: Turn, job: bytes, attempt: int) -> None:
        run = self.runs[job]
        for member in rounds.on_due(turn, run, attempt):
            self._lose(turn, run, member, f"no delta for round {run.round} in time")

    def on_stepped(self, turn: Turn, event: OuterStepped) -> None:
        run = self._running(event.job)
        if run is None or not run.stepping or event.round != run.round:
            return
        run.parameters = event.parameters
        rounds.book_round(turn, run)
        if run.round < run.record.job.training.rounds:
            self._let_part(turn, run)
            rounds.begin_round(turn, run, self.tickets)
            return
        run.phase = Phase.CLOSING
        for member in list(run.members.values()):
            if member.leased:
                self._finish(turn, member)
            else:
                placing.revoke(turn, run, member, "training ended before it began here")
        turn.do(FinishModel(run.id, event.parameters))
        turn.do(SetTimeout(Timer(TimerKind.RECEIPTS_DUE, run.id), RECEIPTS_DUE_MS))

    def on_lead_failed(self, turn: Turn, event: LeadFailed) -> None:
        """A delta that cannot be had costs its shard; a failure of our own worker costs the job."""
        run = self._running(event.job)
        if run is None:
            return
        if event.shard is None:
            self._close(turn, run, "failed", event.reason)
        elif run.stepping:
            rounds.on_step_failed(turn, run, event.shard.shard)
            member = run.find(event.shard)
            if member is not None:
                self._lose(turn, run, member, f"its delta could not be had: {event.reason}"[:1024])
            else:
                rounds.begin_round(turn, run, self.tickets)

    def remind(self, turn: Turn) -> None:
        """Say again what has not been answered: question or answer may be lost. All of it may be heard twice."""
        for run, member in self._members():
            if run.phase is Phase.CLOSING:
                self._finish(turn, member)
            elif member.leased and not member.ready and member.first_slot <= turn.slot:
                self._assign(turn, run, member)
        for run in self.runs.values():
            if run.phase is Phase.TRAINING:
                rounds.remind(turn, run, self.tickets)

    # --- settling and closing ---------------------------------------------------------------------------------------

    def on_receipt(self, turn: Turn, record: ReceiptRecord) -> None:
        """Judge a receipt and settle it. A shard that is receipted for good while we train is a lost one."""
        job = record.lease.placement.job
        if job.owner != turn.identity.key or record.settlement is not None:
            return
        run = self.runs.get(job.id)
        shard = ShardId(record.lease.lease.award, record.lease.lease.shard)
        member = run.find(shard) if run is not None else None
        if run is not None and member is not None and record.receipt.final:
            # Before the settlement: a placement that is settled can no longer be revoked.
            self._lose(turn, run, member, "its provider ended it")
        if run is not None and member is None:
            member = run.former.get(shard)
        deltas = None if member is None else member.deltas.values()
        turn.record(settlement(record, deltas), (record.id,), tell=(record.lease.provider,))
        if run is not None:
            self._close_if_settled(turn, run)

    def on_model_finished(self, turn: Turn, event: ModelFinished) -> None:
        run = self._running(event.job)
        if run is not None:
            run.checkpoint, run.loss_last_millinats, run.sample = event.checkpoint, event.loss_millinats, event.sample
            self._close_if_settled(turn, run)

    def on_receipts_due(self, turn: Turn, job: bytes) -> None:
        run = self._running(job)
        if run is not None and run.checkpoint is not None:
            self._close(turn, run, "done", "some receipts never came")

    def _finish(self, turn: Turn, member: Member) -> None:
        turn.do(Send(member.provider, Finish(award=member.id.award, shard=member.id.shard)))

    def _close_if_settled(self, turn: Turn, run: Run) -> None:
        if run.phase is Phase.CLOSING and run.checkpoint is not None and is_settled(turn.state, run):
            self._close(turn, run, "done", "")

    def _close(self, turn: Turn, run: Run, outcome: Outcome, reason: str) -> None:
        turn.record(closure(run, outcome, reason), (run.id,))
        run.phase = Phase.OVER
        turn.do(CloseModel(run.id))
        turn.notify("job over", job=run.id.hex(), outcome=outcome, reason=reason)

    def _running(self, job: bytes) -> Run | None:
        """A job of ours that is not over."""
        run = self.runs.get(job)
        return run if run is not None and run.phase is not Phase.OVER else None

    def _find(self, shard: ShardId) -> tuple[Run, Member] | None:
        return next(((run, member) for run, member in self._members() if member.id == shard), None)

    def _members(self) -> Iterable[tuple[Run, Member]]:
        return [(run, m) for run in self.runs.values() if run.phase is not Phase.OVER for m in run.members.values()]
