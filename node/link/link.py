"""`Link`: the loop's side of the link, and the supervisor of its thread."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import chain
from math import inf
from weakref import WeakValueDictionary

from node.link.blobs import BlobHead, NoBlobs, ServeBlob
from node.link.events import (
    Crossing,
    LinkError,
    LinkEvent,
    LinkFailed,
    LinkRestarted,
    PeersFound,
    Verdict,
    thread_is_down,
)
from node.link.finding.interfaces import Interface, find_interface, spelled_out
from node.link.finding.mdns import Mdns
from node.link.gossip.pubsub import GOSSIP_MAX_BYTES
from node.link.guard.gate import Network, network_of, parse_address, parse_network, require_few
from node.link.guard.standing import Act, Ban, Standings
from node.link.host import demote_library_logging
from node.link.messages import MESSAGE_MAX_BYTES, unsent
from node.link.names import parse_peer_address
from node.link.publications import Publications
from node.link.thread import FLUSH_TIMEOUT_S, GOODBYE_TIMEOUT_S, LinkThread, Record, Settings
from node.link.ways.relay import RelayLimits
from node.version import version
from protocol.discovery import mdns_service
from protocol.hello import VERSION, Hello
from protocol.identity import KeyPair

STOP_TIMEOUT_S = FLUSH_TIMEOUT_S + GOODBYE_TIMEOUT_S + 1.0
ACKNOWLEDGE_TIMEOUT_S = 30.0  # a loop may be busy, and a machine asleep for a moment; guess, not measured
RESTART_DELAY_S, RESTART_DELAY_MAX_S = 0.5, 30.0  # doubled at every death; guess, not measured
RESTART_FORGIVEN_S = 60.0  # a thread that lived this long starts over with the short delay; guess, not measured

log = logging.getLogger(__name__)


class Link:
    """Other peers, by public key. All methods belong to the loop that called `start`.

    `seed` is the node's 32-byte Ed25519 seed, `listen` a multiaddr like `/ip4/127.0.0.1/tcp/0` (0: any free port).
    `judge(topic, data)` says whether gossip is forwarded and delivered, and whose fault a no
    is; it runs on the libp2p thread: it must be pure.
    `deliver` is called on the loop, in order, and must not block; it returns False for a message that it did not take,
    and whoever sent that learns it. `network` is the genesis document's hash, `invitation` what lets this node into a
    closed network; `admit(peer, hello)` says why a peer of the same network is refused, or "", as purely as `judge`:
    at its hello, and every `ping_interval_s` again, for what let it in may expire.
    `serve_blob(peer, authorization, first_byte)` is called on the loop where a peer asks for a blob.
    `patience_s(topic)` is how long gossip of a topic may wait at each hop, so that much of it leaves in one write.
    A peer that does not answer pings is disconnected after at most `ping_interval_s + ping_timeout_s`. No address has
    more than `connections_per_address` incoming connections; there is none with a network of `deny`, ever. Raises
    LocalError for what is no network. `relay`: what this node gives as a relay between others; None for nothing.
    `has_dht`: take part in the network's Kademlia table (`finding/dht.py`). `mdns`: the name or IPv4 address of the
    interface on which peers are announced and heard (`finding/mdns.py`), or "".
    """

    def __init__(
        self,
        *,
        seed: bytes,
        listen: str,
        topics: Sequence[str],
        judge: Callable[[str, bytes], Verdict],
        deliver: Callable[[LinkEvent], bool | None],
        network: bytes = bytes(32),
        invitation: bytes = b"",
        admit: Callable[[bytes, Hello], str] = lambda peer, hello: "",
        serve_blob: ServeBlob = NoBlobs,
        patience_s: Callable[[str], float] = lambda topic: 0.0,
        ping_interval_s: float = 5.0,
        ping_timeout_s: float = 10.0,
        connections_per_address: int = 256,
        deny: Sequence[str] = (),
        relay: RelayLimits | None = None,
        has_dht: bool = False,
        mdns: str = "",
    ) -> None:
        self.public = KeyPair(seed).public
        self.addresses: tuple[str, ...] = ()
        self.losses: Counter[str] = Counter()
        """gossip_undelivered (a slow loop), gossip_unpublished (a full outbox, or nobody who listens); of others'
        making: gossip_unsent (a slow peer), gossip_over_rate (of an author or a peer), gossip_over_all,
        streams_over_rate, connections_refused (by address), bans"""
        self.results: Counter[tuple[str, Verdict]] = Counter()
        """of the judge, by topic"""
        self._standings = Standings(lambda peer: self._thread is not None and self._thread.is_connected(peer))
        self._denied: dict[Network, float] = {}
        self._record = Record(self._standings, self._denied, self.losses, self.results)
        hello = Hello(
            version=VERSION,
            network=network,
            session=bytes(16),
            agent=f"heliotrope/{version()}"[:64],
            observed="",
            invitation=invitation,
        )
        self._settings = Settings(
            seed,
            listen,
            tuple(topics),
            judge,
            hello,
            admit,
            serve_blob,
            patience_s,
            ping_interval_s,
            ping_timeout_s,
            connections_per_address,
            tuple(map(parse_network, deny)),
            relay,
            has_dht,
        )
        self._mdns_on = mdns
        self._mdns: Mdns | None = None
        self._deliver = deliver
        self._outbox = Publications(self.losses)
        self._sending: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._under_way: set[asyncio.Future[None]] = set()  # sends
        self._is_stopping = False
        self._thread: LinkThread | None = None
        self._supervisor: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen. Afterwards `addresses` holds full multiaddrs with the real port. Raises LinkError."""
        demote_library_logging()
        interface = find_interface(self._mdns_on) if self._mdns_on else None
        self._crossing = Crossing(asyncio.get_running_loop(), self._deliver, self.losses)
        await self._start_thread()
        self._supervisor = asyncio.create_task(self._supervise(), name="link supervisor")
        if interface is not None:
            await self._announce_on(interface)

    async def stop(self) -> None:
        """Say goodbye, and end the thread: what is under way is still sent, for FLUSH_TIMEOUT_S at most, and peers
        learn at once that we are gone. Nothing is delivered any more, and nothing new is sent."""
        if self._supervisor is None:
            return
        self._is_stopping = True
        self._crossing.close()
        if self._mdns is not None:
            self._mdns.stop()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=FLUSH_TIMEOUT_S)
        self._supervisor.cancel()
        await asyncio.wait({self._supervisor})
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()
            ended, _ = await asyncio.wait({thread.ended}, timeout=STOP_TIMEOUT_S)
            if not ended:
                log.warning("the libp2p thread did not stop within %g s; it ends with the process", STOP_TIMEOUT_S)

    async def dial(self, address: str) -> bytes:
        """Connect to a multiaddr that ends in `/p2p/<peer id>`; the peer's public key. Raises LinkError.

        One with `/p2p-circuit` in it leads through a relay, to which we connect too.

        A connected peer is not dialled again. The peer may learn of the connection a moment later than we do.
        """
        target, peer = parse_peer_address(address)
        if peer == self.public:
            raise LinkError("HEL-LINK-002", f"{address} is this node itself", "dial the address of another node")
        thread = self._running_thread()
        await thread.call(thread.dial, target, peer)
        await self.keep(peer)
        return peer

    async def keep(self, peer: bytes) -> None:
        """Do not hang up on a peer that only a look-up has met. Raises LinkError."""
        thread = self._running_thread()
        await thread.call(thread.keep, peer)

    async def disconnect(self, peer: bytes) -> None:
        """Close all connections with a peer, if there are any. Messages under way may be lost."""
        thread = self._running_thread()
        await thread.call(thread.peers.disconnect, peer)

    async def provide(self, key: bytes, addresses: Sequence[str] = ()) -> None:
        """Announce this node under a key of the Kademlia table, for PROVIDER_LIFETIME_S, at these addresses; without
        any, where it listens. Raises LinkError."""
        thread = self._running_thread()
        await thread.call(thread.provide, key, tuple(addresses) or self.addresses)

    async def look(self, key: bytes) -> tuple[str, ...]:
        """Look up who has announced itself under a key: addresses, each ending in `/p2p/` and a peer's id. A hint:
        dialling tells who is there. Raises LinkError."""
        thread, found = self._running_thread(), list[str]()
        await thread.call(thread.look, key, found)
        return tuple(found)

    async def publish(self, topic: str, data: bytes) -> None:
        """Queue gossip for whoever is subscribed. Raises LinkError if it is too large or the topic is not ours.

        While the thread is down, or nobody listens, it waits in the outbox.
        """
        if topic not in self._settings.topics:
            raise LinkError("HEL-LINK-008", f"not subscribed to {topic!r}", "name the topic when the link is made")
        if len(data) > GOSSIP_MAX_BYTES:
            raise too_large("gossip", data, GOSSIP_MAX_BYTES, "announce it by gossip, and send it by stream")
        self._outbox.put(topic, data, time.monotonic())
        if self._thread is not None:
            self._thread.wake_publisher()

    async def send(self, peer: bytes, data: bytes) -> None:
        """Returns when the peer's loop has taken the message: it has it, whatever dies now. Raises LinkError."""
        if len(data) > MESSAGE_MAX_BYTES:
            raise too_large("a message", data, MESSAGE_MAX_BYTES, "send it in parts, or as a blob")
        if self._is_stopping:
            raise thread_is_down("this node stops")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way.add(done)
        try:
            await self._send(peer, data)
        finally:
            self._under_way.discard(done)
            done.set_result(None)

    async def _send(self, peer: bytes, data: bytes) -> None:
        lock = self._sending.setdefault(peer, asyncio.Lock())
        async with lock:
            thread = self._running_thread()
            taken, acknowledged = thread.expect()
            try:
                await thread.call(thread.messages.send, peer, data, acknowledged)
            except BaseException:
                taken.cancel()
                raise
        try:
            async with asyncio.timeout(ACKNOWLEDGE_TIMEOUT_S):
                await taken
        except TimeoutError:
            await thread.call(thread.messages.give_up, peer, acknowledged)
            raise unsent(peer, len(data), f"not acknowledged within {ACKNOWLEDGE_TIMEOUT_S:g} s") from None

    @asynccontextmanager
    async def fetch_blob(
        self, peer: bytes, authorization: str, first_byte: int
    ) -> AsyncIterator[tuple[BlobHead, AsyncIterator[bytes]]]:
        """Ask a connected peer for a blob, from that byte on; its answer and the bytes. Raises LinkError, and so may
        the bytes."""
        reader = self._running_thread().fetch_blob(peer, authorization, first_byte)
        try:
            yield await reader.head(), reader.chunks()
        finally:
            reader.close()

    # Who is not wanted. All of this holds whether the thread runs or not.

    async def deny(self, networks: Sequence[str] | Mapping[str, float]) -> None:
        """No connection with these networks from now on, and with no others but those of the start denied; a mapping
        says for how many seconds. Connections that are denied are cut. Raises LocalError for what is no network."""
        now_s = time.monotonic()
        for_s = networks if isinstance(networks, Mapping) else dict.fromkeys(networks, inf)
        denied = {parse_network(text): now_s + seconds for text, seconds in for_s.items()}
        require_few(denied)
        self._denied.clear()
        self._denied.update(denied)
        await self._tell(lambda thread: thread.deny())

    def denied(self) -> dict[str, float]:
        """Networks that `deny` has named, and for how many seconds more."""
        now_s = time.monotonic()
        return {str(network): until_s - now_s for network, until_s in self._denied.items() if until_s > now_s}

    def denies(self, text: str) -> bool:
        """Whether there is to be no connection with an IP address, by whatever road."""
        address, now_s = parse_address(text), time.monotonic()
        denied = chain(((network, inf) for network in self._settings.denied), self._denied.items())
        return address is not None and network_of(address, denied, now_s) is not None

    async def ban(self, peer: bytes, ban: Ban) -> None:
        """Cut its connections, refuse its hellos with the reason, and do not dial it."""
        self._standings.ban(peer, time.monotonic(), ban)
        await self._tell(lambda thread: thread.peers.cut_off(peer, str(ban)))

    def unban(self, peer: bytes) -> None:
        """Forget whatever this peer did, and its ban."""
        self._standings.unban(peer)

    def refusal(self, peer: bytes) -> str:
        """Why this peer is banned, or ""."""
        return self._standings.refusal(peer, time.monotonic())

    def bans(self) -> dict[bytes, Ban]:
        """Those that stand."""
        return self._standings.bans(time.monotonic())

    def scores(self) -> Mapping[bytes, float]:
        """Points of peers that have done anything worth points lately; at `standing.BANNED_BELOW` a ban begins."""
        return self._standings.scores(time.monotonic())

    def blame(self, peer: bytes, act: Act) -> None:
        """For what the link cannot judge by itself."""
        if self._thread is not None:
            self._thread.blame(peer, act)

    def connections(self) -> int:
        """How many are open."""
        return 0 if self._thread is None else self._thread.connections()

    async def _tell(self, what: Callable[[LinkThread], Awaitable[None]]) -> None:
        """The thread, if it runs: another will find it in the record."""
        thread = self._thread
        if thread is not None:
            with suppress(LinkError):
                await thread.call(what, thread)

    def _running_thread(self) -> LinkThread:
        if self._thread is None:
            raise thread_is_down("it has died, or was stopped")
        return self._thread

    async def _announce_on(self, interface: Interface) -> None:
        """Raises LinkError, and then nothing runs."""
        try:
            addresses = [spelled for address in self.addresses for spelled in spelled_out(address)]
            service = mdns_service(self._settings.hello.network)
            mdns = Mdns(service, interface, addresses, self._found_by_mdns, random.SystemRandom())
            await mdns.start()
        except LinkError:
            await self.stop()
            raise
        self._mdns = mdns

    def _found_by_mdns(self, addresses: tuple[str, ...]) -> None:
        self._crossing.post(PeersFound(addresses))

    async def _start_thread(self) -> None:
        hello = self._settings.hello.model_copy(update={"session": secrets.token_bytes(16)})
        thread = LinkThread(replace(self._settings, hello=hello), self._crossing, self._outbox, self._record)
        thread.start()
        try:
            self.addresses = await asyncio.shield(thread.ready)
        except asyncio.CancelledError:
            thread.ready.add_done_callback(lambda ready: None if ready.exception() else thread.stop())
            raise
        thread.wake_publisher()
        self._thread = thread
        self._settings = replace(self._settings, listen=self.addresses[0].rpartition("/p2p/")[0])

    async def _supervise(self) -> None:
        """Start the thread again whenever it dies, for ever, and ever more slowly while it does not live long."""
        delay_s = 0.0
        loop = asyncio.get_running_loop()
        while True:
            started_s = loop.time()
            reason = await asyncio.shield(self._running_thread().ended)
            self._thread = None
            delay_s = restart_delay_s(delay_s, loop.time() - started_s)
            while (failure := await self._restart(reason, delay_s)) is not None:
                reason, delay_s = failure, restart_delay_s(delay_s, 0.0)
            self._crossing.post(LinkRestarted())

    async def _restart(self, reason: str, delay_s: float) -> str | None:
        """Why it failed once more; None if it is up."""
        self._crossing.post(LinkFailed(reason))
        await asyncio.sleep(delay_s)
        try:
            await self._start_thread()
        except LinkError as error:
            return error.cause
        except RuntimeError as error:  # the system gives no thread
            return str(error)
        return None


def restart_delay_s(previous_s: float, lived_s: float) -> float:
    """How long to wait before the thread is started again: twice as long as before, unless it had lived for a while."""
    if lived_s > RESTART_FORGIVEN_S:
        return RESTART_DELAY_S
    return min(max(2 * previous_s, RESTART_DELAY_S), RESTART_DELAY_MAX_S)


def too_large(what: str, data: bytes, bound: int, remedy: str) -> LinkError:
    return LinkError("HEL-LINK-006", f"{what} of {len(data)} bytes, {bound} are allowed", remedy)
