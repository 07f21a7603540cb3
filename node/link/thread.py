"""The libp2p side of the link: one host on one trio thread, from its first bind to its end.

Nothing here restarts or decides; `Link` does. The library's failures are contained in `host.py` and those it names;
what they let through ends the thread, which says so. Who is there: `peers.py`; messages: `messages.py`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import trio
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from node.link.blobs import PROTOCOL as BLOBS
from node.link.blobs import BlobReader, Blobs, ServeBlob
from node.link.dials import unreached
from node.link.events import (
    Crossing,
    GossipArrived,
    LinkError,
    LinkEvent,
    PeerBanned,
    PeerConnected,
    PeerDisconnected,
    Verdict,
    banned,
    cannot_listen,
    describe,
    did_not_start,
    innermost,
    thread_is_down,
)
from node.link.finding.dht import Dht, Means
from node.link.gossip.pubsub import ContainedPubsub, PeerWatch
from node.link.gossip.router import ContainedGossipSub
from node.link.guard.conduct import Conduct
from node.link.guard.gate import Gate, Network
from node.link.guard.rates import TokenBucket
from node.link.guard.standing import Act, Ban, Standings
from node.link.host import build_host, require_free, running
from node.link.messages import PROTOCOL, Messages
from node.link.mux.muxer import cut, say_goodbye
from node.link.names import id_of, key_of, relay_of
from node.link.peers import Peers
from node.link.ping import PROTOCOL as PING
from node.link.ping import Pings
from node.link.publications import Publications
from node.link.ways.relay import RelayLimits
from node.link.ways.ways import Ways
from protocol.hello import Hello
from protocol.identity import KeyPair, peer_id

PUBLISH_RATE_PER_S = 50.0  # every other node pays for each of our messages; guess, not measured
PUBLISH_BURST = 100.0  # below the 128 RPCs that wait for one peer
DIAL_TIMEOUT_S = 10.0  # the library's default
DISCONNECT_TIMEOUT_S = 2.0  # it takes milliseconds
FLUSH_TIMEOUT_S = 1.0  # of what is under way at the end
GOODBYE_TIMEOUT_S = 0.3
LOOK_AGAIN_S = 0.05  # whether somebody listens by now, or the last byte has left

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """What `Link` is made with."""

    seed: bytes = field(repr=False)
    listen: str
    topics: tuple[str, ...]
    judge: Callable[[str, bytes], Verdict]
    hello: Hello
    admit: Callable[[bytes, Hello], str]
    serve_blob: ServeBlob
    patience_s: Callable[[str], float]
    ping_interval_s: float
    ping_timeout_s: float
    connections_per_address: int
    denied: tuple[Network, ...]
    relay: RelayLimits | None
    has_dht: bool


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of others, whatever becomes of the thread."""

    standings: Standings
    denied: dict[Network, float]  # until when, by `time.monotonic`
    losses: Counter[str]
    results: Counter[tuple[str, Verdict]]  # of the judge, by topic


class LinkThread:
    """`start`, `call`, `wake_publisher`, `stop` and the two futures belong to the loop; all else runs on the thread."""

    def __init__(self, settings: Settings, crossing: Crossing, outbox: Publications, record: Record) -> None:
        self.settings, self.crossing, self.outbox, self.record = settings, crossing, outbox, record
        self.losses = record.losses
        self.conduct = Conduct(record.standings, record.losses, record.results, self._on_banned)
        self.loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[tuple[str, ...]] = self.loop.create_future()
        """the addresses; or LinkError"""
        self.ended: asyncio.Future[str] = self.loop.create_future()
        """why"""
        self._calls: set[asyncio.Future[Any]] = set()
        self._dialling: WeakValueDictionary[bytes, trio.Lock] = WeakValueDictionary()
        self._dht: Dht | None = None
        self._outbox_filled = trio.Event()
        self._stop_asked = trio.Event()

    # On the loop.

    def start(self) -> None:
        threading.Thread(target=self._run, name="libp2p", daemon=True).start()

    async def call(self, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Await one of the coroutines below. Cancelling the caller does not stop it: half a frame ruins the stream."""
        answer, _ = self.expect()
        self._on_thread(self._spawn, answer, partial(function, *args))
        await answer

    def expect(self) -> tuple[asyncio.Future[None], Callable[[Exception | None], None]]:
        """A future, and what settles it from the thread; the thread's end settles it too. Raises LinkError if that was
        before."""
        if self.ended.done():
            raise thread_is_down(self.ended.result())
        answer = self.loop.create_future()
        self._calls.add(answer)
        answer.add_done_callback(self._calls.discard)
        return answer, lambda failure: self._on_loop(settle, answer, failure)

    def fetch_blob(self, key: bytes, authorization: str, first_byte: int) -> BlobReader:
        """Begin to fill a reader; whoever has it closes it."""
        reader = BlobReader(self._on_loop, self._on_thread)
        filling = asyncio.ensure_future(self.call(self.blobs.fetch, key, authorization, first_byte, reader))
        filling.add_done_callback(reader.end)
        return reader

    def wake_publisher(self) -> None:
        self._on_thread(self._outbox_filled.set)

    def blame(self, key: bytes, act: Act) -> None:
        self._on_thread(self.conduct.blame, key, act)

    def is_connected(self, key: bytes) -> bool:
        return key in self.peers.book

    def connections(self) -> int:
        return len(self._swarm.get_connections())

    def stop(self) -> None:
        """Once `ready`."""
        self._on_thread(self._stop_asked.set)

    def _finish(self, failure: BaseException | None) -> None:
        reason = describe(failure) if failure is not None else "it was stopped"
        if not self.ready.done():
            self.ready.set_exception(failure if isinstance(failure, LinkError) else did_not_start(reason))
        for answer in list(self._calls):
            settle(answer, thread_is_down(reason))
        self.ended.set_result(reason)

    # Across.

    def _on_thread(self, function: Callable[..., object], *args: object) -> None:
        with suppress(trio.RunFinishedError):  # `_finish` answers whoever waits
            self._token.run_sync_soon(function, *args)

    def _on_loop(self, function: Callable[..., object], *args: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self.loop.call_soon_threadsafe(function, *args)

    # On the thread.

    def _run(self) -> None:
        failure = None
        try:
            trio.run(self._main)
        except BaseException as error:  # noqa: BLE001  nothing stands above a thread; the loop is told what is lost
            failure = innermost(error)
            self.outbox.put_back(time.monotonic())
        self._on_loop(self._finish, failure)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        settings = self.settings
        require_free(settings.listen)
        gate = Gate(settings.connections_per_address, settings.denied)
        gate.deny(self.record.denied)
        self._host, self._swarm = build_host(
            settings.seed, settings.listen, settings.ping_interval_s, settings.ping_timeout_s, gate, self.conduct
        )
        self.peers = Peers(self._swarm, settings.hello, settings.admit, self.conduct, self._report, self._spawn_soon)
        self.messages = Messages(self._host, self.peers, self.crossing, self._on_thread, self._spawn_soon)
        self.peers.greet = self.messages.greet
        router = ContainedGossipSub(settings.patience_s)
        pubsub = ContainedPubsub(
            self._host, router, settings.topics, self.peers.admits, settings.judge, self._accept_gossip, self.conduct
        )
        self._swarm.register_notifee(PeerWatch(pubsub, self.peers.reconcile))
        self._host.set_stream_handler(PROTOCOL, self.messages.read)
        self._host.set_stream_handler(PING, Pings(self.conduct).answer)
        self.blobs = Blobs(self._host, self.peers.book, settings.serve_blob, self._on_loop, self._on_thread)
        self._host.set_stream_handler(BLOBS, self.blobs.answer)
        self._ways = Ways(self._host, self._swarm, self.peers.book, settings.relay, self.crossing.post)
        self._dht = self._build_dht() if settings.has_dht else None
        try:
            with trio.CancelScope() as scope:
                async with running(self._swarm), running(pubsub), running(router), trio.open_nursery() as self._nursery:
                    await pubsub.wait_until_ready()
                    for topic in settings.topics:
                        await pubsub.subscribe(topic)
                    if not await self._swarm.listen(Multiaddr(settings.listen)):
                        raise cannot_listen(settings.listen, "the library gives no reason")
                    self._nursery.start_soon(self._publish, pubsub)
                    addresses = tuple(map(str, self._host.get_addrs()))
                    self._nursery.start_soon(self.peers.reconcile_every, settings.ping_interval_s)
                    self._nursery.start_soon(self._ways.run, addresses)
                    if self._dht is not None:
                        self._dht.addresses = addresses
                        self._nursery.start_soon(self._dht.run)
                    self._on_loop(self.ready.set_result, addresses)
                    await self._stop_asked.wait()
                    with trio.move_on_after(FLUSH_TIMEOUT_S):
                        await self._flush(pubsub)
                    await self._say_goodbye()
                    scope.cancel()
        finally:
            pubsub.seen_messages.stop()  # a thread of its own
            with trio.CancelScope(shield=True), trio.move_on_after(DISCONNECT_TIMEOUT_S):
                await self._cut_all()  # or peers would wait for their pings
            self.peers.end_all()  # or the loop would never dial them again

    async def _flush(self, pubsub: ContainedPubsub) -> None:
        """Until what is under way has left."""
        pubsub.hurry()
        # The library tells nobody when a queue is empty.
        while (self.peers.book and len(self.outbox)) or self.messages.is_busy() or pubsub.is_busy():  # noqa: ASYNC110
            await trio.sleep(LOOK_AGAIN_S)
        await trio.sleep(LOOK_AGAIN_S)  # gossip is not acknowledged: until peers have read it

    async def _say_goodbye(self) -> None:
        """Peers close their ends; whoever does not is cut in the end."""
        connections = self._swarm.get_connections()
        with trio.move_on_after(GOODBYE_TIMEOUT_S):
            async with trio.open_nursery() as nursery:
                for connection in connections:
                    nursery.start_soon(say_goodbye, connection)
            for connection in connections:
                await connection.event_closed.wait()  # type: ignore[attr-defined]

    async def _cut_all(self) -> None:
        for connection in self._swarm.get_connections():
            try:
                await cut(connection)
            except Exception:  # whatever ended the thread, the others are cut, and told to the loop
                log.debug("a connection could not be cut", exc_info=True)

    def _spawn(self, answer: asyncio.Future[None], call: Callable[[], Awaitable[None]]) -> None:
        with suppress(RuntimeError):  # the nursery is closed: `_finish` answers
            self._nursery.start_soon(self._answer, answer, call)

    def _spawn_soon(self, function: Callable[..., Awaitable[None]], *args: object) -> None:
        with suppress(RuntimeError):  # the nursery is closed: all connections end
            self._nursery.start_soon(function, *args)

    async def _answer(self, answer: asyncio.Future[None], call: Callable[[], Awaitable[None]]) -> None:
        try:
            await call()
        except Exception as error:  # noqa: BLE001  nothing is lost: the caller gets it
            self._on_loop(settle, answer, error)
        else:
            self._on_loop(settle, answer, None)

    def _on_banned(self, key: bytes, ban: Ban) -> None:
        self.crossing.post(PeerBanned(key, str(ban)))
        self._spawn_soon(self.peers.cut_off, key, str(ban))

    def _report(self, event: LinkEvent) -> None:
        """What becomes of peers."""
        self.crossing.post(event)
        if isinstance(event, PeerConnected | PeerDisconnected):
            self._ways.look_again()
        match event:
            case PeerConnected(key) if self._dht is not None:
                self._dht.met(key)
            case PeerDisconnected(key) if self._dht is not None:
                self._dht.left(key)

    def _accept_gossip(self, peer: ID, topic: str, data: bytes) -> None:
        self.crossing.post(GossipArrived(topic, key_of(peer), data))

    async def _publish(self, pubsub: ContainedPubsub) -> None:
        bucket = TokenBucket(PUBLISH_RATE_PER_S, PUBLISH_BURST, trio.current_time())
        while True:
            while len(self.outbox):
                publication = self.outbox.take(pubsub.is_heard, time.monotonic())
                if publication is None:
                    await trio.sleep(LOOK_AGAIN_S)
                    continue
                await trio.sleep(bucket.reserve(trio.current_time()))
                try:
                    await pubsub.publish(publication.topic, publication.data)
                except Exception:
                    self.losses["gossip_unpublished"] += 1
                    log.debug("a publication is lost", exc_info=True)
            await self._outbox_filled.wait()
            self._outbox_filled = trio.Event()

    async def deny(self) -> None:
        """What the record denies, from now on, and nothing else."""
        await self._swarm.deny(self.record.denied)

    def _build_dht(self) -> Dht:
        settings = self.settings
        means = Means(
            self.peers.admits,
            self.dial,
            self.peers.disconnect,
            lambda: [key for key, peer in self.peers.book.items() if peer.is_admitted],
            self._spawn_soon,
        )
        dht = Dht(self._host, KeyPair(settings.seed), settings.hello.network, means, random.SystemRandom())
        self._host.set_stream_handler(dht.protocol, dht.serve)
        return dht

    async def provide(self, key: bytes, addresses: tuple[str, ...]) -> None:
        table = self._table()
        table.addresses = addresses
        await table.provide(key)

    async def look(self, key: bytes, found: list[str]) -> None:
        """`found` is filled with addresses."""
        for contact in await self._table().find(key):
            found += [f"{address}/p2p/{peer_id(contact.peer)}" for address in contact.addresses]

    async def keep(self, key: bytes) -> None:
        """The loop wants a connection that a look-up may have opened."""
        if self._dht is not None:
            self._dht.keep(key)

    def _table(self) -> Dht:
        if self._dht is None:
            raise LinkError("HEL-DHT-001", "this node has no part in the Kademlia table", "set dht = true under [link]")
        return self._dht

    async def dial(self, target: Multiaddr, key: bytes) -> None:
        """Until the peer is admitted. Raises LinkError."""
        lock = self._dialling.setdefault(key, trio.Lock())
        async with lock:
            peer = self.peers.book.get(key)
            if peer is None:
                if reason := self.conduct.refusal(key):
                    raise banned(peer_id(key), reason)
                try:
                    with trio.move_on_after(DIAL_TIMEOUT_S) as dialling:
                        await self._connect(target, key)
                except Exception as error:
                    raise unreached(target, error, DIAL_TIMEOUT_S) from error
                if dialling.cancelled_caught:
                    raise unreached(target, None, DIAL_TIMEOUT_S)
                peer = self.peers.meet(id_of(key))
            if peer is not None:
                await peer.settled.wait()
            if peer is None or not peer.is_admitted:
                failure = peer.failure if peer is not None else None
                raise failure or unreached(target, StreamEOF("it was lost at once"), DIAL_TIMEOUT_S)

    async def _connect(self, target: Multiaddr, key: bytes) -> None:
        relay = relay_of(target)
        if relay is None:
            await self._swarm.dial_addr(target, id_of(key))
        else:
            address, relay_key = relay
            await self.dial(address, relay_key)
            await self._ways.circuits.dial(relay_key, key)


def settle(answer: asyncio.Future[None], error: Exception | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(None)
    else:
        answer.set_exception(error)
