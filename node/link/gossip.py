"""Gossip from strangers: bounded before it is parsed, judged before it is forwarded, and never the end of the host.

The library's Gossipsub v1.1 with its faults contained; each class names them. The settings are NETWORK.md's, where each
default is shown to hurt. Peer scoring stays off: the judge says yes or no, and a score must know whose fault a no is.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable
from itertools import chain, islice
from weakref import WeakKeyDictionary, WeakValueDictionary

import trio
from libp2p.abc import INetConn, INetStream, INetwork, INotifee
from libp2p.host.basic_host import BasicHost
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.utils.varint import read_varint_prefixed_bytes_limited
from multiaddr import Multiaddr

from node.link.events import Verdict
from node.link.names import is_ed25519

GOSSIP_MAX_BYTES = 256 * 1024  # NETWORK.md: the library loses larger ones silently
RPC_MAX_BYTES = 1024 * 1024  # the library's default, and go-libp2p-pubsub's
RPC_ITEMS_MAX = 1024  # messages and subscriptions in one RPC; guess, not measured
MESSAGE_IDS_MAX = 1024  # in one IHAVE or IWANT; guess, not measured (go-libp2p-pubsub: 5,000)
MESSAGE_ID_MAX_BYTES = 64  # ours have 46: author and sequence number
PRUNE_BACKOFF_MAX_S = 600  # guess, not measured
OUTBOUND_RPCS_MAX = 128  # waiting for one peer, then the newest is dropped; the library's 32 lost bursts
RATE_PER_S = 200.0  # from one peer, forwarded messages included; a core carries 70 to 90 (NETWORK.md)
BURST = 400.0  # guess, not measured

log = logging.getLogger(__name__)


class TokenBucket:
    """`rate` tokens a second, at most `burst` saved up; starts full. Time is passed in, in seconds."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate, self.burst = rate, burst
        self._tokens, self._at = burst, now

    def take(self, now: float) -> bool:
        """Whether there was a token; it is gone now."""
        self._refill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def reserve(self, now: float) -> float:
        """Take a token in any case; the seconds until it is due."""
        self._refill(now)
        self._tokens -= 1
        return max(0.0, -self._tokens / self.rate)

    def _refill(self, now: float) -> None:
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now


class ContainedGossipSub(GossipSub):
    """Faults: an exception in one heartbeat ends the host; a list of delivery times grows for ever."""

    def __init__(self) -> None:
        super().__init__(
            protocols=[PROTOCOL_ID_V11],
            degree=6,
            degree_low=4,
            degree_high=12,
            heartbeat_initial_delay=0.1,
            heartbeat_interval=1,
            spam_protection_enabled=False,
            adaptive_gossip_enabled=False,
            eclipse_protection_enabled=False,
        )

    async def heartbeat(self) -> None:
        while True:
            try:
                await super().heartbeat()
            except Exception:
                log.debug("one gossip heartbeat is lost", exc_info=True)
                await trio.sleep(self.heartbeat_interval)

    async def publish(self, msg_forwarder: ID, pubsub_msg: rpc_pb2.Message) -> None:
        await super().publish(msg_forwarder, pubsub_msg)
        self.recent_message_deliveries.clear()


class ContainedPubsub(Pubsub):
    """`judge(topic, data)` decides whether a message is forwarded; `accept(peer, topic, data)` then receives it, once.

    Faults: a malformed frame ends the host; each message spawns a task, at a cost linear in the number of tasks; an
    answer to IWANT is as large as the asker likes; two writers interleave on one stream; a peer met twice at once gets
    two queues; losing one of two connections forgets the peer's subscriptions, and they are not sent again.
    """

    def __init__(
        self,
        host: BasicHost,
        router: ContainedGossipSub,
        topics: Collection[str],
        admits: Callable[[ID], Awaitable[bool]],
        judge: Callable[[str, bytes], Verdict],
        accept: Callable[[ID, str, bytes], None],
        losses: Counter[str],
    ) -> None:
        super().__init__(host, router, strict_signing=True, allowed_topics=frozenset(topics))
        self.counter = time.time_ns()  # the default repeats itself when a node restarts within a second
        self._admits, self._judge, self._accept, self._losses = admits, judge, accept, losses
        self._buckets: dict[ID, TokenBucket] = {}
        self._opening: WeakValueDictionary[ID, trio.Lock] = WeakValueDictionary()
        self._writing: WeakKeyDictionary[INetStream, trio.Lock] = WeakKeyDictionary()
        for topic in topics:
            self.set_topic_validator(topic, self._validate, is_async_validator=False)

    async def stream_handler(self, stream: INetStream) -> None:
        """Ends with the exception that ends the stream: the swarm contains it, and the peer may open another.

        The library would then open our own stream anew as well, and lose what waits for it.
        """
        try:
            while await self._admits(stream.muxed_conn.peer_id):
                frame = await read_varint_prefixed_bytes_limited(stream, RPC_MAX_BYTES)
                await self._handle_rpc(stream.muxed_conn.peer_id, frame)
        finally:
            await stream.reset()

    async def _handle_rpc(self, peer: ID, frame: bytes) -> None:
        """One item after the other: a peer's gossip keeps its order, and a flood waits for itself."""
        rpc = rpc_pb2.RPC()
        rpc.ParseFromString(frame)
        if len(rpc.publish) + len(rpc.subscriptions) > RPC_ITEMS_MAX:
            raise ValueError(f"an RPC has {len(rpc.publish)} messages and {len(rpc.subscriptions)} subscriptions")
        for message in rpc.publish:
            await self.push_msg(peer, message)
        for subscription in rpc.subscriptions:
            # Unsubscribing is not believed until the peer has gone: every new subscription costs us a replay.
            if subscription.subscribe:
                self.handle_subscription(peer, subscription)
        if rpc.HasField("control"):
            await self.router.handle_rpc(rpc_pb2.RPC(control=trim_control(rpc.control, self.topic_ids)), peer)

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        if msg_forwarder == self.my_id or self._admit(msg_forwarder, msg):
            await super().push_msg(msg_forwarder, msg)

    def _admit(self, peer: ID, message: rpc_pb2.Message) -> bool:
        """Whether a message is worth the price of verifying its signature.

        The rate is limited here and not in the validator: the library remembers a validator's no by message id, and one
        flooding peer would silence what others forward.
        """
        if (
            len(message.topicIDs) != 1
            or message.topicIDs[0] not in self.topic_ids
            or len(message.data) > GOSSIP_MAX_BYTES
            or not is_ed25519(message.from_id)  # other keys come in a field whose parser ends the host
            or message.from_id == self.my_id.to_bytes()
            or len(message.seqno) != 8
            or self._is_msg_seen(message)
        ):
            return False
        now = trio.current_time()
        if self._buckets.setdefault(peer, TokenBucket(RATE_PER_S, BURST, now)).take(now):
            return True
        self._losses["gossip_over_rate"] += 1
        return False

    def _validate(self, peer: ID, message: rpc_pb2.Message) -> bool:
        """Judge and deliver: the library asks once per message, and no later hook knows who handed it to us.

        Synchronous, against the usual advice, because it is total: no second copy slips in between.
        """
        if peer == self.my_id:
            return True
        topic, data = message.topicIDs[0], message.data
        try:
            accepted = self._judge(topic, data) is Verdict.ACCEPT
        except Exception:
            log.exception("a gossip message is dropped: the judge failed on it")
            return False
        if accepted:
            self._accept(peer, topic, data)
        return accepted

    def notify_subscriptions(self, publish_message: rpc_pb2.Message) -> None:
        """Nothing: `_validate` has delivered. The library's queues would fill up and complain."""

    async def _handle_new_peer(self, peer_id: ID) -> None:
        lock = self._opening.setdefault(peer_id, trio.Lock())
        async with lock:
            if await self._admits(peer_id):
                await super()._handle_new_peer(peer_id)
        queue = self.peer_queues.get(peer_id)
        if queue is None:
            return
        queue._queue.max_size = OUTBOUND_RPCS_MAX
        # Its subscriptions may have come before: the library would leave it out of the mesh until the next heartbeat.
        for topic in [topic for topic, peers in self.peer_topics.items() if peer_id in peers]:
            await self.router.on_peer_subscribed(peer_id, topic)

    async def write_msg(self, stream: INetStream, rpc_msg: rpc_pb2.RPC) -> bool:
        written = False
        async with self._writing.setdefault(stream, trio.Lock()):
            try:
                written = await super().write_msg(stream, rpc_msg)
            finally:
                if not written:
                    await stream.reset()  # or the peer waits for the rest of the frame as long as it is connected
        return written

    def connection_lost(self, connection: INetConn) -> None:
        """Leave the stream of a dead connection at once: the library finds out by losing the next message."""
        peer = connection.muxed_conn.peer_id
        stream = self.peers.get(peer)
        if stream is not None and stream.muxed_conn is connection.muxed_conn:
            self._handle_dead_peer(peer)

    def _forget_all_subscriptions(self, peer_id: ID) -> None:
        if self._peer_is_connected(peer_id):
            self._replayed_recent_topics.pop(peer_id, None)  # what the lost stream held comes again on the next
        else:
            self._buckets.pop(peer_id, None)
            super()._forget_all_subscriptions(peer_id)

    def is_heard(self, topic: str) -> bool:
        """Whether a peer listens to it."""
        return bool(self.peer_topics.get(topic))

    def is_busy(self) -> bool:
        """Whether something that was published has not left yet."""
        return any(map(len, self.peer_queues.values())) or any(lock.locked() for lock in self._writing.values())

    def _peer_is_connected(self, peer_id: ID) -> bool:
        return any(not connection.is_closed for connection in self.host.get_network().get_connections(peer_id))


def trim_control(control: rpc_pb2.ControlMessage, topics: Collection[str]) -> rpc_pb2.ControlMessage:
    """What of a stranger's control message we answer: our topics, each once, and bounded lists of ids.

    Left out: peer exchange, which makes us dial, and IDONTWANT, which is v1.2.
    """
    trimmed = rpc_pb2.ControlMessage()
    for ihave in {offer.topicID: offer for offer in control.ihave if offer.topicID in topics}.values():
        trimmed.ihave.add(topicID=ihave.topicID, messageIDs=_bounded(ihave.messageIDs))
    if wanted := _bounded(chain.from_iterable(request.messageIDs for request in control.iwant)):
        trimmed.iwant.add(messageIDs=wanted)
    for topic in {graft.topicID for graft in control.graft if graft.topicID in topics}:
        trimmed.graft.add(topicID=topic)
    for prune in {prune.topicID: prune for prune in control.prune if prune.topicID in topics}.values():
        trimmed.prune.add(topicID=prune.topicID, backoff=min(prune.backoff, PRUNE_BACKOFF_MAX_S))
    return trimmed


def _bounded(message_ids: Iterable[bytes]) -> list[bytes]:
    """Each id once: an IWANT that repeats one id would be answered with as many copies of the message."""
    short = (message_id for message_id in message_ids if len(message_id) <= MESSAGE_ID_MAX_BYTES)
    return list(islice(dict.fromkeys(short), MESSAGE_IDS_MAX))


class PeerWatch(INotifee):
    """Calls `changed(peer)` after every connection made or lost, once gossip has taken notice.

    Fault: the library reports a loss 0.2 s late, and gossip goes on writing to the dead connection.
    """

    def __init__(self, pubsub: ContainedPubsub, changed: Callable[[ID], None]) -> None:
        self._pubsub, self._changed = pubsub, changed

    async def connected(self, network: INetwork, conn: INetConn) -> None:
        self._changed(conn.muxed_conn.peer_id)
        self._pubsub.manager.run_task(self._await_loss, conn)

    async def _await_loss(self, conn: INetConn) -> None:
        await conn.event_closed.wait()  # type: ignore[attr-defined]
        self._pubsub.connection_lost(conn)
        self._changed(conn.muxed_conn.peer_id)

    async def disconnected(self, network: INetwork, conn: INetConn) -> None: ...

    async def opened_stream(self, network: INetwork, stream: INetStream) -> None: ...

    async def closed_stream(self, network: INetwork, stream: INetStream) -> None: ...

    async def listen(self, network: INetwork, multiaddr: Multiaddr) -> None: ...

    async def listen_close(self, network: INetwork, multiaddr: Multiaddr) -> None: ...
