"""Gossip between links, and with the stock library's; what is forged, sent twice or may wait for company."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

from libp2p.abc import IHost
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.host.ping import PingService
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX
from libp2p.tools.anyio_service import background_trio_service
from libp2p.utils.varint import encode_varint_prefixed

from node.link import Link, Verdict
from protocol.identity import PEER_ID_PREFIX, KeyPair

from .links import ANY_PORT, TOPIC, Inbox, Opener, as_raw_peer

AUTHOR = create_new_key_pair(b"e" * 32)
AUTHOR_ID = PEER_ID_PREFIX + KeyPair(b"e" * 32).public


def signed(data: bytes, number: int) -> rpc_pb2.Message:
    message = rpc_pb2.Message(data=data, topicIDs=[TOPIC], from_id=AUTHOR_ID, seqno=number.to_bytes(8))
    message.signature = AUTHOR.private_key.sign(PUBSUB_SIGNING_PREFIX.encode() + message.SerializeToString())
    return message


def frame(*messages: rpc_pb2.Message) -> bytes:
    return encode_varint_prefixed(rpc_pb2.RPC(publish=messages).SerializeToString())


async def test_gossip_goes_to_the_stock_library_and_comes_from_it(open_link: Opener) -> None:
    a, at_a = await open_link()

    async def talk(host: IHost, target: ID) -> None:
        router = GossipSub([PROTOCOL_ID_V11], 6, 4, 12, heartbeat_interval=1, adaptive_gossip_enabled=False)
        pubsub: Any = Pubsub(host, router)
        pubsub.counter = time.time_ns()
        async with background_trio_service(pubsub), background_trio_service(router):
            await pubsub.wait_until_ready()
            subscription = await pubsub.subscribe(TOPIC)
            await pubsub._handle_new_peer(target)  # the connection is older than the service
            await pubsub.wait_for_mesh(target, TOPIC)
            await pubsub.publish(TOPIC, b"from stock")
            heard: set[bytes] = set()
            while len(heard) < 3:
                heard.add((await subscription.get()).data)
            assert heard == {b"from stock", b"from ours", bytes(200_000)}

    await a.publish(TOPIC, b"from ours")
    await a.publish(TOPIC, bytes(200_000))
    await as_raw_peer(talk, a.addresses[0])
    assert at_a.gossip() == [b"from stock"]


async def test_a_forgery_does_not_silence_what_it_imitates_and_copies_are_delivered_once(open_link: Opener) -> None:
    a, at_a = await open_link()
    forged = signed(b"true", 1)
    forged.data = b"forged"

    async def attack(host: IHost, target: ID) -> None:
        stream = await host.new_stream(target, [PROTOCOL_ID_V11])
        await stream.write(frame(forged, forged))
        await stream.write(
            frame(signed(b"true", 1), signed(b"true", 1), signed(b"next", 2)) + frame(signed(b"true", 1))
        )
        await PingService(host).ping(target)

    await as_raw_peer(attack, a.addresses[0])
    await at_a.until(lambda: len(at_a.gossip()) >= 2)
    assert at_a.gossip() == [b"true", b"next"]


async def test_frames_cut_anywhere_arrive(open_link: Opener) -> None:
    a, at_a = await open_link()
    data = b"".join(frame(signed(b"%d" % number, number)) for number in range(20))

    async def trickle(host: IHost, target: ID) -> None:
        stream = await host.new_stream(target, [PROTOCOL_ID_V11])
        for at in range(0, len(data), 37):
            await stream.write(data[at : at + 37])
        await PingService(host).ping(target)

    await as_raw_peer(trickle, a.addresses[0])
    await at_a.until(lambda: len(at_a.gossip()) == 20)
    assert at_a.gossip() == [b"%d" % number for number in range(20)]


async def test_a_flood_of_wishes_is_dropped_and_counted(open_link: Opener) -> None:
    a, at_a = await open_link()
    offer = rpc_pb2.ControlIHave(topicID=TOPIC, messageIDs=[bytes(46)])
    wish = encode_varint_prefixed(rpc_pb2.RPC(control=rpc_pb2.ControlMessage(ihave=[offer])).SerializeToString())

    async def attack(host: IHost, target: ID) -> None:
        stream = await host.new_stream(target, [PROTOCOL_ID_V11])
        await stream.write(wish * 500)
        await stream.write(frame(signed(b"good", 1)))
        await PingService(host).ping(target)

    await as_raw_peer(attack, a.addresses[0])
    await at_a.until(lambda: at_a.gossip() == [b"good"])
    assert a.losses["gossip_over_rate"] > 0


async def test_gossip_that_may_wait_leaves_before_its_node_does(open_link: Opener) -> None:
    """A goodbye may wait for company as long as a node that stops waits for what is under way."""
    a, _ = await open_link(patience_s=lambda topic: 3600.0)
    b, at_b = await open_link()
    await a.dial(b.addresses[0])
    await a.publish(TOPIC, b"goodbye")
    await a.stop()
    await at_b.until(lambda: at_b.gossip() == [b"goodbye"])


async def test_gossip_that_may_wait_arrives_through_others() -> None:
    inboxes = [Inbox() for _ in range(3)]
    links = [
        Link(
            seed=bytes([number + 1]) * 32,
            listen=ANY_PORT,
            topics=[TOPIC],
            judge=lambda topic, data: Verdict.ACCEPT,
            deliver=inbox,
            patience_s=lambda topic: 0.05,
        )
        for number, inbox in enumerate(inboxes)
    ]
    try:
        for link in links:
            await link.start()
        for near, far in pairwise(links):
            await near.dial(far.addresses[0])
        messages = [b"%d" % number for number in range(40)]
        for message in messages:
            await links[0].publish(TOPIC, message)
        await inboxes[2].until(lambda: len(inboxes[2].gossip()) == 40)
        assert sorted(inboxes[2].gossip()) == sorted(messages)
    finally:
        for link in links:
            await link.stop()
