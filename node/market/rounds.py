"""The lead of a job's DiLoCo rounds: hand out parameters, collect deltas, step, again.

Functions on a `Run`; tensors are only named here, by their hashes. A round closes when every shard that was asked has
delivered, or, once it is overdue, with a quorum. Deltas enter the outer step in shard order, so the step is repeatable
by whoever holds them.
"""

from __future__ import annotations

from statistics import median_low

from node.actions import (
    Send,
    SetTimeout,
    StepOuter,
)
from node.events import (
    ShardId,
    Timer,
    TimerKind,
)
from node.market.run import Member, Phase, RoundSummary, Run
from node.market.tickets import TicketOffice
from node.turn import Turn
from protocol.direct import RoundDelta, RoundStart
from protocol.messages import Blob

FIRST_ROUND_DUE_MS = 60_000  # guess, not measured: nothing is known of the workers' speed yet
ROUND_DUE_MIN_MS = 10_000
EXTENSIONS_MAX = 3  # how often a round without a quorum waits again
MISSES_MAX = 3  # rounds in a row that may close without a member; it costs all the others a long wait each time


def begin_round(turn: Turn, run: Run, tickets: TicketOffice) -> None:
    """Ask every ready member for the present round; nothing happens before the model and one member are ready."""
    asked = {index: m for index, m in sorted(run.members.items()) if m.ready and not m.leaving}
    if run.parameters is None or not asked or run.stepping or run.in_round:
        return
    run.in_round = {index: m.id for index, m in asked.items()}
    run.deltas = {}
    run.attempt += 1
    run.extensions = 0
    run.round_began_ms = turn.now_ms
    for member in asked.values():
        _ask(turn, run, run.parameters, member, tickets)
    turn.do(SetTimeout(Timer(TimerKind.ROUND_DUE, run.id, run.attempt), _due_ms(run)))


def remind(turn: Turn, run: Run, tickets: TicketOffice) -> None:
    """Ask again for the deltas that are missing: the question or the answer may be lost."""
    if run.parameters is not None and not run.stepping:
        for index in sorted(run.in_round.keys() - run.deltas.keys()):
            _ask(turn, run, run.parameters, run.members[index], tickets)


def take_delta(turn: Turn, run: Run, member: Member, delta: RoundDelta) -> None:
    """Book a delta, once for each round; close the round if it was the last one."""
    if delta.round > run.round:
        return  # nobody has asked for it
    if delta.round not in member.deltas:
        member.deltas[delta.round] = delta.delta.blob.sha256
        member.energy_j += delta.energy_j
        member.carbon_ug += delta.carbon_ug
    index = member.id.shard
    if delta.round != run.round or run.in_round.get(index) != member.id or run.stepping:
        return  # too late for its round; it is paid for all the same
    run.deltas[index] = delta
    member.misses = 0
    _close_if_complete(turn, run)


def drop(turn: Turn, run: Run, index: int) -> None:
    """A member is gone: the round goes on without it.

    A delta that is part of a step under way may be fetched already: it stays, and if it is not, the step fails and
    names it.
    """
    if run.stepping and index in run.deltas:
        return
    run.in_round.pop(index, None)
    run.deltas.pop(index, None)
    _close_if_complete(turn, run)


def on_step_failed(turn: Turn, run: Run, index: int) -> None:
    """A delta could not be had: step again without it, or wait for those that are still to come."""
    run.stepping = False
    drop(turn, run, index)
    if run.in_round and not run.stepping:
        turn.do(SetTimeout(Timer(TimerKind.ROUND_DUE, run.id, run.attempt), _due_ms(run)))


def on_due(turn: Turn, run: Run, attempt: int) -> list[Member]:
    """The round is overdue: close it with a quorum, or wait again. Returns the members that have tried our patience."""
    if run.phase is not Phase.TRAINING or attempt != run.attempt or run.stepping or not run.in_round:
        return []
    late = [run.members[index] for index in sorted(run.in_round.keys() - run.deltas.keys())]
    if 2 * len(run.deltas) > len(run.in_round):
        _close(turn, run)
        for member in late:
            member.misses += 1
        return [member for member in late if member.misses >= MISSES_MAX]
    if run.extensions < EXTENSIONS_MAX:
        run.extensions += 1
        turn.do(SetTimeout(Timer(TimerKind.ROUND_DUE, run.id, run.attempt), _due_ms(run)))
        return []
    return late


def book_round(turn: Turn, run: Run) -> None:
    """The step is taken: on to the next round."""
    deltas = list(run.deltas.values())
    summary = RoundSummary(
        run.round,
        len(deltas),
        sum(d.loss_millinats for d in deltas) // max(1, len(deltas)),
        sum(d.tokens for d in deltas),
        turn.now_ms - run.round_began_ms,
    )
    run.history.append(summary)
    everyone = [*run.members.values(), *run.former.values()]
    turn.notify(
        "round",
        job=run.id.hex(),
        round=run.round + 1,
        rounds=run.record.job.training.rounds,
        shards=len(deltas),
        loss_millinats=summary.loss_millinats,
        tokens=summary.tokens,
        duration_ms=summary.duration_ms,
        energy_j=sum(m.energy_j for m in everyone),
        carbon_ug=sum(m.carbon_ug for m in everyone),
        watts=sum(d.energy_j * 1000 // max(1, d.duration_ms) for d in deltas),
    )
    run.stepping = False
    run.in_round, run.deltas = {}, {}
    run.round += 1


def _ask(turn: Turn, run: Run, parameters: Blob, member: Member, tickets: TicketOffice) -> None:
    ticket = tickets.issue(turn, parameters, member.provider, member.id)
    message = RoundStart(award=member.id.award, shard=member.id.shard, round=run.round, parameters=ticket)
    turn.do(Send(member.provider, message))


def _close_if_complete(turn: Turn, run: Run) -> None:
    """Step when nobody is missing any more."""
    if run.deltas and not run.stepping and run.deltas.keys() >= run.in_round.keys():
        _close(turn, run)


def _close(turn: Turn, run: Run) -> None:
    run.stepping = True
    deltas = tuple((ShardId(d.award, d.shard), d.delta) for _, d in sorted(run.deltas.items()))
    turn.do(StepOuter(run.id, run.round, deltas))


def _due_ms(run: Run) -> int:
    if not run.history:
        return FIRST_ROUND_DUE_MS
    return max(2 * median_low(r.duration_ms for r in run.history), ROUND_DUE_MIN_MS)
