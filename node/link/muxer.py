"""Streams over one connection: yamux, with the library's faults contained. Each class names its own."""

from __future__ import annotations

import logging
import struct
from contextlib import suppress
from typing import Any

import trio
from libp2p.abc import IMuxedConn, INetConn, INetStream, ISecureConn
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux import yamux

UNREAD_MAX_BYTES = 32 * 1024 * 1024  # received and not yet read, per connection; one yamux window is at most 16 MiB

log = logging.getLogger(__name__)


def is_usable(stream: INetStream) -> bool:
    """Whether a write has a chance. The library's `is_closed` learns of a remote reset only when it next reads."""
    muxed: Any = stream.muxed_stream  # type: ignore[attr-defined]
    return not (muxed.closed or muxed.send_closed or muxed.conn.event_shutting_down.is_set())


async def cut(connection: INetConn) -> None:
    """Close the socket and let the library find out, as after a TCP reset.

    Its own close first sends a farewell, which waits for ever when the peer no longer reads.
    """
    muxed: Any = connection.muxed_conn
    await muxed.secured_conn.close()


async def say_goodbye(connection: INetConn) -> None:
    """Tell the peer that nothing more comes: it closes its end at once, having read all that was sent before."""
    muxed: Any = connection.muxed_conn
    with suppress(BaseLibp2pError):
        await muxed._write_frame(struct.pack(yamux.YAMUX_HEADER_FORMAT, 0, yamux.TYPE_GO_AWAY, 0, 0, 0))


class LivingYamux(yamux.Yamux):
    """Finds silently dead peers and bounds what lies unread.

    Faults: an unanswered ping has no consequence; a sender that ignores the receive window is only logged.
    """

    def __init__(self, conn: ISecureConn, peer: ID, ping_interval_s: float, ping_timeout_s: float) -> None:
        super().__init__(conn, peer, is_initiator=conn.is_initiator)
        self.ping_interval_s, self.ping_timeout_s = ping_interval_s, ping_timeout_s

    async def start(self) -> None:
        try:
            await super().start()
        except Exception:
            log.debug("connection to %s is lost, the multiplexer failed", self.peer_id, exc_info=True)
            await self._cleanup_on_error()

    async def _measure_rtt_loop(self) -> None:
        while True:
            await trio.sleep(self.ping_interval_s)
            self._ping_id = (self._ping_id + 1) % 2**32
            self._ping_event = trio.Event()
            self._ping_sent_time = trio.current_time()
            ping = struct.pack(yamux.YAMUX_HEADER_FORMAT, 0, yamux.TYPE_PING, yamux.FLAG_SYN, 0, self._ping_id)
            try:
                with trio.move_on_after(self.ping_timeout_s) as waiting:
                    await self._write_frame(ping)
                    await self._ping_event.wait()
            except Exception:  # noqa: BLE001  nothing is lost: the reader meets the same end, and an error here would cancel it
                return
            if waiting.cancelled_caught:
                log.debug("peer %s did not answer a ping within %g s", self.peer_id, self.ping_timeout_s)
                await self.secured_conn.close()
                return

    async def _read_data_body(self, length: int) -> bytes:
        if length + sum(map(len, self.stream_buffers.values())) > UNREAD_MAX_BYTES:
            raise trio.TooSlowError  # the library's word for: close this connection
        return await super()._read_data_body(length)


class LivingMuxers(MuxerMultistream):
    """Fault: whatever class is registered for yamux, the library builds its own."""

    def __init__(self, ping_interval_s: float, ping_timeout_s: float) -> None:
        super().__init__({TProtocol(yamux.PROTOCOL_ID): LivingYamux})
        self.ping_interval_s, self.ping_timeout_s = ping_interval_s, ping_timeout_s

    async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        await self.select_transport(conn)
        return LivingYamux(conn, peer_id, self.ping_interval_s, self.ping_timeout_s)
