"""Peers that misuse a relay, relays that lie, and frames that no honest one sends."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import trio
from libp2p.abc import IHost, INetStream
from libp2p.connection_types import ConnectionType
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.ping import PingService
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.pb import circuit_pb2 as pb
from libp2p.utils.varint import encode_varint_prefixed
from multiaddr import Multiaddr

from node.link import LinkError, LinkFailed, PeerConnected, PeerDisconnected, RelayLimits
from node.link.ways.circuits import HOP, STOP, CircuitStream
from node.link.ways.exchanges import read_message, write_message
from node.link.ways.relay import REQUESTS_BURST
from protocol.identity import PEER_ID_PREFIX, KeyPair, peer_id

from .links import Opener, Proxy, as_raw_peer, frames_like

STRANGER = PEER_ID_PREFIX + KeyPair(b"n" * 32).public
RAW = PEER_ID_PREFIX + KeyPair(b"r" * 32).public
LYING_ADDRESSES = (
    f"/ip4/192.0.2.1/tcp/1/p2p/{peer_id(STRANGER[-32:])}",  # another peer's
    "/dns/example.org/tcp/1",
    "/ip4/192.0.2.1/tcp/1",
)


async def ask(host: IHost, target: ID, request: pb.HopMessage) -> pb.HopMessage:
    stream = await host.new_stream(target, [HOP])
    await write_message(stream, request)
    return await read_message(stream, pb.HopMessage)


async def say_stop(host: IHost, target: ID) -> tuple[INetStream, int]:
    """Open a circuit, as a relay does, and say that the stranger is at its other end."""
    stream = await host.new_stream(target, [STOP])
    await write_message(stream, pb.StopMessage(type=pb.StopMessage.CONNECT, peer=pb.PeerId(id=STRANGER)))
    return stream, (await read_message(stream, pb.StopMessage)).status


def upgrader_of(host: IHost) -> Any:
    return host.get_network().upgrader  # type: ignore[attr-defined]


def to(peer: bytes) -> pb.HopMessage:
    return pb.HopMessage(type=pb.HopMessage.CONNECT, peer=pb.PeerId(id=peer))


ELSEWHERE = "/ip4/127.0.0.2/tcp/0"
RESERVE = pb.HopMessage(type=pb.HopMessage.RESERVE)


async def test_a_circuit_leads_to_nobody_without_a_place(open_link: Opener) -> None:
    a, _ = await open_link(relay=RelayLimits())

    async def attack(host: IHost, target: ID) -> None:
        assert (await ask(host, target, RESERVE)).status == pb.OK
        for peer, status in (
            (RAW, pb.PERMISSION_DENIED),  # itself
            (target.to_bytes(), pb.PERMISSION_DENIED),  # the relay
            (STRANGER, pb.NO_RESERVATION),
            (b"", pb.MALFORMED_MESSAGE),
            (b"\x12\x20" + bytes(32), pb.MALFORMED_MESSAGE),  # a key of another kind
        ):
            assert (await ask(host, target, to(peer))).status == status
        assert (await ask(host, target, pb.HopMessage(type=pb.HopMessage.STATUS))).status == pb.UNEXPECTED_MESSAGE

    await as_raw_peer(attack, a.addresses[0])


async def test_a_circuit_leads_to_nobody_who_has_come_back_and_is_not_admitted(open_link: Opener) -> None:
    (a, at_a), (b, _) = await open_link(relay=RelayLimits()), await open_link()
    is_there, is_over = asyncio.Event(), threading.Event()
    loop, knocks = asyncio.get_running_loop(), list[INetStream]()

    async def reserve(host: IHost, target: ID) -> None:
        assert (await ask(host, target, RESERVE)).status == pb.OK

    async def knocked(stream: INetStream) -> None:
        knocks.append(stream)

    async def stay(host: IHost, target: ID) -> None:
        host.set_stream_handler(STOP, knocked)
        loop.call_soon_threadsafe(is_there.set)
        await trio.to_thread.run_sync(is_over.wait, abandon_on_cancel=True)  # type: ignore[call-arg]

    await as_raw_peer(reserve, a.addresses[0])
    await at_a.has(PeerDisconnected(RAW[-32:]))
    back = asyncio.ensure_future(as_raw_peer(stay, a.addresses[0], greets=False))
    try:
        await is_there.wait()
        with pytest.raises(LinkError, match="no reservation"):
            await b.dial(f"{a.addresses[0]}/p2p-circuit/p2p/{peer_id(RAW[-32:])}")
    finally:
        is_over.set()
        await back
    assert knocks == []


async def test_a_place_is_the_askers_whatever_name_it_gives(open_link: Opener) -> None:
    a, _ = await open_link(relay=RelayLimits(reservations=1))

    async def attack(host: IHost, target: ID) -> None:
        for name in (STRANGER, b"anyone"):
            in_anothers_name = pb.HopMessage(type=pb.HopMessage.RESERVE, peer=pb.PeerId(id=name))
            assert (await ask(host, target, in_anothers_name)).status == pb.OK  # and it is still the one place
        assert (await ask(host, target, to(STRANGER))).status == pb.NO_RESERVATION

    await as_raw_peer(attack, a.addresses[0])


async def test_a_flood_of_requests_is_refused(open_link: Opener) -> None:
    a, _ = await open_link(relay=RelayLimits())

    async def attack(host: IHost, target: ID) -> None:
        answers = [(await ask(host, target, RESERVE)).status for _ in range(2 * int(REQUESTS_BURST))]
        assert answers[: int(REQUESTS_BURST)] == [pb.OK] * int(REQUESTS_BURST)
        assert pb.RESOURCE_LIMIT_EXCEEDED in answers

    await as_raw_peer(attack, a.addresses[0])


async def test_who_cannot_be_dialled_gives_no_places(open_link: Opener) -> None:
    (private, at_private), (honest, _) = await open_link(listen=ELSEWHERE, relay=RelayLimits()), await open_link()

    async def attack(host: IHost, target: ID) -> None:
        assert (await ask(host, target, RESERVE)).status == pb.RESERVATION_REFUSED

    async with Proxy(honest.addresses[0]) as proxy:
        proxy.released.set()
        await private.dial(proxy.address)
        await at_private.until(lambda: bool(at_private.reachability))
        await as_raw_peer(attack, private.addresses[0])


async def test_a_relay_on_all_interfaces_gives_places_before_peers_have_tried_it(open_link: Opener) -> None:
    """It listens on no address that could be dialled, but on each of the machine's; the asker has come on one."""
    a, at_a = await open_link(listen="/ip4/0.0.0.0/tcp/0", relay=RelayLimits())
    given: list[str] = []

    async def attack(host: IHost, target: ID) -> None:
        answer = await ask(host, target, RESERVE)
        assert answer.status == pb.OK
        given.extend(str(Multiaddr(raw)) for raw in answer.reservation.addrs)

    address = a.addresses[0].replace("0.0.0.0", "127.0.0.1")  # noqa: S104
    await as_raw_peer(attack, address)
    assert not at_a.reachability, "the asker dials nobody back"
    assert given
    assert all("/ip4/0.0.0.0/" not in each and each.endswith(f"/p2p/{peer_id(a.public)}") for each in given)


async def test_a_circuit_from_who_is_no_relay_of_ours_is_refused(open_link: Opener) -> None:
    a, at_a = await open_link()

    async def attack(host: IHost, target: ID) -> None:
        _, status = await say_stop(host, target)
        assert status == pb.PERMISSION_DENIED

    await as_raw_peer(attack, a.addresses[0])
    assert PeerConnected(STRANGER[-32:]) not in at_a.events


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        (HOP, pb.HopMessage(type=pb.HopMessage.CONNECT, peer=pb.PeerId(id=STRANGER, addrs=[b"\xff"]))),
        (
            HOP,
            pb.HopMessage(
                type=pb.HopMessage.RESERVE,
                reservation=pb.Reservation(expire=2**63, addrs=[b"\x04"], voucher=b"\xff"),
                limit=pb.Limit(duration=2**32 - 1, data=2**64 - 1),
            ),
        ),
        (STOP, pb.StopMessage(type=pb.StopMessage.CONNECT, peer=pb.PeerId(id=STRANGER), limit=pb.Limit(data=1))),
    ],
)
async def test_malformed_messages_do_not_end_the_host(
    open_link: Opener, protocol: str, message: pb.HopMessage | pb.StopMessage
) -> None:
    (a, at_a), (b, _) = await open_link(relay=RelayLimits()), await open_link()

    async def attack(host: IHost, target: ID) -> None:
        for frame in frames_like(encode_varint_prefixed(message.SerializeToString())):
            stream = await host.new_stream(target, [protocol])  # type: ignore[list-item]
            await stream.write(frame)
            await stream.close()
        await PingService(host).ping(target)

    await as_raw_peer(attack, a.addresses[0])
    await b.dial(a.addresses[0])
    await b.send(a.public, b"good")
    assert at_a.messages() == [b"good"]
    assert not any(isinstance(event, LinkFailed) for event in at_a.events)


# Relays that lie.


async def test_who_is_behind_a_relay_proves_to_be_who_was_dialled(open_link: Opener) -> None:
    dialler, at_dialler = await open_link()
    is_ready, is_over = threading.Event(), threading.Event()
    address = ""
    upgrader: Any = None

    async def impersonate(stream: INetStream) -> None:
        await read_message(stream, pb.HopMessage)
        await write_message(stream, pb.HopMessage(type=pb.HopMessage.STATUS, status=pb.OK))
        raw = RawConnection(CircuitStream(stream), False, ConnectionType.RELAYED, [])
        with pytest.raises(BaseLibp2pError):  # the dialler leaves, however that looks
            await upgrader.upgrade_connection(await upgrader.upgrade_security(raw, False), ID(STRANGER))

    async def attack(host: IHost, target: ID) -> None:
        nonlocal address, upgrader
        upgrader = upgrader_of(host)
        host.set_stream_handler(HOP, impersonate)
        address = str(host.get_addrs()[0])
        is_ready.set()
        await trio.to_thread.run_sync(is_over.wait)

    relaying = asyncio.ensure_future(as_raw_peer(attack, dialler.addresses[0]))
    await asyncio.to_thread(is_ready.wait, 10)
    with pytest.raises(LinkError, match="cannot reach"):
        await dialler.dial(f"{address}/p2p-circuit/p2p/{peer_id(STRANGER[-32:])}")
    is_over.set()
    await relaying
    assert PeerConnected(STRANGER[-32:]) not in at_dialler.events


async def test_a_relay_cannot_say_who_is_there(open_link: Opener) -> None:
    """It names a stranger, and the Noise handshake shows that it is itself."""
    (private, at_private), (honest, _) = await open_link(listen=ELSEWHERE), await open_link()
    is_ready = threading.Event()
    has_reserved = trio.Event()

    async def give_place(stream: INetStream) -> None:
        await read_message(stream, pb.HopMessage)
        addrs = [Multiaddr(address).to_bytes() for address in LYING_ADDRESSES]
        reservation = pb.Reservation(expire=2**40, addrs=[*addrs, b"\xff", b""])
        await write_message(stream, pb.HopMessage(type=pb.HopMessage.STATUS, status=pb.OK, reservation=reservation))
        has_reserved.set()

    async def attack(host: IHost, target: ID) -> None:
        host.set_stream_handler(HOP, give_place)
        is_ready.set()
        await has_reserved.wait()
        stream, status = await say_stop(host, target)
        while status != pb.OK:  # until it has taken note of its reservation; the test has a deadline
            await trio.sleep(0.02)
            stream, status = await say_stop(host, target)
        raw = RawConnection(CircuitStream(stream), True, ConnectionType.RELAYED, [])
        upgrader = upgrader_of(host)
        secured = await upgrader.upgrade_security(raw, True, target)
        with pytest.raises(BaseLibp2pError):  # it leaves, however that looks
            await upgrader.upgrade_connection(secured, target)
        await PingService(host).ping(target)

    relaying = asyncio.ensure_future(as_raw_peer(attack, private.addresses[0]))
    await asyncio.to_thread(is_ready.wait, 10)
    async with Proxy(honest.addresses[0]) as proxy:
        proxy.released.set()
        await private.dial(proxy.address)
        await relaying
        assert PeerConnected(STRANGER[-32:]) not in at_private.events
        through = f"/ip4/192.0.2.1/tcp/1/p2p/{peer_id(RAW[-32:])}/p2p-circuit/p2p/{peer_id(private.public)}"
        await at_private.until(lambda: not at_private.reachability[-1].reachability.relayed)  # the relay is gone
        assert [change.reachability.relayed for change in at_private.reachability] == [(), (through,), ()]
