"""What a network and its machines do to a job: loss, delay, duplication, partition, crash and return."""

from __future__ import annotations

import pytest

from ledger.ledger import replay
from node.sim.network import Faults
from node.sim.world import World
from tests.sim.worlds import (
    HYDRO,
    LEAD,
    NIGHT,
    SOLAR,
    WIND,
    assert_all_is_well,
    assert_settled,
    is_closed,
    job,
    placements,
    reaches_round,
    record_of,
    run_of,
    world,
)

LOSSY = Faults(loss_permille=100)
DOUBLED = Faults(duplication_permille=500)
SLOW = Faults(delay_min_ms=50, delay_max_ms=1_500)
ALL = Faults(loss_permille=100, duplication_permille=200, delay_max_ms=1_000)


def outcome(in_world: World, job_id: bytes) -> str:
    closure = record_of(in_world, LEAD, job_id).closure
    assert closure is not None
    return closure.outcome


@pytest.mark.parametrize(
    ("faults", "seed"),
    [(LOSSY, 1), (DOUBLED, 1), (SLOW, 1), (ALL, 1), (ALL, 2)],
    ids=["loss", "duplication", "delay", "all", "all-again"],
)
def test_a_rough_network_only_costs_time(faults: Faults, seed: int) -> None:
    rough = world(seed, faults=faults)
    rough.run(10_000)
    job_id = rough.submit(LEAD, job(rough, bids_close_at_ms=rough.now_ms + 5_000))
    rough.run_until(is_closed(rough, job_id), within_ms=400_000)
    assert outcome(rough, job_id) == "done"
    rough.network.faults = Faults()
    rough.run(30_000)
    assert_all_is_well(rough)
    assert_settled(rough, job_id, may_lose_deltas=faults.loss_permille > 0)


def test_after_a_partition_the_ledgers_grow_equal_again() -> None:
    parted = world()
    job_id = parted.submit(LEAD, job(parted))
    parted.run_until(reaches_round(parted, job_id, 2), within_ms=60_000)
    parted.partition([LEAD, SOLAR, HYDRO], [WIND, NIGHT])
    parted.run(40_000)
    assert parted.hosts[WIND].key not in parted.node(LEAD).peers.connected
    ahead = parted.node(WIND).ledger.heads[parted.hosts[WIND].key].seq
    assert parted.node(LEAD).ledger.heads[parted.hosts[WIND].key].seq < ahead
    parted.heal()
    parted.run_until(is_closed(parted, job_id), within_ms=200_000)
    parted.run(60_000)
    assert_all_is_well(parted)
    assert_settled(parted, job_id)
    assert outcome(parted, job_id) == "done"


def test_a_short_cut_that_nobody_notices_revokes_nothing() -> None:
    parted = world()
    job_id = parted.submit(LEAD, job(parted))
    parted.run_until(reaches_round(parted, job_id, 2), within_ms=60_000)
    parted.partition([LEAD, SOLAR, HYDRO, NIGHT], [WIND])
    parted.run(3_000)
    parted.heal()
    parted.run_until(is_closed(parted, job_id), within_ms=200_000)
    assert set(placements(parted, job_id)) == {SOLAR, WIND, HYDRO}
    assert_all_is_well(parted)


def test_a_crashed_node_returns_with_its_ledger_whole_and_receipts_what_it_left() -> None:
    demo = world()
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(reaches_round(demo, job_id, 4), within_ms=60_000)
    node, host = demo.node(WIND), demo.hosts[WIND]
    last = node.ledger.heads[host.key]
    demo.crash(WIND)
    demo.run(5_000)
    stored = replay(demo.genesis, (raw for _, raw in host.store.replay()))
    assert stored.heads[host.key].id == last.id
    demo.restart(WIND)
    demo.run_until(is_closed(demo, job_id), within_ms=200_000)
    assert_all_is_well(demo)
    assert_settled(demo, job_id)
    assert demo.node(WIND).ledger.heads[host.key].seq > last.seq
    assert [notice.data["reason"] for notice in host.told("shard over")] == ["the node was restarted"]


def test_a_node_that_returns_within_the_grace_is_lost_all_the_same() -> None:
    """It has forgotten its worker. Its final receipt says so, before anybody has missed it."""
    demo = world()
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(reaches_round(demo, job_id, 4), within_ms=60_000)
    demo.crash(WIND)
    demo.run(100)
    demo.restart(WIND)
    demo.run_until(is_closed(demo, job_id), within_ms=200_000)
    assert outcome(demo, job_id) == "done"
    assert list(run_of(demo, job_id).excluded) == [demo.hosts[WIND].key]
    assert_all_is_well(demo)
    assert_settled(demo, job_id)


@pytest.mark.parametrize("actions", range(0, 56, 7))
def test_a_crash_in_the_middle_of_any_turn_breaks_no_promise(actions: int) -> None:
    """Between Persist and Publish, between Publish and Send: what is durable and was never said must not be signed
    again, and whoever waits for it must get it or go on without it."""
    demo = world()
    job_id = demo.submit(LEAD, job(demo))
    demo.hosts[WIND].actions_left = actions
    demo.run_until(lambda: demo.hosts[WIND].node is None, within_ms=60_000)
    demo.run(2_000)
    demo.restart(WIND)
    demo.run_until(is_closed(demo, job_id), within_ms=300_000)
    assert outcome(demo, job_id) == "done"
    assert_all_is_well(demo)
    assert_settled(demo, job_id)


def test_a_restarted_lead_closes_its_job_as_failed_and_pays_for_what_was_done() -> None:
    demo = world()
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(reaches_round(demo, job_id, 4), within_ms=60_000)
    demo.crash(LEAD)
    demo.run(3_000)
    demo.restart(LEAD)
    demo.run_until(is_closed(demo, job_id, SOLAR), within_ms=20_000)
    closure = record_of(demo, SOLAR, job_id).closure
    assert closure is not None
    assert (closure.outcome, closure.reason) == ("failed", "the leading node was restarted")
    assert_all_is_well(demo)
    assert_settled(demo, job_id)
    owed = demo.node(LEAD).ledger.state.owed_microcredits
    assert all(owed[demo.hosts[LEAD].key, demo.hosts[name].key] > 0 for name in (SOLAR, WIND, HYDRO))


def test_a_lead_that_stays_away_leaves_no_worker_running_beyond_its_lease() -> None:
    demo = world()
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(reaches_round(demo, job_id, 4), within_ms=60_000)
    demo.crash(LEAD)
    demo.run(70_000)
    assert all(demo.node(host.name).provider.works == {} for host in demo.alive())
    for placement in record_of(demo, SOLAR, job_id).placements:
        assert placement.lease is not None
        assert placement.lease.receipts[-1].receipt.final
