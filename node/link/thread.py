"""The libp2p side of the link: one host on one trio thread, from its first bind to its end.

Nothing here restarts or decides; `link.py` does. The library's failures are contained in `host.py`
and those it names; what they let through ends the thread, which says so. Messages: `messages.py`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import trio
from libp2p.abc import INetConn, INetStream
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from node.link.dht import Dht, Means
from node.link.events import (
    Crossing,
    GossipArrived,
    LinkError,
    PeerConnected,
    PeerDisconnected,
    PeerRefused,
    Verdict,
    cannot_listen,
    describe,
    did_not_start,
    innermost,
    thread_is_down,
    unreachable,
)
from node.link.gossip import ContainedGossipSub, ContainedPubsub, PeerWatch, TokenBucket
from node.link.host import build_host, require_free, running
from node.link.messages import HELLO_TIMEOUT_S, PROTOCOL, House, Messages, Peer
from node.link.muxer import cut
from node.link.names import id_of, key_of
from protocol.hello import Hello, encode_hello
from protocol.identity import KeyPair, peer_id

PUBLISH_RATE_PER_S = 50.0  # below the 70 to 90 messages a second that one core carries (NETWORK.md)
PUBLISH_BURST = 100.0  # below the 128 RPCs that wait for one peer
DIAL_TIMEOUT_S = 10.0  # the library's default
DISCONNECT_TIMEOUT_S = 2.0  # it takes milliseconds

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
    ping_interval_s: float
    ping_timeout_s: float
    has_dht: bool


class LinkThread:
    """`start`, `call`, `wake_publisher`, `stop` and the two futures belong to the loop; all else runs on the thread."""

    def __init__(
        self, settings: Settings, crossing: Crossing, outbox: deque[tuple[str, bytes]], losses: Counter[str]
    ) -> None:
        self.settings, self.crossing, self.outbox, self.losses = settings, crossing, outbox, losses
        self.loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[tuple[str, ...]] = self.loop.create_future()
        """the addresses; or LinkError"""
        self.ended: asyncio.Future[str] = self.loop.create_future()
        """why"""
        self._calls: set[asyncio.Future[Any]] = set()
        self._peers: dict[bytes, Peer] = {}
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
        """A future, and what settles it from the thread; the thread's end settles it too."""
        answer = self.loop.create_future()
        self._calls.add(answer)
        answer.add_done_callback(self._calls.discard)
        return answer, lambda failure: self._on_loop(settle, answer, failure)

    def wake_publisher(self) -> None:
        self._on_thread(self._outbox_filled.set)

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
        for key, peer in self._peers.items():
            if peer.is_admitted:
                self.crossing.post(PeerDisconnected(key))
        self._on_loop(self._finish, failure)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        settings = self.settings
        require_free(settings.listen)
        self._host, self._swarm = build_host(settings.seed, settings.ping_interval_s, settings.ping_timeout_s)
        router = ContainedGossipSub()
        pubsub = ContainedPubsub(
            self._host, router, settings.topics, self._admits, settings.judge, self._accept_gossip, self.losses
        )
        self._swarm.register_notifee(PeerWatch(pubsub, self._reconcile))
        house = House(
            self._peers,
            self._meet,
            self._hello_to,
            self._judge_hello,
            self._restarted,
            self._dismiss,
            self._spawn_soon,
        )
        self.messages = Messages(self._host, house, self.crossing, self._on_thread)
        self._host.set_stream_handler(PROTOCOL, self.messages.read)
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
                    self._nursery.start_soon(self._reconcile_all)
                    addresses = tuple(map(str, self._host.get_addrs()))
                    if self._dht is not None:
                        self._dht.addresses = addresses
                        self._nursery.start_soon(self._dht.run)
                    self._on_loop(self.ready.set_result, addresses)
                    await self._stop_asked.wait()
                    for connection in self._swarm.get_connections():
                        await cut(connection)  # the library would leave them open
                    scope.cancel()
        finally:
            pubsub.seen_messages.stop()  # a thread of its own

    def _spawn(self, answer: asyncio.Future[None], call: Callable[[], Awaitable[None]]) -> None:
        with suppress(RuntimeError):  # the nursery is closed: `_finish` answers
            self._nursery.start_soon(self._answer, answer, call)

    def _spawn_soon(self, function: Callable[..., Awaitable[None]], *args: object) -> None:
        self._nursery.start_soon(function, *args)

    async def _answer(self, answer: asyncio.Future[None], call: Callable[[], Awaitable[None]]) -> None:
        try:
            await call()
        except Exception as error:  # noqa: BLE001  nothing is lost: the caller gets it
            self._on_loop(settle, answer, error)
        else:
            self._on_loop(settle, answer, None)

    def _reconcile(self, peer: ID) -> None:
        """Report what has changed, by the connections there are: the library reports each of them, late or twice."""
        key = key_of(peer)
        is_connected = any(not connection.is_closed for connection in self._swarm.get_connections(peer))
        if is_connected and key not in self._peers:
            self._begin(key)
        elif not is_connected and key in self._peers:
            self._end(key)

    def _begin(self, key: bytes) -> Peer:
        peer = self._peers[key] = Peer()
        self._nursery.start_soon(self._greet, key, peer)
        return peer

    def _end(self, key: bytes) -> None:
        peer = self._peers.pop(key)
        peer.gone.set()
        peer.settled.set()
        if self._dht is not None:
            self._dht.left(key)
        if peer.is_admitted:
            self.crossing.post(PeerDisconnected(key))

    def _meet(self, peer: ID) -> Peer | None:
        self._reconcile(peer)
        return self._peers.get(key_of(peer))

    async def _greet(self, key: bytes, peer: Peer) -> None:
        """Admit a peer once both hellos were accepted; else cut it."""
        reason = f"it sent no hello within {HELLO_TIMEOUT_S:g} s: it is no Heliotrope node, or a busy one"
        with trio.move_on_after(HELLO_TIMEOUT_S):
            try:
                await self.messages.greet(key, peer)
                await peer.heard.wait()
            except Exception as error:  # noqa: BLE001  nothing is lost: the reason is reported
                reason = error.cause if isinstance(error, LinkError) else describe(error)
            else:
                if not peer.gone.is_set():
                    peer.is_admitted = True
                    self.crossing.post(PeerConnected(key))
                    peer.settled.set()
                    if self._dht is not None:
                        self._dht.met(key)
                return
        await self._dismiss(key, peer, reason)

    async def _dismiss(self, key: bytes, peer: Peer, reason: str) -> None:
        if peer.gone.is_set():
            return
        if not peer.is_admitted and not peer.refusal:
            peer.refusal = reason
            self.crossing.post(PeerRefused(key, reason))
        for connection in self._swarm.get_connections(id_of(key)):
            await cut(connection)

    async def _restarted(self, key: bytes, kept: INetConn) -> Peer:
        """A peer came back before we noticed that it was gone: what leads to its former self is dead."""
        if key in self._peers:
            self._end(key)
        for connection in self._swarm.get_connections(id_of(key)):
            if connection is not kept:
                await cut(connection)
        return self._begin(key)

    def _hello_to(self, stream: INetStream) -> bytes:
        return encode_hello(self.settings.hello)

    def _judge_hello(self, key: bytes, hello: Hello) -> str:
        own = self.settings.hello.network
        if hello.network != own:
            return f"another network: yours is {hello.network.hex()[:16]}, this is {own.hex()[:16]}"
        return self.settings.admit(key, hello)

    async def _reconcile_all(self) -> None:
        while True:
            await trio.sleep(self.settings.ping_interval_s)
            for key in list(self._peers):
                self._reconcile(id_of(key))

    async def _admits(self, peer: ID) -> bool:
        met = self._meet(peer)
        if met is not None:
            await met.settled.wait()
        return met is not None and met.is_admitted

    def _accept_gossip(self, peer: ID, topic: str, data: bytes) -> None:
        self._reconcile(peer)
        self.crossing.post(GossipArrived(topic, key_of(peer), data))

    async def _publish(self, pubsub: ContainedPubsub) -> None:
        bucket = TokenBucket(PUBLISH_RATE_PER_S, PUBLISH_BURST, trio.current_time())
        while True:
            while self.outbox:
                await trio.sleep(bucket.reserve(trio.current_time()))
                try:
                    await pubsub.publish(*self.outbox.popleft())
                except Exception:
                    self.losses["gossip_unpublished"] += 1
                    log.debug("a publication is lost", exc_info=True)
            await self._outbox_filled.wait()
            self._outbox_filled = trio.Event()

    def _build_dht(self) -> Dht:
        settings = self.settings
        means = Means(
            self._admits,
            self.dial,
            self.disconnect,
            lambda: [key for key, peer in self._peers.items() if peer.is_admitted],
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
        lock = self._dialling.setdefault(key, trio.Lock())
        async with lock:
            if key in self._peers:
                return
            try:
                with trio.move_on_after(DIAL_TIMEOUT_S) as dialling:
                    await self._swarm.dial_addr(target, id_of(key))
            except Exception as error:
                raise unreachable(target, describe(error)) from error
            if dialling.cancelled_caught:
                raise unreachable(target, f"no answer within {DIAL_TIMEOUT_S:g} s")
            peer = self._meet(id_of(key))
            if peer is not None:
                await peer.settled.wait()
            if peer is None or not peer.is_admitted:
                raise unreachable(target, peer.refusal if peer and peer.refusal else "the connection was lost at once")

    async def disconnect(self, key: bytes) -> None:
        peer = self._peers.get(key)
        if peer is None:
            return
        for connection in self._swarm.get_connections(id_of(key)):
            await cut(connection)
        with trio.move_on_after(DISCONNECT_TIMEOUT_S):
            await peer.gone.wait()


def settle(answer: asyncio.Future[None], error: Exception | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(None)
    else:
        answer.set_exception(error)
