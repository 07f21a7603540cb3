"""Circuits: connections through a relay, encrypted end to end, as both of their ends see them.

Circuit relay v2. Who cannot be dialled reserves a place at up to RELAYS_MAX relays and is dialled through them. What
comes through a circuit is upgraded like any connection, Noise first: the relay sees ciphertext, and one that lies about
who stands behind it is found out.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import trio
from libp2p.abc import INetConn, INetStream
from libp2p.connection_types import ConnectionType
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.basic_host import BasicHost
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import IOException
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.pb import circuit_pb2 as pb
from multiaddr import Multiaddr

from node.link.events import describe
from node.link.names import id_of, is_ed25519, key_of
from node.link.peers import Peer
from node.link.swarm import ContainedSwarm
from node.link.ways.exchanges import abandon, is_relayed, read_address, read_message, write_message
from protocol.errors import Reject
from protocol.identity import peer_id

HOP = TProtocol("/libp2p/circuit/relay/0.2.0/hop")
STOP = TProtocol("/libp2p/circuit/relay/0.2.0/stop")
RELAYS_MAX = 2
RELAY_ADDRESSES_MAX = 2  # of each, that we advertise; an advert has eight in all
CIRCUITS_IN_MAX = 32  # at once, through all our relays; guess, not measured
EXCHANGE_TIMEOUT_S = 10.0
UPGRADE_TIMEOUT_S = 10.0
ASK_AGAIN_S = 60.0  # a peer that does not relay, or has no place; guess, not measured
RESERVATION_MIN_S, RESERVATION_MAX_S = 60.0, 3600.0  # what we believe of a relay's word
RELAY_ADDRESS = re.compile(r"/ip[46]/[0-9a-f.:]{2,45}/tcp/[0-9]{1,5}")

log = logging.getLogger(__name__)


class CircuitStream(ReadWriteCloser):
    """A circuit's stream as a socket: it ends when it is closed here, whoever still reads it."""

    def __init__(self, stream: INetStream) -> None:
        self._stream = stream
        self._closed = False
        self._reading: trio.CancelScope | None = None

    async def read(self, n: int | None = None) -> bytes:
        with trio.CancelScope() as self._reading:
            if self._closed:
                self._reading.cancel()
            try:
                return await self._stream.read(n)
            except StreamEOF:
                return b""
            except BaseLibp2pError as error:
                raise IOException(f"the circuit has ended: {describe(error)}") from error
        raise IOException("the circuit was closed")

    async def write(self, data: bytes) -> None:
        try:
            await self._stream.write(data)
        except BaseLibp2pError as error:
            raise IOException(f"the circuit has ended: {describe(error)}") from error

    async def close(self) -> None:
        self._closed = True
        if self._reading is not None:
            self._reading.cancel()
        await abandon(self._stream)

    def get_remote_address(self) -> tuple[str, int] | None:
        return None


@dataclass(slots=True)
class Reservation:
    """A place at a relay; times on trio's clock."""

    addresses: tuple[str, ...]
    renew_at_s: float


@dataclass(slots=True)
class Circuits:
    """Our side of relays. `peers` holds who is connected; `changed` is called when `addresses` has changed."""

    host: BasicHost
    swarm: ContainedSwarm
    peers: Mapping[bytes, Peer]
    changed: Callable[[], None]
    wanted: bool = False
    held: dict[bytes, Reservation] = field(default_factory=dict)
    in_use: int = 0
    _asked_at_s: dict[bytes, float] = field(default_factory=dict)
    _wake: trio.Event = field(default_factory=trio.Event)

    # --- being dialled ----------------------------------------------------------------------------------------------

    def want(self, wanted: bool) -> None:
        """Whether this node needs relays: nobody can dial it."""
        if wanted != self.wanted:
            self.wanted = wanted
            self._wake.set()

    def look_again(self) -> None:
        """A peer has come or gone: a relay may be lost with it, or found."""
        self._wake.set()

    async def run(self) -> None:
        """For ever: hold places at relays while they are wanted, and renew them at half their time."""
        while True:
            before = self.addresses
            await self._hold()
            if self.addresses != before:
                self.changed()
            now = trio.current_time()
            due_s = [reservation.renew_at_s - now for reservation in self.held.values()]
            with trio.move_on_after(max(0.0, min([*due_s, ASK_AGAIN_S]))):
                await self._wake.wait()
            self._wake = trio.Event()

    @property
    def addresses(self) -> tuple[str, ...]:
        """At which we are dialled through relays."""
        return tuple(address for _, held in sorted(self.held.items()) for address in held.addresses)

    async def _hold(self) -> None:
        admitted = {key for key, peer in self.peers.items() if peer.is_admitted and self._is_direct(key)}
        self.held = {key: held for key, held in self.held.items() if key in admitted and self.wanted}
        if not self.wanted:
            return
        self._asked_at_s = {key: at_s for key, at_s in self._asked_at_s.items() if key in admitted}
        for key in [key for key, held in self.held.items() if held.renew_at_s <= trio.current_time()]:
            if not await self._reserve(key):
                self.held.pop(key, None)
        for key in sorted(admitted - self.held.keys(), key=lambda key: self._asked_at_s.get(key, -ASK_AGAIN_S)):
            if len(self.held) >= RELAYS_MAX:
                return
            if trio.current_time() - self._asked_at_s.get(key, -ASK_AGAIN_S) >= ASK_AGAIN_S:
                await self._reserve(key)

    def _is_direct(self, key: bytes) -> bool:
        """A relay must be reached without another."""
        connections = self.swarm.get_connections(id_of(key))
        return any(connection.get_connection_type() is not ConnectionType.RELAYED for connection in connections)

    async def _reserve(self, key: bytes) -> bool:
        """Whether there is a place for us at that peer."""
        self._asked_at_s[key] = trio.current_time()
        try:
            with trio.fail_after(EXCHANGE_TIMEOUT_S):
                stream = await self.host.new_stream(id_of(key), [HOP])
                try:
                    if is_relayed(stream):
                        return False
                    await write_message(stream, pb.HopMessage(type=pb.HopMessage.RESERVE))
                    answer = await read_message(stream, pb.HopMessage)
                finally:
                    await abandon(stream)
        except Exception as error:  # noqa: BLE001  nothing is lost: it is no relay, and another is asked
            log.debug("no place at %s: %s", peer_id(key), describe(error))
            return False
        addresses = self._through(key, answer.reservation)
        if answer.status != pb.OK or not addresses:
            log.debug("no place at %s: status %d, %d addresses", peer_id(key), answer.status, len(addresses))
            return False
        lasts_s = min(max(answer.reservation.expire - time.time(), RESERVATION_MIN_S), RESERVATION_MAX_S)
        self.held[key] = Reservation(addresses, trio.current_time() + lasts_s / 2)
        return True

    def _through(self, key: bytes, reservation: pb.Reservation) -> tuple[str, ...]:
        """The addresses that lead to us through a relay; what it says is a stranger's word."""
        found = []
        for raw in reservation.addrs[: 4 * RELAY_ADDRESSES_MAX]:
            address = read_address(raw).removesuffix(f"/p2p/{peer_id(key)}")
            if RELAY_ADDRESS.fullmatch(address):
                found.append(f"{address}/p2p/{peer_id(key)}/p2p-circuit/p2p/{self.swarm.self_id}")
        return tuple(dict.fromkeys(found))[:RELAY_ADDRESSES_MAX]

    async def accept(self, stream: INetStream) -> None:
        """The handler of a circuit that a relay of ours opens to us; it returns when the circuit has ended."""
        try:
            with trio.fail_after(EXCHANGE_TIMEOUT_S):
                status, peer = self._judge(stream, await read_message(stream, pb.StopMessage))
                await write_message(stream, pb.StopMessage(type=pb.StopMessage.STATUS, status=status))
        except (Reject, trio.TooSlowError) as error:
            log.debug("a circuit is refused: %s", error)
            await stream.reset()
            return
        if status != pb.OK:
            await stream.close()
            return
        self.in_use += 1
        try:
            connection = await self._upgrade(stream, peer, is_initiator=False)
            await connection.event_closed.wait()  # type: ignore[attr-defined]
        finally:
            self.in_use -= 1

    def _judge(self, stream: INetStream, message: pb.StopMessage) -> tuple[pb.Status.ValueType, ID]:
        peer = ID(message.peer.id)
        if key_of(stream.muxed_conn.peer_id) not in self.held or is_relayed(stream):
            return pb.PERMISSION_DENIED, peer
        if message.type != pb.StopMessage.CONNECT or not is_ed25519(message.peer.id) or peer == self.swarm.self_id:
            return pb.MALFORMED_MESSAGE, peer
        return pb.RESOURCE_LIMIT_EXCEEDED if self.in_use >= CIRCUITS_IN_MAX else pb.OK, peer

    # --- dialling ---------------------------------------------------------------------------------------------------

    async def dial(self, relay: bytes, key: bytes) -> None:
        """Connect to a peer through a relay that we are connected to. Raises what the library does."""
        stream = await self.host.new_stream(id_of(relay), [HOP])
        try:
            if is_relayed(stream):
                raise SwarmException("the relay itself is reached through a relay")
            request = pb.HopMessage(type=pb.HopMessage.CONNECT, peer=pb.PeerId(id=id_of(key).to_bytes()))
            await write_message(stream, request)
            answer = await read_message(stream, pb.HopMessage)
            if answer.type != pb.HopMessage.STATUS or answer.status != pb.OK:
                raise SwarmException(f"the relay refuses: {said(answer.status)}")
        except BaseException:
            await abandon(stream)
            raise
        await self._upgrade(stream, id_of(key), is_initiator=True)

    async def _upgrade(self, stream: INetStream, peer: ID, *, is_initiator: bool) -> INetConn:
        """Noise and yamux, end to end; the other end must prove to be `peer`."""
        via = Multiaddr(f"/p2p/{stream.muxed_conn.peer_id}/p2p-circuit/p2p/{peer}")
        circuit = CircuitStream(stream)
        raw = RawConnection(circuit, is_initiator, ConnectionType.RELAYED, [via])
        try:
            with trio.fail_after(UPGRADE_TIMEOUT_S):
                upgrader = self.swarm.upgrader
                secured = await upgrader.upgrade_security(raw, is_initiator, peer if is_initiator else None)
                if secured.get_remote_peer() != peer:
                    raise SwarmException(f"the relay said {peer}, and {secured.get_remote_peer()} is there")
                muxed = await upgrader.upgrade_connection(secured, peer)
                direction = "outbound" if is_initiator else "inbound"
                connection: INetConn = await self.swarm.add_conn(muxed, direction)
                return connection
        except BaseException:
            await circuit.close()
            raise


def said(status: int) -> str:
    """A stranger's status, for people."""
    name: str = pb.Status.Name(status) if status in pb.Status.values() else f"status {status}"  # type: ignore[arg-type]
    return name.replace("_", " ").lower()
