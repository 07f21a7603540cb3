"""How jobs are placed, replaced and ended: who may, who can, who fails, and what it says then."""

from __future__ import annotations

import dataclasses

import pytest

from ledger.state import PlacementStatus
from node.devnet.sites import DEMO_SITES, sites
from node.events import JobCancelled
from node.sim.world import World
from protocol.messages import Closure
from tests.sim.worlds import (
    HYDRO,
    LEAD,
    NIGHT,
    SOLAR,
    WIND,
    assert_all_is_well,
    assert_settled,
    genesis,
    is_closed,
    job,
    placements,
    reaches_round,
    record_of,
    run_of,
    settle,
    world,
)


def closure_of(in_world: World, job_id: bytes, name: str = LEAD) -> Closure:
    closure = record_of(in_world, name, job_id).closure
    assert closure is not None
    return closure


def reasons(in_world: World, job_id: bytes) -> set[str]:
    return {p.revocation_reason for p in record_of(in_world, LEAD, job_id).placements if p.revocation_reason}


def test_a_cancelled_job_stops_every_worker_and_is_paid_for() -> None:
    demo = world()
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(reaches_round(demo, job_id, 3), within_ms=60_000)
    demo.handle(LEAD, JobCancelled(job_id))
    settle(demo)
    assert closure_of(demo, job_id).outcome == "cancelled"
    assert_all_is_well(demo)
    assert_settled(demo, job_id)


def test_a_job_cancelled_before_anybody_bid_leaves_nothing_behind() -> None:
    demo = world()
    job_id = demo.submit(LEAD, job(demo))
    demo.handle(LEAD, JobCancelled(job_id))
    demo.handle(LEAD, JobCancelled(job_id))
    settle(demo)
    assert record_of(demo, LEAD, job_id).placements == []
    assert_all_is_well(demo)


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"memory_mb": 4096}, "memory 4096 -> 2048 MB per unit"),
        ({"price_max_microcredits_per_unit_hour": 20_000}, "price cap 0.02 -> 0.045 credits/unit-hour"),
        ({"shards": 6}, "shards 6 -> 5"),
        ({"mode": "closed", "tenant": "acme"}, "mode closed -> hybrid"),
    ],
    ids=["memory", "price", "shards", "pool"],
)
def test_a_job_that_nobody_can_run_says_what_would_help(changes: dict[str, object], remedy: str) -> None:
    demo = world()
    job_id = demo.submit(LEAD, job(demo, **changes))
    demo.run_until(is_closed(demo, job_id), within_ms=10_000)
    closure = closure_of(demo, job_id)
    assert closure.outcome == "failed"
    if changes.get("mode") == "closed":  # peers outside the pool do not even bid
        assert closure.reason == "no feasible placement; no bids at all: no provider answered"
        assert [n.data["reason"] for n in demo.hosts[WIND].told("no bid")] == ["mode closed excludes our pool ''"]
    else:
        assert closure.reason.startswith("no feasible placement; ")
        assert remedy in closure.reason
    assert_all_is_well(demo)


def test_a_provider_that_never_gets_ready_is_replaced() -> None:
    demo = world()
    demo.hosts[WIND].is_training_stuck = True
    job_id = demo.submit(LEAD, job(demo, slots=20, deadline_slot=demo.slot + 41))
    demo.run_until(is_closed(demo, job_id), within_ms=200_000)
    assert closure_of(demo, job_id).outcome == "done"
    assert reasons(demo, job_id) == {"not ready within 60000 ms"}
    assert set(placements(demo, job_id)) == {SOLAR, HYDRO, LEAD}
    assert_all_is_well(demo)


def test_a_worker_that_hangs_in_a_round_is_replaced() -> None:
    """The others have the quorum, but would wait for it in every round."""
    demo = world()
    job_id = demo.submit(LEAD, job(demo, slots=20, deadline_slot=demo.slot + 41))
    demo.run_until(reaches_round(demo, job_id, 2), within_ms=60_000)
    demo.hosts[WIND].is_training_stuck = True
    demo.run_until(is_closed(demo, job_id), within_ms=200_000)
    assert closure_of(demo, job_id).outcome == "done"
    assert reasons(demo, job_id) == {"no delta for round 4 in time"}
    assert_all_is_well(demo)
    assert_settled(demo, job_id)


def test_a_slow_worker_keeps_its_shard_while_it_delivers() -> None:
    demo = world()
    demo.hosts[WIND].round_ms = 6_000
    demo.crash(WIND)
    demo.restart(WIND)
    demo.run(5_000)
    job_id = demo.submit(LEAD, job(demo, slots=12, deadline_slot=demo.slot + 20))
    demo.run_until(is_closed(demo, job_id), within_ms=200_000)
    assert set(placements(demo, job_id)) == {SOLAR, WIND, HYDRO}
    assert {summary.shards for summary in run_of(demo, job_id).history} == {3}


def test_when_leases_run_out_the_job_goes_on_under_new_ones() -> None:
    demo = world()
    long = job(demo, slots=3, deadline_slot=demo.slot + 20, training={"rounds": 20})
    job_id = demo.submit(LEAD, long)
    demo.run_until(is_closed(demo, job_id), within_ms=200_000)
    assert closure_of(demo, job_id).outcome == "done"
    assert reasons(demo, job_id) <= {"the lease's slots are over", "its provider ended it"}
    assert run_of(demo, job_id).excluded == {}, "a lease that ran out is nobody's failure"
    assert set(placements(demo, job_id)) == {SOLAR, WIND, HYDRO}
    assert_all_is_well(demo)
    assert_settled(demo, job_id)


def test_a_job_that_does_not_end_before_its_deadline_fails_and_says_so() -> None:
    demo = world()
    tight = job(demo, slots=3, deadline_slot=demo.slot + 4, training={"rounds": 40})
    job_id = demo.submit(LEAD, tight)
    demo.run_until(is_closed(demo, job_id), within_ms=100_000)
    closure = closure_of(demo, job_id)
    assert closure.outcome == "failed"
    assert closure.reason == f"its deadline, slot {tight.deadline_slot}, passed with none of 3 shards placed"
    assert_all_is_well(demo)
    assert_settled(demo, job_id)


def test_a_job_waits_for_the_slot_it_was_placed_in() -> None:
    demo = world()
    job_id = demo.submit(LEAD, job(demo, first_slot=demo.slot + 4))
    demo.run(30_000)
    live = placements(demo, job_id)
    assert {record.status for record in live.values()} == {PlacementStatus.LEASED}
    assert demo.hosts[LEAD].told("shard ready") == []
    demo.run_until(is_closed(demo, job_id), within_ms=60_000)
    assert closure_of(demo, job_id).outcome == "done"
    assert_all_is_well(demo)


POOLS = {WIND: "acme", HYDRO: "acme", SOLAR: "umbrella"}


@pytest.mark.parametrize(
    ("mode", "shards", "chosen"),
    [
        ("closed", 2, {WIND, HYDRO}),
        ("hybrid", 3, {WIND, HYDRO, LEAD}),
        ("open", 2, {LEAD, NIGHT}),
    ],
)
def test_a_job_runs_in_the_pools_that_its_mode_allows(mode: str, shards: int, chosen: set[str]) -> None:
    demo = world(tenants=POOLS)
    job_id = demo.submit(LEAD, job(demo, mode=mode, tenant="" if mode == "open" else "acme", shards=shards))
    demo.run_until(is_closed(demo, job_id), within_ms=100_000)
    assert closure_of(demo, job_id).outcome == "done"
    assert set(placements(demo, job_id)) == chosen
    assert_all_is_well(demo)


def test_of_two_jobs_at_once_the_second_gets_other_peers() -> None:
    demo = world()
    window = {"slots": 6, "deadline_slot": demo.slot + 8}
    first = demo.submit(LEAD, job(demo, **window))
    demo.run(500)  # its bids close first, so its awards arrive first; the same peers have bid for the second by then
    second = demo.submit(NIGHT, job(demo, shards=2, name="rival", **window))
    demo.run_until(is_closed(demo, first), within_ms=100_000)
    demo.run_until(is_closed(demo, second, NIGHT), within_ms=100_000)
    assert closure_of(demo, first).outcome == "done"
    assert closure_of(demo, second, NIGHT).outcome == "done"
    taken = [*placements(demo, first), *placements(demo, second, NIGHT)]
    assert sorted(taken) == sorted(demo.hosts), "whose award came first is chance"
    assert_all_is_well(demo)


def test_of_two_jobs_with_room_for_one_the_other_is_declined_and_nothing_is_oversold() -> None:
    demo = world()
    window = {"slots": 6, "deadline_slot": demo.slot + 7, "training": {"rounds": 24}}
    jobs = {name: demo.submit(name, job(demo, name=f"job of {name}", **window)) for name in (LEAD, NIGHT)}
    for name, job_id in jobs.items():
        demo.run_until(is_closed(demo, job_id, name), within_ms=100_000)
    done, declined = sorted((closure_of(demo, job_id, name) for name, job_id in jobs.items()), key=lambda c: c.outcome)
    assert (done.outcome, declined.outcome) == ("done", "failed")
    assert "deadline" in declined.reason
    assert_all_is_well(demo)


def test_of_two_jobs_with_time_for_both_the_other_runs_later() -> None:
    demo = world()
    window = {"slots": 4, "deadline_slot": demo.slot + 30}
    jobs = {name: demo.submit(name, job(demo, name=f"job of {name}", **window)) for name in (LEAD, NIGHT)}
    for name, job_id in jobs.items():
        demo.run_until(is_closed(demo, job_id, name), within_ms=300_000)
        assert closure_of(demo, job_id, name).outcome == "done"
    assert_all_is_well(demo)


def test_a_peer_with_more_units_carries_a_shard_of_each_of_two_jobs() -> None:
    demo = world(sites=tuple(dataclasses.replace(site, units=2) for site in DEMO_SITES))
    jobs = {name: demo.submit(name, job(demo, name=f"job of {name}")) for name in (LEAD, NIGHT)}
    demo.run(12_000)
    for name, job_id in jobs.items():
        assert set(placements(demo, job_id, name)) == {SOLAR, WIND, HYDRO}
        demo.run_until(is_closed(demo, job_id, name), within_ms=100_000)
        assert closure_of(demo, job_id, name).outcome == "done"
    assert_all_is_well(demo)


def test_a_node_whose_energy_source_fails_counts_as_grid() -> None:
    demo = world()
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(reaches_round(demo, job_id, 1), within_ms=60_000)
    host = demo.hosts[WIND]
    host.is_meter_broken = True
    demo.run(20_000)
    last = demo.node(WIND).ledger.state.attestations_of[host.key][-1]
    demo.run_until(is_closed(demo, job_id), within_ms=100_000)
    assert closure_of(demo, job_id).outcome == "done"
    assert demo.node(WIND).ledger.state.attestations_of[host.key][-1] is last
    placement = placements(demo, job_id)[WIND]
    assert placement.lease is not None
    rows = [row for r in placement.lease.receipts for row in r.receipt.energy]
    unattested = [row for row in rows if row.attestation is None]
    dirtiest = max(placement.bid.bid.grid_g_per_kwh)
    assert unattested
    assert all(row.surplus_j == 0 and row.grid_g_per_kwh == dirtiest for row in unattested)
    assert_all_is_well(demo)


def test_a_node_whose_energy_source_has_failed_promises_no_surplus() -> None:
    demo = world()
    demo.hosts[WIND].is_meter_broken = True
    demo.run(10_000)
    job_id = demo.submit(LEAD, job(demo))
    demo.run(5_000)
    bid = record_of(demo, LEAD, job_id).bids[demo.hosts[WIND].key].bid
    assert set(bid.surplus_s50_j) == set(bid.surplus_s20_j) == {0}
    assert min(bid.grid_g_per_kwh) > 0
    assert set(placements(demo, job_id)) == {SOLAR, WIND, HYDRO}


def test_a_node_whose_energy_source_never_answered_goes_on_at_grid_mix() -> None:
    demo = world()
    demo.crash(WIND)
    demo.hosts[WIND].is_meter_broken = True
    demo.restart(WIND)
    demo.run(5_000)
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(is_closed(demo, job_id), within_ms=100_000)
    bid = record_of(demo, LEAD, job_id).bids[demo.hosts[WIND].key].bid
    assert set(bid.surplus_s50_j) == set(bid.surplus_s20_j) == {0}
    assert min(bid.grid_g_per_kwh) > 0


def test_a_node_that_only_buys_sells_nothing_and_leads_all_the_same() -> None:
    demo = world(buyers=[LEAD])
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(is_closed(demo, job_id), within_ms=100_000)
    assert closure_of(demo, job_id).outcome == "done"
    assert demo.hosts[LEAD].key not in demo.node(SOLAR).ledger.state.offer_of
    assert_all_is_well(demo)


def test_a_lead_may_train_a_shard_of_its_own_job() -> None:
    demo = world()
    job_id = demo.submit(HYDRO, job(demo))
    demo.run_until(is_closed(demo, job_id, HYDRO), within_ms=100_000)
    assert closure_of(demo, job_id, HYDRO).outcome == "done"
    assert set(placements(demo, job_id, HYDRO)) == {SOLAR, WIND, HYDRO}
    assert_settled(demo, job_id, HYDRO)
    assert_all_is_well(demo)


def test_a_network_whose_clock_runs_faster_keeps_its_promises() -> None:
    """An hour's slots pass in ten seconds; process timeouts stay those of the machines."""
    clock = genesis().clock.model_copy(update={"speed": 360})
    demo = world(genesis={"clock": clock, "slot_ms": 3_600_000})
    job_id = demo.submit(LEAD, job(demo, bids_close_at_ms=demo.now_ms + 2_000 * 360))
    demo.run_until(is_closed(demo, job_id), within_ms=100_000)
    assert closure_of(demo, job_id).outcome == "done"
    assert_settled(demo, job_id)


def test_a_larger_network_places_a_larger_job_where_it_is_greenest() -> None:
    large = world(sites=sites(14, seed=3))
    job_id = large.submit(LEAD, job(large, shards=6))
    large.run_until(reaches_round(large, job_id, 3), within_ms=60_000)
    lost = min(placements(large, job_id))
    large.crash(lost)
    large.run_until(is_closed(large, job_id), within_ms=100_000)
    assert closure_of(large, job_id).outcome == "done"
    assert len(record_of(large, LEAD, job_id).bids) == 14
    first, *_ = run_of(large, job_id).tables
    chosen = [row["carbon_ug"] for row in first if row["verdict"] == "chosen"]
    assert len(chosen) == 6
    assert max(chosen) <= min(row["carbon_ug"] for row in first if row["verdict"] == "outbid")
    assert_all_is_well(large)
    assert_settled(large, job_id)


def test_surplus_below_the_assurance_that_the_network_demands_is_grid() -> None:
    strict = world(genesis={"surplus_assurance_min": 2})
    job_id = strict.submit(LEAD, job(strict))
    strict.run_until(is_closed(strict, job_id), within_ms=100_000)
    rows = [
        row
        for p in record_of(strict, LEAD, job_id).placements
        if p.lease is not None
        for r in p.lease.receipts
        for row in r.receipt.energy
    ]
    assert rows
    assert all(row.surplus_j == 0 for row in rows)
    assert set(placements(strict, job_id)) >= {HYDRO}
    assert_all_is_well(strict)
