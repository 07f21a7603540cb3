"""A node behind the real API, on real sockets and a real store, without neighbours and with simulated workers.

It does what `node.running.runtime.Runtime` does for the API's sake. Its clock stands still but for what training takes.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from ledger.ledger import replay
from ledger.store.sqlite import SqliteStore
from node.actions import (
    Action,
    Match,
    Notify,
    Persist,
    ReadMeter,
    Send,
    SetTimer,
)
from node.api.server import serve
from node.core import Node
from node.data.traffic import Traffic
from node.energy.profile import Profile
from node.energy.supply import EnergyConfig
from node.events import (
    Event,
    Matched,
    MessageReceived,
    MeterRead,
    Started,
    Timer,
    TimerFired,
    TimerKind,
)
from node.home.config import ApiConfig, LinkConfig, MarketConfig
from node.home.home import Home
from node.link import Link, Verdict
from node.market.question import answer
from node.running.eventlog import EventLog
from node.running.guarding import Guarding
from node.sim.training import Trainer
from node.training.blobs import BlobStore
from node.turn import Identity
from protocol.direct import encode_direct
from protocol.envelope import parse
from protocol.genesis import Genesis
from protocol.gossip import Topics
from protocol.messages import Offer
from tests.builders import NOW_MS, SLOT_MS, digest, genesis, keypair, offer

TOKEN = "the-token-of-the-tests"
ROUND_MS = 2000
Result = TypeVar("Result")

SITE = EnergyConfig(
    device_id="meter",
    zone="NO-NO5",
    latitude=60.4,
    longitude=5.3,
    carrier="hydro",
    capacity_w=400,
    own_g_per_kwh=24,
)


class FollowedLog(EventLog):
    """Says when a reader has caught up and waits: what happens then, it sees happen."""

    def __init__(self, on_wait: Callable[[], None]) -> None:
        super().__init__()
        self._on_wait = on_wait

    async def wait(self, number: int) -> None:
        self._on_wait()
        await super().wait(number)


class Host:
    """The node of the tests' n-th key. `sells`: what it offers, None if it only buys. `raws`: its ledger so far, then
    on the disk. `trains`: whether its workers answer."""

    def __init__(
        self,
        directory: Path,
        *,
        sells: Offer | None = None,
        raws: tuple[bytes, ...] = (),
        network: Genesis | None = None,
        bootstrap: tuple[str, ...] = (),
        trains: bool = False,
        may_sign: bool = True,
        key: int = 0,
        invitation: bytes = b"",
    ) -> None:
        self.genesis = network or genesis(surplus_assurance_min=0)
        self.keypair = keypair(key)
        network_id = self.genesis.network_id()
        self.store = SqliteStore(directory / "ledger.db" if raws else ":memory:", network_id)
        self.store.append([parse(raw) for raw in raws], durable=True)
        topics = Topics.of(network_id)
        identity = Identity(self.keypair, "lead", self.genesis, network_id, topics, random.Random(0), invitation)
        self.node = Node(identity, replay(self.genesis, raws), sells, bootstrap, may_sign=may_sign)
        self.blobs = BlobStore(directory / "blobs", 2**30)
        self.traffic = Traffic()
        self.log = FollowedLog(self._on_followed)
        link = Link(
            seed=self.keypair.seed,
            listen="/ip4/127.0.0.1/tcp/0",
            topics=(topics.entries,),
            judge=lambda topic, data: Verdict.ACCEPT,
            deliver=lambda event: None,
        )
        self.guarding = Guarding(link, Home(directory), ("192.0.2.0/24",))  # the link is not started
        self.config = SimpleNamespace(api=ApiConfig(port=0), link=LinkConfig(), market=MarketConfig())
        self.started_at_unix_ms = 1
        self.found: dict[tuple[str, str], tuple[str, ...]] = {}  # by look-ups
        self.clock_ms = NOW_MS
        self.closes_bids_when_followed = False  # as soon as somebody waits for events; else when the test says so
        self._trainer = Trainer({digest("text")}, lambda _: "", ROUND_MS, 1) if trains else None
        self._closing: list[Timer] = []
        self._following: deque[Event] = deque()
        self._source = Profile(SITE)
        self._read_until_ms = NOW_MS - SLOT_MS

    def now_ms(self) -> int:
        return self.clock_ms

    async def submit(self, event: Event) -> list[Action]:
        return self.turn(event)

    async def look(self, region: str, device: str) -> tuple[str, ...]:
        return self.found.get((region, device), ())

    async def compute(self, function: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.to_thread(function, *arguments)

    def start(self) -> None:
        self.turn(Started((), "https://127.0.0.1:1", bytes(32)))

    def turn(self, event: Event) -> list[Action]:
        """One event, and whatever follows from it here; the actions of the one."""
        actions = self._handle(event)
        while self._following:
            self._handle(self._following.popleft())
        return actions

    def close_bids(self) -> None:
        """The window for bids is over."""
        while self._closing:
            self.turn(TimerFired(self._closing.pop()))

    def _on_followed(self) -> None:
        if self.closes_bids_when_followed:
            self.close_bids()

    def _handle(self, event: Event) -> list[Action]:
        actions = self.node.handle(event, self.clock_ms)
        for action in actions:
            self._perform(action)
        return actions

    def _perform(self, action: Action) -> None:
        match action:
            case Persist(entries):
                self.store.append(entries, durable=True)
            case Notify(kind, data):
                self.log.append(kind, data, self.clock_ms)
            case SetTimer(timer, _) if timer.kind is TimerKind.BIDS_CLOSE:
                self._closing.append(timer)
            case Send(peer, message) if peer == self.keypair.public:
                self._following.append(MessageReceived(peer, encode_direct(message)))
            case Match(job, candidates, demand):
                plan, recorded, totals = answer(candidates, demand)
                self._following.append(Matched(job, plan, self.blobs.put(recorded), totals))
            case ReadMeter():
                self._read_meter()
            case _:
                self._train(action)

    def _read_meter(self) -> None:
        if self.clock_ms > self._read_until_ms:
            reading = self._source.read(self._read_until_ms, self.clock_ms)
            forecast = self._source.forecast(self.clock_ms // SLOT_MS, 64, SLOT_MS)
            self._read_until_ms = self.clock_ms
            self._following.append(MeterRead(reading, forecast))

    def _train(self, action: Action) -> None:
        result = self._trainer.answer(action, self.clock_ms) if self._trainer else None
        if result is not None:
            after_ms, event = result
            self.clock_ms += after_ms
            self._following.append(event)


def seller() -> Offer:
    """One machine that fits the jobs of these tests."""
    return offer(units=2, memory_mb=2048, rate_tps=20_000, carrier="hydro", capacity_w=400, own_g_per_kwh=24)


@asynccontextmanager
async def served(host: Host) -> AsyncIterator[str]:
    """The URL at which the API of this host answers."""
    async with serve(cast(Any, host), TOKEN) as url:
        yield url
