"""The link as the runtime uses it: what arrives becomes events of the core, what the core asks for is sent.

What strangers sent waits in the runtime's queue within bounds of its own; what does not fit is dropped: gossip is a
hint, and a lost message is asked for again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Collection

from node import events as ev
from node.actions import Dial, Look, Provide
from node.admission import refusal
from node.feeds.checkpoints import read_note
from node.home.config import LinkConfig
from node.link import (
    DialRefused,
    GossipArrived,
    Link,
    LinkError,
    LinkEvent,
    LinkFailed,
    LinkRestarted,
    MessageArrived,
    PeerBanned,
    PeerRefused,
    PeersFound,
    RelayLimits,
    Verdict,
)
from node.link import PeerConnected as LinkConnected
from node.link import PeerDisconnected as LinkDisconnected
from node.link import ReachabilityChanged as LinkReachability
from node.link.blobs import ServeBlob
from node.link.events import THREAD_IS_DOWN
from node.link.guard.rates import TokenBucket
from node.messages import MARKET
from node.turn import Identity
from protocol.direct import encode_direct
from protocol.discovery import providers_key
from protocol.errors import Ignore, Reject
from protocol.gossip import judge
from protocol.hello import Hello
from protocol.identity import peer_id, public_key
from protocol.messages import Body

REFUSALS_TOLD_MAX = 256  # peers whose refusal is told once until something changes; then all may be told again
REFUSALS_PER_S, REFUSALS_BURST = 0.1, 100.0  # told of all peers: keys are free, and each could fill a line of the log
ADVERT_PATIENCE_S = 1.0  # at each hop at most; adverts live for minutes, and many leave in one write
ADVERT_PATIENCE_SLOTS = 1 / 60  # so that a network in a hurry is not kept waiting
HEARD_BYTES_MAX = 64 * 2**20  # of strangers' messages in the queue; beyond it the newest are dropped

log = logging.getLogger("heliotrope")


class Network:
    """`emit` and `put` queue an event of our own, at once or when there is room; `hear` queues a stranger's, and says
    whether there was room; `banned` is told when the link has banned a peer. `regions`: whose adverts are heard, and
    where our own are said."""

    def __init__(
        self,
        identity: Identity,
        config: LinkConfig,
        regions: Collection[str],
        now_ms: Callable[[], int],
        *,
        emit: Callable[[ev.Event], None],
        put: Callable[[ev.Event], Awaitable[None]],
        hear: Callable[[ev.Event], bool],
        notify: Callable[[str, dict[str, object]], None],
        banned: Callable[[], object],
        serve_blob: ServeBlob,
    ) -> None:
        self._identity, self._now_ms, self._has_dht = identity, now_ms, config.dht
        self._emit, self._put, self._try_hear, self._notify = emit, put, hear, notify
        self._banned = banned
        self._heard_bytes = 0  # of messages in the queue
        self._allowed = frozenset(map(public_key, config.allow))
        self._refusals: dict[bytes, str] = {}
        self._telling = TokenBucket(REFUSALS_PER_S, REFUSALS_BURST, time.monotonic())
        topics = identity.topics
        self.link = Link(
            seed=identity.keypair.seed,
            listen=config.listen,
            topics=(*map(topics.adverts, sorted(regions)), topics.entries, topics.checkpoints),
            judge=self._judge,
            deliver=self._deliver,
            network=identity.network,
            invitation=identity.invitation,
            admit=self._refusal,
            connections_per_address=config.connections_per_address,
            deny=config.deny,
            serve_blob=serve_blob,
            patience_s=self._patience_s,
            relay=limits_of(config),
            has_dht=config.dht,
            mdns=config.mdns,
        )

    def _patience_s(self, topic: str) -> float:
        if self._identity.topics.region(topic) is None:
            return 0.0
        genesis = self._identity.genesis
        return min(ADVERT_PATIENCE_S, ADVERT_PATIENCE_SLOTS * genesis.clock.real_ms(genesis.slot_ms) / 1000)

    def taken(self, event: ev.Event) -> None:
        """An event has left the queue."""
        if isinstance(event, ev.GossipReceived | ev.MessageReceived):
            self._heard_bytes -= len(event.data)

    async def send(self, peer: bytes, data: bytes) -> None:
        """Raises LinkError. What a node says to itself arrives like any other message."""
        if peer == self._identity.key:
            self._heard_bytes += len(data)
            self._emit(ev.MessageReceived(peer, data))
        else:
            await self.link.send(peer, data)

    async def tell(self, peer: bytes, message: Body) -> None:
        """Raises LinkError. The other side of a deal stays connected, though a look-up alone may have met it."""
        if type(message) in MARKET and peer != self._identity.key:
            await self.link.keep(peer)
        await self.send(peer, encode_direct(message))

    async def seek(self, action: Dial | Provide | Look) -> None:
        """Raises LinkError."""
        match action:
            case Dial(address):
                await self.dial(address)
            case Provide(region, device, addresses):
                if self._has_dht:
                    await self.link.provide(providers_key(self._identity.network, region, device), addresses)
            case Look(region, device):
                await self.look(region, device)

    async def dial(self, address: str) -> None:
        """Connect, or say why not. Of a dial that dies with the link nothing is said: LinkRestarted follows."""
        try:
            await self.link.dial(address)
        except LinkError as error:
            if error.code != THREAD_IS_DOWN:
                is_refusal = isinstance(error, DialRefused) and error.is_lasting
                await self._put(ev.DialFailed(address, error.cause, error.remedy, is_refusal))

    async def look(self, region: str, device: str) -> tuple[str, ...]:
        """The addresses of those who offer a device in a region; the core hears of them too. Raises LinkError."""
        if not self._has_dht:
            return ()
        found = await self.link.look(providers_key(self._identity.network, region, device))
        if found:
            await self._put(ev.PeersFound(f"{region}/{device}", found))
        return found

    def _hear(self, event: ev.GossipReceived | ev.MessageReceived) -> bool:
        if self._heard_bytes + len(event.data) > HEARD_BYTES_MAX or not self._try_hear(event):
            return False
        self._heard_bytes += len(event.data)
        return True

    def _judge(self, topic: str, data: bytes) -> Verdict:
        """Called on the libp2p thread: pure but for the clock."""
        identity = self._identity
        try:
            judge(identity.topics, identity.network, topic, data, self._now_ms())
            if topic == identity.topics.checkpoints:
                read_note(data, identity.network, identity.genesis.witnesses)
        except Ignore:
            return Verdict.IGNORE
        except Reject:
            return Verdict.REJECT
        return Verdict.ACCEPT

    def _refusal(self, peer: bytes, hello: Hello) -> str:
        """Called on the libp2p thread: pure but for the clock."""
        return refusal(self._identity.genesis, self._allowed, peer, hello.invitation, self._now_ms())

    def _deliver(self, event: LinkEvent) -> bool:
        """Whether it was taken; of a message that was not, its sender is told."""
        match event:
            case LinkConnected(peer):
                self._refusals.pop(peer, None)
                self._emit(ev.PeerConnected(peer))
            case LinkDisconnected(peer):
                self._emit(ev.PeerDisconnected(peer))
            case LinkReachability(reachability, addresses):
                self._emit(ev.ReachabilityChanged(reachability, addresses))
            case GossipArrived(topic, peer, data):
                return self._hear(ev.GossipReceived(topic, peer, data))
            case MessageArrived(peer, data):
                return self._hear(ev.MessageReceived(peer, data))
            case PeersFound(addresses):
                self._emit(ev.PeersFound("mdns", addresses))
            case PeerRefused(peer, reason):
                self._tell_refusal(peer, reason)
            case PeerBanned(peer, reason):
                self._notify("peer banned", {"peer": peer_id(peer), "reason": reason})
                self._banned()
            case LinkFailed(reason):
                self._notify("link failed", {"reason": reason})
                log.warning(
                    "the network link failed and restarts; no message that was acknowledged is lost: %s", reason
                )
            case LinkRestarted():
                self._notify("link restarted", {})
                self._emit(ev.LinkRestarted())
        return True

    def _tell_refusal(self, peer: bytes, reason: str) -> None:
        """Once, however often it comes back: who is refused could fill the log."""
        if self._refusals.get(peer) == reason or not self._telling.take(time.monotonic()):
            return
        if len(self._refusals) >= REFUSALS_TOLD_MAX:
            self._refusals.clear()
        self._refusals[peer] = reason
        self._notify("peer refused", {"peer": peer_id(peer), "reason": reason})


def limits_of(config: LinkConfig) -> RelayLimits | None:
    """What this node gives as a relay; None if it is none."""
    if not config.relay:
        return None
    return RelayLimits(
        reservations=config.relay_reservations,
        circuits_per_peer=config.relay_circuits_per_peer,
        circuit_bytes=config.relay_circuit_mib * 2**20,
        circuit_s=config.relay_circuit_s,
    )
