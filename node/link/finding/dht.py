"""A Kademlia table over the link: peers find those whom no gossip has brought near, by region and device.

The library's Kad-DHT is not used but for its message format. Its faults, in 0.8.1: the protocol's name is a constant in
four modules, so that networks cannot be told apart; it stores what strangers like (50,000 values of up to 1 MiB without
a rule for their keys, any number of provider keys, addresses for any peer); who opens a stream is in the routing table
before it has said anything; twelve silent streams block all others for ever; providers that one peer makes up in an
answer are stored and handed on as if they had announced themselves; a look-up goes on as long as somebody names new
peers; and each of its steps dials through the swarm, wherever it was told to.

Here only admitted peers are heard, each a few times a second. Who names addresses hands on what their owner signed; a
look-up dials few of them, and hangs up again on those that nobody else wants. Runs on the libp2p thread.
"""

from __future__ import annotations

import ipaddress
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

import trio
from libp2p.abc import INetConn, INetStream
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.basic_host import BasicHost
from libp2p.io.exceptions import IncompleteReadError
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.id import ID
from libp2p.peer.peerstore import env_to_send_in_RPC
from libp2p.utils.varint import encode_varint_prefixed, read_varint_prefixed_bytes_limited
from multiaddr import Multiaddr

from node.link.events import LinkError
from node.link.finding.addresses import may_dial, scope_of, way_to
from node.link.finding.interfaces import spelled_out
from node.link.finding.kad_messages import Answer, Kind, Request, read_answer, read_request, write_answer, write_request
from node.link.finding.kademlia import Contact, Course, ProviderTable, RoutingTable
from node.link.finding.records import seal_record
from node.link.guard.rates import Buckets
from node.link.names import id_of, key_of
from node.reachability import Scope
from protocol.discovery import (
    BUCKET_PEERS_MAX,
    KAD_ANSWER_MAX_BYTES,
    KAD_REQUEST_MAX_BYTES,
    PROVIDE_EVERY_S,
    REPLICAS,
    kad_position,
    kad_protocol,
)
from protocol.errors import Reject
from protocol.identity import PEER_ID_PREFIX, KeyPair

# All guesses, not measured, unless a source is named.
ALPHA = 3  # asked at once (Kademlia paper)
ASKED_MAX = 24  # in one look-up
DIAL_TIMEOUT_S, ASK_TIMEOUT_S, LOOK_UP_TIMEOUT_S = 5.0, 5.0, 30.0
ADDRESSES_TRIED_MAX = 2  # of one peer
FOUND_MAX = 32  # providers that one look-up returns
LOOK_UPS_WAITING_MAX = 8
PASSING_MAX = 16  # connections kept that only look-ups wanted
SERVED_MAX, SERVED_PER_PEER_MAX = 32, 2  # streams at a time; an honest peer has one
RATE_PER_S, BURST = 5.0, 20.0  # requests of one peer
IDLE_TIMEOUT_S = 10.0  # until the next request on a stream

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Means:
    """What the table needs of the thread. `dial` returns once the peer is admitted, or raises; `hang_up` cuts;
    `peers` are those admitted now."""

    admits: Callable[[ID], Awaitable[bool]]
    dial: Callable[[Multiaddr, bytes], Awaitable[None]]
    hang_up: Callable[[bytes], Awaitable[None]]
    peers: Callable[[], Iterable[bytes]]
    spawn: Callable[..., None]


class Dht:
    """One node's part of the table: answers peers, and looks up. `chance` need not be secret."""

    def __init__(self, host: BasicHost, keypair: KeyPair, network: bytes, means: Means, chance: random.Random) -> None:
        self.protocol = TProtocol(kad_protocol(network))
        self.routes, self.providers = RoutingTable(keypair.public), ProviderTable()
        self._host, self._keypair, self._means, self._chance = host, keypair, means, chance
        self.addresses: tuple[str, ...] = ()
        """where others can dial us"""
        self._me: tuple[tuple[str, ...], Contact] | None = None
        self._has_contact = trio.Event()
        self._looking = trio.Lock()
        self._passing: dict[bytes, None] = {}  # connected by a look-up, the oldest first
        self._serving: Counter[bytes] = Counter()
        self._requests = Buckets(RATE_PER_S, BURST)

    # --- what the thread tells ----------------------------------------------------------------------------------------

    def met(self, peer: bytes) -> None:
        """A peer was admitted. One of the two asks the other, and both know each other's addresses then."""
        if self._keypair.public < peer and self.routes.get(peer) is None:
            self._means.spawn(self._ask, peer, Kind.FIND_NODE, PEER_ID_PREFIX + self._keypair.public)

    def left(self, peer: bytes) -> None:
        self._passing.pop(peer, None)

    def keep(self, peer: bytes) -> None:
        """Somebody else wants this connection: it is not ours to end."""
        self._passing.pop(peer, None)

    # --- answering ----------------------------------------------------------------------------------------------------

    async def serve(self, stream: INetStream) -> None:
        """The handler of an incoming stream; what goes wrong ends the stream, and nothing else."""
        peer = key_of(stream.muxed_conn.peer_id)
        if (
            not await self._means.admits(stream.muxed_conn.peer_id)
            or self._serving[peer] >= SERVED_PER_PEER_MAX
            or self._serving.total() >= SERVED_MAX
        ):
            await stream.reset()
            return
        self._serving[peer] += 1
        try:
            while True:
                await self._serve_one(stream, peer)
        except (IncompleteReadError, StreamEOF):
            await stream.close()
        except (Reject, BaseLibp2pError, trio.TooSlowError) as error:
            log.debug("a look-up of %s is refused: %s", stream.muxed_conn.peer_id, error)
            await stream.reset()
        finally:
            self._serving[peer] -= 1
            self._serving = +self._serving

    async def _serve_one(self, stream: INetStream, peer: bytes) -> None:
        with trio.fail_after(IDLE_TIMEOUT_S):
            data = await read_varint_prefixed_bytes_limited(stream, KAD_REQUEST_MAX_BYTES)
            if not self._requests.take(peer, trio.current_time()):
                raise Reject(f"more than {RATE_PER_S:g} requests a second")
            await stream.write(encode_varint_prefixed(self._answer(read_request(data, peer), stream, peer)))

    def _answer(self, request: Request, stream: INetStream, peer: bytes) -> bytes:
        self._hear(request.sender, stream.muxed_conn)
        closer: list[Contact] = []
        providers: list[Contact] = []
        if request.kind is Kind.ADD_PROVIDER:
            provider = allowed(request.sender, scope_at(stream.muxed_conn), by_relay=True)
            if provider is None or not self.providers.add(request.key, provider, trio.current_time()):
                raise Reject("no room for another provider, or it has no address that may be dialled")
        if request.kind in (Kind.FIND_NODE, Kind.GET_PROVIDERS):
            nearest = self.routes.closest(kad_position(request.key), BUCKET_PEERS_MAX + 1)
            closer = [contact for contact in nearest if contact.peer != peer][:BUCKET_PEERS_MAX]
        if request.kind is Kind.GET_PROVIDERS:
            providers = self.providers.get(request.key, trio.current_time(), BUCKET_PEERS_MAX, self._chance)
        return write_answer(request, self._own(), closer, providers)

    def _hear(self, contact: Contact | None, connection: object) -> None:
        """A peer has said where it is."""
        told = allowed(contact, scope_at(connection))
        if told is not None and self.routes.heard(told, trio.current_time()):
            self._has_contact.set()

    def _own(self) -> Contact:
        """Our record; anew when our addresses have changed."""
        if self._me is None or self._me[0] != self.addresses:
            env_to_send_in_RPC(self._host)  # the one that identify sends: made once, and now, so that ours is newer
            spelled = [a for address in self.addresses for a in spelled_out(address)]
            self._me = self.addresses, seal_record(self._keypair, spelled, time.time_ns())
        return self._me[1]

    # --- asking -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Become known to those around us, and know them, from the first contact on; then again now and then."""
        await self._has_contact.wait()
        while True:
            for name in (PEER_ID_PREFIX + self._keypair.public, self._chance.randbytes(32)):
                with suppress(LinkError):
                    await self._look_up(name, Kind.FIND_NODE, lambda contacts: False)
            self.providers.expire(trio.current_time())
            await trio.sleep(PROVIDE_EVERY_S * self._chance.uniform(0.8, 1.2))

    async def provide(self, key: bytes) -> None:
        """Announce ourselves under a key, to those nearest to it. Raises LinkError if nobody took it."""
        course = await self._look_up(key, Kind.FIND_NODE, lambda contacts: False)
        self.providers.add(key, self._own(), trio.current_time())
        taken: list[bytes] = []

        async def tell(contact: Contact) -> None:
            if await self._ask(contact.peer, Kind.ADD_PROVIDER, key) is not None:
                taken.append(contact.peer)

        async with trio.open_nursery() as nursery:
            for contact in course.answered(REPLICAS):
                nursery.start_soon(tell, contact)
        if not taken:
            raise LinkError(
                "HEL-DHT-002",
                "nobody keeps our record: no peer with a table is connected, or all are full",
                "connect to a peer (`heliotrope status` says how); it is tried again by itself",
            )

    async def find(self, key: bytes) -> list[Contact]:
        """Who has announced itself under a key: at most FOUND_MAX, by lot. Raises LinkError if too many wait."""
        found: dict[bytes, Contact] = {}

        def gather(contacts: Iterable[Contact]) -> bool:
            for contact in contacts:
                known = found.get(contact.peer)
                if contact.peer != self._keypair.public and (known is None or known.seq < contact.seq):
                    found[contact.peer] = contact
            return len(found) >= FOUND_MAX

        if not gather(self.providers.get(key, trio.current_time(), FOUND_MAX, self._chance)):
            await self._look_up(key, Kind.GET_PROVIDERS, gather)
        return list(found.values())[:FOUND_MAX]

    async def _look_up(self, name: bytes, kind: Kind, is_enough: Callable[[Iterable[Contact]], bool]) -> Course:
        """Ask ever nearer to a name. `is_enough` hears of all providers that are named."""
        if self._looking.statistics().tasks_waiting >= LOOK_UPS_WAITING_MAX:
            raise LinkError("HEL-DHT-003", f"{LOOK_UPS_WAITING_MAX} look-ups wait already", "ask again in a minute")
        course = Course(kad_position(name), ASKED_MAX)
        ended = False

        async def ask(contact: Contact) -> None:
            nonlocal ended
            answer = await self._ask(contact.peer, kind, name) if await self._reach(contact) else None
            if answer is None:
                course.silent(contact.peer)
                self.routes.forget(contact.peer)
                return
            course.hear(contact for contact in answer.closer if contact.peer != self._keypair.public)
            ended = is_enough(answer.providers) or ended

        async with self._looking:
            await self._meet_neighbours()
            course.hear(self.routes.closest(kad_position(name), BUCKET_PEERS_MAX))
            with trio.move_on_after(LOOK_UP_TIMEOUT_S):
                while not ended and (batch := course.next(ALPHA, REPLICAS)):
                    async with trio.open_nursery() as nursery:
                        for contact in batch:
                            nursery.start_soon(ask, contact)
            await self._hang_up()
        return course

    async def _meet_neighbours(self) -> None:
        """Who has few contacts asks its connected peers whether they have a table."""
        if len(self.routes) < ALPHA:
            strangers = [peer for peer in self._means.peers() if self.routes.get(peer) is None]
            async with trio.open_nursery() as nursery:
                for peer in strangers[: 2 * ALPHA]:
                    nursery.start_soon(self._ask, peer, Kind.FIND_NODE, PEER_ID_PREFIX + self._keypair.public)

    async def _reach(self, contact: Contact) -> bool:
        """Whether the peer is connected now."""
        if self._connection(contact.peer) is not None:
            return True
        self._passing[contact.peer] = None  # at once: a look-up that is cut short leaves no connection unaccounted for
        for address in contact.addresses[:ADDRESSES_TRIED_MAX]:
            try:
                with trio.fail_after(DIAL_TIMEOUT_S):
                    await self._means.dial(Multiaddr(address), contact.peer)
            except Exception as error:  # noqa: BLE001  nothing is lost: the next address or peer is tried
                log.debug("a look-up does not reach %s: %s", address, error)
            else:
                return True
        return False

    async def _hang_up(self) -> None:
        """On the oldest that only look-ups wanted."""
        for peer in [peer for peer in self._passing if self._connection(peer) is None]:
            del self._passing[peer]
        while len(self._passing) > PASSING_MAX:
            peer = next(iter(self._passing))
            del self._passing[peer]
            await self._means.hang_up(peer)

    async def _ask(self, peer: bytes, kind: Kind, key: bytes) -> Answer | None:
        """One request to a connected peer; None if it gives no answer that counts."""
        connection = self._connection(peer)
        if connection is None:
            return None
        stream: INetStream | None = None
        try:
            with trio.fail_after(ASK_TIMEOUT_S):
                stream = await self._host.new_stream(id_of(peer), [self.protocol])
                await stream.write(encode_varint_prefixed(write_request(kind, key, self._own())))
                data = await read_varint_prefixed_bytes_limited(stream, KAD_ANSWER_MAX_BYTES)
                await stream.close()
            answer = read_answer(data, kind, peer)
        except Exception as error:  # noqa: BLE001  nothing is lost: the peer counts as silent
            log.debug("%s does not answer a look-up: %s", id_of(peer), error)
            if stream is not None:
                with trio.CancelScope(shield=True), trio.move_on_after(1):
                    await stream.reset()
            return None
        self._hear(answer.sender, connection.muxed_conn)
        scope = scope_at(connection.muxed_conn)
        closer = (allowed(contact, scope) for contact in answer.closer)
        providers = (allowed(contact, scope, by_relay=True) for contact in answer.providers)
        return Answer(answer.sender, tuple(filter(None, closer)), tuple(filter(None, providers)))

    def _connection(self, peer: bytes) -> INetConn | None:
        connections = self._host.get_network().get_connections(id_of(peer))
        return next((connection for connection in connections if not connection.is_closed), None)


def allowed(contact: Contact | None, teller: Scope, *, by_relay: bool = False) -> Contact | None:
    """A contact with those of its addresses that may be dialled when told by a peer in this scope; None if none may.
    A provider may be reached through a relay; who keeps the table for others, at its own address."""
    if contact is None:
        return None
    addresses = [a for a in contact.addresses if may_dial(way_to(a) if by_relay else a, teller)]
    return replace(contact, addresses=tuple(addresses)) if addresses else None


def scope_at(connection: object) -> Scope:
    """From where we reach a peer. Through a relay nobody knows: it is heard like one from far away."""
    try:
        remote = connection.get_remote_address()  # type: ignore[attr-defined]
        scope = scope_of(ipaddress.ip_address(remote[0]))
    except Exception:  # noqa: BLE001  the connection is gone, or not of TCP
        scope = None
    return Scope.INTERNET if scope is None else scope
