"""The periodic pass: what no event has done is done from the ledger's state, and only what is still due."""

from __future__ import annotations

from node.actions import (
    Action,
    Persist,
    ReadMeter,
    Send,
    SetTimeout,
    StopShard,
)
from node.events import (
    Timer,
    TimerFired,
    TimerKind,
)
from node.reconcile import RECONCILE_EVERY_MS
from node.sim.world import World
from protocol.messages import Closure
from tests.sim.worlds import LEAD, WIND, is_closed, job, placements, reaches_round, record_of, world

AGAIN = SetTimeout(Timer(TimerKind.RECONCILE), RECONCILE_EVERY_MS)


def reconcile(in_world: World, name: str) -> list[Action]:
    return in_world.node(name).handle(TimerFired(Timer(TimerKind.RECONCILE)), in_world.now_ms)


def kinds(actions: list[Action]) -> list[str]:
    return [entry.kind for action in actions if isinstance(action, Persist) for entry in action.entries]


def training() -> tuple[World, bytes]:
    demo = world()
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(reaches_round(demo, job_id, 2), within_ms=60_000)
    return demo, job_id


def test_where_nothing_is_due_nothing_is_done() -> None:
    demo, _ = training()
    for host in demo.alive():
        if host.name != LEAD:
            assert reconcile(demo, host.name) == [AGAIN]


def test_a_lead_only_repeats_its_questions() -> None:
    demo, _ = training()
    *said, again = reconcile(demo, LEAD)
    assert again == AGAIN
    assert len(said) == 3
    assert all(isinstance(action, Send) for action in said)


def test_a_job_that_is_over_asks_for_nothing() -> None:
    demo, job_id = training()
    demo.run_until(is_closed(demo, job_id), within_ms=60_000)
    demo.run(5_000)
    for host in demo.alive():
        assert reconcile(demo, host.name) == [AGAIN]


def test_an_open_job_without_our_bid_gets_one_bid() -> None:
    demo = world()
    job_id = demo.submit(LEAD, job(demo))
    demo.run(1_000)
    del record_of(demo, WIND, job_id).bids[demo.hosts[WIND].key]
    assert kinds(reconcile(demo, WIND)) == ["bid"]
    assert reconcile(demo, WIND) == [AGAIN]


def test_an_award_that_we_could_not_lease_is_leased_when_we_can() -> None:
    demo = world()
    node = demo.node(WIND)
    job_id = demo.submit(LEAD, job(demo))
    demo.run(1_000)
    offer, node.provider.offer = node.provider.offer, None
    demo.run_until(lambda: record_of(demo, WIND, job_id).placements != [], within_ms=10_000)
    node.provider.offer = offer
    assert kinds(reconcile(demo, WIND)) == ["lease"]
    assert reconcile(demo, WIND) == [AGAIN]


def test_a_shard_whose_placement_was_revoked_is_wound_up_once() -> None:
    demo, job_id = training()
    placement = placements(demo, job_id, WIND)[WIND]
    placement.advance("revocation")
    (shard,) = demo.node(WIND).provider.works
    assert reconcile(demo, WIND) == [StopShard(shard), ReadMeter(), AGAIN]
    assert reconcile(demo, WIND) == [AGAIN]


def test_a_shard_whose_job_is_closed_is_wound_up_once() -> None:
    demo, job_id = training()
    record_of(demo, WIND, job_id).closure = Closure(
        job=job_id,
        outcome="cancelled",
        reason="",
        rounds=2,
        checkpoint=None,
        loss_first_millinats=0,
        loss_last_millinats=0,
    )
    (shard,) = demo.node(WIND).provider.works
    assert reconcile(demo, WIND) == [StopShard(shard), ReadMeter(), AGAIN]
    assert reconcile(demo, WIND) == [AGAIN]
