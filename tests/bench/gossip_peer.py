"""`python -m tests.bench.gossip_peer CONTESTANT SETTINGS`: some nodes of py-libp2p in this one process, measured.

`ours` is the host, the muxer, the pubsub and the router that `LinkThread` builds, in one trio run instead of a thread
each; what a link does besides (hellos, the crossing to asyncio) is no part of gossip. `stock` is the library with
settings that deliver, and nothing mended. Who dials whom, D, heartbeat, protocol (v1.1, StrictSign) and topic are the
same, in tests/interop/gossip_peer.mjs too.

After some messages to warm up, CPU is measured while nothing is published and then while the settings' messages are,
by one node after the other, at an even rate and with a short tail. The result is a JSON line: `cpu_ms`, what publishing
cost above the idle time, per message and node; `p50_ms` and `p95_ms`, from publishing to delivery; `lost`, deliveries
that did not come; `mesh`, neighbours per node at the end.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.host.basic_host import BasicHost
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.pubsub import pubsub as library_pubsub
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from node.link.events import Verdict
from node.link.gossip.pubsub import ContainedPubsub, PeerWatch
from node.link.gossip.router import ContainedGossipSub
from node.link.host import demote_library_logging, running
from tests.hosts import own_host

TOPIC = "heliotrope/1/bench/adverts"
LISTEN = Multiaddr("/ip4/127.0.0.1/tcp/0")
FIND_EACH_OTHER_S = 120.0


@dataclass(frozen=True, slots=True)
class Settings:
    nodes: int
    dials: list[list[int]]
    """who dials whom"""
    messages: int
    rate_per_s: float
    size_bytes: int
    warmups: int
    settle_s: float
    idle_s: float
    tail_s: float
    deadline_s: float
    """how long the last deliveries are awaited"""
    wait_s: float
    """how long messages may wait for company, where the contestant can; `patience_s` of `Link`"""


@dataclass(frozen=True, slots=True)
class Node:
    host: BasicHost
    router: GossipSub
    pubsub: Pubsub
    dial: Callable[[Multiaddr, ID], Awaitable[object]]


Deliver = Callable[[bytes], None]
Make = Callable[[bytes, Deliver, AsyncExitStack, Settings], Awaitable[Node]]


class RoomyPubsub(Pubsub):
    """The library's, with queues that hold a burst."""

    async def _handle_new_peer(self, peer_id: ID) -> None:
        await super()._handle_new_peer(peer_id)
        self.peer_queues[peer_id]._queue.max_size = 1024


async def stock(seed: bytes, deliver: Deliver, stack: AsyncExitStack, settings: Settings) -> Node:
    library_pubsub.SUBSCRIPTION_CHANNEL_SIZE = 1024
    router = GossipSub(
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
    host: Any = new_host(key_pair=create_new_key_pair(seed), listen_addrs=[LISTEN])
    await stack.enter_async_context(host.run([LISTEN]))
    pubsub = RoomyPubsub(host, router, strict_signing=True)
    pubsub.counter = time.time_ns()
    await stack.enter_async_context(background_trio_service(pubsub))
    await stack.enter_async_context(background_trio_service(router))
    await pubsub.wait_until_ready()
    subscription = await pubsub.subscribe(TOPIC)

    async def receive() -> None:
        while True:
            message = await subscription.get()
            if message.from_id != pubsub.my_id.to_bytes():
                deliver(message.data)

    pubsub.manager.run_task(receive)
    return Node(host, router, pubsub, lambda address, peer: host.connect(PeerInfo(peer, [address])))


async def ours(seed: bytes, deliver: Deliver, stack: AsyncExitStack, settings: Settings) -> Node:
    demote_library_logging()
    host, swarm = own_host(seed)
    router = ContainedGossipSub(lambda topic: settings.wait_s)

    async def admits(peer: ID) -> bool:
        return True

    pubsub = ContainedPubsub(
        host,
        router,
        (TOPIC,),
        admits,
        lambda topic, data: Verdict.ACCEPT,
        lambda peer, topic, data: deliver(data),
        swarm.conduct,
    )
    swarm.register_notifee(PeerWatch(pubsub, lambda peer: None))
    for service in (swarm, pubsub, router):
        await stack.enter_async_context(running(service))
    await pubsub.wait_until_ready()
    await pubsub.subscribe(TOPIC)
    await swarm.listen(LISTEN)
    return Node(host, router, pubsub, swarm.dial_addr)


async def measure(make: Make, settings: Settings) -> None:
    sent: dict[int, float] = {}
    latencies: list[float] = []

    def deliver(data: bytes) -> None:
        number = int.from_bytes(data[:4], "big")
        if number >= settings.warmups:
            latencies.append(time.perf_counter() - sent[number])

    async def publish(first: int, count: int) -> None:
        began = trio.current_time()
        for number in range(first, first + count):
            await trio.sleep_until(began + (number - first) / settings.rate_per_s)
            sent[number] = time.perf_counter()
            data = number.to_bytes(4, "big").ljust(settings.size_bytes, b"\0")
            await nodes[number % len(nodes)].pubsub.publish(TOPIC, data)

    async with AsyncExitStack() as stack:
        nodes = [await make(bytes([index + 1]) * 32, deliver, stack, settings) for index in range(settings.nodes)]
        for near, far in settings.dials:
            address = Multiaddr(str(nodes[far].host.get_addrs()[0]).rpartition("/p2p/")[0])
            await nodes[near].dial(address, nodes[far].host.get_id())
        neighbours = Counter(index for dial in settings.dials for index in dial)
        with trio.fail_after(FIND_EACH_OTHER_S):
            while any(len(each.pubsub.peer_topics.get(TOPIC, ())) < neighbours[i] for i, each in enumerate(nodes)):  # noqa: ASYNC110
                await trio.sleep(0.05)
        await trio.sleep(settings.settle_s)
        await publish(0, settings.warmups)
        await trio.sleep(settings.settle_s)

        cpu_s, at_s = time.process_time(), time.perf_counter()
        await trio.sleep(settings.idle_s)
        idle = (time.process_time() - cpu_s) / (time.perf_counter() - at_s)

        cpu_s, at_s = time.process_time(), time.perf_counter()
        await publish(settings.warmups, settings.messages)
        expected = settings.messages * (settings.nodes - 1)
        with trio.move_on_after(settings.deadline_s):
            while len(latencies) < expected:  # noqa: ASYNC110
                await trio.sleep(0.02)
        await trio.sleep(settings.tail_s)
        spent_s = time.process_time() - cpu_s - idle * (time.perf_counter() - at_s)

        latencies.sort()
        result = {
            "cpu_ms": 1000 * spent_s / settings.messages / settings.nodes,
            "p50_ms": 1000 * latencies[len(latencies) // 2],
            "p95_ms": 1000 * latencies[int(0.95 * len(latencies))],
            "lost": expected - len(latencies),
            "mesh": sum(len(node.router.mesh[TOPIC]) for node in nodes) / settings.nodes,
        }
        print(json.dumps(result), flush=True)
        os._exit(0)  # nothing is measured any more, and closing stock hosts one by one takes long


if __name__ == "__main__":
    logging.getLogger("libp2p").setLevel(logging.ERROR)
    contestants = {"stock": stock, "ours": ours}
    trio.run(measure, contestants[sys.argv[1]], Settings(**json.loads(sys.argv[2])))
