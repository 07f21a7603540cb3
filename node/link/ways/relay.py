"""A relay: carries circuits between peers of the network that cannot dial each other, within limits.

Circuit relay v2, the relay's side; what goes through is encrypted end to end. Only admitted peers are served, and only
on direct connections: a reservation in somebody else's name cannot be had, a circuit of circuits neither.

The library's own was tried and is not used. Its reservations are made out to whoever the message names, so that one
peer takes every place; it never ends an idle circuit; the second circuit of one peer ends with the first; it writes its
refusals into the encrypted bytes of an open circuit; and peers accept circuits from relays that they never asked.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import trio
from libp2p.abc import INetStream
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.basic_host import BasicHost
from libp2p.relay.circuit_v2.pb import circuit_pb2 as pb
from multiaddr import Multiaddr

from node.link.events import describe
from node.link.guard.rates import Buckets
from node.link.names import id_of, is_ed25519, key_of
from node.link.peers import Peer
from node.link.ways.circuits import EXCHANGE_TIMEOUT_S, STOP
from node.link.ways.exchanges import abandon, is_relayed, read_message, write_message
from protocol.errors import Reject

CHUNK_BYTES = 64 * 1024  # what the relay itself holds of a circuit, in each direction
WRITE_TIMEOUT_S = 30.0  # for a chunk, to an end that does not read
REQUESTS_PER_S, REQUESTS_BURST = 1.0, 16.0  # of one peer; guess, not measured
CIRCUITS_PER_S, CIRCUITS_BURST = 2.0, 32.0  # to one peer, whoever asks: it holds us to `conduct.STREAMS_PER_S` of ours

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """What a relay gives away at most. `circuits_per_peer` counts those that a peer dials and those that lead to it;
    `circuit_bytes` both directions together."""

    reservations: int = 64
    reservation_s: int = 3600
    circuits_per_peer: int = 8
    circuit_bytes: int = 256 * 2**20
    circuit_s: int = 3600


class Relay:
    """`peers` holds who is connected; `addresses` gives where others can dial us, none if they cannot."""

    def __init__(
        self,
        host: BasicHost,
        peers: Mapping[bytes, Peer],
        limits: RelayLimits,
        addresses: Callable[[], tuple[str, ...]],
    ) -> None:
        self._host, self._peers, self._limits, self._addresses = host, peers, limits, addresses
        self._reserved: dict[bytes, float] = {}  # until when, on trio's clock
        self._circuits: Counter[bytes] = Counter()  # of each peer
        self._requests = Buckets(REQUESTS_PER_S, REQUESTS_BURST)
        self._openings = Buckets(CIRCUITS_PER_S, CIRCUITS_BURST)

    async def answer(self, stream: INetStream) -> None:
        """The handler of a request; that for a circuit returns when the circuit has ended."""
        key = key_of(stream.muxed_conn.peer_id)
        try:
            with trio.fail_after(EXCHANGE_TIMEOUT_S):
                try:
                    request = await read_message(stream, pb.HopMessage)
                except Reject as refusal:
                    log.debug("a relay request is refused: %s", refusal)
                    await self._say(stream, pb.MALFORMED_MESSAGE)
                    return
                status = self._judge(key, stream)
            if status != pb.OK:
                await self._say(stream, status)
            elif request.type == pb.HopMessage.RESERVE:
                await self._reserve(key, stream)
            elif request.type == pb.HopMessage.CONNECT:
                await self._connect(key, stream, request.peer.id)
            else:
                await self._say(stream, pb.UNEXPECTED_MESSAGE)
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(1):
                await stream.close()

    def _judge(self, key: bytes, stream: INetStream) -> pb.Status.ValueType:
        if not self._is_admitted(key) or is_relayed(stream):
            return pb.PERMISSION_DENIED
        return pb.OK if self._requests.take(key, trio.current_time()) else pb.RESOURCE_LIMIT_EXCEEDED

    def _is_admitted(self, key: bytes) -> bool:
        peer = self._peers.get(key)
        return peer is not None and peer.is_admitted

    async def _reserve(self, key: bytes, stream: INetStream) -> None:
        """A place for the peer that asks, whatever the message says."""
        now = trio.current_time()
        self._reserved = {other: end for other, end in self._reserved.items() if end > now and other in self._peers}
        addresses = self._addresses()
        if not addresses:
            await self._say(stream, pb.RESERVATION_REFUSED)
        elif key not in self._reserved and len(self._reserved) >= self._limits.reservations:
            await self._say(stream, pb.RESOURCE_LIMIT_EXCEEDED)
        else:
            self._reserved[key] = now + self._limits.reservation_s
            reservation = pb.Reservation(
                expire=int(time.time()) + self._limits.reservation_s,
                addrs=[Multiaddr(address).to_bytes() for address in addresses],
            )
            await self._say(stream, pb.OK, reservation)

    async def _connect(self, key: bytes, stream: INetStream, target: bytes) -> None:
        other = target[-32:] if is_ed25519(target) else b""
        if other in (b"", key, key_of(self._host.get_id())):
            await self._say(stream, pb.PERMISSION_DENIED if other else pb.MALFORMED_MESSAGE)
        elif self._reserved.get(other, 0.0) <= trio.current_time() or not self._is_admitted(other):
            await self._say(stream, pb.NO_RESERVATION)
        elif max(
            self._circuits[key], self._circuits[other]
        ) >= self._limits.circuits_per_peer or not self._openings.take(other, trio.current_time()):
            await self._say(stream, pb.RESOURCE_LIMIT_EXCEEDED)
        else:
            self._circuits.update((key, other))
            try:
                await self._open(key, stream, other)
            finally:
                self._circuits.subtract((key, other))
                self._circuits = +self._circuits

    async def _open(self, key: bytes, near: INetStream, other: bytes) -> None:
        far: INetStream | None = None
        try:
            try:
                with trio.fail_after(EXCHANGE_TIMEOUT_S):
                    far = await self._host.new_stream(id_of(other), [STOP])
                    peer = pb.PeerId(id=id_of(key).to_bytes())
                    await write_message(
                        far, pb.StopMessage(type=pb.StopMessage.CONNECT, peer=peer, limit=self._limit())
                    )
                    answer = await read_message(far, pb.StopMessage)
                    is_open = answer.type == pb.StopMessage.STATUS and answer.status == pb.OK and not is_relayed(far)
            except Exception as error:  # noqa: BLE001  nothing is lost: the asker is told
                log.debug("a circuit does not open: %s", describe(error))
                is_open = False
            if far is None or not is_open:
                await self._say(near, pb.CONNECTION_FAILED)
                return
            await self._say(near, pb.OK)
            await self._carry(near, far)
        finally:
            if far is not None:
                await abandon(far)

    async def _carry(self, near: INetStream, far: INetStream) -> None:
        """Until either end closes, or the circuit has had its bytes or its time."""
        left_bytes = self._limits.circuit_bytes

        async def pump(source: INetStream, sink: INetStream) -> None:
            nonlocal left_bytes
            try:
                while left_bytes > 0:
                    chunk = await source.read(CHUNK_BYTES)
                    left_bytes -= len(chunk)
                    if not chunk or left_bytes < 0:
                        break
                    with trio.fail_after(WRITE_TIMEOUT_S) as writing:
                        writing.shield = True  # half a frame would ruin the connection
                        await sink.write(chunk)
            except (BaseLibp2pError, trio.TooSlowError) as error:
                log.debug("a circuit has ended: %s", describe(error))
            nursery.cancel_scope.cancel()

        with trio.move_on_after(self._limits.circuit_s):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump, near, far)
                nursery.start_soon(pump, far, near)
        await abandon(near)

    async def _say(
        self, stream: INetStream, status: pb.Status.ValueType, reservation: pb.Reservation | None = None
    ) -> None:
        answer = pb.HopMessage(type=pb.HopMessage.STATUS, status=status, reservation=reservation)
        if status == pb.OK:
            answer.limit.CopyFrom(self._limit())
        await write_message(stream, answer)

    def _limit(self) -> pb.Limit:
        return pb.Limit(duration=self._limits.circuit_s, data=self._limits.circuit_bytes)
