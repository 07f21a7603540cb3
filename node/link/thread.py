"""The libp2p side of the link: one host on one trio thread, from its first bind to its end.

Nothing here restarts or decides; `link.py` does. Failures of the library are contained in `hardening.py` and
`gossip.py`; what they let through ends the thread, which says so.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from node.link.events import (
    Crossing,
    GossipArrived,
    LinkError,
    MessageArrived,
    PeerConnected,
    PeerDisconnected,
    cannot_listen,
    describe,
    did_not_start,
    innermost,
    thread_is_down,
    unreachable,
)
from node.link.gossip import ContainedGossipSub, ContainedPubsub, PeerWatch, TokenBucket
from node.link.hardening import build_host, cut, is_usable, require_free, running
from protocol.identity import PEER_ID_PREFIX, peer_id

PROTOCOL = TProtocol("/heliotrope/1")
MESSAGE_MAX_BYTES = 4 * 1024 * 1024
READERS_PER_PEER_MAX = 4  # incoming message streams; an honest peer has one, and another while it replaces that
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
    judge: Callable[[str, bytes], bool]
    ping_interval_s: float
    ping_timeout_s: float


@dataclass(slots=True)
class Peer:
    """A connected peer, for as long as it is."""

    lock: trio.Lock = field(default_factory=trio.Lock)
    outgoing: INetStream | None = None  # where our messages go; under the lock
    readers: int = 0
    gone: trio.Event = field(default_factory=trio.Event)


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
        self._outbox_filled = trio.Event()
        self._stop_asked = trio.Event()

    # On the loop.

    def start(self) -> None:
        threading.Thread(target=self._run, name="libp2p", daemon=True).start()

    async def call(self, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Await one of the coroutines below. Cancelling the caller does not stop it: half a frame ruins the stream."""
        answer = self.loop.create_future()
        self._calls.add(answer)
        answer.add_done_callback(self._calls.discard)
        self._on_thread(self._spawn, answer, partial(function, *args))
        await answer

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
        for key in self._peers:
            self.crossing.post(PeerDisconnected(key))
        self._on_loop(self._finish, failure)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        settings = self.settings
        require_free(settings.listen)
        self._host, self._swarm = build_host(settings.seed, settings.ping_interval_s, settings.ping_timeout_s)
        router = ContainedGossipSub()
        pubsub = ContainedPubsub(self._host, router, settings.topics, settings.judge, self._accept_gossip, self.losses)
        self._swarm.register_notifee(PeerWatch(pubsub, self._reconcile))
        self._host.set_stream_handler(PROTOCOL, self._read_messages)
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
                    self._on_loop(self.ready.set_result, tuple(map(str, self._host.get_addrs())))
                    await self._stop_asked.wait()
                    for connection in self._swarm.get_connections():
                        await cut(connection)  # the library would leave them open
                    scope.cancel()
        finally:
            pubsub.seen_messages.stop()  # a thread of its own

    def _spawn(self, answer: asyncio.Future[None], call: Callable[[], Awaitable[None]]) -> None:
        with suppress(RuntimeError):  # the nursery is closed: `_finish` answers
            self._nursery.start_soon(self._answer, answer, call)

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
            self._peers[key] = Peer()
            self.crossing.post(PeerConnected(key))
        elif not is_connected and key in self._peers:
            self._peers.pop(key).gone.set()
            self.crossing.post(PeerDisconnected(key))

    async def _reconcile_all(self) -> None:
        while True:
            await trio.sleep(self.settings.ping_interval_s)
            for key in list(self._peers):
                self._reconcile(id_of(key))

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

    async def _read_messages(self, stream: INetStream) -> None:
        """The handler of an incoming stream. It reads on once the loop has taken the message before."""
        self._reconcile(stream.muxed_conn.peer_id)
        key = key_of(stream.muxed_conn.peer_id)
        peer = self._peers.get(key)
        if peer is None or peer.readers == READERS_PER_PEER_MAX:
            await stream.reset()
            return
        peer.readers += 1
        try:
            while True:
                size = int.from_bytes(await read(stream, 4), "big")
                if size > MESSAGE_MAX_BYTES:
                    log.debug("%s announced %d bytes, at most %d are allowed", peer_id(key), size, MESSAGE_MAX_BYTES)
                    return
                data = await read(stream, size)
                delivered = trio.Event()
                self.crossing.post(MessageArrived(key, data), partial(self._on_thread, delivered.set))
                await delivered.wait()
        except StreamEOF:
            return
        finally:
            peer.readers -= 1
            await stream.reset()

    async def send(self, key: bytes, data: bytes) -> None:
        peer = self._peers.get(key)
        if peer is None:
            raise LinkError("HEL-LINK-004", f"not connected to {peer_id(key)}", "dial it, and send again then")
        if peer.lock.statistics().tasks_waiting:  # the loop sends one at a time: what waits here was cancelled there
            raise LinkError(
                "HEL-LINK-005",
                f"{peer_id(key)} is slow: two cancelled messages stand before one of {len(data)} bytes",
                "give a message more time before you cancel it",
            )
        async with peer.lock:
            try:
                if peer.outgoing is None or not is_usable(peer.outgoing):
                    peer.outgoing = await self._host.new_stream(id_of(key), [PROTOCOL])
                await peer.outgoing.write(len(data).to_bytes(4, "big") + data)
            except Exception as error:
                abandoned, peer.outgoing = peer.outgoing, None
                if abandoned is not None:
                    with suppress(BaseLibp2pError):
                        await abandoned.close()  # not a reset, which would discard the messages before this one
                raise LinkError(
                    "HEL-LINK-005",
                    f"a message of {len(data)} bytes to {peer_id(key)} failed: {describe(error)}",
                    "the peer may have it or not: send it again if it may arrive twice",
                ) from error

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

    async def disconnect(self, key: bytes) -> None:
        peer = self._peers.get(key)
        if peer is None:
            return
        for connection in self._swarm.get_connections(id_of(key)):
            await cut(connection)
        with trio.move_on_after(DISCONNECT_TIMEOUT_S):
            await peer.gone.wait()


async def read(stream: INetStream, size: int) -> bytes:
    """Exactly so many bytes. Memory grows with what has arrived, not with what was announced."""
    buffer = bytearray()
    while len(buffer) < size:
        chunk = await stream.read(size - len(buffer))
        if not chunk:
            raise StreamEOF
        buffer += chunk
    return bytes(buffer)


def settle(answer: asyncio.Future[None], error: Exception | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(None)
    else:
        answer.set_exception(error)


def id_of(key: bytes) -> ID:
    return ID(PEER_ID_PREFIX + key)


def key_of(peer: ID) -> bytes:
    return peer.to_bytes()[len(PEER_ID_PREFIX) :]
