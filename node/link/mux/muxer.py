"""Streams over one connection: yamux, written anew, since no subclass can mend the library's demultiplexing loop.

Faults of the library, by their share of what a gossip message cost (`UPSTREAM.md`): a frame passes two locks, five
texts that nobody logs, and two reads (8.9 %). Besides: an unanswered ping has no consequence; a sender that ignores its
window is only logged; a peer that opens streams without end is given each; a frame is held until all of it has come;
two connections that answer each other can wait for each other for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio
from libp2p.abc import IMuxedConn, INetConn, INetStream, ISecureConn
from libp2p.connection_types import ConnectionType
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable, MuxedStreamError
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID
from multiaddr import Multiaddr

from node.link.mux.sealed import SealedConnection
from node.link.mux.streams import (
    ACK,
    FIN,
    GO_AWAY,
    HEADER,
    PING,
    RST,
    SYN,
    WINDOW_MAX_BYTES,
    WINDOW_UPDATE,
    Stream,
)

UNREAD_MAX_BYTES = 32 * 1024 * 1024  # received and not yet read, per connection: all first windows of its streams
STREAMS_INBOUND_MAX = 128  # of one connection, beyond them each is reset; guess, not measured (go-yamux: 256 waiting)
TURN_BYTES, TURN_FRAMES = 16 * 1024, 256  # then other tasks run; guess, not measured
STREAM_ID_MAX = 2**32 - 1
NORMAL, PROTOCOL_ERROR = 0, 1  # reasons to go away

log = logging.getLogger(__name__)


def is_usable(stream: INetStream) -> bool:
    """Whether a write has a chance. The library's `is_closed` learns of a remote reset only when it next reads."""
    muxed: Any = stream.muxed_stream  # type: ignore[attr-defined]
    return not (muxed.closed or muxed.send_closed or muxed.conn.event_shutting_down.is_set())


async def cut(connection: INetConn) -> None:
    """Close the socket and let the library find out, as after a TCP reset."""
    muxed: Any = connection.muxed_conn
    await muxed.secured_conn.close()


async def say_goodbye(connection: INetConn) -> None:
    """Tell the peer that nothing more comes, and wait until all that was said before is under way: the peer reads that,
    and closes its end."""
    muxed: Any = connection.muxed_conn
    await muxed.say_goodbye()


class ProtocolError(Exception):
    """What no honest peer sends. It ends the connection."""


class LivingYamux(IMuxedConn):
    """One connection: finds silently dead peers, bounds what lies unread, and gives no stream to a flood."""

    def __init__(self, conn: ISecureConn, peer: ID, ping_interval_s: float, ping_timeout_s: float) -> None:
        self.secured_conn, self.peer_id = conn, peer
        self.ping_interval_s, self.ping_timeout_s = ping_interval_s, ping_timeout_s
        self.on_close: Callable[[], Awaitable[Any]] | None = None
        self.event_started, self.event_shutting_down, self.event_closed = trio.Event(), trio.Event(), trio.Event()
        self.unread_bytes = 0
        self.streams: dict[int, Stream] = {}
        self._sealed = SealedConnection(conn)  # type: ignore[arg-type]
        self._is_initiator = conn.is_initiator
        self._next_id = 1 if conn.is_initiator else 2
        self._inbound = 0
        self._accepting, self._accepted = trio.open_memory_channel[Stream](STREAMS_INBOUND_MAX)
        self._body: tuple[Stream | None, int, int] = (None, 0, 0)  # whose, bytes to come, flags
        self._ping_id = 0
        self._ponged = trio.Event()
        self._pinged_at = self._rtt_s = 0.0

    @property
    def is_initiator(self) -> bool:
        return self._is_initiator

    @property
    def is_established(self) -> bool:
        return self.event_started.is_set() and not self.event_shutting_down.is_set()

    @property
    def is_closed(self) -> bool:
        return self.event_closed.is_set()

    @property
    def is_congested(self) -> bool:
        return self._sealed.is_congested

    @property
    def may_grow(self) -> bool:
        """Whether windows may grow: not while much lies unread."""
        return 4 * self.unread_bytes < UNREAD_MAX_BYTES

    async def uncongested(self) -> None:
        await self._sealed.uncongested()

    def rtt(self) -> float:
        """The time of a round trip in seconds, smoothed; 0 before the first."""
        return self._rtt_s

    def get_transport_addresses(self) -> list[Multiaddr]:
        return self.secured_conn.get_transport_addresses()

    def get_connection_type(self) -> ConnectionType:
        return self.secured_conn.get_connection_type()

    def get_remote_address(self) -> tuple[str, int] | None:
        return self.secured_conn.get_remote_address()

    async def start(self) -> None:
        """Runs as long as the connection does."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._until_lost, self._sealed.flush, nursery)
                nursery.start_soon(self._until_lost, self._watch, nursery)
                nursery.start_soon(self._until_lost, self._demultiplex, nursery)
                self.event_started.set()
        finally:
            await self._end()

    async def _until_lost(self, run: Callable[[], Awaitable[None]], nursery: trio.Nursery) -> None:
        """No failure passes: a connection that is lost ends alone."""
        try:
            await run()
        except ProtocolError as error:
            log.debug("connection to %s is cut: %s", self.peer_id, error)
            self._go_away(PROTOCOL_ERROR)
        except Exception as error:  # noqa: BLE001  nothing is lost: the connection is, and says so
            log.debug("connection to %s is lost: %r", self.peer_id, error)
        nursery.cancel_scope.cancel()

    async def close(self) -> None:
        """Never waits for the peer."""
        if not self.event_shutting_down.is_set():
            self._go_away(NORMAL)
        await self._end()

    async def say_goodbye(self) -> None:
        """Waits for the socket: give it a time."""
        self._go_away(NORMAL)
        await self._sealed.emptied()

    def _go_away(self, reason: int) -> None:
        self.frame(GO_AWAY, 0, 0, reason)

    async def _end(self) -> None:
        if self.event_shutting_down.is_set():
            return
        self.event_shutting_down.set()
        self._accepting.close()
        for stream in list(self.streams.values()):
            stream.lose()
        self._sealed.abandon()
        try:
            await self.secured_conn.close()
        except Exception:
            log.debug("connection to %s ended with a failure", self.peer_id, exc_info=True)
        finally:
            self.event_closed.set()
        if self.on_close is not None:
            await self.on_close()

    async def open_stream(self) -> Stream:
        """Raises MuxedStreamError: the connection has ended."""
        if self.event_shutting_down.is_set() or self._next_id > STREAM_ID_MAX:
            raise MuxedStreamError("the connection has ended")
        stream = self.streams[self._next_id] = Stream(self._next_id, self, self)
        self._next_id += 2
        self.frame(WINDOW_UPDATE, SYN, stream.stream_id, 0)
        await trio.lowlevel.checkpoint()
        return stream

    async def accept_stream(self) -> Stream:
        """Raises MuxedConnUnavailable: the connection has ended."""
        try:
            return await self._accepted.receive()
        except trio.EndOfChannel:
            raise MuxedConnUnavailable("the connection has ended") from None

    def forget(self, stream: Stream) -> None:
        if self.streams.pop(stream.stream_id, None) is not None and self._is_inbound(stream.stream_id):
            self._inbound -= 1

    def frame(self, kind: int, flags: int, stream_id: int, length: int, body: bytes = b"") -> None:
        """Never waits, never fails: a connection that is lost is found out by its reader."""
        with suppress(OSError):
            self._sealed.write(HEADER.pack(0, kind, flags, stream_id, length) + body)

    async def _watch(self) -> None:
        while True:
            await trio.sleep(self.ping_interval_s)
            self._ping_id = (self._ping_id + 1) % 2**32
            self._ponged = trio.Event()
            self._pinged_at = trio.current_time()
            self.frame(PING, SYN, 0, self._ping_id)
            with trio.move_on_after(self.ping_timeout_s) as waiting:
                await self._ponged.wait()
            if waiting.cancelled_caught:
                log.debug("peer %s did not answer a ping within %g s", self.peer_id, self.ping_timeout_s)
                return

    # --- in ---------------------------------------------------------------------------------------------------------

    async def _demultiplex(self) -> None:
        rest = b""
        while data := await self._sealed.read():
            rest, is_all = self._take_frames(rest + data if rest else data)
            while not is_all:
                await trio.lowlevel.checkpoint()
                rest, is_all = self._take_frames(rest)

    def _take_frames(self, data: bytes) -> tuple[bytes, bool]:
        """Handle a turn's worth; what is left, and whether that is less than a header: others have a turn as well."""
        at, end, frames = 0, len(data), TURN_FRAMES
        while True:
            stream, missing, flags = self._body
            if missing:
                body = data[at : at + missing]
                at += len(body)
                self._body = stream, missing - len(body), flags
                if body and stream is not None:
                    self._receive(stream, body)
                if missing > len(body):
                    return b"", True
                if stream is not None:
                    self._flagged(stream, flags)
            if end - at < HEADER.size:
                return data[at:], True
            if at >= TURN_BYTES or frames == 0:
                return data[at:], False
            frames -= 1
            self._handle(*HEADER.unpack_from(data, at))
            at += HEADER.size

    def _handle(self, version: int, kind: int, flags: int, stream_id: int, length: int) -> None:
        if version != 0 or kind > GO_AWAY:
            raise ProtocolError(f"a frame of version {version} and type {kind}")
        if kind == PING:
            self._handle_ping(flags, length)
            return
        if kind == GO_AWAY:
            raise ConnectionResetError(f"the peer goes away, reason {length}")
        stream = self._admit(stream_id) if flags & SYN else self.streams.get(stream_id)
        if kind == WINDOW_UPDATE:
            if stream is not None:
                stream.more_window(length)
                self._flagged(stream, flags)
            return
        if length > (WINDOW_MAX_BYTES if stream is None else stream.recv_window):
            raise ProtocolError(f"{length} bytes for stream {stream_id}, more than it may send")
        if stream is not None:
            stream.recv_window -= length
            if length == 0:
                self._flagged(stream, flags)
        self._body = stream, length, flags

    def _admit(self, stream_id: int) -> Stream | None:
        """A new stream of the peer's, or None: it has too many."""
        if not self._is_inbound(stream_id) or stream_id in self.streams:
            raise ProtocolError(f"stream {stream_id} is not the peer's to open")
        if self._inbound < STREAMS_INBOUND_MAX:
            stream = Stream(stream_id, self, self)
            with suppress(trio.WouldBlock):  # so many, reset since, are not accepted yet
                self._accepting.send_nowait(stream)
                self.streams[stream_id] = stream
                self._inbound += 1
                self.frame(WINDOW_UPDATE, ACK, stream_id, 0)
                return stream
        self.frame(WINDOW_UPDATE, RST, stream_id, 0)
        return None

    def _is_inbound(self, stream_id: int) -> bool:
        return stream_id > 0 and stream_id % 2 != (1 if self._is_initiator else 0)

    def _receive(self, stream: Stream, body: bytes) -> None:
        if self.unread_bytes + len(body) > UNREAD_MAX_BYTES:
            raise ProtocolError(f"{self.unread_bytes + len(body)} bytes unread, {UNREAD_MAX_BYTES} are allowed")
        if not stream.recv_closed:
            stream.receive(body)

    def _flagged(self, stream: Stream, flags: int) -> None:
        if flags & RST:
            stream.abort()
        elif flags & FIN:
            stream.end_received()

    def _handle_ping(self, flags: int, number: int) -> None:
        if flags & SYN:
            self.frame(PING, ACK, 0, number)
        elif flags & ACK and number == self._ping_id and not self._ponged.is_set():
            measured_s = trio.current_time() - self._pinged_at
            self._rtt_s = (self._rtt_s + measured_s) / 2 if self._rtt_s else measured_s
            self._ponged.set()


class LivingMuxers(MuxerMultistream):
    """Fault: whatever class is registered for yamux, the library builds its own."""

    def __init__(self, ping_interval_s: float, ping_timeout_s: float) -> None:
        super().__init__({TProtocol(PROTOCOL_ID): LivingYamux})
        self.ping_interval_s, self.ping_timeout_s = ping_interval_s, ping_timeout_s

    async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        await self.select_transport(conn)
        return LivingYamux(conn, peer_id, self.ping_interval_s, self.ping_timeout_s)
