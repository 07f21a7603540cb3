"""A node behind the real API, on real sockets and a real store, whose neighbours and workers are left out.

It does what `node.runtime.Runtime` does for the API's sake: carries out a turn's Persist and Notify, runs the matching,
reads the meter. Its clock stands still; timers fire when a test says so.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from ledger.ledger import Ledger, replay
from ledger.store.sqlite import SqliteStore
from node.api import serve
from node.config import ApiConfig
from node.core import Node
from node.energy.profile import Profile
from node.energy.source import EnergyConfig
from node.eventlog import EventLog
from node.events import (
    Action,
    Event,
    Match,
    Matched,
    MeterRead,
    Notify,
    Persist,
    ReadMeter,
    SetTimer,
    Started,
    Timer,
    TimerFired,
    TimerKind,
)
from node.matching.baselines import compare
from node.matching.explain import summary
from node.matching.greedy import match
from node.matching.instance import record
from node.training.blobs import BlobStore
from node.turn import Identity
from protocol.envelope import parse
from protocol.genesis import Genesis
from protocol.gossip import Topics
from protocol.messages import Offer
from tests.builders import NOW_MS, SLOT_MS, genesis, keypair, offer

TOKEN = "the-token-of-the-tests"
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


class Host:
    """The node of key 0. `sells`: whether it offers its own machine."""

    def __init__(
        self,
        directory: Path,
        *,
        sells: Offer | None = None,
        raws: tuple[bytes, ...] = (),
        network: Genesis | None = None,
        bootstrap: tuple[str, ...] = (),
    ) -> None:
        self.genesis = network or genesis(surplus_assurance_min=0)
        self.keypair = keypair(0)
        self.store = SqliteStore(directory / "ledger.db", self.genesis.network_id())
        if raws:
            self.store.append([parse(raw) for raw in raws])
        ledger: Ledger = replay(self.genesis, raws)
        network_id = self.genesis.network_id()
        identity = Identity(
            self.keypair, "lead", self.genesis, network_id, Topics.of(network_id), random.Random(0)
        )
        self.node = Node(identity, ledger, sells, bootstrap)
        self.blobs = BlobStore(directory / "blobs", 2**30)
        self.log = EventLog()
        self.config = SimpleNamespace(api=ApiConfig(port=0))
        self.started_at_unix_ms = 1
        self.clock_ms = NOW_MS
        self.close_bids_after_s: float | None = None  # None: when the test says so
        self.timers: list[Timer] = []

    def now_ms(self) -> int:
        return self.clock_ms

    async def submit(self, event: Event) -> list[Action]:
        return self.turn(event)

    async def compute(self, function: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.to_thread(function, *arguments)

    def start(self) -> None:
        self.turn(Started((), "https://127.0.0.1:1", bytes(32)))

    def turn(self, event: Event) -> list[Action]:
        """One event and whatever follows from it here."""
        actions = self.node.handle(event, self.clock_ms)
        for action in actions:
            self._perform(action)
        return actions

    def close_bids(self) -> None:
        """What happens when the window for bids is over."""
        for timer in self.timers:
            if timer.kind is TimerKind.BIDS_CLOSE:
                self.turn(TimerFired(timer))
        self.timers.clear()

    def _perform(self, action: Action) -> None:
        match action:
            case Persist(entries):
                self.store.append(entries)
            case Notify(kind, data):
                self.log.append(kind, data, self.clock_ms)
            case SetTimer(timer, _):
                self.timers.append(timer)
                if self.close_bids_after_s is not None:
                    asyncio.get_running_loop().call_later(self.close_bids_after_s, self.close_bids)
            case Match(job, candidates, demand):
                plan = match_(candidates, demand)
                instance = self.blobs.put(record(candidates, demand))
                self.turn(Matched(job, plan, instance, summary(plan, compare(candidates, plan))))
            case ReadMeter():
                source = Profile(SITE)
                reading = source.read(self.clock_ms - SLOT_MS, self.clock_ms)
                self.turn(MeterRead(reading, source.forecast(self.clock_ms // SLOT_MS, 64, SLOT_MS)))
            case _:
                pass  # network and workers: not here


match_ = match  # `match` is a keyword where it is needed


def seller() -> Offer:
    """One machine that fits the example's jobs."""
    return offer(units=2, memory_mb=2048, rate_tps=20_000, carrier="hydro", capacity_w=400, own_g_per_kwh=24)


@asynccontextmanager
async def served(host: Host) -> AsyncIterator[str]:
    """The URL at which the API of this host answers."""
    async with serve(cast(Any, host), TOKEN) as url:
        yield url
