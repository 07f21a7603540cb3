"""The library's defaults that hurt, each as it is set here, with a fact that needs it.

| default of libp2p 0.8.1 | what it does | here |
|---|---|---|
| heartbeat every 120 s | a mesh is repaired after two minutes | every second |
| 10 messages a second per peer and topic, our own too | 20 of a burst of 100 arrive | off; rates by `conduct.py` |
| 32 RPCs wait for a peer | 16 of a burst of 200 arrive | 128, and our own are paced |
| sequence numbers begin at the second | after a restart within it messages are taken for old ones | at the nanosecond |
| scores weigh nothing | no peer is ever shut out | by the judge's verdicts, `standing.py` |
| v1.2, with IDONTWANT for every message | twice the CPU | v1.1, which those of v1.2 speak too |
| 1,100,000 bytes are lost in silence | | 256 KiB, refused with a remedy |
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

import pytest
import trio
from libp2p.abc import IHost
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, PROTOCOL_ID_V12, GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service import background_trio_service
from libp2p.utils.varint import encode_varint_prefixed

from node.link import GOSSIP_MAX_BYTES, LinkError, PeerConnected, PeerDisconnected, Verdict
from node.link.gossip.outbox import WAITING_MAX
from node.link.gossip.router import ContainedGossipSub
from node.link.thread import PUBLISH_BURST
from tests.fuzz.wire import signed

from .links import TOPIC, Opener, as_raw_peer
from .test_link import eventually


async def test_a_mesh_is_repaired_within_seconds(open_link: Opener) -> None:
    """c hears a through b; when b is gone and c has met a, all is well again at the next heartbeat."""
    (a, _), (b, _), (c, at_c) = await open_link(), await open_link(), await open_link()
    await a.dial(b.addresses[0])
    await c.dial(b.addresses[0])
    await a.publish(TOPIC, b"through b")
    await at_c.until(lambda: at_c.gossip() == [b"through b"])

    await b.stop()
    await at_c.has(PeerDisconnected(b.public))
    await c.dial(a.addresses[0])
    await a.publish(TOPIC, b"without b")
    await at_c.until(lambda: at_c.gossip()[1:] == [b"without b"], timeout_s=10)
    assert ContainedGossipSub(lambda topic: 0.0).heartbeat_interval == 1


async def test_a_burst_of_200_is_delivered_whole(open_link: Opener) -> None:
    (a, _), (b, at_b), (c, at_c) = await open_link(), await open_link(), await open_link()
    await a.dial(b.addresses[0])
    await b.dial(c.addresses[0])
    await a.publish(TOPIC, b"first")
    await at_c.until(lambda: len(at_c.gossip()) == 1)

    for i in range(200):
        await a.publish(TOPIC, bytes([i]))

    for inbox in (at_b, at_c):
        await inbox.until(lambda inbox=inbox: len(inbox.gossip()) == 201, timeout_s=20)  # type: ignore[misc]
        assert set(inbox.gossip()) == {b"first", *(bytes([i]) for i in range(200))}
    assert not a.losses + b.losses + c.losses
    assert PUBLISH_BURST < WAITING_MAX


async def test_what_a_node_says_after_a_restart_within_the_second_is_heard(open_link: Opener) -> None:
    b, at_b = await open_link()
    for _ in range(3):
        at_b.events.clear()
        a, _ = await open_link(seed=b"a" * 32)
        await a.dial(b.addresses[0])
        await at_b.has(PeerConnected(a.public))
        for i in range(20):
            await a.publish(TOPIC, bytes([i]))
        await at_b.until(lambda: len(at_b.gossip()) == 20)
        await a.stop()
        await at_b.has(PeerDisconnected(a.public))


async def test_whatever_is_too_large_is_refused_on_every_path(open_link: Opener) -> None:
    """What we publish, with a remedy; what a stranger sends, before its signature is looked at, and it is blamed."""
    judged: list[int] = []

    def judge(topic: str, data: bytes) -> Verdict:
        judged.append(len(data))
        return Verdict.ACCEPT

    a, at_a = await open_link(judge=judge)
    with pytest.raises(LinkError, match=f"{GOSSIP_MAX_BYTES + 1} bytes, {GOSSIP_MAX_BYTES} are allowed") as refusal:
        await a.publish(TOPIC, bytes(GOSSIP_MAX_BYTES + 1))
    assert "send it by stream" in refusal.value.remedy

    on_loop = calls_to(asyncio.get_running_loop())

    async def attack(host: IHost, target: ID) -> None:
        stream = await host.new_stream(target, [PROTOCOL_ID_V11])
        for number, data in enumerate((bytes(GOSSIP_MAX_BYTES + 1), bytes(GOSSIP_MAX_BYTES))):
            rpc = rpc_pb2.RPC(publish=[signed(data, TOPIC, number)])
            await stream.write(encode_varint_prefixed(rpc.SerializeToString()))
        await on_loop(lambda: at_a.until(lambda: len(at_a.gossip()) == 1))

    await as_raw_peer(attack, a.addresses[0])
    assert judged == [GOSSIP_MAX_BYTES]
    assert min(a.scores().values()) < -9


async def test_scoring_is_on(open_link: Opener) -> None:
    (a, _), (b, at_b) = await open_link(), await open_link(judge=lambda topic, data: Verdict.REJECT)
    await a.dial(b.addresses[0])
    await a.publish(TOPIC, b"bad")
    await eventually(lambda: b.scores().get(a.public, 0.0) < -9)
    assert at_b.gossip() == []


@pytest.mark.parametrize("protocols", [[PROTOCOL_ID_V11], [PROTOCOL_ID_V12, PROTOCOL_ID_V11]], ids=["v1.1", "v1.2"])
async def test_a_stock_peer_gossips_with_ours_both_ways_by_v11(open_link: Opener, protocols: list[TProtocol]) -> None:
    a, at_a = await open_link()
    on_loop = calls_to(asyncio.get_running_loop())

    async def gossip(host: IHost, target: ID) -> None:
        router = GossipSub(protocols, 6, 4, 12, heartbeat_initial_delay=0.1, heartbeat_interval=1)
        pubsub = Pubsub(host, router, strict_signing=True)
        async with background_trio_service(pubsub), background_trio_service(router):
            await pubsub.wait_until_ready()
            subscription = await pubsub.subscribe(TOPIC)
            await pubsub._handle_new_peer(target)  # it was connected before
            await pubsub.wait_for_mesh(target, TOPIC)
            await pubsub.publish(TOPIC, b"from a stock peer")
            await on_loop(lambda: at_a.until(lambda: at_a.gossip() == [b"from a stock peer"]))
            await on_loop(lambda: a.publish(TOPIC, b"from ours"))
            while (await subscription.get()).data != b"from ours":
                pass
            assert router.peer_protocol[target] == PROTOCOL_ID_V11

    await as_raw_peer(gossip, a.addresses[0])
    assert at_a.gossip() == [b"from a stock peer"]


def calls_to(loop: asyncio.AbstractEventLoop) -> Callable[[Callable[[], Coroutine[None, None, None]]], Awaitable[None]]:
    """What a raw peer on its thread awaits something of the test's loop with."""

    async def call(work: Callable[[], Coroutine[None, None, None]]) -> None:
        await trio.to_thread.run_sync(lambda: asyncio.run_coroutine_threadsafe(work(), loop).result(20))

    return call
