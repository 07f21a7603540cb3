"""Who cannot be dialled is reached through a relay, as over any connection; and relays give no more than they say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from node.link import (
    Link,
    MessageArrived,
    PeerConnected,
    ReachabilityChanged,
    RelayLimits,
)
from protocol.identity import peer_id

from .links import TOPIC, Inbox, Opener, Proxy

ELSEWHERE = "/ip4/127.0.0.2/tcp/0"  # peers see its dials come from 127.0.0.1, where it does not listen


@asynccontextmanager
async def door(link: Link) -> AsyncIterator[str]:
    """An address of the link; who dials it is seen at 127.0.0.1."""
    async with Proxy(link.addresses[0]) as proxy:
        proxy.released.set()
        yield proxy.address


async def relayed_address(inbox: Inbox) -> str:
    """The first address through a relay that a link has."""

    def found() -> list[str]:
        changes = [event for event in inbox.events if isinstance(event, ReachabilityChanged)]
        return [address for change in changes for address in change.reachability.relayed]

    await inbox.until(lambda: bool(found()))
    return found()[-1]


async def test_a_private_peer_is_reached_through_a_relay(open_link: Opener) -> None:
    relay, _ = await open_link(relay=RelayLimits())
    private, at_private = await open_link(listen=ELSEWHERE)
    dialler, at_dialler = await open_link()
    async with door(relay) as address:
        await private.dial(address)
        circuit = await relayed_address(at_private)
        assert circuit == f"{relay.addresses[0]}/p2p-circuit/p2p/{peer_id(private.public)}"

        assert await dialler.dial(circuit) == private.public
        await dialler.send(private.public, b"hello")
        await private.send(dialler.public, b"welcome")
        await at_private.has(PeerConnected(dialler.public), MessageArrived(dialler.public, b"hello"))
        await at_dialler.has(MessageArrived(private.public, b"welcome"))

        await private.publish(TOPIC, b"gossip")
        await at_dialler.until(lambda: b"gossip" in at_dialler.gossip())
