"""Two whole nodes in one process find each other again by themselves when the link of one has died."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from node.api.server import serve
from node.devnet.network import make
from node.link.thread import LinkThread
from node.running.runtime import Runtime
from tests.live.nodes import SEED


@asynccontextmanager
async def running(runtime: Runtime) -> AsyncIterator[Runtime]:
    ready = asyncio.Event()
    run = asyncio.create_task(runtime.run(serve, ready.set))
    await asyncio.wait({run, asyncio.create_task(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield runtime
    finally:
        runtime.stopping.set()
        await run


async def until(runtime: Runtime, condition: Callable[[], bool]) -> None:
    """Look again whenever the node tells something."""
    async with asyncio.timeout(30):
        while not condition():
            await runtime.log.wait(runtime.log.newest)


def told(runtime: Runtime, kind: str) -> int:
    return sum(event.kind == kind for event in runtime.log.since(0))


def die() -> None:
    raise SystemExit("forced")


async def test_after_its_link_has_died_a_node_is_back_among_its_peers_by_itself(tmp_path: Path) -> None:
    members = make(tmp_path, 2, SEED)
    async with AsyncExitStack() as stack:
        a, b = [await stack.enter_async_context(running(Runtime(member.home))) for member in members]
        for one, other in ((a, b), (b, a)):
            await until(one, lambda one=one, other=other: other.keypair.public in one.node.peers.connected)  # type: ignore[misc]
        thread = a._network.link._thread
        assert isinstance(thread, LinkThread)
        thread._on_thread(die)
        for runtime in (a, b):
            await until(runtime, lambda runtime=runtime: told(runtime, "peer connected") == 2)  # type: ignore[misc]
        assert (told(a, "link failed"), told(a, "link restarted")) == (1, 1)
        assert [told(runtime, "peer lost") for runtime in (a, b)] == [1, 1]
