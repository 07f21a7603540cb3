"""What a node's core asks for is looked up over real links, and what is found comes back to it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from node import events as ev
from node.actions import Look, Provide
from node.home.config import LinkConfig
from node.link import LinkError
from node.link.blobs import NoBlobs
from node.running.network import Network
from node.turn import Identity
from protocol.gossip import Topics
from protocol.regions import REGIONS
from tests.builders import NOW_MS, genesis, keypair

from .links import ANY_PORT

GENESIS = genesis()
NETWORK = GENESIS.network_id()


class Member:
    """A node's network, and the events that its core would get."""

    def __init__(self, number: int, config: LinkConfig) -> None:
        identity = Identity(keypair(number), "", GENESIS, NETWORK, Topics.of(NETWORK), random.Random(1))
        self.events: list[ev.Event] = []
        self._arrived = asyncio.Event()
        self.network = Network(
            identity,
            config,
            REGIONS,
            lambda: NOW_MS,
            emit=self._take,
            put=self._put,
            hear=lambda event: True,
            notify=lambda kind, data: None,
            banned=lambda: None,
            serve_blob=NoBlobs,
        )

    def _take(self, event: ev.Event) -> None:
        self.events.append(event)
        self._arrived.set()

    async def _put(self, event: ev.Event) -> None:
        self._take(event)

    async def has(self, event: ev.Event) -> None:
        async with asyncio.timeout(10):
            while event not in self.events:
                self._arrived.clear()
                await self._arrived.wait()


@pytest.fixture
async def members() -> AsyncIterator[list[Member]]:
    """Five, of which each has dialled the one before; the last has no table."""
    started = [Member(n, LinkConfig(listen=ANY_PORT, dht=n < 4, mdns="127.0.0.1" if n > 2 else "")) for n in range(5)]
    for member in started:
        await member.network.link.start()
    for former, member in pairwise(started):
        await member.network.dial(former.network.link.addresses[0])
        await former.has(ev.PeerConnected(member.network.link.public))
    yield started
    await asyncio.gather(*(member.network.link.stop() for member in started))


async def test_who_announced_what_it_offers_is_found_by_others(members: list[Member]) -> None:
    addresses = members[0].network.link.addresses
    await members[0].network.seek(Provide("europe", "cpu", addresses))
    await members[3].network.seek(Look("europe", "cpu"))
    assert ev.PeersFound("europe/cpu", addresses) in members[3].events
    assert await members[3].network.look("asia", "cpu") == ()


async def test_who_has_no_table_neither_announces_nor_finds(members: list[Member]) -> None:
    outside = members[4].network
    await outside.seek(Provide("europe", "cpu", outside.link.addresses))
    await outside.seek(Look("europe", "cpu"))
    with pytest.raises(LinkError, match="no part in the Kademlia table"):
        await outside.link.look(bytes(32))
    assert await members[3].network.look("europe", "cpu") == ()


async def test_who_is_on_the_same_wire_is_found(members: list[Member]) -> None:
    await members[3].has(ev.PeersFound("mdns", members[4].network.link.addresses))
    await members[4].has(ev.PeersFound("mdns", members[3].network.link.addresses))
