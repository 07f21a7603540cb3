"""Who cannot be dialled is reached through a relay, as over any connection; and a relay gives no more than it says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from types import SimpleNamespace

import pytest
from libp2p.abc import INetStream
from libp2p.connection_types import ConnectionType
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11

from node.link import Link, LinkError, MessageArrived, PeerConnected, PeerDisconnected, RelayLimits
from node.link.gossip.router import ContainedGossipSub
from node.link.names import id_of
from node.link.ways import circuits, relay
from protocol.identity import peer_id

from .links import TOPIC, Inbox, Opener, Proxy

ELSEWHERE = "/ip4/127.0.0.2/tcp/0"
SECRET = b"what only the two may read"

PrivateOpener = Callable[..., Awaitable[tuple[Link, Inbox]]]


@pytest.fixture
async def open_private(open_link: Opener) -> AsyncIterator[PrivateOpener]:
    """Opens a link that nobody can dial: its relays see it at an address where it does not listen."""
    async with AsyncExitStack() as exits:

        async def opener(*relays: Link) -> tuple[Link, Inbox]:
            link, inbox = await open_link(listen=ELSEWHERE)
            for other in relays:
                proxy = await exits.enter_async_context(Proxy(other.addresses[0]))
                proxy.released.set()
                await link.dial(proxy.address)
            return link, inbox

        yield opener


def relayed(inbox: Inbox) -> tuple[str, ...]:
    """The addresses through relays that a link has now."""
    return inbox.reachability[-1].reachability.relayed if inbox.reachability else ()


async def test_a_private_peer_is_reached_through_a_relay(open_link: Opener, open_private: PrivateOpener) -> None:
    via, _ = await open_link(relay=RelayLimits())
    private, at_private = await open_private(via)
    dialler, at_dialler = await open_link()
    await at_private.until(lambda: bool(relayed(at_private)))
    assert relayed(at_private) == (f"{via.addresses[0]}/p2p-circuit/p2p/{peer_id(private.public)}",)
    assert at_private.reachability[-1].addresses == (*private.addresses, *relayed(at_private))

    assert await dialler.dial(relayed(at_private)[0]) == private.public
    await dialler.send(private.public, b"hello")
    await private.send(dialler.public, b"welcome")
    await at_private.has(PeerConnected(dialler.public), MessageArrived(dialler.public, b"hello"))
    await at_dialler.has(PeerConnected(private.public), MessageArrived(private.public, b"welcome"))

    await private.publish(TOPIC, b"gossip")
    await at_dialler.until(lambda: at_dialler.gossip() == [b"gossip"])


async def test_many_cannot_have_a_relay_knock_at_one_peer_faster_than_that_peer_bears(
    open_link: Opener, open_private: PrivateOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "CIRCUITS_PER_S", 0.001)
    monkeypatch.setattr(relay, "CIRCUITS_BURST", 1.0)
    via, _ = await open_link(relay=RelayLimits())
    _, at_private = await open_private(via)
    (first, _), (second, _) = await open_link(), await open_link()
    await at_private.until(lambda: bool(relayed(at_private)))
    await first.dial(relayed(at_private)[0])
    with pytest.raises(LinkError, match="resource limit exceeded"):
        await second.dial(relayed(at_private)[0])


async def test_two_private_peers_meet_through_a_relay(open_link: Opener, open_private: PrivateOpener) -> None:
    via, _ = await open_link(relay=RelayLimits())
    (a, at_a), (b, at_b) = await open_private(via), await open_private(via)
    await at_a.until(lambda: bool(relayed(at_a)))
    await b.dial(relayed(at_a)[0])
    large = bytes(range(256)) * 4096

    await b.send(a.public, large)
    await a.send(b.public, large)
    assert at_a.messages() == at_b.messages() == [large]


async def test_a_relay_reads_nothing_of_what_it_carries(
    open_link: Opener, open_private: PrivateOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried = bytearray()
    carry = relay.Relay._carry

    async def recorded(self: relay.Relay, near: INetStream, far: INetStream) -> None:
        read = near.read

        async def listening(n: int | None = None) -> bytes:
            data = await read(n)
            carried.extend(data)
            return data

        near.read = listening  # type: ignore[method-assign]
        await carry(self, near, far)

    monkeypatch.setattr(relay.Relay, "_carry", recorded)
    via, _ = await open_link(relay=RelayLimits())
    private, at_private = await open_private(via)
    dialler, _ = await open_link()
    await at_private.until(lambda: bool(relayed(at_private)))
    await dialler.dial(relayed(at_private)[0])
    await dialler.send(private.public, SECRET)

    assert at_private.messages() == [SECRET]
    assert len(carried) > len(SECRET)
    assert SECRET not in carried
    assert b"/heliotrope/" not in carried


async def test_a_peer_whose_relay_dies_moves_to_another(
    open_link: Opener, open_private: PrivateOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuits, "RELAYS_MAX", 1)
    relays = [(await open_link(relay=RelayLimits()))[0] for _ in range(2)]
    private, at_private = await open_private(*relays)
    await at_private.until(lambda: bool(relayed(at_private)))
    first = relayed(at_private)[0]
    dying, other = sorted(relays, key=lambda link: link.addresses[0] not in first)
    await dying.stop()

    await at_private.until(lambda: other.addresses[0] in "".join(relayed(at_private)))
    assert len(relayed(at_private)) == 1
    dialler, _ = await open_link()
    await dialler.dial(relayed(at_private)[0])
    await dialler.send(private.public, b"moved")
    assert at_private.messages() == [b"moved"]


async def test_a_place_is_held_at_two_relays(open_link: Opener, open_private: PrivateOpener) -> None:
    relays = [(await open_link(relay=RelayLimits()))[0] for _ in range(3)]
    _, at_private = await open_private(*relays)
    await at_private.until(lambda: len(relayed(at_private)) == circuits.RELAYS_MAX)


async def test_a_place_is_renewed_before_its_time_is_over(
    open_link: Opener, open_private: PrivateOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuits, "RESERVATION_MIN_S", 0.2)
    monkeypatch.setattr(circuits, "RESERVATION_MAX_S", 0.2)
    renewals = 0
    is_renewed = asyncio.Event()
    loop = asyncio.get_running_loop()
    reserve = relay.Relay._reserve

    async def counted(self: relay.Relay, key: bytes, stream: INetStream) -> None:
        nonlocal renewals
        renewals += 1
        if renewals == 12:  # every 0.1 s
            loop.call_soon_threadsafe(is_renewed.set)
        await reserve(self, key, stream)

    monkeypatch.setattr(relay.Relay, "_reserve", counted)
    via, _ = await open_link(relay=RelayLimits(reservation_s=1))
    private, at_private = await open_private(via)
    async with asyncio.timeout(10):
        await is_renewed.wait()
    dialler, _ = await open_link()
    assert await dialler.dial(relayed(at_private)[0]) == private.public


async def test_who_can_be_dialled_needs_no_relay(open_link: Opener) -> None:
    via, at_via = await open_link(relay=RelayLimits())
    public, at_public = await open_link()
    await public.dial(via.addresses[0])
    await at_public.until(lambda: bool(at_public.reachability))
    await at_via.until(lambda: bool(at_via.reachability))
    assert relayed(at_public) == relayed(at_via) == ()


# Limits.


async def test_a_circuit_ends_with_its_bytes_and_can_be_dialled_again(
    open_link: Opener, open_private: PrivateOpener
) -> None:
    via, _ = await open_link(relay=RelayLimits(circuit_bytes=200_000))
    private, at_private = await open_private(via)
    dialler, at_dialler = await open_link()
    await at_private.until(lambda: bool(relayed(at_private)))
    await dialler.dial(relayed(at_private)[0])

    with pytest.raises(LinkError, match="failed"):
        await dialler.send(private.public, bytes(400_000))
    await at_dialler.has(PeerDisconnected(private.public))
    await at_private.has(PeerDisconnected(dialler.public))

    await dialler.dial(relayed(at_private)[0])
    await dialler.send(private.public, bytes(100_000))
    assert at_private.messages() == [bytes(100_000)]


async def test_a_circuit_ends_with_its_time_even_if_idle(open_link: Opener, open_private: PrivateOpener) -> None:
    via, _ = await open_link(relay=RelayLimits(circuit_s=1))
    private, at_private = await open_private(via)
    dialler, at_dialler = await open_link()
    await at_private.until(lambda: bool(relayed(at_private)))
    await dialler.dial(relayed(at_private)[0])
    await at_dialler.has(PeerDisconnected(private.public))


async def test_a_peer_has_so_many_circuits_and_no_more(open_link: Opener, open_private: PrivateOpener) -> None:
    via, _ = await open_link(relay=RelayLimits(circuits_per_peer=1))
    private, at_private = await open_private(via)
    (first, at_first), (second, _) = await open_link(), await open_link()
    await at_private.until(lambda: bool(relayed(at_private)))
    await first.dial(relayed(at_private)[0])

    with pytest.raises(LinkError, match="the relay refuses: resource limit exceeded"):
        await second.dial(relayed(at_private)[0])
    await first.disconnect(private.public)
    await at_first.has(PeerDisconnected(private.public))
    await at_private.has(PeerDisconnected(first.public))
    await second.dial(relayed(at_private)[0])


async def test_a_full_relay_refuses_and_another_is_asked(open_link: Opener, open_private: PrivateOpener) -> None:
    full, _ = await open_link(relay=RelayLimits(reservations=1))
    _, at_first = await open_private(full)
    await at_first.until(lambda: bool(relayed(at_first)))
    other, _ = await open_link(relay=RelayLimits())
    _, at_second = await open_private(full, other)
    await at_second.until(lambda: bool(relayed(at_second)))
    assert all(other.addresses[0] in address for address in relayed(at_second))


# What cannot be dialled.


async def test_nobody_is_behind_a_relay_without_a_place(open_link: Opener) -> None:
    (via, _), (absent, _), (dialler, _) = await open_link(relay=RelayLimits()), await open_link(), await open_link()
    with pytest.raises(LinkError, match="the relay refuses: no reservation"):
        await dialler.dial(f"{via.addresses[0]}/p2p-circuit/p2p/{peer_id(absent.public)}")


async def test_a_peer_that_does_not_relay_is_named(open_link: Opener) -> None:
    (via, _), (absent, _), (dialler, _) = await open_link(), await open_link(), await open_link()
    with pytest.raises(LinkError, match="cannot reach"):
        await dialler.dial(f"{via.addresses[0]}/p2p-circuit/p2p/{peer_id(absent.public)}")


async def test_refuse_to_dial_a_malformed_circuit(open_link: Opener) -> None:
    (a, _), (b, _) = await open_link(), await open_link()
    end = f"/p2p-circuit/p2p/{peer_id(b.public)}"
    for address in (
        end,
        f"{b.addresses[0]}/p2p-circuit",
        f"/ip4/127.0.0.1/tcp/1{end}",
        f"{b.addresses[0]}{end}{end}",
    ):
        with pytest.raises(LinkError, match="is no address of a peer"):
            await a.dial(address)


def test_gossip_prefers_peers_that_need_no_relay() -> None:
    direct, through = (
        SimpleNamespace(get_connection_type=lambda kind=kind: kind)
        for kind in (ConnectionType.DIRECT, ConnectionType.RELAYED)
    )
    peers = {id_of(bytes([number]) * 32): [direct] if number < 3 else [through] for number in range(10)}
    both = id_of(bytes(32))
    peers[both] = [through, direct]
    router = ContainedGossipSub(lambda topic: 0.0)
    network = SimpleNamespace(get_connections=lambda peer: peers[peer])
    router.pubsub = SimpleNamespace(host=SimpleNamespace(get_network=lambda: network), peer_topics={TOPIC: set(peers)})  # type: ignore[assignment]
    router.peer_protocol = dict.fromkeys(peers, PROTOCOL_ID_V11)

    assert set(router._get_in_topic_gossipsub_peers_from_minus(TOPIC, 3, ())) == set(list(peers)[:3])
    assert both in router._get_in_topic_gossipsub_peers_from_minus(TOPIC, 3, ())
    assert len(router._get_in_topic_gossipsub_peers_from_minus(TOPIC, 6, ())) == 6
