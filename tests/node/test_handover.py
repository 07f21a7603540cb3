"""A shard leaves, one event at a time: on the side that gives it back, and on the side of its lead."""

from __future__ import annotations

import pytest

from node.actions import Action, KeepMoments, SaveShard, StartShard
from node.energy.rules import parse_rules
from node.events import MomentsKept, RulesChanged, ShardSaved
from node.market.placing import REFUSALS_MAX
from node.turn import Turn
from protocol.direct import Handover, RoundStart, Ticket
from protocol.messages import Blob
from tests.node.test_provider import Scene as Provider
from tests.node.test_provider import sent
from tests.node.test_requester import Scene as Lead
from tests.node.test_requester import asked, steps

MOMENTS = Blob(sha256=b"m" * 32, size_bytes=1)
REASON = "paused by grid > 0 => pause"


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def lead() -> Lead:
    return Lead()


def pause(provider: Provider) -> list[Action]:
    return provider.handle(RulesChanged(parse_rules(["grid > 0 => pause"])))


def handovers(actions: list[Action]) -> list[Handover]:
    return [message for message in sent(actions) if isinstance(message, Handover)]


def resume(provider: Provider) -> None:
    provider.handle(RulesChanged(()))


# --- who gives it back --------------------------------------------------------------------------------------------


def test_a_shard_between_two_rounds_takes_its_moments_along(provider: Provider) -> None:
    provider.begin()
    provider.say(provider.round_start(0))
    provider.handle(provider.trained(0), 2_000)
    actions = pause(provider)
    assert SaveShard(provider.shard) in actions
    assert handovers(actions) == []
    (told,) = handovers(provider.handle(ShardSaved(provider.shard, MOMENTS)))
    assert told.moments is not None
    assert (told.moments.blob, told.moments.holder, told.reason) == (MOMENTS, provider.lead, REASON)


def test_a_round_under_way_is_told_before_its_moments_are_saved(provider: Provider) -> None:
    provider.begin()
    provider.say(provider.round_start(0))
    assert SaveShard(provider.shard) not in pause(provider)
    assert provider.say(provider.round_start(1)) == []
    trained = provider.handle(provider.trained(0), 2_000)
    assert SaveShard(provider.shard) in trained
    assert sent(trained) != []


def test_a_worker_that_has_trained_no_round_has_nothing_to_take_along(provider: Provider) -> None:
    """Its lead may not even have a place for moments yet."""
    provider.begin()
    actions = pause(provider)
    assert SaveShard(provider.shard) not in actions
    assert [told.moments for told in handovers(actions)] == [None]


def test_a_shard_that_leaves_is_not_started_again_by_its_lead_asking_twice(provider: Provider) -> None:
    pause(provider)
    resume(provider)
    assert provider.node.pausing.standing.works
    assert [a for a in provider.say(provider.assignment()) if isinstance(a, StartShard)] == []


def test_a_shard_that_leaves_does_not_start_once_its_deal_is_final(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.market.provider.is_confirmed", lambda *_: False)
    provider.say(provider.assignment())
    pause(provider)
    monkeypatch.setattr("node.market.provider.is_confirmed", lambda *_: True)
    turn = Turn(provider.node.identity, provider.node.ledger, provider.world.now_ms)
    provider.node.provider.on_final(turn)
    assert turn.actions() == []


def test_work_that_begins_when_the_pause_is_expected_to_end_waits_for_the_reading(provider: Provider) -> None:
    shard = provider.node.provider.works.pop(provider.shard)
    pause(provider)
    provider.node.provider.works[provider.shard] = shard
    provider.node.provider.closed_slots = frozenset()
    assert provider.say(provider.assignment()) == []
    resume(provider)
    assert [type(action) for action in provider.say(provider.assignment())] == [StartShard]


def test_a_strangers_assignment_makes_no_shard_leave(provider: Provider) -> None:
    """The shard's time has not come when the node pauses, and it is there when somebody names it."""
    shard = provider.node.provider.works.pop(provider.shard)
    pause(provider)
    provider.node.provider.works[provider.shard] = shard
    stranger = next(host.key for host in provider.world.hosts.values() if host.key != provider.lead)
    assignment = provider.assignment()
    lead, provider.lead = provider.lead, stranger
    assert provider.say(assignment) == []
    provider.lead = lead
    assert [told.moments for told in handovers(provider.say(assignment))] == [None]


# --- its lead -----------------------------------------------------------------------------------------------------


def handover(lead: Lead, index: int, *, moments: bool = True) -> Handover:
    member = lead.member(index)
    ticket: Ticket | None = lead.delta(index, 0).delta.model_copy(update={"blob": MOMENTS}) if moments else None
    return Handover(award=member.id.award, shard=index, reason=REASON, moments=ticket)


def test_a_handover_twice_is_heard_once(lead: Lead) -> None:
    message = handover(lead, 0)
    assert message.moments is not None
    assert KeepMoments(lead.job, lead.id(0), message.moments) in lead.say(0, message)
    assert lead.say(0, message) == []


def test_a_handover_of_anothers_shard_is_not_heard(lead: Lead) -> None:
    assert lead.say(1, handover(lead, 0)) == []
    assert not lead.member(0).leaving


def test_who_hands_shards_over_untouched_again_and_again_is_asked_no_more(lead: Lead) -> None:
    for index, returned in ((0, REFUSALS_MAX - 2), (1, REFUSALS_MAX - 1), (2, REFUSALS_MAX - 1)):
        member = lead.member(index)
        lead.run.refusals[member.provider] = returned
        if index != 2:
            member.deltas.clear()
        lead.say(index, handover(lead, index, moments=False))
        assert (member.provider in lead.run.excluded) is (index == 1)


def test_a_shard_is_let_go_once_its_moments_are_here(lead: Lead) -> None:
    shard = lead.id(0)
    lead.say(0, handover(lead, 0))
    assert 0 in lead.run.members
    lead.handle(MomentsKept(lead.job, shard, MOMENTS))
    assert 0 not in lead.run.members
    assert lead.run.moments == {0: MOMENTS}


def test_its_last_delta_enters_the_step(lead: Lead) -> None:
    shard = lead.id(0)
    lead.deliver(0, lead.run.round)
    lead.say(0, handover(lead, 0))
    lead.handle(MomentsKept(lead.job, shard, MOMENTS))
    assert 0 in lead.run.members
    lead.deliver(1, lead.run.round)
    assert steps(lead.deliver(2, lead.run.round)) == [[0, 1, 2]]


def test_a_round_that_nobody_is_left_in_begins_anew_with_those_who_came_meanwhile(lead: Lead) -> None:
    for index in (1, 2):  # as those who were not ready when it began
        del lead.run.in_round[index]
    actions = lead.say(0, handover(lead, 0))
    assert [message.shard for message in asked(actions, RoundStart)] == [1, 2]  # type: ignore[attr-defined]


def test_moments_that_come_after_the_shard_was_lost_still_serve_its_next_worker(lead: Lead) -> None:
    shard = lead.id(0)
    lead.say(0, handover(lead, 0))
    lead.lose(0)
    lead.handle(MomentsKept(lead.job, shard, MOMENTS))
    assert lead.run.moments == {0: MOMENTS}
