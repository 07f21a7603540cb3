"""How much later two peers hear each other through five nodes while something befalls a third: p95 beside the idle one.

Each fault is measured right after an idle stretch of its own, since the machine's mood changes.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from tests.bench.figures import Figure
from tests.live.faults import Five, Probe, five, flooded, held_connections, probe, throw_garbage

VICTIM = 2
PROBES = 300
PROBES_PER_S = 20
BOUND = 2.0
PERCENTILE = 95

Fault = Callable[[Five], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def killed(nodes: Five) -> AsyncIterator[None]:
    nodes.kill(VICTIM)
    try:
        yield
    finally:
        await asyncio.to_thread(nodes.start, VICTIM)


@asynccontextmanager
async def restarted(nodes: Five) -> AsyncIterator[None]:
    nodes.kill(VICTIM)
    restarting = asyncio.create_task(asyncio.to_thread(nodes.start, VICTIM))
    yield
    await restarting


@asynccontextmanager
async def paused(nodes: Five) -> AsyncIterator[None]:
    with nodes.paused(VICTIM):
        yield


@asynccontextmanager
async def partitioned(nodes: Five) -> AsyncIterator[None]:
    """The third and the fourth from the others: between the probes there is a way left."""
    side = [VICTIM, VICTIM + 1]
    apart = nodes.partitioned(side)
    await asyncio.to_thread(apart.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(apart.__exit__, None, None, None)


@asynccontextmanager
async def garbage(nodes: Five) -> AsyncIterator[None]:
    throwing = asyncio.create_task(asyncio.to_thread(throw_garbage, nodes))
    yield
    await throwing


@asynccontextmanager
async def connections(nodes: Five) -> AsyncIterator[None]:
    with held_connections(nodes, VICTIM, 500):
        yield


@asynccontextmanager
async def flood(nodes: Five) -> AsyncIterator[None]:
    with flooded(nodes, VICTIM, rate_per_s=1000):
        yield


FAULTS: dict[str, Fault] = {
    "kill -9": killed,
    "restart with the same key": restarted,
    "pause": paused,
    "partition by address": partitioned,
    "garbage on every port": garbage,
    "500 connections": connections,
    "1,000 messages a second": flood,
}


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as directory, five(Path(directory)) as nodes:
        for name, fault in FAULTS.items():
            idle_ms, faulty_ms = asyncio.run(_measure(nodes, fault))
            yield Figure("faults", f"p95 during {name}", faulty_ms, "ms", "idle", idle_ms, BOUND, at_most=True)
            nodes.expect_converged()


async def _measure(nodes: Five, fault: Fault) -> tuple[float, float]:
    async with probe(nodes) as probing:
        idle_ms = await _p95_ms(probing)
        async with fault(nodes):
            return idle_ms, await _p95_ms(probing)


async def _p95_ms(probing: Probe) -> float:
    probing.forget()
    await probing.publish_many(PROBES, PROBES_PER_S)
    await probing.all_heard()
    delays_s = probing.delays_s()
    return delays_s[len(delays_s) * PERCENTILE // 100] * 1e3
