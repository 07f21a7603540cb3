"""How a job's shards find their peers: the question to the matching, the award, and taking an award back.

Functions on a `Run`. A gang starts together, wherever in the job's time it is greenest. Until training begins all its
members wait for the last one, so a replacement must fit beside them; if none does, all are let go and asked anew, or
two jobs could each hold what the other waits for.
"""

from __future__ import annotations

from node.actions import (
    PrepareModel,
    SetTimeout,
)
from node.events import (
    ShardId,
    Timer,
    TimerKind,
)
from node.market.question import question, window
from node.market.run import Member, Phase, Run
from node.matching.bids.plan import Plan
from node.matching.bids.record import MATCHER
from node.peers import Peers
from node.turn import Turn
from protocol.messages import INTEGER_MAX, Award, Blob, Revocation

REBID_MS = 1_500  # guess, not measured: gossip reaches a small network in a tenth of it
RETRY_MS = 5_000  # until the next matching, when nobody could take a shard
LEASES_DUE_MS = 5_000
CLOCKS_DIFFER_MS = 1_000  # whose lease ends by its own clock is not blamed; guess, not measured
REFUSALS_MAX = 3  # awards that a provider may leave without a lease or a round; guess, not measured
AWARD_PLACEMENTS_MAX = 15  # an award refers to its job and its bids: 16 refs


def missing(run: Run) -> tuple[int, ...]:
    """Shards that nobody has."""
    return tuple(index for index in range(run.record.job.shards) if index not in run.members)


def seek(turn: Turn, run: Run, peers: Peers) -> str:
    """Look for peers for the shards that nobody has. Returns why the job cannot go on, "" if it can."""
    shards = missing(run)
    if not shards or run.matching:
        return ""
    wanted = window(run, turn.slot, turn.identity.genesis.slot_ms)
    if wanted.slots >= 1:
        run.matching = True
        turn.do(question(turn, run, peers, shards, wanted))
    elif run.phase is Phase.PLACING and run.members:
        _let_go(turn, run)
    elif not run.members:
        deadline_slot = run.record.job.deadline_slot
        return f"its deadline, slot {deadline_slot}, passed with none of {len(shards)} shards placed"
    return ""


def seek_again(turn: Turn, run: Run, after_ms: int) -> None:
    """Look once more, soon; not at the same moment as whoever else was refused."""
    run.rematch += 1
    pause_ms = after_ms + turn.identity.chance.randrange(after_ms)
    turn.do(SetTimeout(Timer(TimerKind.BIDS_CLOSE, run.id, run.rematch), pause_ms))


def nobody_found(turn: Turn, run: Run) -> None:
    """The matching has placed nothing, though it once did."""
    if run.phase is Phase.PLACING and run.members:
        _let_go(turn, run)
    else:
        seek_again(turn, run, RETRY_MS)


def award(turn: Turn, run: Run, plan: Plan, instance: Blob) -> bool:
    """Sign what the matching chose, and tell the chosen. False if our own rules forbid it."""
    placements = tuple(planned.placement() for planned in plan.placements)
    for start in range(0, len(placements), AWARD_PLACEMENTS_MAX):
        part = placements[start : start + AWARD_PLACEMENTS_MAX]
        body = Award(job=run.id, instance_sha256=instance.sha256, matcher=MATCHER, placements=part)
        entry = turn.record(body, (run.id, *(p.bid for p in part)), tell=(p.provider for p in part))
        if entry is None:
            return False
        for p in part:
            run.members[p.shard] = Member(ShardId(entry.id, p.shard), p.provider, p.first_slot, p.first_slot + p.slots)
        turn.do(SetTimeout(Timer(TimerKind.LEASES_DUE, entry.id), LEASES_DUE_MS))
    if run.phase is Phase.BIDDING:
        run.phase = Phase.PLACING
        turn.do(PrepareModel(run.id, run.record.job.training))
    if missing(run):  # lost while the matching was under way
        seek_again(turn, run, REBID_MS)
    return True


def exclude(turn: Turn, run: Run, member: Member, reason: str) -> None:
    """Ask its provider no more, if it is to blame. A lease that has run out is nobody's failure; neither is it to have
    sold to somebody faster, or to hand a shard over untouched, unless it happens again and again."""
    genesis = turn.identity.genesis
    if member.leased and not member.parted:
        is_failure = turn.now_ms + CLOCKS_DIFFER_MS * genesis.clock.speed < member.end_slot * genesis.slot_ms
    else:
        run.refusals[member.provider] += 1
        is_failure = run.refusals[member.provider] >= REFUSALS_MAX
    if is_failure:
        run.excluded[member.provider] = reason


def forget(run: Run, member: Member) -> None:
    """It trains for us no more."""
    run.members.pop(member.id.shard, None)
    run.former[member.id] = member


def revoke(turn: Turn, run: Run, member: Member, reason: str) -> None:
    """Take a placement back. One that is void already needs no word of ours."""
    forget(run, member)
    if (member.id.award, member.id.shard) not in turn.state.placements:
        return
    body = Revocation(
        award=member.id.award,
        shard=member.id.shard,
        reason=reason,
        energy_j=min(member.energy_j, INTEGER_MAX),  # the sum of what a stranger reported
        carbon_ug=min(member.carbon_ug, INTEGER_MAX),
    )
    turn.record(body, (member.id.award,), tell=(member.provider,))


def _let_go(turn: Turn, run: Run) -> None:
    for member in list(run.members.values()):
        revoke(turn, run, member, "no peer was found for the shards beside it")
    seek_again(turn, run, REBID_MS)
