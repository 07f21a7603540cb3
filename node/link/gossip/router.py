"""Who gets which gossip: the library's router, with its faults contained.

The settings are NETWORK.md's, where each default is shown to hurt.
"""

from __future__ import annotations

import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import trio
from libp2p.connection_types import ConnectionType
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pb import rpc_pb2

if TYPE_CHECKING:
    from node.link.gossip.pubsub import ContainedPubsub

OFFERS_MIN = 6  # neighbours outside the mesh that learn at a heartbeat what there is; go-libp2p-pubsub's

log = logging.getLogger(__name__)


class ContainedGossipSub(GossipSub):
    """Faults: an exception in one heartbeat ends the host; a list of delivery times, what was forwarded, and whom not
    to graft until when, are kept for ever; each message is copied for each neighbour, with a signed peer record that
    each verifies anew (8.0 %, and the 6.9 % that `outbox.py` speaks of). A full mesh takes ever more neighbours and
    then turns most of them away at once, for a minute; who is turned away by all is not even told what there is to ask
    for: of twenty nodes that know each other, two heard nothing."""

    pubsub: ContainedPubsub

    def __init__(self, patience_s: Callable[[str], float] = lambda topic: 0.0) -> None:
        """`patience_s(topic)`: the seconds that a message may wait for company before it leaves to a neighbour."""
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
        self.patience_s = patience_s

    async def heartbeat(self) -> None:
        while True:
            try:
                await super().heartbeat()
            except Exception:
                log.debug("one gossip heartbeat is lost", exc_info=True)
                await trio.sleep(self.heartbeat_interval)

    def _get_in_topic_gossipsub_peers_from_minus(
        self, topic: str, num_to_select: int, minus: Iterable[ID], backoff_check: bool = False
    ) -> list[ID]:
        """Direct peers first: what goes through a relay costs the relay as well, and it mostly has it already."""
        everyone = super()._get_in_topic_gossipsub_peers_from_minus(topic, 2**31, minus, backoff_check)
        random.shuffle(everyone)
        return sorted(everyone, key=self._is_relayed)[:num_to_select]

    def _is_relayed(self, peer: ID) -> bool:
        connections = self.pubsub.host.get_network().get_connections(peer)
        return all(connection.get_connection_type() is ConnectionType.RELAYED for connection in connections)

    async def publish(self, msg_forwarder: ID, pubsub_msg: rpc_pb2.Message) -> None:
        self.forward(msg_forwarder, pubsub_msg)

    def forward(self, forwarder: ID, message: rpc_pb2.Message) -> None:
        """Encoded once, to every neighbour in the topic's mesh but those who have it."""
        self.mcache.put(message)
        topic = message.topicIDs[0]
        patience_s = self.patience_s(topic)
        body = rpc_pb2.RPC(publish=[message]).SerializeToString()
        for peer in self.mesh.get(topic, set()) - {forwarder, ID(message.from_id)}:
            self.pubsub.push(peer, body, patience_s)

    def gossip_heartbeat(self) -> defaultdict[ID, dict[str, list[bytes]]]:
        """What is offered to some of those outside the mesh, whoever turned whom away."""
        self._forget_back_offs(time.time())
        offers: defaultdict[ID, dict[str, list[bytes]]] = defaultdict(dict)
        for topic, mesh in self.mesh.items():
            if message_ids := self.mcache.window(topic):
                others = self.pubsub.peer_topics.get(topic, set()) - mesh
                count = max(OFFERS_MIN, len(others) // 4)
                for peer in self.select_from_minus(count, others, ()):
                    offers[peer][topic] = message_ids
        return offers

    def _forget_back_offs(self, now_unix_s: float) -> None:
        """Those that are over: keys are free, and each could leave one for each topic."""
        for topic, until_unix_s in self.back_off.items():
            self.back_off[topic] = {peer: until_s for peer, until_s in until_unix_s.items() if until_s > now_unix_s}

    async def handle_graft(self, graft_msg: rpc_pb2.ControlGraft, sender_peer_id: ID) -> None:
        mesh = self.mesh.get(graft_msg.topicID, set())
        if len(mesh) < self.degree_high or sender_peer_id in mesh:
            await super().handle_graft(graft_msg, sender_peer_id)
        else:
            self._add_back_off(sender_peer_id, graft_msg.topicID, is_unsubscribe=False)
            await self.emit_prune(graft_msg.topicID, sender_peer_id, do_px=False, is_unsubscribe=False)

    async def send_recent_messages(self, peer_id: ID, topic: str) -> None:
        recent = (self.mcache.get(message_id) for message_id in self.mcache.window(topic))
        self.send_rpc(peer_id, rpc_pb2.RPC(publish=[message for message in recent if message is not None]))

    async def flush_pending_messages(self, peer_id: ID) -> None:
        """Nothing: `send_recent_messages` has them."""

    async def emit_control_message(self, control_msg: rpc_pb2.ControlMessage, to_peer: ID) -> None:
        self.send_rpc(to_peer, rpc_pb2.RPC(control=control_msg), priority=True)

    def send_rpc(self, peer_id: ID, rpc: rpc_pb2.RPC, priority: bool = False) -> None:
        """Without our peer record, which nobody needs: the transport has proved who we are."""
        for message in rpc.publish:
            self.pubsub.push(peer_id, rpc_pb2.RPC(publish=[message]).SerializeToString())
        rest = rpc_pb2.RPC(subscriptions=rpc.subscriptions)
        if rpc.HasField("control"):
            rest.control.CopyFrom(rpc.control)
        self._piggyback_control_retry(peer_id, rest)
        body = rest.SerializeToString()
        if body and not self.pubsub.push(peer_id, body):
            self._handle_dropped_rpc(peer_id, rest, "queue_full")
