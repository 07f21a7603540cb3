"""Gossip from strangers: bounded before it is parsed, judged before it is forwarded, and never the end of the host.

The library's Gossipsub v1.1 with its faults contained; each class names them. `router.py` decides who gets what. The
library's peer scoring stays off: `guard/conduct.py` scores by the judge's verdict, which knows whose fault a no is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from itertools import chain, islice
from weakref import WeakValueDictionary

import trio
from libp2p.abc import INetConn, INetStream, INetwork, INotifee
from libp2p.host.basic_host import BasicHost
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from multiaddr import Multiaddr

from node.link.events import Verdict
from node.link.gossip.outbox import Outbox
from node.link.gossip.router import ContainedGossipSub
from node.link.gossip.rpc import FrameReader, framed, is_signed
from node.link.guard.conduct import Conduct
from node.link.guard.standing import Act
from node.link.names import is_ed25519, key_of
from protocol.errors import Reject

GOSSIP_MAX_BYTES = 256 * 1024  # NETWORK.md: the library loses larger ones silently
RPC_MAX_BYTES = 1024 * 1024  # the library's default, and go-libp2p-pubsub's
RPC_ITEMS_MAX = 1024  # messages and subscriptions in one RPC; guess, not measured
ITEMS_AT_ONCE_MAX = 4096  # of one read, each RPC counted as well: some 10 ms; an honest one has 60 bytes and more
MESSAGE_IDS_MAX = 1024  # in one IHAVE or IWANT; guess, not measured (go-libp2p-pubsub: 5,000)
MESSAGE_ID_MAX_BYTES = 64  # ours have 46: author and sequence number
PRUNE_BACKOFF_MAX_S = 600  # guess, not measured
CONTROLS_WAITING_MAX = 64  # control messages of one stream that come at once; guess, not measured

log = logging.getLogger(__name__)


class ContainedPubsub(Pubsub):
    """`judge(topic, data)` decides whether a message is forwarded; `accept(peer, topic, data)` then receives it, once.

    Faults: a malformed frame ends the host; each copy of a message spawns a task (7.8 % of its cost, `UPSTREAM.md`), at
    a cost linear in the number of tasks; an answer to IWANT is as large as the asker likes; two writers interleave on
    one stream; a peer met twice at once gets two queues; losing one of two connections forgets the peer's
    subscriptions, and they are not sent again.
    """

    router: ContainedGossipSub
    peer_queues: dict[ID, Outbox]  # type: ignore[assignment]

    def __init__(
        self,
        host: BasicHost,
        router: ContainedGossipSub,
        topics: Collection[str],
        admits: Callable[[ID], Awaitable[bool]],
        judge: Callable[[str, bytes], Verdict],
        accept: Callable[[ID, str, bytes], None],
        conduct: Conduct,
    ) -> None:
        super().__init__(host, router, strict_signing=True, allowed_topics=frozenset(topics))
        self.counter = time.time_ns()  # the default repeats itself when a node restarts within a second
        self._admits, self._judge, self._accept, self._conduct = admits, judge, accept, conduct
        self._opening: WeakValueDictionary[ID, trio.Lock] = WeakValueDictionary()

    async def stream_handler(self, stream: INetStream) -> None:
        """Ends with the exception that ends the stream: the swarm contains it, and the peer may open another.

        The library would then open our own stream anew as well, and lose what waits for it. Messages are handled as
        they come, in order and without a task; what a peer wants of us waits for its turn, and a flood is dropped.
        """
        peer = stream.muxed_conn.peer_id
        frames = FrameReader(RPC_MAX_BYTES)
        wishes, waiting = trio.open_memory_channel[rpc_pb2.ControlMessage](CONTROLS_WAITING_MAX)

        def take(data: bytes) -> float:
            items = 0
            for frame in frames.feed(data):
                items += 1 + self._handle_rpc(peer, frame, wishes)
                if items > ITEMS_AT_ONCE_MAX:
                    raise Reject(f"more than {ITEMS_AT_ONCE_MAX} RPCs and messages in {len(data)} bytes")
            return self._conduct.rpc_pause_s(key_of(peer), len(data))

        try:
            if await self._admits(peer):
                self.manager.run_task(self._answer, peer, waiting)
                await stream.muxed_stream.deliver_to(take)  # type: ignore[attr-defined]
        except Reject:
            self._conduct.blame(key_of(peer), Act.MALFORMED)
            raise
        finally:
            wishes.close()
            await stream.reset()

    def _handle_rpc(self, peer: ID, frame: bytes, wishes: trio.MemorySendChannel[rpc_pb2.ControlMessage]) -> int:
        """One item after the other: a peer's gossip keeps its order. How many messages and subscriptions there were."""
        rpc = parse_rpc(frame)
        self._conduct.counts_gossip(key_of(peer), len(rpc.publish))
        for message in rpc.publish:
            self._receive(peer, message)
        for subscription in rpc.subscriptions:
            # Unsubscribing is not believed until the peer has gone: every new subscription costs us a replay.
            if subscription.subscribe:
                self.handle_subscription(peer, subscription)
        if rpc.HasField("control"):
            try:
                wishes.send_nowait(trim_control(rpc.control, self.topic_ids))
            except trio.WouldBlock:
                self._conduct.losses["gossip_over_rate"] += 1
        return len(rpc.publish) + len(rpc.subscriptions)

    async def _answer(self, peer: ID, waiting: trio.MemoryReceiveChannel[rpc_pb2.ControlMessage]) -> None:
        async for control in waiting:
            if await self._admits(peer):
                await self.router.handle_rpc(rpc_pb2.RPC(control=control), peer)

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """From us: nothing to verify."""
        self._mark_msg_seen(msg)
        self.router.forward(msg_forwarder, msg)

    def _receive(self, peer: ID, message: rpc_pb2.Message) -> None:
        """From a peer. A copy costs no more than looking it up; a no of the judge is remembered, a forgery is not: it
        would silence what it imitates."""
        if not self._admit(peer, message):
            return
        if not is_signed(message):
            self._conduct.blame(key_of(peer), Act.BAD_SIGNATURE)
            return
        if not self._conduct.takes_gossip(message.from_id, message.topicIDs[0]):
            return  # and not remembered: within the rate, a copy of it is welcome
        self._mark_msg_seen(message)
        if self._validate(peer, message):
            self.router.forward(peer, message)

    def _admit(self, peer: ID, message: rpc_pb2.Message) -> bool:
        """Whether a message is worth the price of verifying its signature.

        The rate is limited here and not in the validator: a no is remembered by message id, and one flooding peer would
        silence what others forward.
        """
        if (
            len(message.topicIDs) != 1
            or len(message.data) > GOSSIP_MAX_BYTES
            or not is_ed25519(message.from_id)  # other keys come in a field whose parser ends the host
            or len(message.seqno) != 8
        ):
            self._conduct.blame(key_of(peer), Act.REJECTED_GOSSIP)
            return False
        is_ours = message.from_id == self.my_id.to_bytes()
        if message.topicIDs[0] not in self.topic_ids or is_ours or self._is_msg_seen(message):
            return False
        return self._conduct.may_verify(key_of(peer))

    def _validate(self, peer: ID, message: rpc_pb2.Message) -> bool:
        """Judge and deliver, once per message."""
        topic, data = message.topicIDs[0], message.data
        try:
            verdict = self._judge(topic, data)
        except Exception:
            log.exception("a gossip message is dropped: the judge failed on it")
            return False
        self._conduct.judged(key_of(peer), topic, verdict)
        if verdict is Verdict.ACCEPT:
            self._accept(peer, topic, data)
        return verdict is Verdict.ACCEPT

    def push(self, peer: ID, body: bytes, patience_s: float = 0.0) -> bool:
        """Send a neighbour an encoded RPC. False: it is dropped, or there is no such neighbour."""
        outbox = self.peer_queues.get(peer)
        if outbox is None:
            return False
        is_pushed = outbox.push(body, patience_s)
        if not is_pushed:
            self._conduct.losses["gossip_unsent"] += 1
        return is_pushed

    async def message_all_peers(self, raw_msg: bytes, announce: rpc_pb2.RPC.SubOpts | None = None) -> None:
        for peer in list(self.peer_queues):
            self.push(peer, raw_msg)

    def get_hello_packet(self) -> rpc_pb2.RPC:
        return rpc_pb2.RPC(subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=t) for t in self.topic_ids])

    async def _handle_new_peer(self, peer_id: ID) -> None:
        lock = self._opening.setdefault(peer_id, trio.Lock())
        async with lock:
            if peer_id in self.peers or not await self._admits(peer_id):
                return
            stream = await self.host.new_stream(peer_id, self.protocols)
            await stream.write(framed(self.get_hello_packet().SerializeToString()))
            self.router.add_peer(peer_id, stream.get_protocol())
            self.peers[peer_id] = stream
            outbox = self.peer_queues[peer_id] = Outbox(stream.muxed_stream)  # type: ignore[attr-defined]
            self.manager.run_task(self._write_out, peer_id, stream, outbox)
        # Its subscriptions may have come before: the library would leave it out of the mesh until the next heartbeat.
        for topic in [topic for topic, peers in self.peer_topics.items() if peer_id in peers]:
            await self._replay_recent_messages(peer_id, topic)
            await self.router.on_peer_subscribed(peer_id, topic)

    async def _write_out(self, peer: ID, stream: INetStream, outbox: Outbox) -> None:
        try:
            await outbox.run()
        finally:
            if self.peer_queues.get(peer) is outbox:
                self._handle_dead_peer(peer)
            with trio.CancelScope(shield=True), trio.move_on_after(1):
                await stream.reset()

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
            super()._forget_all_subscriptions(peer_id)

    def is_heard(self, topic: str) -> bool:
        """Whether a peer listens to it."""
        return bool(self.peer_topics.get(topic))

    def hurry(self) -> None:
        """The end is near: from now on nothing waits for company."""
        self.router.patience_s = lambda topic: 0.0
        for outbox in self.peer_queues.values():
            outbox.hurry()

    def is_busy(self) -> bool:
        """Whether something that was published has not left yet."""
        return any(outbox.is_busy for outbox in self.peer_queues.values())

    def _peer_is_connected(self, peer_id: ID) -> bool:
        return any(not connection.is_closed for connection in self.host.get_network().get_connections(peer_id))


def parse_rpc(frame: bytes) -> rpc_pb2.RPC:
    """Raises Reject."""
    rpc = rpc_pb2.RPC()
    try:
        rpc.ParseFromString(frame)
    except Exception as error:  # its kind is the parser's, which may be any of three
        raise Reject(f"no RPC: {type(error).__name__}") from error
    if len(rpc.publish) + len(rpc.subscriptions) > RPC_ITEMS_MAX:
        raise Reject(f"an RPC has {len(rpc.publish)} messages and {len(rpc.subscriptions)} subscriptions")
    return rpc


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
