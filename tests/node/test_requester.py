"""The buying half, one event at a time: rounds, their steps, and what becomes of members that are lost meanwhile."""

from __future__ import annotations

import pytest

from node.actions import (
    Action,
    CloseModel,
    Notify,
    Persist,
    Send,
    StepOuter,
)
from node.events import (
    Event,
    LeadFailed,
    MessageReceived,
    ModelFinished,
    OuterStepped,
    PeerConnected,
    PeerDisconnected,
    ShardId,
    Timer,
    TimerFired,
    TimerKind,
)
from node.market import rounds
from node.market.rounds import MISSES_MAX
from node.market.run import Member, Phase, Run
from node.sim.world import World
from protocol.direct import Assignment, Failure, Finish, RoundDelta, RoundStart, Ticket, encode_direct
from protocol.messages import INTEGER_MAX, Blob, Body
from tests.sim.worlds import LEAD, job, reaches_round, run_of, world

PARAMETERS = Blob(sha256=b"p" * 32, size_bytes=1)


class Scene:
    """A lead that sells nothing has just begun a round with three members; from here on the test plays these and its
    own worker."""

    def __init__(self, rounds_in_all: int = 10) -> None:
        self.world: World = world(buyers=[LEAD])
        self.job = self.world.submit(LEAD, job(self.world, training={"rounds": rounds_in_all}))
        self.world.run_until(reaches_round(self.world, self.job, 2), within_ms=60_000)
        self.node = self.world.node(LEAD)
        assert self.run.in_round.keys() == {0, 1, 2}
        assert self.run.deltas == {}

    @property
    def run(self) -> Run:
        return run_of(self.world, self.job)

    def handle(self, event: Event, after_ms: int = 0) -> list[Action]:
        return self.node.handle(event, self.world.now_ms + after_ms)

    def member(self, index: int) -> Member:
        return self.run.members[index]

    def delta(self, index: int, number: int, energy_j: int = 40) -> RoundDelta:
        member = self.member(index)
        ticket = Ticket(
            blob=Blob(sha256=bytes([index, number]) * 16, size_bytes=1),
            url="https://192.0.2.1:1",
            certificate_sha256=bytes(32),
            server=member.provider,
            holder=self.node.identity.key,
            award=member.id.award,
            shard=index,
            expires_at_ms=self.world.now_ms + 60_000,
            signature=bytes(64),
        )
        return RoundDelta(
            award=member.id.award,
            shard=index,
            round=number,
            delta=ticket,
            loss_millinats=2_000,
            tokens=640,
            duration_ms=2_000,
            energy_j=energy_j,
            carbon_ug=300,
        )

    def deliver(self, index: int, number: int, energy_j: int = 40) -> list[Action]:
        return self.say(index, self.delta(index, number, energy_j))

    def say(self, index: int, message: Body) -> list[Action]:
        return self.handle(MessageReceived(self.member(index).provider, encode_direct(message)))

    def due(self) -> list[Action]:
        return self.handle(TimerFired(Timer(TimerKind.ROUND_DUE, self.job, self.run.attempt)))

    def lose(self, index: int) -> list[Action]:
        """The peer goes, and does not come back within the grace."""
        provider = self.member(index).provider
        self.handle(PeerDisconnected(provider))
        return self.handle(TimerFired(Timer(TimerKind.PEER_GRACE, provider)))

    def id(self, index: int) -> ShardId:
        return self.member(index).id


@pytest.fixture
def scene() -> Scene:
    return Scene()


def step(scene: Scene, number: int, *indices: int) -> StepOuter:
    return StepOuter(scene.job, number, tuple((scene.id(i), scene.delta(i, number).delta) for i in indices))


def steps(actions: list[Action]) -> list[list[int]]:
    """The shards of every step that is asked for."""
    return [[shard.shard for shard, _ in action.deltas] for action in actions if isinstance(action, StepOuter)]


def asked(actions: list[Action], kind: type[Body]) -> list[Body]:
    return [action.message for action in actions if isinstance(action, Send) and isinstance(action.message, kind)]


def kinds(actions: list[Action]) -> list[str]:
    """Of entries that were signed."""
    return [entry.kind for action in actions if isinstance(action, Persist) for entry in action.entries]


# --- rounds -------------------------------------------------------------------------------------------------------


def test_a_round_closes_when_the_last_delta_arrives_and_steps_in_shard_order(scene: Scene) -> None:
    assert scene.deliver(2, 2) == []
    assert scene.deliver(0, 2) == []
    assert scene.deliver(1, 2) == [step(scene, 2, 0, 1, 2)]
    actions = scene.handle(OuterStepped(scene.job, 2, PARAMETERS))
    starts = asked(actions, RoundStart)
    assert [(s.round, s.shard, s.parameters.blob) for s in starts if isinstance(s, RoundStart)] == [
        (3, 0, PARAMETERS),
        (3, 1, PARAMETERS),
        (3, 2, PARAMETERS),
    ]


def test_a_delta_is_counted_once_however_often_it_arrives(scene: Scene) -> None:
    before_j = scene.member(0).energy_j
    for _ in range(3):
        scene.deliver(0, 2)
    assert scene.member(0).energy_j == before_j + 40
    assert len(scene.run.deltas) == 1


def test_a_delta_of_a_round_nobody_asked_for_is_let_pass(scene: Scene) -> None:
    before_j = scene.member(0).energy_j
    assert scene.deliver(0, 3) == []
    assert scene.member(0).energy_j == before_j


def test_a_late_delta_is_paid_for_and_left_out(scene: Scene) -> None:
    scene.member(0).deltas.pop(1)
    before_j = scene.member(0).energy_j
    assert scene.deliver(0, 1) == []
    assert scene.member(0).energy_j == before_j + 40
    assert scene.run.deltas == {}


def test_a_step_that_comes_twice_is_taken_once(scene: Scene) -> None:
    for index in range(3):
        scene.deliver(index, 2)
    scene.handle(OuterStepped(scene.job, 2, PARAMETERS))
    assert scene.handle(OuterStepped(scene.job, 2, PARAMETERS)) == []
    assert scene.run.round == 3


def test_an_overdue_round_closes_with_a_quorum(scene: Scene) -> None:
    scene.deliver(0, 2)
    assert steps(scene.due()) == []
    scene.deliver(1, 2)
    assert steps(scene.due()) == [[0, 1]]


def test_a_round_without_a_quorum_waits_and_then_loses_who_is_missing(scene: Scene) -> None:
    scene.deliver(0, 2)
    for _ in range(rounds.EXTENSIONS_MAX):
        assert kinds(scene.due()) == []
    actions = scene.due()
    assert kinds(actions) == ["revocation", "revocation"]
    assert steps(actions) == [[0]]


def test_a_member_that_misses_round_after_round_is_lost(scene: Scene) -> None:
    for number in range(2, 2 + MISSES_MAX):
        scene.deliver(0, number)
        scene.deliver(1, number)
        actions = scene.due()
        assert steps(actions) == [[0, 1]]
        assert kinds(actions) == (["revocation"] if number == 1 + MISSES_MAX else [])
        scene.handle(OuterStepped(scene.job, number, PARAMETERS))
    assert scene.run.members.keys() == {0, 1}


def test_a_timer_of_an_earlier_attempt_is_let_pass(scene: Scene) -> None:
    scene.deliver(0, 2)
    scene.deliver(1, 2)
    assert scene.handle(TimerFired(Timer(TimerKind.ROUND_DUE, scene.job, scene.run.attempt - 1))) == []


def test_what_is_missing_is_asked_for_again(scene: Scene) -> None:
    scene.deliver(1, 2)
    actions = scene.handle(TimerFired(Timer(TimerKind.RECONCILE)))
    assert [s.shard for s in asked(actions, RoundStart) if isinstance(s, RoundStart)] == [0, 2]
    assert asked(actions, Assignment) == []


# --- losing members -----------------------------------------------------------------------------------------------


def test_a_peer_that_returns_within_the_grace_is_not_lost(scene: Scene) -> None:
    provider = scene.member(0).provider
    scene.handle(PeerDisconnected(provider))
    scene.handle(PeerConnected(provider))
    assert scene.handle(TimerFired(Timer(TimerKind.PEER_GRACE, provider))) == []


def test_the_round_goes_on_without_a_lost_member(scene: Scene) -> None:
    scene.deliver(1, 2)
    scene.deliver(2, 2)
    assert steps(scene.lose(0)) == [[1, 2]]


def test_a_delta_in_a_step_under_way_stays_when_its_member_is_lost(scene: Scene) -> None:
    for index in range(3):
        scene.deliver(index, 2)
    assert steps(scene.lose(0)) == []
    scene.handle(OuterStepped(scene.job, 2, PARAMETERS))
    assert scene.run.history[-1].shards == 3
    assert scene.run.in_round.keys() == {1, 2}


def test_a_delta_that_cannot_be_had_costs_its_shard_and_not_the_job(scene: Scene) -> None:
    lost = scene.id(0)
    for index in range(3):
        scene.deliver(index, 2)
    actions = scene.handle(LeadFailed(scene.job, "connection refused", lost))
    assert steps(actions) == [[1, 2]]
    assert kinds(actions) == ["revocation"]
    assert scene.run.phase is Phase.TRAINING


def test_the_same_when_its_peer_was_lost_already(scene: Scene) -> None:
    """The usual order: the peer dies, its connection breaks, and then the fetch fails."""
    lost = scene.id(0)
    for index in range(3):
        scene.deliver(index, 2)
    scene.lose(0)
    actions = scene.handle(LeadFailed(scene.job, "connection refused", lost))
    assert steps(actions) == [[1, 2]]
    assert scene.run.phase is Phase.TRAINING


def test_when_the_only_delta_is_lost_the_round_is_begun_again(scene: Scene) -> None:
    scene.deliver(0, 2)
    scene.lose(1)
    scene.lose(2)
    lost = scene.id(0)
    actions = scene.handle(LeadFailed(scene.job, "connection refused", lost))
    assert kinds(actions) == ["revocation"]
    assert (scene.run.members, scene.run.in_round, scene.run.stepping) == ({}, {}, False)


def test_a_step_that_fails_after_a_quorum_waits_for_the_rest_again(scene: Scene) -> None:
    scene.deliver(0, 2)
    scene.deliver(1, 2)
    scene.due()
    actions = scene.handle(LeadFailed(scene.job, "connection refused", scene.id(0)))
    assert steps(actions) == []
    assert scene.run.in_round.keys() == {1, 2}
    assert steps(scene.due()) == []
    assert steps(scene.deliver(2, 2)) == [[1, 2]]


def test_the_leads_own_failure_ends_the_job(scene: Scene) -> None:
    actions = scene.handle(LeadFailed(scene.job, "out of memory"))
    assert kinds(actions) == ["closure"]
    assert CloseModel(scene.job) in actions
    assert scene.handle(LeadFailed(scene.job, "out of memory")) == []


def test_a_provider_that_reports_absurd_numbers_stops_nobody(scene: Scene) -> None:
    """Their sum does not fit into an entry: it is cut to what does."""
    scene.deliver(0, 2, INTEGER_MAX)
    scene.member(0).deltas.pop(1)
    scene.deliver(0, 1, INTEGER_MAX)
    message = Failure(award=scene.id(0).award, shard=0, reason="bye")
    actions = scene.say(0, message)
    assert kinds(actions) == ["revocation"]
    assert scene.run.phase is Phase.TRAINING


# --- ending -------------------------------------------------------------------------------------------------------


def test_after_the_last_round_everybody_is_told_to_finish_and_told_again() -> None:
    scene = Scene(rounds_in_all=3)
    for index in range(3):
        scene.deliver(index, 2)
    actions = scene.handle(OuterStepped(scene.job, 2, PARAMETERS))
    assert scene.run.phase is Phase.CLOSING
    assert len(asked(actions, Finish)) == 3
    assert len(asked(scene.handle(TimerFired(Timer(TimerKind.RECONCILE))), Finish)) == 3


def test_a_peer_that_goes_after_the_last_round_is_no_longer_replaced() -> None:
    scene = Scene(rounds_in_all=3)
    for index in range(3):
        scene.deliver(index, 2)
    scene.handle(OuterStepped(scene.job, 2, PARAMETERS))
    assert [action for action in scene.lose(0) if not isinstance(action, Notify)] == []


def test_a_job_is_done_when_receipts_are_overdue_and_says_so() -> None:
    scene = Scene(rounds_in_all=3)
    for index in range(3):
        scene.deliver(index, 2)
    scene.handle(OuterStepped(scene.job, 2, PARAMETERS))
    scene.handle(ModelFinished(scene.job, PARAMETERS, 1_600, "To be"))
    actions = scene.handle(TimerFired(Timer(TimerKind.RECEIPTS_DUE, scene.job)))
    assert kinds(actions) == ["closure"]
    closure = scene.run.record.closure
    assert closure is not None
    assert (closure.outcome, closure.reason, closure.checkpoint) == ("done", "some receipts never came", PARAMETERS)


def test_a_shard_that_never_began_is_let_go_when_training_ends() -> None:
    scene = Scene(rounds_in_all=3)
    for index in range(3):
        scene.deliver(index, 2)
    scene.member(0).leased = False
    actions = scene.handle(OuterStepped(scene.job, 2, PARAMETERS))
    assert kinds(actions) == ["revocation"]
    assert len(asked(actions, Finish)) == 2
