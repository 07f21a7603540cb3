"""Runs one node on a real machine: feeds events to the core, one at a time, and carries out what it asks for.

    link, API, meter, timers, workers → queue → core.handle → actions → commit → the rest

All decisions are the core's. Long actions are tasks whose result is the next event. What was asked to be durable is
committed before anything else of the same turn is done; if the commit fails the node stops at once, having said
nothing: the next start rebuilds the core from the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from ledger.ledger import replay
from ledger.store.sqlite import SqliteStore
from node import events as ev
from node.config import Home, load_config, load_genesis, load_keypair, load_peers, load_token, write_private
from node.core import Node
from node.data import DataClient, DataServer, make_certificate
from node.energy.source import source_from_config
from node.eventlog import EventLog
from node.events import Action, Event, Persist
from node.link import GossipArrived, Link, LinkError, LinkEvent, LinkFailed, MessageArrived
from node.link import PeerConnected as LinkConnected
from node.link import PeerDisconnected as LinkDisconnected
from node.matching.baselines import compare
from node.matching.explain import summary
from node.matching.greedy import match
from node.matching.instance import record
from node.meter import Meter
from node.trainer import Trainer
from node.training.blobs import BlobStore
from node.turn import Identity
from protocol.direct import Entries, encode_direct
from protocol.envelope import open_entry
from protocol.errors import Ignore, LocalError, Reject
from protocol.gossip import Topics, judge
from protocol.identity import peer_id
from protocol.messages import ARRAY_MAX

QUEUE_MAX = 4096  # events; beyond it whoever brings one waits, and the network pushes back
COMMIT_TURNS_MAX = 64  # turns that share one commit
ENTRIES_PER_MESSAGE_BYTES = 1024 * 1024
ENTRIES_PER_REQUEST_MAX = 4096  # then `more`: the other asks again, so nobody is served for ever
BLOB_MAX_BYTES = 64 * 2**30  # the bound of a Blob on the wire
TASKS_MAX = 1024  # sends and dials under way; beyond it the newest are dropped: sync repeats what was lost

log = logging.getLogger("heliotrope")
Result = TypeVar("Result")


class Runtime:
    """One node, from `run` to its end."""

    def __init__(self, home: Home) -> None:
        """Read the home and the ledger. Raises LocalError, naming file and remedy."""
        self.home = home
        self.config = load_config(home)
        self.genesis = load_genesis(home.genesis_path)
        self.keypair = load_keypair(home, self.genesis)
        self.token = load_token(home)
        network = self.genesis.network_id()
        self.store = SqliteStore(home.ledger_path, network)
        ledger = replay(self.genesis, self.store.replay(), self.store.forks())
        self.topics = Topics.of(network)
        identity = Identity(
            self.keypair, self.config.label, self.genesis, network, self.topics, random.SystemRandom()
        )
        bootstrap = tuple(dict.fromkeys((*self.config.link.bootstrap, *load_peers(home))))
        self.node = Node(identity, ledger, self.config.offer(), bootstrap)
        self.blobs = BlobStore(home.blobs_path, BLOB_MAX_BYTES)
        self.log = EventLog()
        self.started_at_unix_ms = time.time_ns() // 10**6
        self.api_url = ""
        self.stopping = asyncio.Event()
        self._queue: asyncio.Queue[tuple[Event, asyncio.Future[list[Action]] | None]] = asyncio.Queue(QUEUE_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self._verifying = asyncio.Lock()
        self._data_client = DataClient(self.blobs, self.keypair)
        self._data_server = DataServer(self.blobs, self.keypair, self.now_ms)
        self._trainer = Trainer(home.work_path, self.blobs, self._data_client, self.now_ms, self._emit)
        newest = ledger.state.attestations_of.get(self.keypair.public)
        read_until_ms = newest[-1].attestation.end_ms if newest else 0
        self._meter = Meter(source_from_config(self.config.energy), self.genesis, self.now_ms, read_until_ms)
        self._link = Link(
            seed=self.keypair.seed,
            listen=self.config.link.listen,
            topics=(self.topics.adverts, self.topics.entries),
            judge=self._judge,
            deliver=self._deliver,
        )

    # --- life -------------------------------------------------------------------------------------------------------

    async def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Run until `stopping` is set. Raises LocalError if the node cannot start, or had to stop."""
        from node.api.server import serve

        try:
            certificate_path = self.home.path / "tls.pem"
            certificate_sha256 = make_certificate(certificate_path)
            data_host = self.config.link.data_host
            data_port = await self._data_server.start(data_host, self.config.link.data_port, certificate_path)
            await self._link.start()
            async with serve(self, self.token) as self.api_url:
                self._write_runtime_file()
                loop = asyncio.create_task(self._loop())
                self._emit(ev.Started(self._link.addresses, f"https://{data_host}:{data_port}", certificate_sha256))
                meter = asyncio.create_task(self._read_meter_each_slot())
                on_ready()
                stopping = asyncio.create_task(self.stopping.wait())
                await asyncio.wait({loop, meter, stopping}, return_when=asyncio.FIRST_COMPLETED)
                for task in (loop, meter, stopping):
                    task.cancel()
                for result in await asyncio.gather(loop, meter, stopping, return_exceptions=True):
                    if isinstance(result, Exception):
                        raise result
        finally:
            await self._stop()

    async def _stop(self) -> None:
        self.home.runtime_path.unlink(missing_ok=True)
        await self._trainer.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._link.stop()
        await self._data_client.close()
        await self._data_server.stop()
        self.store.close()

    def _write_runtime_file(self) -> None:
        facts = {
            "pid": os.getpid(),
            "api": self.api_url,
            "peer_id": peer_id(self.keypair.public),
            "label": self.config.label,
            "addresses": list(self._link.addresses),
            "started_unix_ms": self.started_at_unix_ms,
        }
        write_private(self.home.runtime_path, json.dumps(facts, indent=2))

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where peers reach this node, once it runs."""
        return self._link.addresses

    # --- events in --------------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Network time."""
        return self.genesis.clock.network_time_ms(time.time_ns() // 10**6)

    async def submit(self, event: Event) -> list[Action]:
        """Queue an event and wait until its turn has been carried out: what it recorded is durable then. Returns the
        actions of the turn."""
        done: asyncio.Future[list[Action]] = asyncio.get_running_loop().create_future()
        await self._queue.put((event, done))
        return await done

    async def compute(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run a pure function on a worker thread."""
        return await asyncio.to_thread(function, *arguments)

    def _emit(self, event: Event) -> None:
        """Queue an event of our own; if the queue is full, as soon as there is room."""
        try:
            self._queue.put_nowait((event, None))
        except asyncio.QueueFull:
            self._spawn(self._put(event))

    async def _put(self, event: Event) -> None:
        await self._queue.put((event, None))

    def _judge(self, topic: str, data: bytes) -> bool:
        """Called on the libp2p thread: pure but for the clock."""
        try:
            judge(self.topics, self.node.identity.network, topic, data, self.now_ms())
        except (Ignore, Reject):
            return False
        return True

    def _deliver(self, event: LinkEvent) -> None:
        match event:
            case LinkConnected(peer):
                self._emit(ev.PeerConnected(peer))
            case LinkDisconnected(peer):
                self._emit(ev.PeerDisconnected(peer))
            case GossipArrived(topic, peer, data):
                self._emit(ev.GossipReceived(topic, peer, data))
            case MessageArrived(peer, data):
                self._emit(ev.MessageReceived(peer, data))
            case LinkFailed(reason):
                self.log.append("link failed", {"reason": reason}, self.now_ms())
                log.warning("the network link failed and restarts; messages under way are lost: %s", reason)

    async def _read_meter_each_slot(self) -> None:
        while True:
            await self._meter.until_next_slot()
            self._emit(await self._meter.read())

    # --- the loop ---------------------------------------------------------------------------------------------------

    async def _loop(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < COMMIT_TURNS_MAX and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            now_ms = self.now_ms()
            turns = [(self.node.handle(event, now_ms), done) for event, done in batch]
            entries = [e for actions, _ in turns for a in actions if isinstance(a, Persist) for e in a.entries]
            if entries:
                try:
                    await asyncio.to_thread(self.store.append, entries)
                except Exception as error:
                    raise LocalError(
                        "HEL-LEDGER-007",
                        f"{len(entries)} entries could not be stored and nothing of them was said: {error}",
                        "Free some disk space or mend the disk, then start the node again.",
                    ) from error
            for actions, done in turns:
                for action in actions:
                    self._perform(action)
                if done is not None and not done.done():
                    done.set_result(actions)

    # --- actions out ------------------------------------------------------------------------------------------------

    def _perform(self, action: Action) -> None:
        match action:
            case ev.Persist():
                pass  # committed already
            case ev.PersistFork(author):
                self.store.add_fork(self.node.ledger.forks[author])
            case ev.Notify(kind, data):
                self.log.append(kind, data, self.now_ms())
                log.info("%s %s", kind, json.dumps(data, default=str, ensure_ascii=False)[:2000])
            case ev.SetTimer(timer, at_ms):
                wait_ms = self.genesis.clock.real_ms(max(0, at_ms - self.now_ms()))
                self._later(wait_ms, ev.TimerFired(timer))
            case ev.SetTimeout(timer, after_ms):
                self._later(after_ms, ev.TimerFired(timer))
            case ev.RememberPeers(addresses):
                write_private(self.home.peers_path, json.dumps(addresses))
            case ev.Publish(topic, data):
                self._spawn_lossy(self._link.publish(topic, data))
            case ev.Send(peer, message):
                self._send(peer, encode_direct(message))
            case ev.SendEntries(peer, ranges):
                self._spawn_lossy(self._send_entries(peer, ranges))
            case ev.Dial(address):
                self._spawn_lossy(self._dial(address))
            case ev.Verify():
                self._spawn(self._verify(action))
            case ev.StopShard(shard):
                self._spawn(self._trainer.stop_shard(shard))
            case ev.CloseModel(job):
                self._spawn(self._trainer.close_model(job))
            case _:
                self._spawn(self._answer(self._work(action)))

    def _work(self, action: Action) -> Coroutine[Any, Any, Event | None]:
        """The long action, whose result is the next event."""
        match action:
            case ev.ReadMeter():
                return self._meter.read()
            case ev.Match():
                return self._match(action)
            case ev.StartShard():
                return self._trainer.start_shard(action)
            case ev.TrainRound():
                return self._trainer.train_round(action)
            case ev.PrepareModel():
                return self._trainer.prepare_model(action)
            case ev.StepOuter():
                return self._trainer.step_outer(action)
            case ev.FinishModel():
                return self._trainer.finish_model(action)
            case _:
                raise TypeError(f"nobody carries out {type(action).__name__}")

    async def _answer(self, work: Coroutine[Any, Any, Event | None]) -> None:
        event = await work
        if event is not None:
            await self._put(event)

    async def _match(self, action: ev.Match) -> Event:
        def compute() -> ev.Matched:
            instance = self.blobs.put(record(action.candidates, action.demand))
            plan = match(action.candidates, action.demand)
            return ev.Matched(action.job, plan, instance, summary(plan, compare(action.candidates, plan)))

        return await self.compute(compute)

    async def _verify(self, action: ev.Verify) -> None:
        """Open entries on a worker thread; one batch at a time, so that their order is kept."""

        def compute() -> ev.EntriesVerified:
            entries, refusals = [], []
            for raw in action.raws:
                try:
                    entries.append(open_entry(raw, self.node.identity.network))
                except Reject as refusal:
                    refusals.append(str(refusal))
            return ev.EntriesVerified(action.peer, tuple(entries), tuple(refusals), action.more)

        async with self._verifying:
            await self._put(await self.compute(compute))

    async def _send_entries(self, peer: bytes, ranges: Sequence[tuple[bytes, int]]) -> None:
        left = ENTRIES_PER_REQUEST_MAX
        batch: list[bytes] = []
        size_bytes = 0
        for author, from_seq in ranges:
            while left > 0:
                raws = await asyncio.to_thread(self.store.feed, author, from_seq, min(left, ARRAY_MAX))
                for raw in raws:
                    if len(batch) == ARRAY_MAX or size_bytes + len(raw) > ENTRIES_PER_MESSAGE_BYTES:
                        self._send(peer, encode_direct(Entries(entries=tuple(batch), more=False)))
                        batch, size_bytes = [], 0
                    batch.append(raw)
                    size_bytes += len(raw)
                left -= len(raws)
                from_seq += len(raws)
                if len(raws) < ARRAY_MAX:
                    break
        if batch:
            self._send(peer, encode_direct(Entries(entries=tuple(batch), more=left <= 0)))

    def _send(self, peer: bytes, data: bytes) -> None:
        if peer == self.keypair.public:
            self._emit(ev.MessageReceived(peer, data))
        else:
            self._spawn_lossy(self._link.send(peer, data))

    async def _dial(self, address: str) -> None:
        try:
            await self._link.dial(address)
        except LinkError as error:
            await self._put(ev.DialFailed(address, error.cause))

    def _later(self, after_ms: int, event: Event) -> None:
        asyncio.get_running_loop().call_later(after_ms / 1000, self._emit, event)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_over)

    def _spawn_lossy(self, work: Coroutine[Any, Any, Any]) -> None:
        """Network work that may fail or be dropped: the peers' sync and the reconciling pass repeat what matters."""

        async def tolerate() -> None:
            with contextlib.suppress(LinkError):
                await work

        if len(self._tasks) >= TASKS_MAX:
            work.close()
            return
        self._spawn(tolerate())

    def _task_over(self, task: asyncio.Task[None]) -> None:
        """A task that failed is a fault of this program: say what may be lost, and go on."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an action failed; its result is lost and timers will notice: %r", error, exc_info=error)
