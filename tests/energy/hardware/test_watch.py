"""Facts about the watch over a meter: when it reads, and what becomes of a meter that fails."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from pathlib import Path

import pytest

from node.energy.hardware import watch
from node.energy.hardware.rapl import RaplMeter
from node.energy.hardware.watch import Watch, open_watch, process_cpu_ms
from node.energy.power import Measured
from node.energy.source import SourceError
from protocol.errors import LocalError
from tests.energy.hardware.powercap import Powercap


class ScriptedMeter:
    """10 W, by a clock that the test sets; or a fault."""

    name = "a meter"
    uncertainty_permille = 50
    period_s = 0.001

    def __init__(self) -> None:
        self.now_ms = 0
        self.fault = False
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.read_again = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def read_uj(self, at_ms: int) -> int:
        self._loop.call_soon_threadsafe(self.read_again.set)
        self.may_answer.wait(10)
        if self.fault:
            raise SourceError("the counter is stuck", "Look at it.")
        return at_ms * 10_000


class Scene:
    def __init__(self, period_s: float = 3600) -> None:
        self.meter = ScriptedMeter()
        self.meter.period_s = period_s
        self.cpu_ms: dict[int, int | None] = {1: 0, 2: 0}
        self.watch = Watch("machine.power (test)", self.meter, cpu_ms=self.cpu_ms.get, now_ms=lambda: self.meter.now_ms)

    def pass_time(self, duration_ms: int, **used_ms: int) -> None:
        self.meter.now_ms += duration_ms
        for pid, ms in used_ms.items():
            self.cpu_ms[int(pid[1:])] = (self.cpu_ms[int(pid[1:])] or 0) + ms


async def test_a_worker_is_told_what_it_drew_since_its_last_round() -> None:
    scene = Scene()
    await scene.watch.sit("a", 1)
    scene.pass_time(1_000, p1=900)
    assert await scene.watch.take("a") == Measured(10_000, 1_000, 50, "a meter")
    scene.pass_time(500, p1=400)
    assert await scene.watch.take("a") == Measured(5_000, 500, 50, "a meter")
    await scene.watch.leave("a")


async def test_workers_share_by_their_processor_time() -> None:
    scene = Scene()
    await scene.watch.sit("a", 1)
    scene.pass_time(1_000, p1=1_000)
    await scene.watch.sit("b", 2)
    scene.pass_time(1_000, p1=250, p2=750)
    first, second = await scene.watch.take("a"), await scene.watch.take("b")
    assert first is not None
    assert second is not None
    assert (first.energy_mj, second.energy_mj) == (12_500, 7_500)
    await scene.watch.leave("a")
    await scene.watch.leave("b")


async def test_what_a_worker_used_last_does_not_fall_to_the_others() -> None:
    scene = Scene()
    await scene.watch.sit("a", 1)
    await scene.watch.sit("b", 2)
    scene.pass_time(1_000, p1=900, p2=100)
    await scene.watch.leave("a")
    scene.pass_time(1_000, p2=900)
    second = await scene.watch.take("b")
    assert second is not None
    assert second.energy_mj == 1_000 + 10_000
    await scene.watch.leave("b")


async def test_a_process_that_died_uses_no_more() -> None:
    scene = Scene()
    await scene.watch.sit("a", 1)
    await scene.watch.sit("b", 2)
    scene.cpu_ms[1] = None
    scene.pass_time(1_000, p2=10)
    second = await scene.watch.take("b")
    assert second is not None
    assert second.energy_mj == 10_000
    await scene.watch.leave("a")
    await scene.watch.leave("b")


async def test_a_meter_that_fails_is_told_once_and_breaks_the_round(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    await scene.watch.sit("a", 1)
    scene.meter.fault = True
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            scene.pass_time(1_000)
            assert await scene.watch.take("a") is None
    assert [record.message.splitlines()[0] for record in caplog.records] == [
        "rounds count as modelled: the counter is stuck [HEL-ENERGY-001]"
    ]
    scene.meter.fault = False
    assert await scene.watch.take("a") is None
    scene.pass_time(1_000)
    assert await scene.watch.take("a") == Measured(10_000, 1_000, 50, "a meter")
    await scene.watch.leave("a")


async def test_a_driver_that_hangs_breaks_the_round_and_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    await scene.watch.sit("a", 1)
    monkeypatch.setattr(watch, "READ_MAX_S", 0.01)
    scene.meter.may_answer.clear()
    for complaint in ("a meter does not answer within 0.01 s", "a meter has not answered the last question yet"):
        assert await scene.watch.take("a") is None
        assert (await scene.watch.health(now_ms=1)).fault == complaint
    scene.meter.may_answer.set()
    monkeypatch.undo()
    deadline = time.monotonic() + 10
    while await scene.watch.take("a") is None:
        assert time.monotonic() < deadline
    await scene.watch.leave("a")


async def test_people_see_how_the_meter_stands() -> None:
    scene = Scene()
    scene.pass_time(3_000)
    health = await scene.watch.health(now_ms=1_000_000)
    assert (health.name, health.is_well) == ("machine.power (test)", True)
    await scene.watch.sit("a", 1)
    scene.pass_time(500)
    reading = (await scene.watch.health(now_ms=1_000_000)).last_reading
    assert reading is not None
    assert (reading.value, reading.unit, reading.age_ms(1_000_000)) == (30, "J", 500)
    scene.meter.fault = True
    await scene.watch.leave("a")
    health = await scene.watch.health(now_ms=1_000_000)
    assert (health.failures, health.fault, health.remedy) == (2, "the counter is stuck", "Look at it.")
    assert health.last_reading is not None
    scene.meter.fault = False
    assert (await scene.watch.health(now_ms=1_000_000)).is_well


async def test_a_long_time_without_work_breaks_no_round(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tree, now_ms = Powercap(tmp_path), [0]
    over = Watch("machine.power (rapl)", RaplMeter(tmp_path), cpu_ms=lambda _: 0, now_ms=lambda: now_ms[0])
    for _ in range(2):
        now_ms[0] += 3_600_000  # a counter may come round in four minutes
        await over.sit("a", 1)
        now_ms[0] += 1_000
        tree.rise("0", 5_000_000)
        measured = await over.take("a")
        assert measured is not None
        assert measured.energy_mj == 5_000
        await over.leave("a")
    assert not caplog.records


async def test_it_reads_by_itself_while_somebody_works_and_not_after() -> None:
    scene = Scene(period_s=0.001)
    await scene.watch.sit("a", 1)
    for _ in range(3):
        scene.meter.read_again.clear()
        await asyncio.wait_for(scene.meter.read_again.wait(), 10)
    await scene.watch.leave("a")
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_worker_that_was_never_here_is_told_nothing() -> None:
    scene = Scene()
    assert await scene.watch.take("a") is None
    await scene.watch.leave("a")


def test_the_processor_time_of_a_process_is_that_of_all_its_threads() -> None:
    before_ms = process_cpu_ms(os.getpid())
    assert before_ms is not None
    assert abs(before_ms - time.process_time() * 1000) < 100
    gone = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(gone, 0)
    assert process_cpu_ms(gone) is None


def test_declared_power_needs_no_watch() -> None:
    assert open_watch("declared") is None


@pytest.mark.parametrize("power", ["nvml", "rapl"])
def test_refuse_a_meter_that_is_not_there(power: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object) -> None:
        raise SourceError("no such meter", "Declare it.")

    monkeypatch.setattr(f"node.energy.hardware.{power}.{power.title()}Meter.__init__", nothing)
    with pytest.raises(LocalError, match="no such meter"):
        open_watch(power)  # type: ignore[arg-type]
