"""What becomes of who promises more surplus than it has, and of who keeps its word."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ledger.forecasts import OBSERVATIONS_MIN, UNPROVEN_PERMILLE
from node.energy.supply import Forecast, Supply, SupplyReading
from node.energy.watched import Health
from node.sim.world import World
from tests.sim.worlds import (
    HYDRO,
    LEAD,
    SLOT_MS,
    SOLAR,
    WIND,
    assert_all_is_well,
    is_closed,
    job,
    placements,
    record_of,
    world,
)


@dataclass
class Boaster:
    """Foretells all of a source, of which only a hundredth is there."""

    source: Supply
    health: tuple[Health, ...] = ()

    def read(self, start_ms: int, end_ms: int) -> SupplyReading:
        reading = self.source.read(start_ms, end_ms)
        assert reading is not None
        energy_j = reading.energy_j // 100
        return replace(reading, energy_j=energy_j, meter_end_j=reading.meter_start_j + energy_j)

    def sample(self, now_ms: int) -> None:
        self.source.sample(now_ms)

    def forecast(self, first_slot: int, slots: int, slot_ms: int) -> Forecast:
        return self.source.forecast(first_slot, slots, slot_ms)


def trained(demo: World) -> tuple[set[str], dict[str, int]]:
    """Who trained a job of two shards to its end, and the reliability of every bid for it."""
    job_id = demo.submit(LEAD, job(demo, shards=2))
    demo.run_until(is_closed(demo, job_id), within_ms=200_000)
    record = record_of(demo, LEAD, job_id)
    names = {host.key: host.name for host in demo.hosts.values()}
    bids = {names[provider]: bid.reliability_permille for provider, bid in record.bids.items()}
    return set(placements(demo, job_id)), bids


def test_who_promises_more_than_it_has_wins_once() -> None:
    demo = world()
    demo.hosts[WIND].source = Boaster(demo.hosts[WIND].source)
    chosen, reliability = trained(demo)
    assert chosen == {WIND, HYDRO}
    assert set(reliability.values()) == {UNPROVEN_PERMILLE}
    demo.run((OBSERVATIONS_MIN + 12) * SLOT_MS)
    chosen, reliability = trained(demo)
    assert chosen == {SOLAR, HYDRO}
    assert reliability[WIND] <= 20
    assert reliability[SOLAR] == reliability[HYDRO] == 1000
    assert_all_is_well(demo)
