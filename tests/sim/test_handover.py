"""The sun sets on a job: its shard leaves with what it has learned, moves at once or waits for the morning."""

from __future__ import annotations

import operator
import random
from dataclasses import dataclass, replace
from typing import Any

import pytest

from ledger.state import PlacementStatus
from node.devnet.sites import DEMO_SITES
from node.energy.rules import parse_rules
from node.energy.supply import Forecast, Supply, SupplyReading
from node.energy.watched import Health
from node.events import RulesChanged
from node.sim.network import Faults
from node.sim.world import World
from tests.sim.worlds import (
    HYDRO,
    LEAD,
    NIGHT,
    SLOT_MS,
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
    witnessed,
    world,
)

ONE_SHARD: dict[str, Any] = {"shards": 1, "slots": 6, "training": {"rounds": 20}}


def told(in_world: World, name: str, kind: str) -> list[dict[str, Any]]:
    return [dict(notice.data) for notice in in_world.hosts[name].notices if notice.kind == kind]


def set_rules(in_world: World, name: str, *texts: str) -> None:
    in_world.handle(name, RulesChanged(parse_rules(texts)))


def begun(demo: World, **changes: Any) -> tuple[bytes, str]:
    """A job in its third round, and the site that trains its only shard."""
    job_id = demo.submit(LEAD, job(demo, **ONE_SHARD | changes))
    demo.run_until(reaches_round(demo, job_id, 3), within_ms=90_000)
    (site,) = placements(demo, job_id)
    return job_id, site


def test_a_shard_whose_peer_pauses_moves_with_its_moments_and_no_round_is_lost() -> None:
    demo = world()
    job_id, site = begun(demo)
    before = run_of(demo, job_id).round
    set_rules(demo, site, "grid > 0 => pause")
    demo.run_until(is_closed(demo, job_id), within_ms=200_000)
    assert demo.node(LEAD).ledger.state.jobs[job_id].closure is not None
    (handed,) = told(demo, LEAD, "shard handed over")
    assert handed["reason"] == "paused by grid > 0 => pause"
    assert run_of(demo, job_id).moments.keys() == {0}
    assert run_of(demo, job_id).round == 20
    records = record_of(demo, LEAD, job_id).placements
    assert [record.status for record in records] == [PlacementStatus.REVOKED, PlacementStatus.SETTLED]
    rounds = [len(r.receipt.deltas) for record in records if record.lease for r in record.lease.receipts]
    assert sum(rounds) == 20
    assert rounds[0] >= before
    assert told(demo, LEAD, "shard lost") == []
    assert_all_is_well(demo)
    assert_settled(demo, job_id)


def test_the_next_worker_is_given_the_moments() -> None:
    demo = world()
    job_id, site = begun(demo)
    set_rules(demo, site, "grid > 0 => pause")
    demo.run_until(is_closed(demo, job_id), within_ms=200_000)
    (successor,) = placements(demo, job_id)
    assert successor != site
    assert run_of(demo, job_id).moments[0].sha256 in demo.hosts[successor].blobs


def test_a_paused_node_bids_for_nothing_and_says_why() -> None:
    demo = world()
    set_rules(demo, WIND, "grid > 0 => pause")
    job_id = demo.submit(LEAD, job(demo, **ONE_SHARD))
    demo.run_until(is_closed(demo, job_id), within_ms=200_000)
    assert WIND not in placements(demo, job_id)
    assert told(demo, WIND, "paused") == [{"rule": "grid > 0 => pause"}]
    assert (
        told(demo, WIND, "no bid")[0]["reason"] == "our operator's rules are expected to pause us in all of its window"
    )


def test_a_node_whose_rules_are_taken_back_works_again() -> None:
    demo = world()
    set_rules(demo, WIND, "grid > 0 => pause")
    demo.run(3 * SLOT_MS)
    set_rules(demo, WIND)
    job_id = demo.submit(LEAD, job(demo, **ONE_SHARD))
    demo.run_until(is_closed(demo, job_id), within_ms=200_000)
    assert demo.node(WIND).identity.key in record_of(demo, LEAD, job_id).bids


def test_a_pause_gives_no_shard_back_whose_time_has_not_come() -> None:
    demo = world()
    first_slot = demo.slot + 6
    job_id = demo.submit(LEAD, job(demo, **ONE_SHARD | {"first_slot": first_slot, "deadline_slot": first_slot + 12}))
    demo.run_until(lambda: bool(placements(demo, job_id)), within_ms=20_000)
    (site,) = placements(demo, job_id)
    demo.run(1_000)
    set_rules(demo, site, "grid > 0 => pause")
    demo.run(2 * SLOT_MS)
    assert demo.slot < first_slot
    set_rules(demo, site)
    demo.run_until(is_closed(demo, job_id), within_ms=300_000)
    assert placements(demo, job_id).keys() == {site}
    assert told(demo, LEAD, "shard handed over") == []
    assert_settled(demo, job_id)


@dataclass
class Sky:
    """A source that yields nothing in some slots, which nobody foresees before they are set."""

    source: Supply
    dark: range = range(0)
    health: tuple[Health, ...] = ()

    def read(self, start_ms: int, end_ms: int) -> SupplyReading:
        reading = self.source.read(start_ms, end_ms)
        assert reading is not None
        if (end_ms - 1) // SLOT_MS in self.dark:
            return replace(reading, energy_j=0, meter_end_j=reading.meter_start_j)
        return reading

    def sample(self, now_ms: int) -> None:
        self.source.sample(now_ms)

    def forecast(self, first_slot: int, slots: int, slot_ms: int) -> Forecast:
        told = self.source.forecast(first_slot, slots, slot_ms)
        sunny = [slot not in self.dark for slot in range(first_slot, first_slot + slots)]
        s50, s20 = (
            tuple(map(operator.mul, surplus_j, sunny)) for surplus_j in (told.surplus_s50_j, told.surplus_s20_j)
        )
        return replace(told, surplus_s50_j=s50, surplus_s20_j=s20)


@pytest.mark.parametrize(("slack_slots", "waits"), [(50, True), (14, False)])
def test_a_job_with_slack_waits_for_the_sun_and_one_without_moves(slack_slots: int, waits: bool) -> None:
    dear = {WIND, HYDRO}  # beyond what the job pays: beside the sun there are only brown peers
    sites = [replace(s, price_microcredits_per_unit_hour=9_000_000 if s.name in dear else 1) for s in DEMO_SITES]
    demo = world(sites=sites)
    sky = demo.hosts[SOLAR].source = Sky(demo.hosts[SOLAR].source)
    set_rules(demo, SOLAR, "surplus_w < 10 => pause")
    first_slot = demo.slot + 1
    job_id, site = begun(demo, first_slot=first_slot, deadline_slot=first_slot + slack_slots)
    assert site == SOLAR
    sky.dark = range(demo.slot, demo.slot + 20)
    demo.run_until(is_closed(demo, job_id), within_ms=(slack_slots + 10) * SLOT_MS)
    closure = record_of(demo, LEAD, job_id).closure
    assert closure is not None
    assert (closure.outcome, closure.rounds) == ("done", 20)
    (successor,) = placements(demo, job_id)
    assert (successor == SOLAR) is waits
    begins = record_of(demo, LEAD, job_id).live()[0].placement.first_slot
    assert (begins >= sky.dark.stop) is waits
    assert len(told(demo, LEAD, "shard handed over")) == 1, "nobody takes a shard back only to give it away again"
    assert_all_is_well(demo)
    assert_settled(demo, job_id)


@pytest.mark.parametrize(("seed", "is_rough", "has_witnesses"), [(1, True, False), (5, True, False), (6, False, True)])
def test_whoever_pauses_whenever_every_shard_is_settled(seed: int, is_rough: bool, has_witnesses: bool) -> None:
    chance = random.Random(seed)
    demo = (witnessed if has_witnesses else world)(seed=seed)
    if is_rough:
        demo.network.faults = Faults(loss_permille=100, duplication_permille=200, delay_max_ms=1_000)
    closes_at_ms, deadline_slot = demo.now_ms + 5_000, demo.slot + 60
    job_id = demo.submit(LEAD, job(demo, slots=8, deadline_slot=deadline_slot, bids_close_at_ms=closes_at_ms))
    for _ in range(60):
        demo.run(chance.randrange(200, 4_000))
        site = chance.choice(DEMO_SITES).name
        set_rules(demo, site, *["grid > 0 => pause"] * chance.choice([0, 1]))
        demo.hosts[site].is_meter_broken = chance.random() < 0.2
    demo.network.faults = Faults()
    for name in (LEAD, SOLAR, WIND, HYDRO, NIGHT):
        demo.hosts[name].is_meter_broken = False
        set_rules(demo, name)
    demo.run_until(is_closed(demo, job_id), within_ms=800_000)
    demo.run(60_000)
    assert told(demo, LEAD, "shard handed over") != []
    assert_all_is_well(demo)
    assert_settled(demo, job_id, may_lose_deltas=True)
