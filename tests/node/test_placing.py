"""Placing a job, one event at a time: awards without leases, gangs that do not come together, and when to give up."""

from __future__ import annotations

import pytest

from node.actions import (
    Action,
    Match,
    Persist,
    SetTimeout,
)
from node.events import (
    Event,
    Matched,
    MessageReceived,
    ShardId,
    Timer,
    TimerFired,
    TimerKind,
)
from node.market.placing import REFUSALS_MAX, RETRY_MS
from node.market.question import answer, window
from node.market.run import Member, Phase, Run
from node.matching.bids.plan import Plan
from protocol.direct import Failure, encode_direct
from protocol.messages import Blob
from tests.sim.worlds import LEAD, SLOT_MS, job, run_of, world

INSTANCE = Blob(sha256=b"i" * 32, size_bytes=1)


class Scene:
    """A lead that sells nothing has awarded three shards, and nobody has answered yet."""

    def __init__(self, seed: int = 1) -> None:
        self.world = world(seed, buyers=[LEAD])
        self.node = self.world.node(LEAD)
        self.job = self.world.submit(LEAD, job(self.world, first_slot=self.world.slot + 3))
        self.world.run_until(lambda: self.run.phase is Phase.PLACING, within_ms=10_000)

    @property
    def run(self) -> Run:
        return run_of(self.world, self.job)

    def handle(self, event: Event, after_ms: int = 0) -> list[Action]:
        return self.node.handle(event, self.world.now_ms + after_ms)

    def member(self, index: int) -> Member:
        return self.run.members[index]

    def refuse(self, index: int) -> list[Action]:
        member = self.member(index)
        message = Failure(award=member.id.award, shard=index, reason="0 of 1 units are free")
        return self.handle(MessageReceived(member.provider, encode_direct(message)))

    def lease(self, *indices: int) -> None:
        for index in indices:
            self.member(index).leased = True

    def seek(self, after_ms: int = 0) -> list[Action]:
        return self.handle(TimerFired(Timer(TimerKind.BIDS_CLOSE, self.job, self.run.rematch)), after_ms)

    def nobody(self, question: Match) -> list[Action]:
        """The matching finds nobody."""
        return self.handle(Matched(self.job, Plan(question.demand, ()), INSTANCE, {}))

    def somebody(self, question: Match) -> list[Action]:
        plan, _, summary = answer(question.candidates, question.demand)
        return self.handle(Matched(self.job, plan, INSTANCE, summary))


@pytest.fixture
def scene() -> Scene:
    return Scene()


def kinds(actions: list[Action]) -> list[str]:
    return [entry.kind for action in actions if isinstance(action, Persist) for entry in action.entries]


def question_in(actions: list[Action]) -> Match:
    (match,) = [action for action in actions if isinstance(action, Match)]
    return match


def pauses(actions: list[Action]) -> list[int]:
    """How long until the next matching."""
    return [
        action.after_ms
        for action in actions
        if isinstance(action, SetTimeout) and action.timer.kind is TimerKind.BIDS_CLOSE
    ]


def test_an_award_without_a_lease_is_taken_back(scene: Scene) -> None:
    scene.lease(0, 2)
    due = TimerFired(Timer(TimerKind.LEASES_DUE, scene.member(1).id.award))
    assert kinds(scene.handle(due)) == ["revocation"]
    assert scene.run.members.keys() == {0, 2}
    assert scene.handle(due) == []


def test_whoever_sold_to_somebody_faster_is_asked_again_but_not_for_ever(scene: Scene) -> None:
    provider = scene.member(0).provider
    for number in range(1, REFUSALS_MAX + 1):
        assert kinds(scene.refuse(0)) == ["revocation"]
        assert (provider in scene.run.excluded) == (number == REFUSALS_MAX)
        scene.run.members[0] = Member(ShardId(scene.member(1).id.award, 0), provider, 0, 10**9)


def test_a_replacement_in_a_gang_fits_beside_the_others(scene: Scene) -> None:
    scene.lease(1, 2)
    scene.refuse(0)
    first_slot, end_slot = scene.member(1).first_slot, scene.member(1).end_slot
    demand = question_in(scene.seek()).demand
    assert demand.shards == (0,)
    assert (demand.first_slot, demand.slots, demand.deadline_slot) == (first_slot, end_slot - first_slot, end_slot)


def test_a_replacement_that_comes_late_gets_what_is_left(scene: Scene) -> None:
    scene.lease(1, 2)
    scene.refuse(0)
    first_slot, end_slot = scene.member(1).first_slot, scene.member(1).end_slot
    late_ms = (first_slot + 2) * SLOT_MS - scene.world.now_ms
    demand = question_in(scene.seek(late_ms)).demand
    assert (demand.first_slot, demand.slots, demand.deadline_slot) == (
        first_slot + 2,
        end_slot - first_slot - 2,
        end_slot,
    )


def test_a_gang_that_does_not_come_together_is_let_go_and_asked_anew(scene: Scene) -> None:
    """Or two jobs could each hold for ever what the other waits for."""
    scene.lease(1, 2)
    scene.refuse(0)
    actions = scene.nobody(question_in(scene.seek()))
    assert kinds(actions) == ["revocation", "revocation"]
    assert scene.run.members == {}
    assert scene.run.excluded == {}
    demand = question_in(scene.seek()).demand
    assert (demand.shards, demand.deadline_slot) == ((0, 1, 2), scene.run.record.job.deadline_slot)


def test_a_gang_whose_time_has_passed_is_let_go(scene: Scene) -> None:
    scene.lease(1, 2)
    scene.refuse(0)
    late_ms = scene.member(1).end_slot * SLOT_MS - scene.world.now_ms
    assert kinds(scene.seek(late_ms)) == ["revocation", "revocation"]


def test_rivals_do_not_ask_again_at_the_same_moment() -> None:
    assert len({pause_ms for seed in range(4) for pause_ms in pauses(Scene(seed).refuse(0))}) > 1


def test_a_whole_gang_that_nobody_takes_is_sought_until_its_deadline(scene: Scene) -> None:
    for index in range(3):
        scene.refuse(index)
    (pause_ms,) = pauses(scene.nobody(question_in(scene.seek())))
    assert RETRY_MS <= pause_ms < 2 * RETRY_MS
    late_ms = scene.run.record.job.deadline_slot * SLOT_MS - scene.world.now_ms
    assert kinds(scene.seek(late_ms)) == ["closure"]
    assert scene.run.phase is Phase.OVER


def test_a_shard_that_is_lost_during_the_matching_is_sought_after_it(scene: Scene) -> None:
    scene.refuse(0)
    question = question_in(scene.seek())
    scene.refuse(1)
    assert scene.seek() == [], "one matching at a time"
    actions = scene.somebody(question)
    assert kinds(actions) == ["award"]
    assert len(pauses(actions)) == 1
    assert question_in(scene.seek()).demand.shards == (1,)


def test_a_timer_of_an_earlier_search_is_let_pass(scene: Scene) -> None:
    scene.refuse(0)
    scene.refuse(1)
    assert scene.handle(TimerFired(Timer(TimerKind.BIDS_CLOSE, scene.job, scene.run.rematch - 1))) == []


def test_a_matching_that_ends_after_its_job_changes_nothing(scene: Scene) -> None:
    scene.refuse(0)
    question = question_in(scene.seek())
    scene.run.phase = Phase.OVER
    assert scene.somebody(question) == []


def test_while_others_train_a_replacement_starts_at_once(scene: Scene) -> None:
    run = scene.run
    run.phase, run.round = Phase.TRAINING, 5
    del run.members[0]
    slot = run.members[1].first_slot + 1
    assert window(run, slot, SLOT_MS) == (slot, 3, slot + 3), "half of the rounds, half of the slots"


def test_a_bidder_who_is_away_is_not_asked(scene: Scene) -> None:
    away = scene.member(0).provider
    scene.refuse(0)
    scene.node.peers.connected.discard(away)
    assert (away, "not connected") in question_in(scene.seek()).demand.excluded
