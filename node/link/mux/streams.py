"""One stream of a multiplexed connection: flow control in both directions, and two ways past the scheduler.

Faults of the library, by their share of what a gossip message cost (`UPSTREAM.md`): every read is answered by a window
update of its own (14.8 %); reading and writing take three locks each, and every uncontended lock yields. `try_write`
and `deliver_to` are for what fits at once: neither waits, and no task is woken.

A frame is `version (0), type, flags, stream, length`; its numbers are yamux's (`/yamux/1.0.0`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Protocol

import trio
from libp2p.abc import IMuxedConn, IMuxedStream
from libp2p.stream_muxer.exceptions import MuxedStreamClosed, MuxedStreamEOF, MuxedStreamError, MuxedStreamReset

HEADER = struct.Struct("!BBHII")
DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
WINDOW_BYTES = 256 * 1024  # both sides begin with it
WINDOW_MAX_BYTES = 4 * 1024 * 1024  # 40 MB/s over 100 ms
SEND_WINDOW_MAX_BYTES = 2**31
FRAME_MAX_BYTES = 64 * 1024 - HEADER.size  # what the library sends, header and body
WINDOW_TIMEOUT_S = 30.0  # a reader may be busy for a while; guess, not measured
QUICK_ROUND_TRIPS = 4  # a window used up in so many could be larger; the library's and go-yamux's


class Connection(Protocol):
    """What a stream needs of its connection. `unread_bytes` counts what lies unread in all its streams."""

    unread_bytes: int

    @property
    def is_congested(self) -> bool: ...
    @property
    def may_grow(self) -> bool: ...
    def rtt(self) -> float: ...
    def frame(self, kind: int, flags: int, stream_id: int, length: int, body: bytes = b"") -> None: ...
    def forget(self, stream: Stream) -> None: ...
    async def uncongested(self) -> None: ...
    def get_remote_address(self) -> tuple[str, int] | None: ...


class Stream(IMuxedStream):
    """Made by the connection, which calls what stands below the line."""

    def __init__(self, stream_id: int, conn: Connection, muxed_conn: IMuxedConn) -> None:
        self.stream_id, self.conn, self.muxed_conn = stream_id, conn, muxed_conn
        self.send_closed = self.recv_closed = self.reset_received = False
        self.send_window = self.recv_window = self._window = WINDOW_BYTES
        self._unread = bytearray()
        self._unreported = 0  # taken since the last window update
        self._reported_at = trio.current_time()
        self._take: Callable[[bytes], float] | None = None
        self._failure: Exception | None = None  # of `_take`
        self._held, self._held_until_s = 0, 0.0  # bytes that the peer may send anew only then
        self._changed = trio.Event()
        self._writers = 0

    @property
    def closed(self) -> bool:
        return self.send_closed and self.recv_closed

    async def read(self, n: int | None = None) -> bytes:
        """At least one byte, at most n if n is not negative. Raises MuxedStreamEOF at the end, MuxedStreamReset."""
        while not self._unread:
            if self.reset_received:
                raise MuxedStreamReset(f"stream {self.stream_id} was reset, or its connection is lost")
            if self.recv_closed:
                raise MuxedStreamEOF(f"stream {self.stream_id} has ended")
            await self._changed.wait()
        size = len(self._unread) if n is None or n < 0 else min(n, len(self._unread))
        data = bytes(self._unread[:size])
        del self._unread[:size]
        self.conn.unread_bytes -= size
        self._credit(size)
        await trio.lowlevel.checkpoint()
        return data

    async def write(self, data: bytes) -> None:
        """Waits for the peer's window and for the socket. Raises MuxedStreamError: part of it may have been sent."""
        at = 0
        self._writers += 1
        try:
            while at < len(data):
                await self._writable()
                end = min(at + min(self.send_window, FRAME_MAX_BYTES), len(data))
                self._send(data[at:end])
                at = end
        finally:
            self._writers -= 1
        await trio.lowlevel.checkpoint()

    def try_write(self, data: bytes) -> bool:
        """Send all of it now, or nothing and False: nobody waits, nobody is overtaken. Raises MuxedStreamError."""
        if self.send_closed:
            raise self._unwritable()
        if self._writers or self.send_window < len(data) or self.conn.is_congested:
            return False
        for at in range(0, len(data), FRAME_MAX_BYTES):
            self._send(data[at : at + FRAME_MAX_BYTES])
        return True

    async def deliver_to(self, take: Callable[[bytes], float]) -> None:
        """Call `take` with all that comes, as it comes, from the connection's own task; until the end.

        It returns for how many seconds the peer is to be held back: what is in its window still comes, more does not.
        What it raises resets the stream, and is raised. Raises MuxedStreamReset.
        """
        data = bytes(self._unread)
        self._unread.clear()
        self.conn.unread_bytes -= len(data)
        self._take = take
        if data:
            self._hand_over(take, data)
        while not self.recv_closed:
            if self._held and trio.current_time() >= self._held_until_s:
                held, self._held = self._held, 0
                self._credit(held)
            else:
                with trio.move_on_at(self._held_until_s if self._held else math.inf):
                    await self._changed.wait()
        if self._failure is not None:
            raise self._failure
        if self.reset_received:
            raise MuxedStreamReset(f"stream {self.stream_id} was reset, or its connection is lost")

    async def close(self) -> None:
        """Our direction only; the peer's is read to its end."""
        if not self.send_closed:
            self.send_closed = True
            self.conn.frame(WINDOW_UPDATE, FIN, self.stream_id, 0)
            self._settle()
        await trio.lowlevel.checkpoint()

    async def reset(self) -> None:
        self._reset()
        await trio.lowlevel.checkpoint()

    def set_deadline(self, ttl: int) -> None:
        raise NotImplementedError("use trio's cancel scopes")

    def get_remote_address(self) -> tuple[str, int] | None:
        return self.conn.get_remote_address()

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _writable(self) -> None:
        with trio.move_on_after(WINDOW_TIMEOUT_S) as waiting:
            while not self.send_closed and (self.send_window == 0 or self.conn.is_congested):
                if self.conn.is_congested:
                    await self.conn.uncongested()
                else:
                    await self._changed.wait()
        if self.send_closed:
            raise self._unwritable()
        if waiting.cancelled_caught:
            raise MuxedStreamError(f"the peer took nothing from stream {self.stream_id} for {WINDOW_TIMEOUT_S:g} s")

    def _unwritable(self) -> MuxedStreamError:
        if self.reset_received:
            return MuxedStreamReset(f"stream {self.stream_id} was reset, or its connection is lost")
        return MuxedStreamClosed(f"stream {self.stream_id} is closed for writing")

    def _send(self, body: bytes) -> None:
        self.send_window -= len(body)
        self.conn.frame(DATA, 0, self.stream_id, len(body), body)

    def _credit(self, size: int) -> None:
        """Let the peer send more once half of the window is used; a larger one, where that went quickly."""
        self._unreported += size
        if 2 * self._unreported < self._window or self.recv_closed:
            return
        now = trio.current_time()
        grown = 0
        if now - self._reported_at < QUICK_ROUND_TRIPS * self.conn.rtt() and self.conn.may_grow:
            grown = min(self._window, WINDOW_MAX_BYTES - self._window)
        self._window += grown
        increment, self._unreported, self._reported_at = self._unreported + grown, 0, now
        self.recv_window += increment
        self.conn.frame(WINDOW_UPDATE, 0, self.stream_id, increment)

    def _hand_over(self, take: Callable[[bytes], float], data: bytes) -> None:
        try:
            pause_s = take(data)
        except Exception as error:  # noqa: BLE001  nothing is lost: `deliver_to` raises it
            self._failure = error
            self._reset()
            return
        if pause_s > 0 or self._held:
            self._held += len(data)
            self._held_until_s = max(self._held_until_s, trio.current_time() + pause_s)
            self._settle()
        else:
            self._credit(len(data))

    def _reset(self) -> None:
        if self.closed:
            return
        self.conn.frame(WINDOW_UPDATE, RST, self.stream_id, 0)
        self.abort()

    def _settle(self) -> None:
        if self.closed:
            self.conn.forget(self)
        self._changed.set()
        self._changed = trio.Event()

    # --- called by the connection -----------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        if self._take is not None:
            self._hand_over(self._take, data)
        else:
            self._unread += data
            self.conn.unread_bytes += len(data)
            self._settle()

    def more_window(self, increment: int) -> None:
        self.send_window = min(self.send_window + increment, SEND_WINDOW_MAX_BYTES)
        self._settle()

    def end_received(self) -> None:
        """The peer's FIN."""
        self.recv_closed = True
        self._settle()

    def abort(self) -> None:
        """A reset, from either side: what is unread is gone."""
        self.conn.unread_bytes -= len(self._unread)
        self._unread.clear()
        self.lose()

    def lose(self) -> None:
        """The connection has ended: what is unread can still be read."""
        self.send_closed = self.recv_closed = self.reset_received = True
        self._settle()
