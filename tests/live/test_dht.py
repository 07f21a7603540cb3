"""The Kademlia table over live links: who offers what is found by those who never met it, and outlives its keepers."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from libp2p.abc import IHost
from libp2p.kad_dht import kad_dht, peer_routing, provider_store
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from multiaddr import Multiaddr

from node.link import Link, LinkError, PeerConnected, PeerDisconnected
from node.link.finding import dht as link_dht
from protocol.discovery import kad_protocol, providers_key
from protocol.identity import peer_id
from tests.kad import KEY, NETWORK, STRANGER

from .links import Inbox, Opener, as_raw_peer, say_hello

OTHER_KEY = providers_key(NETWORK, "asia", "cpu")


async def found(link: Link, key: bytes = KEY) -> set[str]:
    """The peers that a look-up finds."""
    return {address.rpartition("/p2p/")[2] for address in await link.look(key)}


async def chain(open_link: Opener, count: int) -> list[tuple[Link, Inbox]]:
    """Links with a table, of which each has dialled the one before and no other."""
    links = [await open_link(has_dht=True) for _ in range(count)]
    for (a, at_a), (b, _) in pairwise(links):
        await b.dial(a.addresses[0])
        await at_a.has(PeerConnected(b.public))
    return links


async def test_a_provider_is_found_by_a_node_that_never_met_it(open_link: Opener) -> None:
    links = await chain(open_link, 10)
    (first, _), (last, _) = links[0], links[-1]

    await first.provide(KEY)

    assert await found(last) == {peer_id(first.public)}
    assert await last.look(KEY) == first.addresses
    assert await found(last, OTHER_KEY) == set()


async def test_a_record_outlives_some_of_its_keepers(open_link: Opener) -> None:
    links = await chain(open_link, 10)
    (first, _), (last, _) = links[0], links[-1]
    await first.provide(KEY)

    await asyncio.gather(*(link.stop() for link, _ in links[1:-1:3]))

    assert await found(last) == {peer_id(first.public)}


async def test_many_providers_are_found(open_link: Opener) -> None:
    links = await chain(open_link, 8)
    for link, _ in links[:-1]:
        await link.provide(KEY)
    assert await found(links[-1][0]) == {peer_id(link.public) for link, _ in links[:-1]}


async def test_connections_that_only_look_ups_wanted_are_given_up(
    open_link: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_dht, "PASSING_MAX", 0)
    links = await chain(open_link, 8)
    (last, inbox), neighbour = links[-1], links[-2][0]

    await found(last)

    met = {event.peer for event in inbox.events if isinstance(event, PeerConnected)}
    assert len(met) > 1
    await inbox.has(*(PeerDisconnected(peer) for peer in met - {neighbour.public}))
    assert PeerDisconnected(neighbour.public) not in inbox.events


async def test_a_connection_that_somebody_wants_outlives_the_look_up(
    open_link: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = await chain(open_link, 8)
    (first, at_first), (last, inbox) = links[0], links[-1]
    await found(last)  # whoever it connected to is kept so far

    await last.dial(first.addresses[0])
    monkeypatch.setattr(link_dht, "PASSING_MAX", 0)
    await found(last)

    await last.send(first.public, b"still here")
    assert PeerDisconnected(first.public) not in inbox.events
    assert at_first.messages() == [b"still here"]


async def test_the_other_side_of_a_deal_outlives_the_look_up(
    open_link: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = await chain(open_link, 8)
    (first, at_first), (last, inbox) = links[0], links[-1]
    await found(last)

    await last.keep(first.public)
    monkeypatch.setattr(link_dht, "PASSING_MAX", 0)
    await found(last)

    await last.send(first.public, b"still here")
    assert PeerDisconnected(first.public) not in inbox.events
    assert at_first.messages() == [b"still here"]


async def test_who_knows_nobody_says_so(open_link: Opener) -> None:
    a, _ = await open_link(has_dht=True)
    assert await found(a) == set()
    with pytest.raises(LinkError, match="nobody keeps our record"):
        await a.provide(KEY)


async def test_who_has_no_table_says_so(open_link: Opener) -> None:
    (a, _), (b, _) = await open_link(), await open_link(has_dht=True)
    await b.dial(a.addresses[0])
    with pytest.raises(LinkError, match="no part in the Kademlia table"):
        await a.look(KEY)
    assert await found(b) == set()


async def test_the_library_s_own_table_understands_ours(open_link: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the protocol's name set where it is a constant; what it announces is found here, and the other way round."""
    for module in (kad_dht, peer_routing, provider_store):
        monkeypatch.setattr(module, "PROTOCOL_ID", kad_protocol(NETWORK))
    (a, _), (b, _) = await chain(open_link, 2)
    await b.provide(KEY)
    heard: set[str] = set()

    async def speak(host: IHost, target: ID) -> None:
        other = info_from_p2p_addr(Multiaddr(b.addresses[0]))
        await host.connect(other)
        await say_hello(host, other.peer_id)
        table = KadDHT(host, DHTMode.SERVER)
        heard.update(str(info.peer_id) for info in await table.provider_store.find_providers(KEY))
        assert await table.provider_store.provide(OTHER_KEY)

    await as_raw_peer(speak, a.addresses[0])

    assert heard == {peer_id(b.public)}
    assert await found(a, OTHER_KEY) == {peer_id(STRANGER.public)}
