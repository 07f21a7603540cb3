"""A runtime with a real store, API and loop, a link that notes, and a core that says what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NoReturn

from node import actions as ac
from node import events as ev
from node.api.server import serve
from node.energy.supply import EnergyConfig
from node.home.home import Home
from node.link import Act, Ban, MessageArrived
from node.running.runtime import Runtime
from protocol.direct import Ready
from protocol.envelope import Entry
from tests.builders import digest, entry, genesis, keypair

SITE = EnergyConfig(
    device_id="meter", zone="NO-NO5", latitude=60.4, longitude=5.3, carrier="hydro", capacity_w=400, own_g_per_kwh=24
)
NETWORK = genesis(slot_ms=3_600_000)  # no slot begins while a test runs
PEER = keypair(7).public
MESSAGE = Ready(award=digest("award"), shard=0)
TIMER = ev.Timer(ev.TimerKind.ASSIGN)


class NotingLink:
    """What would have gone out."""

    addresses = ("/ip4/127.0.0.1/tcp/1/p2p/x",)

    def __init__(self, *, deliver: Callable[[Any], None], topics: Sequence[str] = (), **settings: Any) -> None:
        self.deliver, self.settings = deliver, settings
        self.topics = tuple(topics)
        self.said: list[str] = []

    async def start(self) -> None:
        self.deliver(MessageArrived(PEER, b"early"))

    async def stop(self) -> None:
        pass

    async def deny(self, networks: Any) -> None:
        self.said.extend(networks)

    def blame(self, peer: bytes, act: Act) -> None:
        self.said.append(f"blamed for one of the {act.value[1]}")

    def denied(self) -> dict[str, float]:
        return {}

    def denies(self, address: str) -> bool:
        return False

    def refusal(self, peer: bytes) -> str:
        return ""

    def bans(self) -> dict[bytes, Ban]:
        return {PEER: Ban(600.0, "bad", by_operator=False)}

    async def keep(self, peer: bytes) -> None:
        pass

    async def send(self, peer: bytes, data: bytes) -> None:
        self.said.append("sent")

    def fetch_blob(self, peer: bytes, authorization: str, first_byte: int) -> NoReturn:
        raise AssertionError("nobody serves here")

    async def publish(self, topic: str, data: bytes) -> None:
        self.said.append("published")


class ToldCore:
    """Answers each event with the actions that were put down for its type, once, and wakes who waits for it."""

    def __init__(self, real: Any) -> None:
        self.identity, self.ledger = real.identity, real.ledger
        self.script: dict[type, list[ac.Action]] = {}
        self.heard: list[ev.Event] = []
        self.heard_at_ms: list[int] = []
        self._changed = asyncio.Event()

    def handle(self, event: ev.Event, now_ms: int) -> list[ac.Action]:
        self.heard.append(event)
        self.heard_at_ms.append(now_ms)
        self._changed.set()
        return self.script.pop(type(event), [])

    async def until(self, event: ev.Event) -> None:
        async with asyncio.timeout(10):
            while event not in self.heard:
                self._changed.clear()
                await self._changed.wait()


def made(home: Home) -> tuple[Runtime, ToldCore, list[str]]:
    """A runtime that does not run yet, its core, and what its link says."""
    runtime = Runtime(home)
    core = ToldCore(runtime.node)
    runtime.node = core  # type: ignore[assignment]
    return runtime, core, runtime._network.link.said  # type: ignore[attr-defined]


@asynccontextmanager
async def running(runtime: Runtime) -> AsyncIterator[None]:
    ready = asyncio.Event()
    run = asyncio.create_task(runtime.run(serve, ready.set))
    await asyncio.wait({run, asyncio.create_task(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield
    finally:
        runtime.stopping.set()
        await run


def persist() -> ac.Persist:
    return ac.Persist((note(),))


def note() -> Entry:
    return entry(network=NETWORK.network_id())


def refuse(entries: Sequence[Entry], durable: bool) -> NoReturn:
    raise OSError("the disk is full")
