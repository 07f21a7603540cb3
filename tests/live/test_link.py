"""The link between honest peers: what is said arrives, and what cannot be done is explained."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Callable
from itertools import permutations

import pytest
from libp2p.pubsub.pb import rpc_pb2

from node.link import (
    GOSSIP_MAX_BYTES,
    MESSAGE_MAX_BYTES,
    GossipArrived,
    Link,
    LinkError,
    LinkEvent,
    MessageArrived,
    PeerConnected,
    PeerDisconnected,
    Verdict,
)
from node.link import host as link_host
from node.link.events import GOSSIP_UNDELIVERED_MAX, Crossing
from node.link.gossip.pubsub import MESSAGE_IDS_MAX, trim_control
from node.link.guard import conduct as link_conduct
from protocol.identity import KeyPair, peer_id

from .links import TOPIC, Opener, Proxy, child

LONG = bytes(3 * 1024 * 1024)  # eight of them are more than the 16 MiB that one window takes


# Messages.


async def test_messages_arrive_whole_and_in_order(open_link: Opener) -> None:
    (a, _), (b, inbox) = await open_link(), await open_link()
    await a.dial(b.addresses[0])
    messages = [os.urandom(size) for size in (0, 1, 100, 70_000, MESSAGE_MAX_BYTES, *range(100))]

    await asyncio.gather(*(a.send(b.public, message) for message in messages))

    await inbox.until(lambda: len(inbox.messages()) == len(messages))
    assert inbox.messages() == messages
    assert inbox.events[0] == PeerConnected(a.public)


async def test_refuse_what_is_larger_than_its_limit(open_link: Opener) -> None:
    (a, _), (b, _) = await open_link(), await open_link()
    await a.dial(b.addresses[0])

    with pytest.raises(LinkError, match=f"{MESSAGE_MAX_BYTES + 1} bytes, {MESSAGE_MAX_BYTES} are allowed"):
        await a.send(b.public, bytes(MESSAGE_MAX_BYTES + 1))
    with pytest.raises(LinkError, match=f"{GOSSIP_MAX_BYTES + 1} bytes, {GOSSIP_MAX_BYTES} are allowed"):
        await a.publish(TOPIC, bytes(GOSSIP_MAX_BYTES + 1))


async def test_send_to_a_stranger_says_to_dial_first(open_link: Opener) -> None:
    a, _ = await open_link()
    with pytest.raises(LinkError, match="not connected to 12D3KooW"):
        await a.send(KeyPair(b"s" * 32).public, b"hello")


async def test_messages_wait_for_a_busy_receiver(open_link: Opener) -> None:
    a, inbox = await open_link()
    async with child() as (_, address):
        peer = await a.dial(address)
        sending = asyncio.gather(a.send(peer, b"busy"), *(a.send(peer, LONG) for _ in range(8)))
        await asyncio.wait({sending}, timeout=0.8)
        assert not sending.done()
        await sending
        await inbox.until_counts(messages=9, gossip=0)


async def test_a_cancelled_send_does_not_break_into_the_next(open_link: Opener) -> None:
    a, inbox = await open_link()
    async with child() as (_, address):
        peer = await a.dial(address)
        sending = asyncio.gather(a.send(peer, b"busy"), *(a.send(peer, LONG) for _ in range(8)))
        await asyncio.wait({sending}, timeout=0.5)
        assert sending.cancel()
        await a.send(peer, b"next")
        await inbox.until(lambda: inbox.messages()[1:].count(b"4") == 1)
        assert set(inbox.messages()[1:-1]) == {b"%d" % len(LONG)}


# Gossip.


async def test_gossip_reaches_others_once_and_never_its_author(open_link: Opener) -> None:
    (a, at_a), (b, at_b), (c, at_c) = await open_link(), await open_link(), await open_link()
    await a.dial(b.addresses[0])
    await b.dial(c.addresses[0])
    await c.dial(a.addresses[0])

    for i in range(10):
        await a.publish(TOPIC, bytes([i]))
    await b.publish(TOPIC, b"from b")

    await at_a.until(lambda: bool(at_a.gossip()))
    await at_b.until(lambda: len(at_b.gossip()) == 10)
    await at_c.until(lambda: len(at_c.gossip()) == 11)
    assert at_a.gossip() == [b"from b"]
    assert sorted(at_b.gossip()) == [bytes([i]) for i in range(10)]


async def test_what_the_judge_refuses_is_neither_delivered_nor_forwarded(open_link: Opener) -> None:
    a, _ = await open_link()
    b, at_b = await open_link(judge=lambda topic, data: Verdict.REJECT if data == b"bad" else Verdict.ACCEPT)
    c, at_c = await open_link()
    await a.dial(b.addresses[0])
    await c.dial(b.addresses[0])

    await a.publish(TOPIC, b"bad")
    await a.publish(TOPIC, b"good")

    await at_c.has(GossipArrived(TOPIC, b.public, b"good"))
    assert at_b.gossip() == at_c.gossip() == [b"good"]


async def test_a_failing_judge_loses_one_message_only(open_link: Opener) -> None:
    def judge(topic: str, data: bytes) -> Verdict:
        return Verdict.ACCEPT if 1 // len(data) == 0 else Verdict.REJECT

    a, _ = await open_link()
    b, at_b = await open_link(judge=judge)
    await a.dial(b.addresses[0])

    await a.publish(TOPIC, b"")
    await a.publish(TOPIC, b"good")

    await at_b.until(lambda: at_b.gossip() == [b"good"])


async def test_gossip_over_a_peers_rate_is_dropped_and_counted(
    open_link: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_conduct, "AUTHOR_BURST", 5.0)
    monkeypatch.setattr(link_conduct, "AUTHOR_PER_S", 0.001)
    (a, _), (b, at_b) = await open_link(), await open_link()
    await a.dial(b.addresses[0])

    for i in range(8):
        await a.publish(TOPIC, bytes([i]))

    await eventually(lambda: b.losses["gossip_over_rate"] == 3)
    assert len(at_b.gossip()) == 5


async def test_a_slow_loop_loses_the_oldest_gossip_and_no_message() -> None:
    delivered: list[LinkEvent] = []
    losses: Counter[str] = Counter()
    crossing = Crossing(asyncio.get_running_loop(), delivered.append, losses)

    message = MessageArrived(b"peer", b"first")
    crossing.post(message)
    for i in range(GOSSIP_UNDELIVERED_MAX + 3):
        crossing.post(GossipArrived(TOPIC, b"peer", i.to_bytes(2)))
    await eventually(lambda: len(delivered) == 1 + GOSSIP_UNDELIVERED_MAX)

    assert delivered[0] == message
    assert delivered[1] == GossipArrived(TOPIC, b"peer", (3).to_bytes(2))
    assert losses["gossip_undelivered"] == 3


def test_control_messages_are_trimmed_to_our_topics_and_bounds() -> None:
    control = rpc_pb2.ControlMessage()
    for topic in (TOPIC, TOPIC, "foreign"):
        control.graft.add(topicID=topic)
        control.prune.add(topicID=topic, backoff=2**64 - 1, peers=[rpc_pb2.PeerInfo(peerID=b"anyone")])
    control.iwant.add(messageIDs=[b"same"] * 50_000)
    control.ihave.add(topicID=TOPIC, messageIDs=[i.to_bytes(4) for i in range(50_000)] + [bytes(65)])

    trimmed = trim_control(control, [TOPIC])

    assert [graft.topicID for graft in trimmed.graft] == [TOPIC]
    assert [(prune.topicID, prune.backoff, len(prune.peers)) for prune in trimmed.prune] == [(TOPIC, 600, 0)]
    assert list(trimmed.iwant[0].messageIDs) == [b"same"]
    assert len(trimmed.ihave[0].messageIDs) == MESSAGE_IDS_MAX


# Connections.


async def test_gossip_that_the_loop_has_no_room_for_is_counted() -> None:
    losses: Counter[str] = Counter()
    crossing = Crossing(asyncio.get_running_loop(), lambda event: False, losses)
    crossing.post(GossipArrived(TOPIC, b"", b"news"))
    await eventually(lambda: losses["gossip_undelivered"] == 1)


async def test_five_links_that_dial_each_other_at_once_lose_nothing(open_link: Opener) -> None:
    opened = [await open_link() for _ in range(5)]
    await asyncio.gather(*(a.dial(b.addresses[0]) for (a, _), (b, _) in permutations(opened, 2)))

    async def talk(a: Link) -> None:
        for i in range(5):
            await a.publish(TOPIC, a.public + bytes([i]))
            for b, _ in opened:
                if b is not a:
                    await a.send(b.public, a.public + bytes([i]))

    await asyncio.gather(*(talk(a) for a, _ in opened))

    for link, inbox in opened:
        expected = {other.public + bytes([i]) for other, _ in opened if other is not link for i in range(5)}
        await inbox.until_counts(messages=20, gossip=20)
        assert set(inbox.messages()) == set(inbox.gossip()) == expected
        connected = [event.peer for event in inbox.events if isinstance(event, PeerConnected)]
        assert sorted(connected) == sorted(other.public for other, _ in opened if other is not link)
        assert not any(isinstance(event, PeerDisconnected) for event in inbox.events)
        for other, _ in opened:
            in_order = [message for message in inbox.messages() if message[:32] == other.public]
            assert in_order == sorted(in_order)


async def test_disconnect_is_told_once_to_both_and_dialling_again_works(open_link: Opener) -> None:
    (a, at_a), (b, at_b) = await open_link(), await open_link()
    await b.dial(a.addresses[0])
    await at_a.has(PeerConnected(b.public))
    await a.disconnect(b.public)
    await at_b.has(PeerDisconnected(a.public))
    await a.dial(b.addresses[0])
    await a.send(b.public, b"again")
    await b.publish(TOPIC, b"gossip again")

    await at_b.until(lambda: at_b.messages() == [b"again"])
    await at_a.until(lambda: at_a.gossip() == [b"gossip again"])
    assert at_a.events[:3] == [PeerConnected(b.public), PeerDisconnected(b.public), PeerConnected(b.public)]
    assert at_b.events[:3] == [PeerConnected(a.public), PeerDisconnected(a.public), PeerConnected(a.public)]


async def test_losing_one_of_two_connections_loses_no_peer(open_link: Opener) -> None:
    (a, at_a), (b, at_b) = await open_link(), await open_link()
    async with Proxy(a.addresses[0]) as first, Proxy(b.addresses[0]) as second:
        dialling = asyncio.create_task(a.dial(second.address))
        await second.accepted.wait()
        first.released.set()
        await b.dial(first.address)
        await at_a.has(PeerConnected(b.public))
        for link, other, inbox in ((a, b, at_b), (b, a, at_a)):  # everything begins on the first connection
            await link.publish(TOPIC, b"before")
            await link.send(other.public, b"before")
            await inbox.until_counts(messages=1, gossip=1)
        second.released.set()
        await dialling
        first.cut()

        async with asyncio.timeout(10):  # what is published before the loss is noticed may be lost with it
            while b"after" not in at_a.gossip() or b"after" not in at_b.gossip():
                await a.publish(TOPIC, b"after")
                await b.publish(TOPIC, b"after")
                await asyncio.sleep(0.02)
        await a.send(b.public, b"after")
        await b.send(a.public, b"after")
        for inbox in (at_a, at_b):
            await inbox.until_counts(messages=2, gossip=2)
            assert inbox.messages() == [b"before", b"after"]
            assert not any(isinstance(event, PeerDisconnected) for event in inbox.events)


async def test_an_inbound_connection_gives_its_place_back(open_link: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_host, "CONNECTIONS_MAX", 4)
    monkeypatch.setattr(link_host, "CONNECTIONS_OUTBOUND_MIN", 2)
    (a, at_a), (b, _) = await open_link(), await open_link()
    for _ in range(3):  # one more than there are places
        at_a.events.clear()
        await b.dial(a.addresses[0])
        await at_a.has(PeerConnected(b.public))
        await b.disconnect(a.public)
        await at_a.has(PeerDisconnected(b.public))


async def test_a_taken_port_is_named_with_a_remedy(open_link: Opener) -> None:
    a, _ = await open_link()
    taken = a.addresses[0].rpartition("/p2p/")[0]
    with pytest.raises(LinkError, match=f"cannot listen on '{taken}': the port is taken") as refusal:
        await open_link(listen=taken)
    assert "choose another" in refusal.value.remedy


@pytest.mark.parametrize("listen", ["", "127.0.0.1:4001", "/ip4/300.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/70000"])
async def test_refuse_to_listen_on_a_malformed_address(open_link: Opener, listen: str) -> None:
    with pytest.raises(LinkError, match="cannot listen on"):
        await open_link(listen=listen)


@pytest.mark.parametrize(
    "address", ["", "nonsense", "/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1/p2p/Qm", "/p2p/" * 1000, "/p2p/\0"]
)
async def test_refuse_to_dial_a_malformed_address(open_link: Opener, address: str) -> None:
    a, _ = await open_link()
    with pytest.raises(LinkError, match="is no address of a peer"):
        await a.dial(address)


async def test_refuse_to_dial_oneself(open_link: Opener) -> None:
    a, _ = await open_link()
    with pytest.raises(LinkError, match="this node itself"):
        await a.dial(a.addresses[0])


async def test_dialling_nobody_says_why(open_link: Opener) -> None:
    a, _ = await open_link()
    nobody = f"/ip4/127.0.0.1/tcp/{free_port()}/p2p/{peer_id(KeyPair(b'n' * 32).public)}"
    for _ in range(2):  # the second time, too: the library would remember the failure for a minute
        with pytest.raises(LinkError, match="nobody listens there"):
            await a.dial(nobody)


async def test_a_peer_with_another_key_than_the_address_says_is_refused(open_link: Opener) -> None:
    (a, at_a), (b, _) = await open_link(), await open_link()
    somebody_else = peer_id(KeyPair(b"n" * 32).public)
    with pytest.raises(LinkError, match="cannot reach"):
        await a.dial(b.addresses[0].rpartition("/")[0] + "/" + somebody_else)
    assert at_a.events == []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def eventually(is_true: Callable[[], bool]) -> None:
    """For what no event tells."""
    async with asyncio.timeout(10):
        while not is_true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
