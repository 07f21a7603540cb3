"""Connections: who is admitted, how many, and what a stream handler's failure costs.

Refused besides: keys other than Ed25519, dials by the library itself (a peer could send us anywhere), and identify
records (the transport has proved the key, and the key is the name). Addresses: `guard/gate.py`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import trio
from libp2p.abc import IMuxedConn, INetConn, INetStream
from libp2p.host.basic_host import BasicHost
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.utils.multiaddr_utils import extract_ip_from_multiaddr
from multiaddr import Multiaddr

from node.link.dials import Denied
from node.link.guard.conduct import Conduct
from node.link.guard.gate import Address, Gate, Network, Place, parse_address
from node.link.mux.muxer import cut
from node.link.names import is_ed25519, key_of

CONNECTIONS_PER_PEER_MAX = 4  # two after a simultaneous dial, twice that while stale ones await their ping
STREAMS_PER_CONNECTION_MAX = 64  # guess, not measured; an honest peer has about six

log = logging.getLogger(__name__)


class ContainedSwarm(Swarm):
    """Admits Ed25519 peers from admissible addresses, few connections and streams each, and survives its stream
    handlers. `gate` and `conduct` are set when it is built.

    Faults: an exception in a stream handler ends the host (a protocol name that is not UTF-8 is enough); an inbound
    connection keeps its place until the host stops, so that after 250 of them nobody can connect; anything may dial;
    an IPv6 peer has no address, and passes the library's own gate.
    """

    gate: Gate
    conduct: Conduct

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._places: dict[Any, Place] = {}  # of the TCP streams of incoming connections
        self._addresses: WeakKeyDictionary[IMuxedConn, Address] = WeakKeyDictionary()

    async def dial_peer(self, peer_id: ID) -> list[INetConn]:
        raise SwarmException(f"not connected to {peer_id}")

    async def dial_addr(self, addr: Multiaddr, peer_id: ID, source: tuple[str, int] | None = None) -> INetConn:
        self._require(parse_address(extract_ip_from_multiaddr(addr) or ""))
        return await super().dial_addr(addr, peer_id, source)

    async def deny(self, denied: Mapping[Network, float]) -> None:
        """No connection with these networks from now on, each until then (`time.monotonic`); those there are, are cut.
        Raises LocalError."""
        self.gate.deny(denied)
        for connection in self.get_connections():
            if self.gate.denial(self._addresses.get(connection.muxed_conn), time.monotonic()):
                await cut(connection)

    async def _handle_inbound_connection(self, read_write_closer: Any, maddr: Multiaddr) -> None:
        address = address_of(read_write_closer)
        if reason := self.gate.refusal(address, time.monotonic()):
            self.conduct.losses["connections_refused"] += 1
            log.debug("a connection is not taken: %s", reason)
            await read_write_closer.close()
            return
        with trio.CancelScope() as scope:
            place = self._places[read_write_closer] = self.gate.enter(address, scope.cancel)
            try:
                await super()._handle_inbound_connection(read_write_closer, maddr)
            finally:
                del self._places[read_write_closer]
                self.gate.leave(place)
        if scope.cancelled_caught:
            self.conduct.losses["connections_refused"] += 1

    async def upgrade_inbound_raw_conn(self, raw_conn: Any, maddr: Multiaddr) -> IMuxedConn:
        muxed_conn = await super().upgrade_inbound_raw_conn(raw_conn, maddr)
        if (place := self._places.get(raw_conn.stream)) is not None:
            self.gate.opened(place)
        await muxed_conn.event_closed.wait()  # type: ignore[attr-defined]
        raise SwarmException("the connection has ended")  # what makes the caller give the place back

    async def upgrade_outbound_raw_conn(self, raw_conn: Any, peer_id: ID, pre_scope: Any = None) -> Any:
        self._require(address_of(raw_conn.stream))  # a name may lead where an address must not
        return await super().upgrade_outbound_raw_conn(raw_conn, peer_id, pre_scope)

    async def add_conn(self, muxed_conn: IMuxedConn, direction: str = "unknown") -> Any:
        peer = muxed_conn.peer_id
        open_to_peer = sum(not connection.is_closed for connection in self.get_connections(peer))
        if not is_ed25519(peer.to_bytes()) or peer == self.self_id or open_to_peer >= CONNECTIONS_PER_PEER_MAX:
            await muxed_conn.secured_conn.close()  # type: ignore[attr-defined]
            raise SwarmException(f"{peer} refused: not an Ed25519 key, or our own, or {open_to_peer} connections open")
        remote = muxed_conn.get_remote_address()  # type: ignore[attr-defined]
        address = parse_address(remote[0]) if remote else None
        if address is not None:
            self._addresses[muxed_conn] = address
        connection = await super().add_conn(muxed_conn, direction)
        if self.gate.denial(address, time.monotonic()):  # since its handshake began
            await cut(connection)
        return connection

    def _require(self, address: Address | None) -> None:
        """Raises Denied."""
        if reason := self.gate.denial(address, time.monotonic()):
            raise Denied(reason)

    def set_stream_handler(self, stream_handler: Callable[[INetStream], Awaitable[None]]) -> None:
        async def contained(stream: INetStream) -> None:
            are_many = len(stream.swarm_conn.streams) > STREAMS_PER_CONNECTION_MAX  # type: ignore[attr-defined]
            if not self.conduct.takes_stream(key_of(stream.muxed_conn.peer_id)) or are_many:
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


def address_of(stream: Any) -> Address | None:
    """The other end of the library's TCP stream, which is told, too: of IPv6 it would say that there is none."""
    with suppress(AttributeError, OSError):
        host, port = stream.stream.socket.getpeername()[:2]
        stream._cached_remote_address = (host, port)
        return parse_address(host)
    return None
