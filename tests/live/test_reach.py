"""Peers try to dial us and say how it went; nobody makes them dial a third party."""

from __future__ import annotations

import asyncio

import pytest
import trio
from libp2p.abc import IHost
from libp2p.host.autonat.pb.autonat_pb2 import Message
from libp2p.host.ping import PingService
from libp2p.peer.id import ID
from libp2p.utils.varint import encode_varint_prefixed
from multiaddr import Multiaddr

from node.link import LinkFailed
from node.link.ways import reach
from node.link.ways.exchanges import read_message, write_message
from node.link.ways.reach import AUTONAT, DIALS_PER_PEER
from node.reachability import Reach, Scope, said
from protocol.identity import PEER_ID_PREFIX, KeyPair

from .links import Inbox, Opener, Proxy, as_raw_peer, frames_like

ELSEWHERE = "/ip4/127.0.0.2/tcp/0"


def verdict(inbox: Inbox) -> Reach | None:
    return inbox.reachability[-1].reachability.reach if inbox.reachability else None


async def test_a_listening_address_on_loopback_is_confirmed_by_peers_there(open_link: Opener) -> None:
    (a, at_a), (b, at_b) = await open_link(), await open_link()
    await a.dial(b.addresses[0])

    for link, inbox in ((a, at_a), (b, at_b)):
        await inbox.until(lambda inbox=inbox: verdict(inbox) is Reach.PUBLIC)  # type: ignore[misc]
        found = inbox.reachability[-1]
        assert found.reachability.scope is Scope.MACHINE
        assert found.addresses == link.addresses
        assert said(found.reachability) == (
            f"reachable at {link.addresses[0].rpartition('/p2p/')[0]}, on this machine only"
        )


async def test_an_address_that_nobody_listens_on_is_private(open_link: Opener) -> None:
    a, at_a = await open_link(listen=ELSEWHERE)
    b, _ = await open_link()
    async with Proxy(b.addresses[0]) as proxy:  # b sees it at 127.0.0.1, where it does not listen
        proxy.released.set()
        await a.dial(proxy.address)
        await at_a.until(lambda: verdict(at_a) is Reach.PRIVATE)

    found = at_a.reachability[-1].reachability
    assert found.missed == (a.addresses[0].rpartition("/p2p/")[0].replace("127.0.0.2", "127.0.0.1"),)
    assert "refused" in found.failures[0]


async def test_a_verdict_that_has_changed_is_told(open_link: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        async def dial(self, address: Multiaddr) -> None:
            raise OSError("no route to host")

    monkeypatch.setattr(reach, "SETTLED_S", 0.05)
    (a, at_a), (b, _) = await open_link(), await open_link()
    await a.dial(b.addresses[0])
    await at_a.until(lambda: verdict(at_a) is Reach.PUBLIC)
    monkeypatch.setattr(reach, "TCP", Broken)
    await at_a.until(lambda: verdict(at_a) is Reach.PRIVATE)
    assert at_a.reachability[-1].reachability.failures == ("OSError no route to host",)


# Hostile.


async def ask(host: IHost, target: ID, *addresses: str, name: bytes | None = None) -> tuple[int, str]:
    request = Message(type=Message.DIAL)
    request.dial.peer.id = host.get_id().to_bytes() if name is None else name
    request.dial.peer.addrs.extend(Multiaddr(address).to_bytes() for address in addresses)
    stream = await host.new_stream(target, [AUTONAT])
    await write_message(stream, request)
    answer = (await read_message(stream, Message)).dialResponse
    return answer.status, answer.statusText


def own_address(host: IHost) -> str:
    return str(host.get_addrs()[0]).rpartition("/p2p/")[0]


async def test_only_the_host_is_dialled_from_which_the_asker_is_seen(open_link: Opener) -> None:
    a, _ = await open_link()
    connected = asyncio.Event()
    third = await asyncio.start_server(lambda reader, writer: connected.set(), "127.0.0.3", 0)
    address = f"/ip4/127.0.0.3/tcp/{third.sockets[0].getsockname()[1]}"

    async def attack(host: IHost, target: ID) -> None:
        for addresses in ([address], [f"{address}/p2p/{host.get_id()}"], ["/dns/localhost/tcp/1"], []):
            assert (await ask(host, target, *addresses))[0] == Message.E_DIAL_REFUSED
        assert await ask(host, target, address, own_address(host)) == (Message.OK, "")

    async with third:
        await as_raw_peer(attack, a.addresses[0])
    assert not connected.is_set()


async def test_nobody_is_dialled_in_anothers_name(open_link: Opener) -> None:
    (a, _), (b, _) = await open_link(), await open_link()

    async def attack(host: IHost, target: ID) -> None:
        name = PEER_ID_PREFIX + KeyPair(b"n" * 32).public
        assert (await ask(host, target, own_address(host), name=name))[0] == Message.E_BAD_REQUEST
        status, text = await ask(host, target, b.addresses[0])  # a port where somebody else listens
        assert status == Message.E_DIAL_ERROR
        assert "pubkey" in text  # Noise has refused it

    await as_raw_peer(attack, a.addresses[0])


async def test_a_peer_that_asks_too_often_is_refused(open_link: Opener) -> None:
    a, _ = await open_link()

    async def attack(host: IHost, target: ID) -> None:
        answers = [(await ask(host, target, own_address(host)))[0] for _ in range(DIALS_PER_PEER + 1)]
        assert answers == [Message.OK] * DIALS_PER_PEER + [Message.E_DIAL_REFUSED]

    await as_raw_peer(attack, a.addresses[0])


async def test_a_port_that_never_answers_is_given_up(open_link: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "DIAL_BACK_TIMEOUT_S", 0.1)
    a, _ = await open_link()

    async def attack(host: IHost, target: ID) -> None:
        mute = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
        address = f"/ip4/127.0.0.1/tcp/{mute.socket.getsockname()[1]}"
        assert (await ask(host, target, address)) == (Message.E_DIAL_ERROR, "TooSlowError no answer within 0.1 s")

    await as_raw_peer(attack, a.addresses[0])


async def test_malformed_requests_do_not_end_the_host(open_link: Opener) -> None:
    (a, at_a), (b, _) = await open_link(), await open_link()
    request = Message(type=Message.DIAL)
    request.dial.peer.id = PEER_ID_PREFIX + bytes(32)
    request.dial.peer.addrs.append(Multiaddr("/ip4/127.0.0.1/tcp/1").to_bytes())

    async def attack(host: IHost, target: ID) -> None:
        for frame in frames_like(encode_varint_prefixed(request.SerializeToString())):
            stream = await host.new_stream(target, [AUTONAT])
            await stream.write(frame)
            await stream.close()
        await PingService(host).ping(target)

    await as_raw_peer(attack, a.addresses[0])
    await b.dial(a.addresses[0])
    await b.send(a.public, b"good")
    await at_a.until(lambda: at_a.messages() == [b"good"])
    assert not any(isinstance(event, LinkFailed) for event in at_a.events)
