"""Facts about the meter: no millisecond is read twice, and no failure of a source is the node's."""

from __future__ import annotations

import asyncio
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from node.energy.hardware.rapl import RaplMeter
from node.energy.hardware.watch import Watch
from node.energy.profile import Profile
from node.energy.source import SourceError
from node.energy.supply import EnergyConfig, Forecast, SupplyReading
from node.events import (
    MeterFailed,
    MeterRead,
)
from node.running.meter import Meter, forecast_slots, open_meter
from protocol.genesis import Clock
from protocol.identity import KeyPair
from tests.builders import NOW_MS, SLOT_MS, History, attestation, genesis
from tests.energy.hardware.powercap import Powercap

SITE = EnergyConfig(
    device_id="meter", zone="NO-NO5", latitude=60.4, longitude=5.3, carrier="hydro", capacity_w=400, own_g_per_kwh=24
)


class Faulty(Profile):
    """Raises what it is given, once for each."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__(SITE)
        self._failures = list(failures)

    def read(self, start_ms: int, end_ms: int) -> SupplyReading:
        if self._failures:
            raise self._failures.pop(0)
        return super().read(start_ms, end_ms)


class NoForecast(Profile):
    def forecast(self, first_slot: int, slots: int, slot_ms: int) -> Forecast:
        raise ValueError("no weather today")


class HandClock:
    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


def meter_of(
    clock: HandClock, source: Profile, read_until_ms: int = NOW_MS - SLOT_MS, hardware: Watch | None = None
) -> Meter:
    # As fast as clocks go: what the meter waits for has come at once.
    return Meter(source, genesis(clock=Clock(unix_ms=0, network_ms=0, speed=100_000)), clock, read_until_ms, hardware)


async def reading(meter: Meter) -> SupplyReading:
    answer = await meter.read()
    assert isinstance(answer, MeterRead)
    assert answer.reading is not None
    return answer.reading


async def test_consecutive_readings_meet_and_never_overlap() -> None:
    clock = HandClock()
    meter = meter_of(clock, Profile(SITE))
    readings = [await reading(meter)]
    for after_ms in (1, SLOT_MS // 3, SLOT_MS + 7, SLOT_MS):  # a slot's reading may come a little late
        clock.now_ms += after_ms
        readings.append(await reading(meter))
    for before, after in pairwise(readings):
        assert (before.end_ms, before.meter_end_j) == (after.start_ms, after.meter_start_j)


async def test_readings_asked_for_at_once_wait_for_each_other_and_for_the_clock() -> None:
    clock = HandClock()
    meter = meter_of(clock, Profile(SITE))
    reads = [asyncio.create_task(reading(meter)) for _ in range(3)]
    done: set[asyncio.Task[SupplyReading]] = set()
    while len(done) < 3:
        done, _ = await asyncio.wait(reads, timeout=0.01)
        clock.now_ms += 1
    spans = sorted((r.result().start_ms, r.result().end_ms) for r in reads)
    assert all(end_ms <= start_ms for (_, end_ms), (start_ms, _) in pairwise(spans))


async def test_a_node_that_was_away_reads_the_present_slot_only() -> None:
    meter = meter_of(HandClock(), Profile(SITE), read_until_ms=NOW_MS - 50 * SLOT_MS)
    assert (await reading(meter)).start_ms == NOW_MS - SLOT_MS


async def test_what_is_attested_is_not_read_again_after_a_restart() -> None:
    meter = meter_of(HandClock(), Profile(SITE), read_until_ms=NOW_MS - 10)
    assert (await reading(meter)).start_ms == NOW_MS - 10


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (SourceError("the inverter sleeps", "wake it"), "the inverter sleeps"),
        (ValueError("12 V"), "a fault of the energy source: ValueError"),
        (OSError("gone"), "a fault of the energy source: OSError"),
    ],
)
async def test_a_failing_source_is_reported_and_recovers(failure: Exception, reason: str) -> None:
    clock = HandClock()
    meter = meter_of(clock, Faulty(failure))
    answer = await meter.read()
    assert isinstance(answer, MeterFailed)
    assert answer.reason == reason
    assert answer.forecast == Profile(SITE).forecast(NOW_MS // SLOT_MS, forecast_slots(SLOT_MS), SLOT_MS)
    clock.now_ms += 5
    assert (await reading(meter)).end_ms == NOW_MS + 5


async def test_a_reading_without_a_forecast_is_none_and_its_interval_is_read_again() -> None:
    meter = meter_of(HandClock(), NoForecast(SITE))
    assert isinstance(await meter.read(), MeterFailed)
    assert meter._read_until_ms == NOW_MS - SLOT_MS


async def test_a_clock_that_was_set_back_far_fails_until_it_has_caught_up() -> None:
    clock = HandClock()
    meter = meter_of(clock, Profile(SITE), read_until_ms=NOW_MS + 2 * SLOT_MS)
    answer = await meter.read()
    assert isinstance(answer, MeterFailed)
    assert f"{2 * SLOT_MS} ms before" in answer.reason
    clock.now_ms += 2 * SLOT_MS + 1
    assert (await reading(meter)).start_ms == NOW_MS + 2 * SLOT_MS


async def test_the_next_slot_is_waited_for_in_the_worlds_time() -> None:
    """A slot of a minute lasts 0.6 ms under this clock."""
    async with asyncio.timeout(5):
        await meter_of(HandClock(), Profile(SITE)).until_next_slot()


class Hanging(Profile):
    """Does not answer before it is let go."""

    def __init__(self) -> None:
        super().__init__(SITE)
        self.may_answer = threading.Event()

    def read(self, start_ms: int, end_ms: int) -> SupplyReading:
        self.may_answer.wait(30)
        return super().read(start_ms, end_ms)


async def test_a_source_that_hangs_holds_nobody_and_is_asked_nothing_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.running.meter.READ_MAX_S", 0.05)
    clock, source = HandClock(), Hanging()
    meter = meter_of(clock, source)
    try:
        for expected in ("within 0.05 s", "the last question yet"):
            answer = await meter.read()
            assert isinstance(answer, MeterFailed)
            assert expected in answer.reason
    finally:
        source.may_answer.set()
    monkeypatch.setattr("node.running.meter.READ_MAX_S", 30)
    assert meter._under_way is not None
    await meter._under_way
    assert (await reading(meter)).end_ms == NOW_MS


class Slow(Profile):
    """Looks for long, and stumbles."""

    def __init__(self) -> None:
        super().__init__(SITE)
        self.looks = 0

    def sample(self, now_ms: int) -> None:
        self.looks += 1
        time.sleep(0.05)
        raise ValueError("12 V")


async def test_looks_that_last_and_fail_neither_delay_the_next_slot_nor_end_the_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("node.running.meter.SAMPLE_S", 0.02)
    source = Slow()
    clock = Clock(unix_ms=0, network_ms=0, speed=SLOT_MS // 300)  # a slot lasts 0.3 s
    meter = Meter(source, genesis(clock=clock), HandClock(NOW_MS - NOW_MS % SLOT_MS), NOW_MS)
    await meter.until_next_slot()
    assert 1 <= source.looks <= 5


async def test_how_the_hardwares_meter_stands_is_told_with_the_sources(tmp_path: Path) -> None:
    Powercap(tmp_path)
    hardware = Watch("machine.power (rapl)", RaplMeter(tmp_path))
    for source in (Profile(SITE), Faulty(SourceError("off", "Switch it on."))):
        meter = meter_of(HandClock(), source, hardware=hardware)
        (health,) = (await meter.read()).sources
        assert (health.name, health.is_well) == ("machine.power (rapl)", True)


@pytest.mark.parametrize("later_ms", [-20_000, 20_000])
def test_a_meter_goes_on_from_its_own_device_whatever_else_its_owner_attested_since(later_ms: int) -> None:
    history, owner = History(), KeyPair(bytes(32))
    ended_ms = NOW_MS - SLOT_MS // 2
    for device_id, end_ms in ((SITE.device_id, ended_ms), ("battery", ended_ms + later_ms)):
        history.append(owner, attestation(device_id=device_id, start_ms=end_ms - 1000, end_ms=end_ms, energy_j=0))
    meter = open_meter(SITE, history.ledger, owner.public, HandClock(), None)
    read = asyncio.run(meter.read())
    assert isinstance(read, MeterRead)
    assert read.reading is not None
    assert read.reading.start_ms == ended_ms
