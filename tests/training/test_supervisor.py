"""Facts about the supervisor: whatever a worker does, its daemon hears of it once and no process is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from node.training import wire
from node.training.delta import quantise
from node.training.errors import FaultyDelta, WorkerLost
from node.training.outer import first_state
from node.training.supervisor import Worker
from node.training.tensors import write
from protocol.errors import LocalError

from .builders import TEXT, text_file, training_spec

READY = wire.to_line(wire.Ready(parameters=1, torch="0", isa="none", device="cpu", isolation="none"))

PF_EXITING = 0x4  # <linux/sched.h>: this process is past running code

Start = Callable[..., Coroutine[Any, Any, Worker]]


class Losses(asyncio.Queue[str]):
    """What `on_lost` was told."""

    def __call__(self, reason: str) -> None:
        self.put_nowait(reason)


@pytest.fixture
def losses() -> Losses:
    return Losses()


@pytest.fixture
async def start(tmp_path: Path, losses: Losses) -> AsyncIterator[Start]:
    workers = []

    async def start(**changes: Any) -> Worker:
        arguments: dict[str, Any] = {
            "role": "shard",
            "directory": tmp_path / "worker",
            "spec": training_spec(),
            "data": [text_file(tmp_path)],
            "shard": 0,
            "on_lost": losses,
        }
        workers.append(await Worker.start(**{**arguments, **changes}))
        return workers[-1]

    yield start
    for worker in workers:
        await worker.stop(grace_s=0)


def fake(*statements: str) -> tuple[str, ...]:
    """A program that says it is ready, then does this."""
    code = f"import os, sys, time\nsys.stdin.readline()\nos.write(1, {READY!r})\n" + "\n".join(statements)
    return (sys.executable, "-c", code)


def process_id(worker: Worker) -> int:
    return worker.pid


def is_gone(group: int) -> bool:
    """No process of the group runs; one that has ended may still wait for a container's init to reap it."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = stat.read_text().rpartition(")")[2].split()  # from the third of proc(5) on
            if int(fields[2]) == group and not int(fields[6]) & PF_EXITING:
                return False
    return True


def environment_of(worker: Worker) -> bytes:
    return Path(f"/proc/{process_id(worker)}/environ").read_bytes()


async def test_rounds_of_two_shards_and_a_lead_lower_the_loss(tmp_path: Path, start: Start, losses: Losses) -> None:
    lead, *shards = await asyncio.gather(
        start(role="lead", directory=tmp_path / "lead"),
        *(start(shard=shard, directory=tmp_path / f"shard-{shard}") for shard in (0, 1)),
    )
    outer = await lead.init()
    before = await lead.evaluate(outer.parameters.path)
    for number in range(training_spec().rounds):
        deltas = await asyncio.gather(*(shard.round(number, outer.parameters.path) for shard in shards))
        outer = await lead.outer_step(number, outer.checkpoint.path, [delta.path for delta in deltas])
    assert await lead.evaluate(outer.parameters.path) < before - 1000
    assert len(await lead.sample(outer.parameters.path, "green ", 20, temperature_permille=500, seed=0)) == 20
    await asyncio.gather(*(worker.stop() for worker in (lead, *shards)))
    assert all(is_gone(process_id(worker)) for worker in (lead, *shards))
    assert losses.empty()


async def test_daemon_does_not_import_torch() -> None:
    code = "import sys; from node.training import blobs, supervisor; sys.exit('torch' in sys.modules)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env={"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert await process.wait() == 0


async def test_failed_request_leaves_the_worker_usable(tmp_path: Path, start: Start, losses: Losses) -> None:
    lead = await start(role="lead")
    with pytest.raises(LocalError, match="absent"):
        await lead.evaluate(tmp_path / "absent")
    outer = await lead.init()
    impossible = {name: tensor * 0 + 9 for name, tensor in first_state(training_spec()).parameters.items()}
    faulty = write(tmp_path / "faulty", quantise(impossible)).path
    with pytest.raises(FaultyDelta, match="moved by 9") as caught:
        await lead.outer_step(0, outer.checkpoint.path, [faulty])
    assert caught.value.index == 0
    assert await lead.evaluate(outer.parameters.path) > 5000
    assert losses.empty()


async def test_start_tells_what_is_wrong_with_the_job(tmp_path: Path, start: Start, losses: Losses) -> None:
    with pytest.raises(LocalError, match="is not the data file") as caught:
        await start(spec=training_spec(TEXT[::-1]))
    assert caught.value.code == "HEL-TRAIN-003"
    assert losses.empty()


async def test_start_tells_that_torch_is_missing(start: Start, losses: Losses) -> None:
    code = "import sys; sys.modules['torch'] = None; from node.training import worker; worker.main()"
    with pytest.raises(LocalError, match="training needs the module torch") as caught:
        await start(program=(sys.executable, "-c", code))
    assert caught.value.remedy == "pip install 'heliotrope[train]'"
    assert losses.empty()


async def test_start_tells_how_a_program_ended(start: Start, losses: Losses) -> None:
    with pytest.raises(WorkerLost, match="exit code 3, last words 'no such luck'"):
        await start(program=(sys.executable, "-c", "import os; os.write(2, b'so\\nno such luck\\n'); os._exit(3)"))
    assert losses.empty()


async def test_killed_worker_is_lost_once_and_its_round_fails(tmp_path: Path, start: Start, losses: Losses) -> None:
    worker = await start(program=fake("time.sleep(600)"))
    round_0 = asyncio.create_task(worker.round(0, tmp_path))
    await asyncio.sleep(0)
    os.kill(process_id(worker), signal.SIGKILL)
    with pytest.raises(WorkerLost, match="exit code -9"):
        await round_0
    assert "exit code -9" in await losses.get()
    with pytest.raises(WorkerLost, match="exit code -9"):
        await worker.round(1, tmp_path)
    await worker.stop()
    assert losses.empty()


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("os._exit(4)", "it ended (exit code 4"),
        ("raise MemoryError('no room')", "it ended (exit code 1, last words 'MemoryError: no room')"),
        ("os.close(1); time.sleep(600)", "it ended (exit code -9"),
        ("time.sleep(600)", "it said nothing for 0.3 s"),
        ("os.write(1, b'loss: 1.2\\n'); time.sleep(600)", "it said what is no reply"),
        ('os.write(1, b\'{"op":"delta"}\\n\'); time.sleep(600)', "it said what is no reply"),
        (f"sys.stdout.write('x' * {3 * wire.LINE_BYTES_MAX})", "it said what is no reply"),
        (f"os.write(1, {READY!r}); time.sleep(600)", "it said 'ready' unasked"),
    ],
    ids=["exit", "exception", "output closed", "silence", "words", "half a reply", "endless line", "unasked"],
)
async def test_misbehaving_worker_is_lost_and_gone(start: Start, losses: Losses, deed: str, reason: str) -> None:
    worker = await start(program=fake(deed), silence_s=0.3)
    assert reason in await losses.get()
    assert is_gone(process_id(worker))


async def test_heartbeats_keep_a_silent_round_alive_and_tell_its_step(tmp_path: Path, start: Start) -> None:
    beats = [wire.to_line(wire.Heartbeat(step=step)) for step in (5, 6, 7)]
    evaluated = wire.to_line(wire.Evaluated(loss_millinats=9))
    deeds = [f"time.sleep(0.4); os.write(1, {beat!r})" for beat in beats]
    worker = await start(
        role="lead", program=fake("sys.stdin.readline()", *deeds, f"os.write(1, {evaluated!r})"), silence_s=0.8
    )
    assert await worker.evaluate(tmp_path) == 9
    assert worker.step == 7


async def test_answer_to_another_question_ends_the_worker(tmp_path: Path, start: Start, losses: Losses) -> None:
    sampled = wire.to_line(wire.Sampled(text=""))
    worker = await start(role="lead", program=fake(f"sys.stdin.readline(); os.write(1, {sampled!r}); time.sleep(600)"))
    with pytest.raises(WorkerLost, match="it answered 'evaluate' with 'sampled'"):
        await worker.evaluate(tmp_path)
    assert await losses.get()


async def test_cancelled_round_ends_the_worker_without_a_loss(tmp_path: Path, start: Start, losses: Losses) -> None:
    worker = await start(program=fake("time.sleep(600)"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(worker.round(0, tmp_path), timeout=0.05)
    with pytest.raises(WorkerLost, match="'round' was cancelled"):
        await worker.round(1, tmp_path)
    await worker.stop()
    assert is_gone(process_id(worker))
    assert losses.empty()


async def test_cancelled_start_leaves_no_process(tmp_path: Path, start: Start, losses: Losses) -> None:
    marker = tmp_path / "pid"
    os.mkfifo(marker)
    code = f"import os, time; open({str(marker)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    starting = asyncio.create_task(start(program=(sys.executable, "-c", code)))
    pid = int(await asyncio.to_thread(marker.read_text))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert is_gone(pid)
    assert losses.empty()


async def test_deaf_worker_is_killed_after_its_grace(tmp_path: Path, start: Start, losses: Losses) -> None:
    child = "import subprocess; subprocess.Popen(['sleep', '600'])"
    worker = await start(program=fake(child, "time.sleep(600)"))
    round_0 = asyncio.create_task(worker.round(0, tmp_path))
    await asyncio.sleep(0)
    await worker.stop(grace_s=0.1)
    with pytest.raises(WorkerLost, match="it was stopped"):
        await round_0
    assert is_gone(process_id(worker))  # the whole group, what it had started included
    assert losses.empty()


async def test_stop_in_the_middle_of_a_round_needs_no_kill(tmp_path: Path, start: Start, losses: Losses) -> None:
    spec = training_spec(inner_steps=100_000)
    lead = await start(role="lead", spec=spec, directory=tmp_path / "lead")
    outer = await lead.init()
    worker = await start(spec=spec)
    round_0 = asyncio.create_task(worker.round(0, outer.parameters.path))
    await asyncio.sleep(0)
    await worker.stop()
    with pytest.raises(WorkerLost, match="it was stopped"):
        await round_0
    assert worker._process.returncode == 0
    assert losses.empty()


async def test_stop_twice_is_harmless(start: Start, losses: Losses) -> None:
    worker = await start(program=fake("sys.stdin.readline()"))
    await worker.stop()
    await worker.stop()
    assert losses.empty()


async def test_worker_inherits_no_secret(start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HELIOTROPE_TOKEN", "hunter2")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter2@proxy")
    worker = await start(program=fake("time.sleep(600)"))
    assert b"hunter2" not in environment_of(worker)
    assert b"OMP_NUM_THREADS=1\0" in environment_of(worker)
    assert (tmp_path / "worker").stat().st_mode & 0o777 == 0o700
