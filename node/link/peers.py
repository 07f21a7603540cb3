"""Who is connected, and who of them counts: a peer is admitted once both hellos were accepted.

All of this runs on the libp2p thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio
from libp2p.abc import INetConn, INetStream
from libp2p.peer.id import ID

from node.link.dials import seen_at
from node.link.events import (
    ANOTHER_NETWORK,
    DialRefused,
    LinkError,
    LinkEvent,
    PeerConnected,
    PeerDisconnected,
    PeerRefused,
    describe,
    refused_here,
)
from node.link.guard.conduct import Conduct
from node.link.mux.muxer import cut
from node.link.names import id_of, key_of
from node.link.swarm import ContainedSwarm
from protocol.hello import Hello, encode_hello
from protocol.identity import peer_id

HELLO_TIMEOUT_S = 10.0  # guess, not measured: a round trip and a half
DISCONNECT_TIMEOUT_S = 2.0  # it takes milliseconds
REPLACED_MAX = 8  # sessions of one key that are known to be over

Answer = Callable[[Exception | None], None]


@dataclass(slots=True)
class Outgoing:
    """The stream of our messages to one peer, and who waits for the acknowledgement of which."""

    stream: INetStream
    taken: int = 0  # frames that the peer has acknowledged
    waiting: deque[Answer] = field(default_factory=deque)
    progress: trio.Event = field(default_factory=trio.Event)
    failure: LinkError | None = None  # once it has ended
    life: trio.CancelScope = field(default_factory=trio.CancelScope)  # of its reader

    def advance(self) -> None:
        self.progress.set()
        self.progress = trio.Event()

    def end(self, failure: LinkError) -> None:
        """Nobody waits for ever."""
        self.failure = self.failure or failure
        while self.waiting:
            self.waiting.popleft()(self.failure)
        self.advance()


@dataclass(slots=True)
class Peer:
    """A connected peer, for as long as it is. It counts once it is `admitted`: both hellos were accepted.

    `replaced`: earlier sessions of its key. One that comes back was not restarted: two processes run with that key.
    """

    hello: Hello | None = None  # once accepted
    replaced: tuple[bytes, ...] = ()
    has_twin: bool = False  # which was told
    is_admitted: bool = False
    failure: LinkError | None = None  # why it was not admitted
    heard: trio.Event = field(default_factory=trio.Event)  # we have accepted its hello
    settled: trio.Event = field(default_factory=trio.Event)  # it is admitted, or gone
    gone: trio.Event = field(default_factory=trio.Event)
    lock: trio.Lock = field(default_factory=trio.Lock)
    outgoing: Outgoing | None = None  # under the lock
    readers: int = 0

    @property
    def session(self) -> bytes:
        """Of its hello; empty before."""
        return b"" if self.hello is None else self.hello.session


class Peers:
    """`hello` is ours; `admit(peer, hello)` says why a peer of our network is refused, or ""; `post` reports an event,
    `spawn` starts a task. `greet` is set before the first peer comes: it returns once a peer has taken our hello."""

    greet: Callable[[bytes, Peer], Awaitable[None]]

    def __init__(
        self,
        swarm: ContainedSwarm,
        hello: Hello,
        admit: Callable[[bytes, Hello], str],
        conduct: Conduct,
        post: Callable[[LinkEvent], None],
        spawn: Callable[..., None],
    ) -> None:
        self._swarm, self._hello, self._admit = swarm, hello, admit
        self.conduct = conduct
        self._post, self._spawn = post, spawn
        self.book: dict[bytes, Peer] = {}
        """those connected, by key, admitted or not"""

    def reconcile(self, peer: ID) -> None:
        """Report what has changed, by the connections there are: the library reports each of them, late or twice."""
        key = key_of(peer)
        is_connected = any(not connection.is_closed for connection in self._swarm.get_connections(peer))
        if is_connected and key not in self.book:
            self._begin(key)
        elif not is_connected and key in self.book:
            self._end(key)

    def _begin(self, key: bytes, replaced: tuple[bytes, ...] = ()) -> Peer:
        peer = self.book[key] = Peer(replaced=replaced)
        self._spawn(self._greet, key, peer)
        return peer

    def _end(self, key: bytes) -> None:
        peer = self.book.pop(key)
        peer.gone.set()
        peer.settled.set()
        if peer.is_admitted:
            self._post(PeerDisconnected(key))

    def end_all(self) -> None:
        """The thread ends, and all connections with it."""
        for key in list(self.book):
            self._end(key)

    def meet(self, peer: ID) -> Peer | None:
        """The peer behind a connection, should the library not have reported it yet; None if it is gone."""
        self.reconcile(peer)
        return self.book.get(key_of(peer))

    async def _greet(self, key: bytes, peer: Peer) -> None:
        """Admit a peer once both hellos were accepted; else cut it."""
        failure = no_hello(key, f"it sent no hello within {HELLO_TIMEOUT_S:g} s")
        with trio.move_on_after(HELLO_TIMEOUT_S):
            try:
                await self.greet(key, peer)
                await peer.heard.wait()
            except Exception as error:  # noqa: BLE001  nothing is lost: the reason is reported
                failure = error if isinstance(error, DialRefused) else no_hello(key, describe(error))
            else:
                if not peer.gone.is_set():
                    peer.is_admitted = True
                    self._post(PeerConnected(key))
                    peer.settled.set()
                return
        self.note_refusal(key, peer, failure)
        await self.dismiss(key, peer)

    def note_refusal(self, key: bytes, peer: Peer, failure: LinkError) -> None:
        """Report why a peer is not admitted, or no longer, once."""
        if not peer.gone.is_set() and peer.failure is None:
            peer.failure = failure
            self._post(PeerRefused(key, failure.cause))

    async def dismiss(self, key: bytes, peer: Peer) -> None:
        """Cut all its connections."""
        if not peer.gone.is_set():
            for connection in self._swarm.get_connections(id_of(key)):
                await cut(connection)

    async def cut_off(self, key: bytes, reason: str) -> None:
        """A peer is not wanted any more."""
        if (peer := self.book.get(key)) is not None:
            self.note_refusal(key, peer, refused_here(peer_id(key), reason))
            await self.dismiss(key, peer)

    async def restarted(self, key: bytes, session: bytes, kept: INetConn) -> Peer:
        """A peer came back before we noticed that it was gone: what leads to its former self is dead."""
        for connection in self._swarm.get_connections(id_of(key)):
            if connection is not kept:
                await cut(connection)
                with trio.move_on_after(DISCONNECT_TIMEOUT_S):
                    await connection.event_closed.wait()  # type: ignore[attr-defined]
        former = self.book.get(key)
        if former is None:
            return self._begin(key)
        if former.session in (b"", session):
            return former  # another stream of its has said so
        self._end(key)
        return self._begin(key, (*former.replaced, former.session)[-REPLACED_MAX:])

    def hello_to(self, stream: INetStream) -> bytes:
        return encode_hello(self._hello.model_copy(update={"observed": seen_at(stream.muxed_conn)}))

    def judge(self, key: bytes, hello: Hello) -> str:
        """Why it is refused, or ""."""
        own = self._hello.network
        if hello.network != own:
            return f"{ANOTHER_NETWORK}: yours is {hello.network.hex()[:16]}, this is {own.hex()[:16]}"
        return self._admit(key, hello)

    async def reconcile_every(self, seconds: float) -> None:
        while True:
            await trio.sleep(seconds)
            for key, peer in list(self.book.items()):
                self.reconcile(id_of(key))
                if peer.is_admitted and peer.hello and (reason := self.judge(key, peer.hello)):
                    self._spawn(self.cut_off, key, reason)  # an invitation has expired

    async def admits(self, peer: ID) -> bool:
        """Whether it is admitted, once that is settled."""
        met = self.meet(peer)
        if met is not None:
            await met.settled.wait()
        return met is not None and met.is_admitted

    async def disconnect(self, key: bytes) -> None:
        peer = self.book.get(key)
        if peer is None:
            return
        await self.dismiss(key, peer)
        with trio.move_on_after(DISCONNECT_TIMEOUT_S):
            await peer.gone.wait()


def no_hello(key: bytes, reason: str) -> LinkError:
    return LinkError(
        "HEL-LINK-016",
        f"{peer_id(key)} did not greet: {reason}",
        "see that node's log: it may be stopping, busy, of an older version, or no Heliotrope node",
    )
