"""Entries that peers send one by one, from their arrival at the runtime until they are durable.

Idle: each waits for nothing but itself. Under load: as many as the runtime takes, in one commit for many.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from node.api.server import serve
from node.link import MessageArrived
from node.running.runtime import Runtime
from protocol.direct import Entries, encode_direct
from protocol.envelope import Entry, signed_bytes
from tests.bench import histories
from tests.bench.bench_ledger import verify_with
from tests.bench.figures import Figure
from tests.bench.nodes import make_home

IDLE = 300
LOAD = 20_000
AUTHORS = 100
AHEAD = 800  # entries under way at once, eight of each peer: of one that sends more, some are dropped
IDLE_PAUSE_S = 0.01
PERCENTILE = 99
BOUND_MS = 50
DEADLINE_S = 30
LOOK_AGAIN_S = 0.001  # counts as waiting


def figures() -> Iterator[Figure]:
    network = histories.genesis().network_id()
    entries = list(histories.feeds(IDLE + LOAD, AUTHORS, network))
    verify = verify_with(Ed25519PublicKey.from_public_bytes)
    began = time.perf_counter()
    for entry in entries[:LOAD]:
        verify(entry.author, signed_bytes(entry.raw), entry.raw[-64:])
    verified_per_s = LOAD / (time.perf_counter() - began)
    waits_ms, taken_per_s = asyncio.run(_measure(entries))
    p99_ms = sorted(waits_ms)[len(waits_ms) * PERCENTILE // 100]
    yield Figure("live", "arrival to durable, idle, p99", p99_ms, "ms", "bound", BOUND_MS, 1.0, at_most=True)
    against = "signatures alone, one core"
    yield Figure("live", "entries one by one under load", taken_per_s, "entries/s", against, verified_per_s, 0.5)


async def _measure(entries: Sequence[Entry]) -> tuple[list[float], float]:
    with tempfile.TemporaryDirectory() as directory:
        home = make_home(Path(directory) / "node", histories.genesis())
        async with _running(Runtime(home)) as runtime:
            first = runtime.store.position
            waits_ms = [await _one(runtime, entry) for entry in entries[:IDLE]]
            began = time.perf_counter()
            for number, entry in enumerate(entries[IDLE:], start=1):
                _inject(runtime, entry)
                if number % 64 == 0:
                    await _until(runtime, first + IDLE + number - AHEAD)
            await _until(runtime, first + len(entries))
            return waits_ms, LOAD / (time.perf_counter() - began)


async def _one(runtime: Runtime, entry: Entry) -> float:
    """Milliseconds until the store has it."""
    await asyncio.sleep(IDLE_PAUSE_S)
    began = time.perf_counter()
    expected = runtime.store.position + 1
    _inject(runtime, entry)
    await _until(runtime, expected)
    return (time.perf_counter() - began) * 1e3


def _inject(runtime: Runtime, entry: Entry) -> None:
    message = encode_direct(Entries(entries=(entry.raw,), more=False))
    runtime._network._deliver(MessageArrived(entry.author, message))  # what the link calls, on its loop


async def _until(runtime: Runtime, position: int) -> None:
    """The node may sign entries of its own meanwhile: they count as well."""
    deadline_s = time.monotonic() + DEADLINE_S
    while runtime.store.position < position:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"entry {position} was not stored within {DEADLINE_S} s")
        await asyncio.sleep(LOOK_AGAIN_S)


@asynccontextmanager
async def _running(runtime: Runtime) -> AsyncIterator[Runtime]:
    ready = asyncio.Event()
    running = asyncio.create_task(runtime.run(serve, ready.set))
    await asyncio.wait({running, asyncio.create_task(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield runtime
    finally:
        runtime.stopping.set()
        await running
