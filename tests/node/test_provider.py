"""The selling half, one event at a time: whatever the lead says twice is done once and answered again."""

from __future__ import annotations

import pytest

from ledger.state import PlacementRecord
from node.actions import (
    Action,
    Notify,
    Persist,
    ReadMeter,
    Send,
    SetTimeout,
    StartShard,
    StopShard,
    TrainRound,
)
from node.events import (
    EntriesVerified,
    Event,
    MessageReceived,
    MeterFailed,
    MeterRead,
    ReachabilityChanged,
    RoundTrained,
    ShardFailed,
    ShardId,
    ShardStarted,
    TimerKind,
)
from node.market import offering
from node.reachability import DialBack, judge
from node.sim.world import World
from node.turn import Turn
from protocol.direct import Assignment, Failure, Finish, Ready, RoundDelta, RoundStart, encode_direct
from protocol.envelope import Entry, seal
from protocol.messages import Award, Blob, Body, Closure, Revocation
from protocol.units import ceil_div
from tests.sim.worlds import LEAD, TEXT, WIND, is_closed, job, placements, world

PARAMETERS = Blob(sha256=b"p" * 32, size_bytes=1)
DELTA = Blob(sha256=b"d" * 32, size_bytes=10**9)


class Scene:
    """The wind's node has a lease whose time has come; from here on the test plays its lead, its worker and its
    meter."""

    def __init__(self) -> None:
        self.world: World = world()
        self.world.hosts[WIND].is_training_stuck = True
        self.job = self.world.submit(LEAD, job(self.world))
        self.node = self.world.node(WIND)
        self.lead = self.world.hosts[LEAD].key
        self.world.run_until(self._is_leased, within_ms=10_000)
        self.shard = ShardId(self.record.award, self.record.placement.shard)

    def _is_leased(self) -> bool:
        return bool(self.node.provider.works)

    @property
    def record(self) -> PlacementRecord:
        return placements(self.world, self.job, WIND)[WIND]

    def handle(self, event: Event, after_ms: int = 0) -> list[Action]:
        return self.node.handle(event, self.world.now_ms + after_ms)

    def say(self, message: Body, after_ms: int = 0) -> list[Action]:
        return self.handle(MessageReceived(self.lead, encode_direct(message)), after_ms)

    def assignment(self) -> Assignment:
        turn = Turn(self.world.node(LEAD).identity, self.world.node(LEAD).ledger, self.world.now_ms)
        ticket = self.world.node(LEAD).tickets.issue(turn, TEXT, self.world.hosts[WIND].key, self.shard)
        return Assignment(award=self.shard.award, shard=self.shard.shard, data=(ticket,), moments=None)

    def round_start(self, number: int) -> RoundStart:
        (ticket,) = self.assignment().data
        ticket = ticket.model_copy(update={"blob": PARAMETERS})
        return RoundStart(award=self.shard.award, shard=self.shard.shard, round=number, parameters=ticket)

    def trained(self, number: int) -> RoundTrained:
        return RoundTrained(self.shard, number, DELTA, 2_000, 640, 10, self.world.now_ms + 2_000, 2_000)

    def ready(self) -> Send:
        return Send(self.lead, Ready(award=self.shard.award, shard=self.shard.shard))

    def begin(self) -> None:
        self.say(self.assignment())
        self.handle(ShardStarted(self.shard))


@pytest.fixture
def scene() -> Scene:
    return Scene()


def sent(actions: list[Action]) -> list[Body]:
    return [action.message for action in actions if isinstance(action, Send)]


# --- training -----------------------------------------------------------------------------------------------------


def test_two_assignments_start_one_worker(scene: Scene) -> None:
    spec = scene.record.job.job.training
    assignment = scene.assignment()
    assert scene.say(assignment) == [StartShard(scene.shard, scene.job, 3, spec, assignment.data)]
    assert scene.say(assignment) == []
    assert scene.handle(ShardStarted(scene.shard)) == [scene.ready()]
    assert scene.say(assignment) == [scene.ready()], "the lead may not have heard it"


def test_no_round_is_trained_before_the_worker_is_up(scene: Scene) -> None:
    assert scene.say(scene.round_start(0)) == []
    scene.say(scene.assignment())
    assert scene.say(scene.round_start(0)) == []


def test_a_round_asked_for_twice_is_trained_once_and_told_twice(scene: Scene) -> None:
    scene.begin()
    start = scene.round_start(0)
    assert scene.say(start) == [TrainRound(scene.shard, 0, start.parameters)]
    assert scene.say(start) == []
    (told,) = sent(scene.handle(scene.trained(0), 2_000))
    assert isinstance(told, RoundDelta)
    assert (told.round, told.delta.blob, told.delta.holder) == (0, DELTA, scene.lead)
    assert scene.say(start, 2_000) == [Send(scene.lead, told)]
    assert scene.node.provider.works[scene.shard].rounds[0].tokens == 640


def test_rounds_only_go_on(scene: Scene) -> None:
    scene.begin()
    scene.say(scene.round_start(4))
    scene.handle(scene.trained(4), 2_000)
    assert scene.say(scene.round_start(3), 2_000) == []
    assert len(scene.say(scene.round_start(5), 2_000)) == 1


def test_a_worker_that_fails_is_told_and_receipted(scene: Scene) -> None:
    scene.begin()
    failure = Failure(award=scene.shard.award, shard=scene.shard.shard, reason="out of memory")
    assert scene.handle(ShardFailed(scene.shard, "out of memory")) == [
        Send(scene.lead, failure),
        StopShard(scene.shard),
        ReadMeter(),
    ]
    assert scene.handle(ShardFailed(scene.shard, "out of memory")) == [], "it is being wound up already"
    assert scene.handle(scene.trained(0)) == []


def test_the_final_receipt_waits_for_the_meter(scene: Scene) -> None:
    """So that the last joules are attested before they are receipted."""
    scene.begin()
    scene.say(scene.round_start(0))
    scene.handle(scene.trained(0), 2_000)
    finish = Finish(award=scene.shard.award, shard=scene.shard.shard)
    assert scene.say(finish, 3_000) == [StopShard(scene.shard), ReadMeter()]
    assert scene.say(finish, 3_000) == []
    source = scene.world.hosts[WIND].source
    now_ms = scene.world.now_ms + 3_000
    start_ms = scene.node.ledger.state.attestations_of[scene.node.identity.key][-1].end_ms
    forecast = source.forecast(scene.world.slot, 64, scene.world.genesis.slot_ms)
    first, *_ = scene.handle(MeterRead(source.read(start_ms, now_ms), forecast), 3_000)
    assert isinstance(first, Persist)
    attestation, receipt, *_ = first.entries
    assert (attestation.kind, receipt.kind) == ("attestation", "receipt")
    assert attestation.id in receipt.refs
    assert receipt.body["final"]
    assert scene.node.provider.works == {}


def test_without_a_meter_the_final_receipt_comes_all_the_same(scene: Scene) -> None:
    scene.begin()
    scene.say(Finish(award=scene.shard.award, shard=scene.shard.shard), 1_000)
    first, *_ = scene.handle(MeterFailed("no answer"), 1_000)
    assert isinstance(first, Persist)
    assert [entry.kind for entry in first.entries][:1] == ["receipt"]


def test_nobody_bids_before_the_first_word_of_its_supply(scene: Scene) -> None:
    node = scene.node
    turn = Turn(node.identity, node.ledger, scene.world.now_ms)
    offer = turn.state.offer_of[node.identity.key]
    assert offering.bid(turn, scene.record.job, offer, None) == "our energy source has not answered yet"


def test_a_node_whose_source_never_answered_goes_on_at_grid_mix(scene: Scene) -> None:
    provider = scene.node.provider
    expected = provider.forecast
    assert expected is not None
    assert any(expected.surplus_s50_j)
    provider.forecast = None
    scene.handle(MeterFailed("no answer", forecast=expected))
    found = scene.node.provider.forecast
    assert found is not None
    assert found.grid_g_per_kwh == expected.grid_g_per_kwh
    assert not any(found.surplus_s50_j + found.surplus_s20_j)


# --- leasing ------------------------------------------------------------------------------------------------------


class AtTheAward:
    """A copy of the lead's feed is made by hand: the node has heard of the job, and not yet of what follows."""

    def __init__(self) -> None:
        self.world = world()
        lead = self.world.hosts[LEAD]
        self.node = self.world.node(WIND)
        self.job = self.world.submit(LEAD, job(self.world))
        self.world.run(1_500)
        self.lead = lead.keypair
        self.head = self.node.ledger.heads[lead.key]
        self.bid = self.node.ledger.state.jobs[self.job].bids[self.node.identity.key]

    def entry(self, kind: str, body: Body, refs: tuple[bytes, ...]) -> Entry:
        self.head = seal(
            self.lead,
            network=self.world.genesis.network_id(),
            kind=kind,
            seq=self.head.seq + 1,
            prev=self.head.id,
            time_ms=self.world.now_ms,
            refs=refs,
            body=body.model_dump(),
        )
        return self.head

    def energy_j(self, slots: int) -> int:
        """What the matching expects of so many slots: one unit as fast as it goes."""
        offer = self.bid.offer.offer
        return ceil_div(offer.peak_w * offer.pue_permille * self.world.genesis.slot_ms, 1000 * 1000) * slots

    def award(self, first_slot: int, slots: int, energy_j: int | None = None) -> Entry:
        body = Award.model_validate(
            {
                "job": self.job,
                "instance_sha256": bytes(32),
                "matcher": "by hand",
                "placements": (
                    {
                        "shard": 0,
                        "provider": self.node.identity.key,
                        "bid": self.bid.id,
                        "first_slot": first_slot,
                        "slots": slots,
                        "price_microcredits_per_unit_hour": 1_000_000,
                        "energy_j": self.energy_j(slots) if energy_j is None else energy_j,
                        "carbon_ug": 1,
                    },
                ),
            }
        )
        return self.entry("award", body, (self.job, self.bid.id))

    def take(self, *entries: Entry, after_ms: int = 0) -> list[Action]:
        verified = EntriesVerified(self.lead.public, entries, (), more=False)
        return self.node.handle(verified, self.world.now_ms + after_ms)


@pytest.fixture
def placed() -> AtTheAward:
    return AtTheAward()


def leases(actions: list[Action]) -> list[Entry]:
    return [e for action in actions if isinstance(action, Persist) for e in action.entries if e.kind == "lease"]


def test_an_award_is_countersigned_at_once(placed: AtTheAward) -> None:
    assert len(leases(placed.take(placed.award(placed.bid.bid.first_slot, 2)))) == 1


def test_slots_that_were_not_bid_for_are_not_leased(placed: AtTheAward) -> None:
    last_slot = placed.bid.bid.first_slot + len(placed.bid.bid.free_units)
    placed.bid.bid.__dict__["free_units"] = placed.bid.bid.free_units[:-1]
    actions = placed.take(placed.award(last_slot - 2, 2))
    assert leases(actions) == []
    (failure,) = sent(actions)
    assert isinstance(failure, Failure)
    assert failure.reason == f"slots {last_slot - 2} to {last_slot} lie outside our bid"


@pytest.mark.parametrize("times", [0, 2])
def test_energy_that_does_not_follow_from_our_offer_is_not_leased(placed: AtTheAward, times: int) -> None:
    expected_j, asked_j = placed.energy_j(2), placed.energy_j(2) * times
    actions = placed.take(placed.award(placed.bid.bid.first_slot, 2, asked_j))
    assert leases(actions) == []
    (failure,) = sent(actions)
    assert isinstance(failure, Failure)
    assert (
        failure.reason == f"energy_j {asked_j} is not the {expected_j - 2} to {expected_j} J that follow from our offer"
    )


def test_slots_that_are_over_are_not_leased(placed: AtTheAward) -> None:
    first_slot = placed.bid.bid.first_slot
    actions = placed.take(placed.award(first_slot, 1), after_ms=30_000)
    assert leases(actions) == []
    (failure,) = sent(actions)
    assert isinstance(failure, Failure)
    assert failure.reason.startswith("its slots ended before slot ")


def test_an_award_that_was_withdrawn_before_it_arrived_is_not_leased(placed: AtTheAward) -> None:
    """After a cut, award and revocation arrive together."""
    award = placed.award(placed.bid.bid.first_slot, 2)
    revocation = Revocation(award=award.id, shard=0, reason="too late", energy_j=0, carbon_ug=0)
    assert leases(placed.take(award, placed.entry("revocation", revocation, (award.id,)))) == []


def test_an_award_of_a_job_that_is_closed_is_not_leased(placed: AtTheAward) -> None:
    award = placed.award(placed.bid.bid.first_slot, 2)
    body = Closure(
        job=placed.job,
        outcome="cancelled",
        reason="",
        rounds=0,
        checkpoint=None,
        loss_first_millinats=0,
        loss_last_millinats=0,
    )
    assert leases(placed.take(award, placed.entry("closure", body, (placed.job,)))) == []


# --- metering -----------------------------------------------------------------------------------------------------


def test_an_interval_is_attested_once(scene: Scene) -> None:
    source = scene.world.hosts[WIND].source
    forecast = source.forecast(scene.world.slot, 64, scene.world.genesis.slot_ms)
    newest = scene.node.ledger.state.attestations_of[scene.node.identity.key][-1]
    again = MeterRead(source.read(newest.start_ms, newest.end_ms), forecast)
    assert scene.handle(again) == []


def test_a_node_that_only_buys_attests_nothing() -> None:
    demo = world(buyers=[LEAD])
    demo.run(30_000)
    assert demo.hosts[LEAD].key not in demo.node(WIND).ledger.state.attestations_of
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(is_closed(demo, job_id), within_ms=100_000)


# --- being dialled --------------------------------------------------------------------------------------------------


def test_where_others_can_dial_it_is_advertised_and_announced_soon_and_said_once(scene: Scene) -> None:
    changed = ReachabilityChanged(judge([DialBack("/ip4/198.41.0.4/tcp/8471")], peers=1), ("/ip4/198.41.0.4/tcp/8471",))
    scene.node.advertising.is_soon = False
    actions = scene.handle(changed)
    timers = {action.timer.kind for action in actions if isinstance(action, SetTimeout)}
    assert timers == {TimerKind.ADVERTISE, TimerKind.PROVIDE}
    assert [action.kind for action in actions if isinstance(action, Notify)] == ["reachability"]
    assert scene.node.provider.addresses == changed.addresses
    assert scene.handle(changed) == []
