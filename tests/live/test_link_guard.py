"""Whom the link does not want: peers by their acts, networks by their address."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from math import inf
from types import SimpleNamespace

import pytest
import trio
from libp2p.abc import IHost
from libp2p.host.exceptions import StreamFailure
from libp2p.host.ping import PingService
from libp2p.io.trio import TrioTCPStream
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11
from libp2p.pubsub.pb import rpc_pb2
from libp2p.utils.varint import encode_varint_prefixed

from node.link import Act, Ban, Link, LinkError, PeerBanned, PeerConnected, PeerDisconnected, PeerRefused, Verdict
from node.link.guard import conduct as link_conduct
from node.link.swarm import address_of
from node.link.thread import PUBLISH_BURST, PUBLISH_RATE_PER_S
from tests.fuzz.wire import signed

from .links import TOPIC, Opener, as_raw_peer
from .test_link import eventually

# Peers.


async def test_a_peer_whose_gossip_is_rejected_is_banned_and_told_why(open_link: Opener) -> None:
    a, at_a = await open_link()
    b, at_b = await open_link(judge=lambda topic, data: Verdict.REJECT)
    await a.dial(b.addresses[0])

    for i in range(10):
        await a.publish(TOPIC, bytes([i]))

    await at_b.has(PeerBanned(a.public, "banned for 600 s: 10 rejected gossip messages"), PeerDisconnected(a.public))
    await at_a.has(PeerDisconnected(b.public))
    with pytest.raises(LinkError, match="banned for 600 s: 10 rejected gossip messages"):
        await a.dial(b.addresses[0])
    with pytest.raises(LinkError, match="banned for 600 s") as refusal:
        await b.dial(a.addresses[0])
    assert "heliotrope peer unban" in refusal.value.remedy
    assert b.losses["bans"] == 1
    assert b.results[TOPIC, Verdict.REJECT] == 10


async def test_ignored_gossip_bans_nobody(open_link: Opener) -> None:
    a, _ = await open_link()
    b, at_b = await open_link(judge=lambda topic, data: Verdict.IGNORE if data[0] < 100 else Verdict.ACCEPT)
    await a.dial(b.addresses[0])

    await a.publish(TOPIC, bytes([100]))
    await at_b.until(lambda: len(at_b.gossip()) == 1)

    for i in range(101):
        await a.publish(TOPIC, bytes([i]))

    await at_b.until(lambda: len(at_b.gossip()) == 2)
    assert b.results[TOPIC, Verdict.IGNORE] == 100
    assert b.bans() == {}


async def test_whoever_hands_on_what_is_rejected_is_blamed_and_not_its_author(open_link: Opener) -> None:
    """b takes what c rejects: by c's rules it forwards what no honest peer would."""
    (a, _), (b, _) = await open_link(), await open_link()
    c, at_c = await open_link(judge=lambda topic, data: Verdict.REJECT)
    await a.dial(b.addresses[0])
    await b.dial(c.addresses[0])

    for i in range(10):
        await a.publish(TOPIC, bytes([i]))

    await at_c.has(PeerDisconnected(b.public))
    assert set(c.bans()) == {b.public}


async def test_a_banned_peer_comes_back_when_the_ban_is_lifted(open_link: Opener) -> None:
    (a, at_a), (b, at_b) = await open_link(), await open_link()
    await a.dial(b.addresses[0])
    await at_b.has(PeerConnected(a.public))

    await b.ban(a.public, Ban(inf, "a bad neighbour", by_operator=True))
    await at_a.has(PeerDisconnected(b.public))
    with pytest.raises(LinkError, match="banned until it is lifted: a bad neighbour"):
        await a.dial(b.addresses[0])
    await at_a.until(lambda: any(isinstance(event, PeerRefused) for event in at_a.events))

    b.unban(a.public)
    await a.dial(b.addresses[0])
    await a.send(b.public, b"back")
    await at_b.until(lambda: at_b.messages() == [b"back"])


async def test_whoever_the_core_blames_is_banned_in_the_end(open_link: Opener) -> None:
    (a, _), (b, at_b) = await open_link(), await open_link()
    await a.dial(b.addresses[0])
    for _ in range(20):
        b.blame(a.public, Act.REJECTED_MESSAGE)
    await at_b.has(PeerBanned(a.public, "banned for 600 s: 20 rejected messages"), PeerDisconnected(a.public))


async def test_a_stream_too_many_is_reset_and_counted(open_link: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_conduct, "STREAMS_BURST", 8.0)
    monkeypatch.setattr(link_conduct, "STREAMS_PER_S", 0.001)
    a, _ = await open_link()

    async def attack(host: IHost, target: ID) -> None:
        opened = 0
        with suppress(StreamError, SwarmException, StreamFailure):
            while opened < 20:
                await host.new_stream(target, [PROTOCOL_ID_V11])
                opened += 1
        assert opened < 8

    await as_raw_peer(attack, a.addresses[0])
    assert a.losses["streams_over_rate"] > 0


async def test_a_flood_of_gossip_is_dropped_counted_and_ends_in_a_ban(
    open_link: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_conduct, "FLOOD_BURST", 100.0)
    monkeypatch.setattr(link_conduct, "FLOOD_PER_S", 0.001)
    monkeypatch.setattr(link_conduct, "AUTHOR_BURST", 50.0)
    monkeypatch.setattr(link_conduct, "AUTHOR_PER_S", 0.001)
    (a, at_a), (b, _) = await open_link(), await open_link()

    async def attack(host: IHost, target: ID) -> None:
        stream = await host.new_stream(target, [PROTOCOL_ID_V11])
        with suppress(StreamError):
            for first in range(0, 700, 100):
                flood = [signed(b"flood", TOPIC, number) for number in range(first, first + 100)]
                await stream.write(encode_varint_prefixed(rpc_pb2.RPC(publish=flood).SerializeToString()))
            await stream.read(1)

    await as_raw_peer(attack, a.addresses[0])

    banned = next(event for event in at_a.events if isinstance(event, PeerBanned))
    assert banned.reason.endswith("gossip messages or streams over the rate")
    assert a.losses["gossip_over_rate"] >= 400
    await b.dial(a.addresses[0])
    await b.publish(TOPIC, b"good")
    await at_a.until(lambda: at_a.gossip()[-1:] == [b"good"])
    assert len(at_a.gossip()) == 51


def test_an_honest_peer_can_send_all_that_it_takes_and_publishes() -> None:
    """Else whoever keeps below every limit could have it banned by what it forwards."""
    assert link_conduct.TAKEN_PER_S + PUBLISH_RATE_PER_S <= link_conduct.FLOOD_PER_S
    assert link_conduct.TAKEN_BURST + PUBLISH_BURST <= link_conduct.FLOOD_BURST


async def test_gossip_over_what_all_peers_may_send_is_dropped_and_counted(
    open_link: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_conduct, "TAKEN_BURST", 5.0)
    monkeypatch.setattr(link_conduct, "TAKEN_PER_S", 0.001)
    (a, at_a), (b, _), (c, _) = await open_link(), await open_link(), await open_link()
    for link in (b, c):
        await link.dial(a.addresses[0])
        for i in range(4):
            await link.publish(TOPIC, link.public + bytes([i]))
    await eventually(lambda: a.losses["gossip_over_all"] == 3)
    assert len(at_a.gossip()) == 5
    assert a.bans() == {}


async def test_pings_over_the_rate_wait(open_link: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_conduct, "PINGS_BURST", 1.0)
    monkeypatch.setattr(link_conduct, "PINGS_PER_S", 20.0)
    a, _ = await open_link()
    took_s: list[float] = []

    async def attack(host: IHost, target: ID) -> None:
        began_s = trio.current_time()
        await PingService(host).ping(target, ping_amt=11)
        took_s.append(trio.current_time() - began_s)

    await as_raw_peer(attack, a.addresses[0])
    assert took_s[0] >= 9 / 20


def test_an_ipv6_peer_has_an_address() -> None:
    """The library takes the four parts of one for none at all."""

    class Socket:
        def getpeername(self) -> tuple[str, int, int, int]:
            return ("2001:db8::1", 4001, 0, 0)

    stream = TrioTCPStream(SimpleNamespace(socket=Socket()))  # type: ignore[arg-type]
    assert stream.get_remote_address() is None
    assert str(address_of(stream)) == "2001:db8::1"
    assert stream.get_remote_address() == ("2001:db8::1", 4001)


async def test_messages_over_the_rate_wait_and_are_not_lost(open_link: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_conduct, "MESSAGES_BURST", 1.0)
    monkeypatch.setattr(link_conduct, "MESSAGES_PER_S", 50.0)
    (a, _), (b, at_b) = await open_link(), await open_link()
    await a.dial(b.addresses[0])

    began_s = asyncio.get_running_loop().time()
    await asyncio.gather(*(a.send(b.public, bytes([i])) for i in range(26)))

    assert asyncio.get_running_loop().time() - began_s >= 24 / 50
    assert at_b.messages() == [bytes([i]) for i in range(26)]


# Networks.


async def test_a_denied_network_is_cut_and_neither_dials_nor_is_dialled(open_link: Opener) -> None:
    (a, at_a), (b, at_b) = await open_link(), await open_link()
    await a.dial(b.addresses[0])
    await at_b.has(PeerConnected(a.public))

    await b.deny(["127.0.0.0/8"])
    await at_a.has(PeerDisconnected(b.public))
    await at_b.has(PeerDisconnected(a.public))
    with pytest.raises(LinkError, match="cannot reach"):
        await a.dial(b.addresses[0])
    with pytest.raises(
        LinkError, match=r"127\.0\.0\.1 is in 127\.0\.0\.0/8, which this node's operator denies"
    ) as denied:
        await b.dial(a.addresses[0])
    assert (denied.value.code, "heliotrope peer unban" in denied.value.remedy) == ("HEL-DIAL-008", True)
    assert b.losses["connections_refused"] >= 1, "a dial-back may have been refused too"

    await b.deny(["192.0.2.0/24"])
    await a.dial(b.addresses[0])
    await a.send(b.public, b"healed")
    await at_b.until(lambda: at_b.messages() == [b"healed"])
    assert set(b.denied()) == {"192.0.2.0/24"}


async def test_what_is_denied_at_the_start_stays_so(open_link: Opener) -> None:
    (a, _), (b, _) = await open_link(), await open_link(deny=["127.0.0.1"])
    await b.deny([])
    with pytest.raises(LinkError, match="cannot reach"):
        await a.dial(b.addresses[0])


async def test_a_denial_ends_by_itself(open_link: Opener) -> None:
    (a, _), (b, _) = await open_link(), await open_link()
    await b.deny({"127.0.0.1": 0.0})
    assert b.denied() == {}
    await a.dial(b.addresses[0])


async def test_refuse_to_deny_what_is_no_network(open_link: Opener) -> None:
    a, _ = await open_link()
    with pytest.raises(LinkError, match="'nowhere' is no network"):
        await a.deny(["nowhere"])


async def dial_in_turn(link: Link, address: str) -> None:
    """A dial-back may have the place for a moment."""
    async with asyncio.timeout(10):
        while True:
            with suppress(LinkError):
                await link.dial(address)
                return


async def test_one_address_has_no_more_connections_than_its_share(open_link: Opener) -> None:
    a, at_a = await open_link(connections_per_address=2)
    others = [await open_link() for _ in range(3)]
    for link, _ in others[:2]:
        await dial_in_turn(link, a.addresses[0])
    with pytest.raises(LinkError, match="cannot reach"):
        await others[2][0].dial(a.addresses[0])
    assert a.losses["connections_refused"] >= 1, "dial-backs may have been refused too"

    await others[0][0].disconnect(a.public)
    await at_a.has(PeerDisconnected(others[0][0].public))
    await eventually(lambda: a.connections() == 1)
    await dial_in_turn(others[2][0], a.addresses[0])


async def test_handshakes_that_are_held_up_keep_nobody_out(open_link: Opener) -> None:
    a, _ = await open_link(connections_per_address=4)
    port = int(a.addresses[0].split("/")[4])
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    await asyncio.gather(*(reader.readexactly(20) for reader, _ in held))  # its side of the negotiation has begun
    more = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    assert [await reader.read(1) for reader, _ in more] == [b""] * 3
    for _, writer in (*held, *more):
        writer.transport.abort()
    b, _ = await open_link()
    await eventually(lambda: a.losses["connections_refused"] == 3)
    async with asyncio.timeout(10):
        while True:
            try:
                await b.dial(a.addresses[0])
                return
            except LinkError:
                await asyncio.sleep(0.02)


async def test_hellos_of_another_network_are_refused_and_many_cost_a_ban(open_link: Opener) -> None:
    a, at_a = await open_link()
    b, _ = await open_link(network=bytes([1]) * 32)
    for _ in range(23):
        a.blame(b.public, Act.REFUSED_HELLO)
    while not a.bans():  # it may be cut by its own refusal before it is through with its hello
        with pytest.raises(LinkError):
            await b.dial(a.addresses[0])
    await at_a.has(PeerBanned(b.public, "banned for 600 s: 24 refused hellos"))
    assert list(a.bans()) == [b.public]
