"""The rules at work, one reading at a time: what turns them, and what is too little to turn anything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from node.actions import Notify
from node.energy.rules import parse_rules
from node.energy.supply import Forecast, SupplyReading
from node.events import MeterFailed, MeterRead, RulesChanged
from node.sim.world import World
from tests.sim.worlds import SLOT_MS, WIND, world


class Scene:
    """A node without work; the test plays its meter. `now_ms` is the end of what it has read."""

    def __init__(self) -> None:
        self.world: World = world()
        self.node = self.world.node(WIND)
        forecast = self.node.provider.forecast
        newest = self.node.sourcing.newest
        assert forecast is not None
        assert newest is not None
        self.forecast: Forecast = forecast
        self.newest: SupplyReading = newest
        self.now_ms = self.world.now_ms

    def set_rules(self, *texts: str) -> None:
        self.node.handle(RulesChanged(parse_rules(texts)), self.now_ms)

    def read(self, duration_ms: int, energy_j: int, **changes: Any) -> list[str]:
        """What is told of a reading of so long and so much."""
        start_ms = self.now_ms
        self.now_ms += duration_ms
        meter = {"meter_start_j": 0, "meter_end_j": energy_j, "energy_j": energy_j}
        reading = replace(self.newest, device_id="spare", start_ms=start_ms, end_ms=self.now_ms, **meter | changes)
        return self.kinds(MeterRead(reading, self.forecast))

    def fail(self, **changes: Any) -> list[str]:
        return self.kinds(MeterFailed("no answer", forecast=replace(self.forecast, **changes)))

    def kinds(self, event: MeterRead | MeterFailed) -> list[str]:
        actions = self.node.handle(event, self.now_ms)
        return [a.kind for a in actions if isinstance(a, Notify) and a.kind in ("paused", "resumed")]


@pytest.fixture
def scene() -> Scene:
    return Scene()


SHORT_MS = SLOT_MS // 100


def test_a_counter_that_has_not_moved_in_a_moment_pauses_nobody(scene: Scene) -> None:
    scene.read(SLOT_MS, 300 * SLOT_MS // 1000)
    scene.set_rules("surplus_w < 100 => pause")
    assert scene.read(SHORT_MS, 0) == []
    assert scene.read(SLOT_MS, 300 * SLOT_MS // 1000) == []


def test_short_readings_count_together(scene: Scene) -> None:
    scene.set_rules("surplus_w < 100 => pause")
    scene.read(SLOT_MS, 300 * SLOT_MS // 1000)
    told = [scene.read(SLOT_MS // 5, 0) for _ in range(3)]
    assert told == [[], [], ["paused"]]


def test_a_reading_that_says_nothing_new_turns_nothing(scene: Scene) -> None:
    scene.set_rules("surplus_w < 100 => pause")
    scene.read(SLOT_MS, 300 * SLOT_MS // 1000)
    nothing = replace(scene.forecast, surplus_s50_j=(0,) * len(scene.forecast.surplus_s50_j))
    assert scene.kinds(MeterRead(None, nothing)) == []


def test_a_silent_plant_has_no_surplus(scene: Scene) -> None:
    scene.set_rules("surplus_w < 100 => pause")
    scene.read(SLOT_MS, 300 * SLOT_MS // 1000)
    assert scene.fail() == ["paused"]


@pytest.mark.parametrize("grid_now", [50, 500])
def test_of_a_silent_source_the_forecast_for_this_slot_counts(scene: Scene, grid_now: int) -> None:
    grid = [200] * len(scene.forecast.grid_g_per_kwh)
    grid[3] = grid_now
    scene.set_rules("grid > 300 => pause")
    scene.now_ms = (scene.forecast.first_slot + 3) * SLOT_MS + 1
    assert scene.fail(grid_g_per_kwh=tuple(grid)) == (["paused"] if grid_now > 300 else [])


def test_bids_are_closed_in_the_slots_that_the_rules_forbid(scene: Scene) -> None:
    grid = [200] * len(scene.forecast.grid_g_per_kwh)
    grid[5] = 500
    scene.set_rules("grid > 300 => pause", "grid < 300 => resume")
    scene.now_ms = (scene.forecast.first_slot + 2) * SLOT_MS + 1
    scene.fail(grid_g_per_kwh=tuple(grid))
    first = scene.forecast.first_slot
    # What the sixth slot was like is read when the seventh begins, and two readings are waited for.
    assert scene.node.provider.closed_slots == {first + 5, first + 6, first + 7}
