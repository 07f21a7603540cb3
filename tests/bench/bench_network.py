"""A direct message between two nodes over libp2p (noise, yamux), against a plain TCP echo in the same process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from statistics import median

from node.link import Link, LinkEvent, MessageArrived, Verdict
from protocol.identity import KeyPair
from tests.bench.figures import Figure

MESSAGES = 200
SIZE_BYTES = 512


def figures() -> Iterator[Figure]:
    echo_ms, message_ms = asyncio.run(_measure())
    yield Figure("network", "message there and back, median", message_ms, "ms", "plain TCP echo", echo_ms)


async def _measure() -> tuple[float, float]:
    return await _tcp_echo(), await _links()


async def _tcp_echo() -> float:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(MESSAGES):
            writer.write(await reader.readexactly(SIZE_BYTES))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    times = []
    for _ in range(MESSAGES):
        began = time.perf_counter()
        writer.write(bytes(SIZE_BYTES))
        await reader.readexactly(SIZE_BYTES)
        times.append(time.perf_counter() - began)
    writer.close()
    server.close()
    return median(times) * 1e3


async def _links() -> float:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()
    seeds = [bytes([number]) * 32 for number in (1, 2)]
    keys = [KeyPair(seed).public for seed in seeds]

    def at_far(event: LinkEvent) -> None:
        if isinstance(event, MessageArrived):
            echoes.add(asyncio.get_running_loop().create_task(far.send(keys[0], event.data)))

    def at_near(event: LinkEvent) -> None:
        if isinstance(event, MessageArrived):
            arrived.put_nowait(event.data)

    echoes: set[asyncio.Task[None]] = set()
    near, far = (
        Link(
            seed=seed,
            listen="/ip4/127.0.0.1/tcp/0",
            topics=(),
            judge=lambda topic, data: Verdict.ACCEPT,
            deliver=deliver,
        )
        for seed, deliver in zip(seeds, (at_near, at_far), strict=True)
    )
    await near.start()
    await far.start()
    await near.dial(far.addresses[0])
    times = []
    for _ in range(MESSAGES):
        began = time.perf_counter()
        await near.send(keys[1], bytes(SIZE_BYTES))
        await arrived.get()
        times.append(time.perf_counter() - began)
    await near.stop()
    await far.stop()
    return median(times) * 1e3
