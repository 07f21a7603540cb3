"""Connections: who is admitted, how many, and what a stream handler's failure costs.

Refused besides: keys other than Ed25519, dials by the library itself (a peer could send us anywhere), and identify
records (the transport has proved the key, and the key is the name).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from libp2p.abc import IMuxedConn, INetConn, INetStream
from libp2p.host.basic_host import BasicHost
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from node.link.names import is_ed25519

CONNECTIONS_PER_PEER_MAX = 4  # two after a simultaneous dial, twice that while stale ones await their ping
STREAMS_PER_CONNECTION_MAX = 64  # guess, not measured; an honest peer has about six

log = logging.getLogger(__name__)


class ContainedSwarm(Swarm):
    """Admits Ed25519 peers, few connections and streams each, and survives its stream handlers.

    Faults: an exception in a stream handler ends the host (a protocol name that is not UTF-8 is enough); an inbound
    connection keeps its place until the host stops, so that after 250 of them nobody can connect; anything may dial.
    """

    async def dial_peer(self, peer_id: ID) -> list[INetConn]:
        raise SwarmException(f"not connected to {peer_id}")

    async def add_conn(self, muxed_conn: IMuxedConn, direction: str = "unknown") -> Any:
        peer = muxed_conn.peer_id
        open_to_peer = sum(not connection.is_closed for connection in self.get_connections(peer))
        if not is_ed25519(peer.to_bytes()) or peer == self.self_id or open_to_peer >= CONNECTIONS_PER_PEER_MAX:
            await muxed_conn.secured_conn.close()  # type: ignore[attr-defined]
            raise SwarmException(f"{peer} refused: not an Ed25519 key, or our own, or {open_to_peer} connections open")
        return await super().add_conn(muxed_conn, direction)

    async def upgrade_inbound_raw_conn(self, raw_conn: Any, maddr: Multiaddr) -> IMuxedConn:
        muxed_conn = await super().upgrade_inbound_raw_conn(raw_conn, maddr)
        await muxed_conn.event_closed.wait()  # type: ignore[attr-defined]
        raise SwarmException("the connection has ended")  # what makes the caller give the place back

    def set_stream_handler(self, stream_handler: Callable[[INetStream], Awaitable[None]]) -> None:
        async def contained(stream: INetStream) -> None:
            if len(stream.swarm_conn.streams) > STREAMS_PER_CONNECTION_MAX:  # type: ignore[attr-defined]
                await stream.reset()
                return
            try:
                await stream_handler(stream)
            except Exception:
                log.debug("a stream of %s is lost, its handler failed", stream.muxed_conn.peer_id, exc_info=True)
                await stream.reset()

        super().set_stream_handler(contained)


class SilentHost(BasicHost):
    """Asks nobody who they are: the transport has proved the key, and an identify record is a stranger's claim."""

    def _schedule_identify(self, peer_id: ID, *, reason: str) -> None:
        pass
