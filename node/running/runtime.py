"""Runs one node on a real machine: feeds events to the core, one at a time, and carries out what it asks for.

    link, API, meter, timers, workers → inbox → core.handle → actions → commit → the rest

All decisions are the core's. Long actions are tasks whose result is the next event. What was asked to be durable is
committed before anything else of the same turn is done; if the commit fails the node stops at once, having said
nothing: the next start rebuilds the core from the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from ledger import snapshot
from ledger.store import open_store
from node import actions as ac
from node import events as ev
from node.actions import Action
from node.core import Kept, Node
from node.data.admission import STALL_TIMEOUT_S, Admission
from node.data.certificate import make_certificate, reachable_host
from node.data.client import DataClient
from node.data.roads import Https, Streams
from node.data.server import DataServer
from node.data.stream_server import StreamServer
from node.data.traffic import Traffic
from node.energy.hardware.watch import open_watch
from node.events import Event
from node.feeds.checkpoints import restore
from node.feeds.records import keep_record
from node.home.approvals import approvals_event
from node.home.config import Config, load_config
from node.home.home import Home
from node.home.identity import load_dsn, load_genesis, load_keypair, load_token
from node.home.invitations import load_invitation
from node.home.lasting import leading_out, load_peers, load_rules, write_runtime_file
from node.link import Act, LinkError
from node.market.question import answer
from node.market.tickets import data_url
from node.round_trips import own_place
from node.running.answering import Answering
from node.running.eventlog import EventLog
from node.running.guarding import Guarding
from node.running.inbox import Inbox, Item
from node.running.keeping import keep, remember
from node.running.meter import open_meter
from node.running.network import Network
from node.running.serving import read_event
from node.running.tasks import Lossy, Tasks
from node.running.trainer import Trainer, failure_of
from node.running.trees import Trees
from node.running.verifying import Verifying
from node.training.blobs import BlobStore
from node.turn import Identity
from protocol.errors import LocalError
from protocol.gossip import Topics
from protocol.identity import peer_id

SENDING_MAX = 1024  # sends, publications and dials under way; beyond it new ones are dropped
COMMIT_TURNS_MAX = 64  # turns that share one commit
BLOB_MAX_BYTES = 64 * 2**30  # the bound of a Blob on the wire
SNAPSHOT_ENTRIES_MIN = 1_000  # fewer are folded faster than a snapshot is written
GOODBYE_TIMEOUT_S = 1.0
CLOCK_CHECK_MS = 60_000  # how long a timer may sleep before it looks again: the machine's clock may be set

log = logging.getLogger("heliotrope")
Result = TypeVar("Result")
Serve: TypeAlias = "Callable[[Runtime, str], AbstractAsyncContextManager[str]]"  # the API: node and token in, URL out


class Runtime:
    """One node, from `run` to its end."""

    def __init__(self, home: Home, config: Config | None = None, *, trusts_ledger: bool = False) -> None:
        """Read the home and the ledger. Raises LocalError, naming file and remedy; nothing is held then.
        `trusts_ledger`: the operator knows that the ledger holds all that this key has signed."""
        self.home = home
        self.trusts_ledger = trusts_ledger
        self.config = config or load_config(home)
        self.genesis = load_genesis(home.genesis_path)
        self.keypair = load_keypair(home, self.genesis)
        self.token = load_token(home)
        with contextlib.ExitStack() as undo:
            # First of all, for its lock: what follows clears away what a crash left, and only the home's node may.
            self.store = open_store(home.ledger_path, self.genesis.network_id(), load_dsn(home, self.config.ledger))
            undo.callback(self.store.close)
            self._build()
            undo.pop_all()

    def _build(self) -> None:
        home, network = self.home, self.genesis.network_id()
        ledger = snapshot.load(self.genesis, self.store)
        self._snapshot_at = ledger.count
        chance, label = random.SystemRandom(), self.config.label
        topics, invitation = Topics.of(network), load_invitation(home)
        identity = Identity(self.keypair, label, self.genesis, network, topics, chance, invitation)
        kept = Kept(self.store.epoch, self.store.cursors(), restore(ledger, self.store), load_peers(home))
        may_sign = self.trusts_ledger or (home.fresh_path.exists() and self.keypair.public not in ledger.heads)
        offer, terms, rules = self.config.offer(), self.config.terms(), load_rules(home)
        place = own_place(self.config.energy, self.genesis)
        self.node = Node(
            identity,
            ledger,
            offer,
            self.config.link.bootstrap,
            terms=terms,
            kept=kept,
            may_sign=may_sign,
            rules=rules,
            place=place,
            regions=frozenset(self.config.link.regions),
        )
        self._trees = Trees(self.store.ids)
        self.blobs = BlobStore(home.blobs_path, BLOB_MAX_BYTES)
        self.log = EventLog()
        self.started_at_unix_ms = unix_ms()
        self.api_url = ""  # known once it runs, as are the addresses
        self.addresses: tuple[str, ...] = ()
        self.stopping = asyncio.Event()
        self._tasks = Tasks()
        self._inbox = Inbox(self._tasks)
        self._sending = Lossy(self._tasks, SENDING_MAX, LinkError)
        self.traffic = Traffic()
        admission = Admission(self._find_blob, self.keypair.public, self.now_ms, unix_ms, self.traffic)
        self._network = Network(
            identity,
            self.config.link,
            self.config.regions(),
            self.now_ms,
            emit=self._emit,
            put=self._inbox.put,
            hear=self._inbox.hear,
            notify=lambda kind, data: self._perform(ac.Notify(kind, data)),
            banned=lambda: self._tasks.start(self.guarding.keep()),
            serve_blob=StreamServer(admission).serve,
        )
        admission.refusal = self._network.link.refusal
        self.guarding = Guarding(self._network.link, home, self.config.link.deny)
        self._answering = Answering(identity, self.store, self.blobs, self._network.send, self._tasks)
        self._verifying = Verifying(network, self._inbox.put)
        self._remember_turn = asyncio.Lock()
        roads = (Https(STALL_TIMEOUT_S), Streams(self._network.link.fetch_blob))
        self._data_client = DataClient(self.keypair, roads, self.traffic)
        power = open_watch(self.config.machine.power)
        self._trainer = Trainer(home.work_path, self.blobs, self._data_client, self.now_ms, self._emit, power)
        self._data_server = DataServer(admission, self._network.link.denies)
        self._meter = open_meter(self.config.energy, ledger, self.keypair.public, self.now_ms, power)

    # --- life -------------------------------------------------------------------------------------------------------

    async def run(self, serve: Serve, on_ready: Callable[[], None] = lambda: None) -> None:
        """Run until `stopping` is set. Raises LocalError if the node cannot start, or had to stop."""
        async with contextlib.AsyncExitStack() as undo:  # each step back is taken, whatever became of the others
            undo.callback(self.store.close)
            undo.callback(self._keep_snapshot)
            undo.push_async_callback(self._data_server.stop)
            undo.push_async_callback(self._network.link.stop)
            undo.push_async_callback(self._trainer.stop)
            undo.push_async_callback(self._cancel_tasks)
            link, certificate_path = self.config.link, self.home.path / "tls.pem"
            certificate_sha256 = make_certificate(certificate_path)
            port = await self._data_server.start(link.bind_host, link.data_port, certificate_path)
            await self.guarding.restore()
            await self._network.link.start()
            undo.callback(self.home.runtime_path.unlink, missing_ok=True)
            self.api_url = await undo.enter_async_context(serve(self, self.token))
            self.addresses = leading_out(self._network.link.addresses) or self._network.link.addresses
            facts = {"peer_id": peer_id(self.keypair.public), "label": self.config.label, "addresses": self.addresses}
            write_runtime_file(self.home, api=self.api_url, started_unix_ms=self.started_at_unix_ms, **facts)
            url = data_url(link.data_host or reachable_host(self.addresses), port)
            started = ev.Started(self.addresses, url, certificate_sha256, link.data_host is not None)
            on_ready()
            await self._live(started)

    async def _live(self, started: Event) -> None:
        """Until `stopping` is set, or the loop fails: then its failure is raised."""
        parts = {
            asyncio.create_task(self._loop(started)),
            asyncio.create_task(self._read_meter_each_slot()),
            asyncio.create_task(self._verifying.run()),
            asyncio.create_task(self.stopping.wait()),
        }
        try:
            ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            if self.stopping.is_set():
                await self._say_goodbye()
        finally:
            self.stopping.set()
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
        for part in ended:
            part.result()

    async def _say_goodbye(self) -> None:
        """Tell peers what they would otherwise learn when our advert expires, if that takes no longer than a moment."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_TIMEOUT_S):
                await self.submit(ev.Stopping())
                await self._sending.idle()

    async def _cancel_tasks(self) -> None:
        self.stopping.set()
        await self._tasks.cancel()

    def _keep_snapshot(self) -> None:
        """At an orderly end, so that the next start need not fold all entries anew."""
        try:
            if self.node.ledger.count - self._snapshot_at >= SNAPSHOT_ENTRIES_MIN:
                snapshot.save(self.node.ledger, self.store)
        except LocalError as error:
            log.warning("no snapshot was kept, the next start takes longer: %s", error)

    def _find_blob(self, sha256: bytes) -> Path | None:
        return self._trainer.find(sha256)

    # --- events in --------------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Network time."""
        return self.genesis.clock.network_time_ms(unix_ms())

    async def submit(self, event: Event) -> list[Action]:
        """Queue an event and wait until its turn was carried out, what it recorded durable; the turn's actions."""
        return await self._inbox.submit(event)

    async def look(self, region: str, device: str) -> tuple[str, ...]:
        """The addresses of those who offer a device in a region. Raises LinkError."""
        return await self._network.look(region, device)

    async def compute(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run a pure function on a worker thread."""
        return await asyncio.to_thread(function, *arguments)

    def _emit(self, event: Event) -> None:
        """Queue an event of our own. Nobody listens after the end."""
        if not self.stopping.is_set():
            self._inbox.emit(event)

    async def _read_meter_each_slot(self) -> None:
        while True:
            await self._meter.until_next_slot()
            self._emit(await self._meter.read())

    # --- the loop ---------------------------------------------------------------------------------------------------

    async def _loop(self, started: Event) -> None:
        """The first event is `started`; what came in while the node was starting waits behind it."""
        batch: list[Item] = [(started, None)]
        while True:
            now_ms = self.now_ms()
            turns = [(self.node.handle(event, now_ms), done) for event, done in batch]
            try:
                await self._commit([action for actions, _ in turns for action in actions])
            except LocalError as error:
                for _, done in turns:
                    if done is not None and not done.done():
                        done.set_exception(error)
                raise
            for actions, done in turns:
                for action in actions:
                    self._perform(action)
                if done is not None and not done.done():
                    done.set_result(actions)
            batch = [await self._take()]
            while len(batch) < COMMIT_TURNS_MAX and self._inbox:
                batch.append(await self._take())

    async def _take(self) -> Item:
        event, done = await self._inbox.take()
        self._network.taken(event)
        return event, done

    async def _commit(self, actions: Sequence[Action]) -> None:
        """Make durable what the turns of a batch ask to keep. Raises LocalError."""
        lasting = [action for action in actions if isinstance(action, ac.Lasting)]
        proofs = [self.node.ledger.forks[action.author] for action in lasting if isinstance(action, ac.PersistFork)]
        if not lasting:
            return
        try:
            signed = await asyncio.to_thread(keep, self.store, lasting, proofs, self.keypair.public)
        except Exception as error:
            cause, remedy = str(error), "Free some disk space or mend the disk, then start the node again."
            if isinstance(error, LocalError):
                cause, remedy = error.cause, error.remedy
            cause = f"{len(lasting)} writes to the ledger failed and nothing of them was said: {cause}"
            raise LocalError("HEL-LEDGER-007", cause, remedy) from error
        if signed:
            self.home.fresh_path.unlink(missing_ok=True)

    # --- actions out ------------------------------------------------------------------------------------------------

    def _perform(self, action: Action) -> None:
        match action:
            case ac.Persist() | ac.PersistFork() | ac.PersistAside() | ac.PersistCursor() | ac.PersistCheckpoint():
                pass  # committed already
            case ac.Notify(kind, data):
                self.log.append(kind, data, self.now_ms())
                log.info("%s %s", kind, json.dumps(data, default=str, ensure_ascii=False)[:2000])
            case ac.SetTimer(timer, at_ms):
                self._fire_at(at_ms, timer)
            case ac.SetTimeout(timer, after_ms):
                asyncio.get_running_loop().call_later(after_ms / 1000, self._emit, ev.TimerFired(timer))
            case ac.RememberPeers() | ac.KeepRules():
                self._tasks.start(self._remember(action))
            case ac.Publish(topic, data):
                self._sending.start(self._network.link.publish(topic, data))
            case ac.Send(peer, message):
                for_whom = peer if peer != self.keypair.public else None
                self._sending.start(self._network.tell(peer, message), for_whom)
            case ac.SendEntries() | ac.SendIds() | ac.SendNews() | ac.SendMatching() | ac.Cosign():
                self._answering.start(action)
            case ac.Blame(peer):
                self._network.link.blame(peer, Act.REJECTED_MESSAGE)
            case ac.Dial() | ac.Provide() | ac.Look():
                self._sending.start(self._network.seek(action))
            case ac.Verify():
                self._verifying.take(action)
            case _:
                self._tasks.start(self._answer(action))

    def _work(self, action: Action) -> Coroutine[Any, Any, Event | None]:
        """The long action, whose result is the next event."""
        match action:
            case ac.ReadMeter():
                return self._meter.read()
            case ac.ReadApprovals():
                return self.compute(approvals_event, self.home.approvals_path)
            case ac.Match():
                return self._match(action)
            case ac.FindForks() | ac.ReadTree() | ac.Refold():
                return self.compute(read_event, self.store, self._trees, self.genesis, action)
            case ac.KeepMatching():
                return self.compute(keep_record, action, self.blobs.keep)
            case _:
                return self._trainer.carry_out(action)

    async def _answer(self, action: Action) -> None:
        try:
            event = await self._work(action)
        except Exception as error:
            log.exception("%s failed by a fault of this program; its result is lost", type(action).__name__)
            event = failure_of(action, f"a fault of this program: {type(error).__name__}")
        if event is not None:
            await self._inbox.put(event)

    async def _match(self, action: ac.Match) -> Event:
        try:
            plan, recorded, totals = await self.compute(answer, action.candidates, action.demand)
            return ev.Matched(action.job, plan, await self.compute(self.blobs.put, recorded), totals)
        except (LocalError, OSError) as error:
            return ev.LeadFailed(action.job, f"the matching could not be recorded: {error}")

    def _fire_at(self, at_ms: int, timer: ev.Timer) -> None:
        """Never early, and late by a minute at most, though clocks are set and machines sleep."""
        left_ms = at_ms - self.now_ms()
        if left_ms <= 0:
            self._emit(ev.TimerFired(timer))
        elif not self.stopping.is_set():
            wait_ms = min(self.genesis.clock.real_ms(left_ms), CLOCK_CHECK_MS)
            asyncio.get_running_loop().call_later(wait_ms / 1000, self._fire_at, at_ms, timer)

    async def _remember(self, action: ac.RememberPeers | ac.KeepRules) -> None:
        async with self._remember_turn:
            try:
                await self.compute(remember, self.home, action)
            except OSError as error:
                log.warning("%s failed, the next start goes on from the last one: %s", type(action).__name__, error)


def unix_ms() -> int:
    """The world's time, which the machine's clock tells."""
    return time.time_ns() // 10**6
