"""Who gets which gossip."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11
from libp2p.pubsub.pb import rpc_pb2

from node.link.gossip.router import OFFERS_MIN, ContainedGossipSub
from node.link.names import id_of

TOPIC = "heliotrope/1/test/adverts"
PEERS = [id_of(bytes([number]) * 32) for number in range(30)]


class Neighbourhood:
    """Stands for the pubsub: who is subscribed, and what was pushed to whom."""

    def __init__(self, router: ContainedGossipSub) -> None:
        self.peer_topics = {TOPIC: set(PEERS)}
        self.pushed: list[tuple[ID, bytes, float]] = []
        router.pubsub = self  # type: ignore[assignment]
        router.mesh[TOPIC] = set()
        for peer in PEERS:
            router.add_peer(peer, PROTOCOL_ID_V11)

    def push(self, peer: ID, body: bytes, patience_s: float = 0.0) -> bool:
        self.pushed.append((peer, body, patience_s))
        return True

    def control(self) -> list[tuple[ID, rpc_pb2.ControlMessage]]:
        return [(peer, rpc_pb2.RPC.FromString(body).control) for peer, body, _ in self.pushed]


def made(**options: Any) -> tuple[ContainedGossipSub, Neighbourhood]:
    router = ContainedGossipSub(**options)
    return router, Neighbourhood(router)


def play(scene: Callable[[], Awaitable[None]]) -> None:
    trio.run(scene)


def message(author: ID, data: bytes = b"news") -> rpc_pb2.Message:
    return rpc_pb2.Message(data=data, topicIDs=[TOPIC], from_id=author.to_bytes(), seqno=bytes(8))


def test_a_message_goes_to_the_mesh_but_not_back() -> None:
    router, neighbourhood = made(patience_s=lambda topic: 0.25)
    router.mesh[TOPIC] = set(PEERS[:6])
    router.forward(PEERS[0], message(PEERS[1]))
    assert {peer for peer, _, _ in neighbourhood.pushed} == set(PEERS[2:6])
    assert {(body, patience_s) for _, body, patience_s in neighbourhood.pushed} == {
        (rpc_pb2.RPC(publish=[message(PEERS[1])]).SerializeToString(), 0.25)
    }


def test_a_back_off_that_is_over_is_forgotten_with_its_peer() -> None:
    router, _ = made()
    router.prune_back_off = 0

    async def scene() -> None:
        await router.handle_prune(rpc_pb2.ControlPrune(topicID=TOPIC), PEERS[0])
        await router.handle_prune(rpc_pb2.ControlPrune(topicID=TOPIC, backoff=600), PEERS[1])
        router.remove_peer(PEERS[0])

    play(scene)
    router.gossip_heartbeat()
    assert list(router.back_off[TOPIC]) == [PEERS[1]]


def test_a_full_mesh_turns_newcomers_away_and_keeps_its_members() -> None:
    router, neighbourhood = made()

    async def scene() -> None:
        for peer in [*PEERS, *PEERS[:3]]:
            await router.handle_graft(rpc_pb2.ControlGraft(topicID=TOPIC), peer)

    play(scene)
    assert router.mesh[TOPIC] == set(PEERS[:12])
    refused = [peer for peer, control in neighbourhood.control() if control.prune]
    assert refused == PEERS[12:]


def test_who_was_turned_away_still_learns_what_there_is() -> None:
    router, _ = made()
    router.mesh[TOPIC] = set(PEERS[:6])
    for peer in PEERS:
        router._add_back_off(peer, TOPIC, is_unsubscribe=False)
    router.forward(PEERS[0], message(PEERS[0]))
    offers = router.gossip_heartbeat()
    assert len(offers) == max(OFFERS_MIN, (len(PEERS) - 6) // 4)
    assert not set(offers) & router.mesh[TOPIC]
    assert {tuple(offer[TOPIC]) for offer in offers.values()} == {(PEERS[0].to_bytes() + bytes(8),)}


def test_nothing_is_offered_where_there_is_nothing() -> None:
    router, _ = made()
    assert not router.gossip_heartbeat()


def test_what_a_peer_asks_for_comes_in_rpcs_that_can_be_put_together() -> None:
    router, neighbourhood = made()

    async def scene() -> None:
        for number in range(3):
            router.mcache.put(message(PEERS[number]))
        wanted = [PEERS[number].to_bytes() + bytes(8) for number in range(5)]
        await router.handle_iwant(rpc_pb2.ControlIWant(messageIDs=wanted), PEERS[9])

    play(scene)
    assert [(peer, body) for peer, body, _ in neighbourhood.pushed] == [
        (PEERS[9], rpc_pb2.RPC(publish=[message(PEERS[number])]).SerializeToString()) for number in range(3)
    ]


def test_a_control_message_that_found_no_room_goes_with_the_next() -> None:
    router, neighbourhood = made()
    router.mesh[TOPIC] = {PEERS[0]}
    neighbourhood.push = lambda peer, body, patience_s=0.0: False  # type: ignore[method-assign]

    async def scene() -> None:
        await router.emit_graft(TOPIC, PEERS[0])
        del neighbourhood.push
        router.send_rpc(PEERS[0], rpc_pb2.RPC())

    play(scene)
    ((peer, control),) = neighbourhood.control()
    assert peer == PEERS[0]
    assert [graft.topicID for graft in control.graft] == [TOPIC]
