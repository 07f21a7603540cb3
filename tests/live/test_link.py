"""The link over real sockets on loopback: real processes are killed and stopped, and a raw libp2p peer misbehaves."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import permutations

import pytest
import trio
from libp2p import new_host
from libp2p.abc import IHost
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.host.ping import PingService
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11
from libp2p.pubsub.pb import rpc_pb2
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport
from libp2p.utils.varint import encode_uvarint, encode_varint_prefixed
from multiaddr import Multiaddr

from node import link_gossip, link_hardening
from node.link import (
    GOSSIP_MAX_BYTES,
    MESSAGE_MAX_BYTES,
    GossipArrived,
    Link,
    LinkError,
    LinkEvent,
    LinkFailed,
    MessageArrived,
    PeerConnected,
    PeerDisconnected,
)
from node.link_events import GOSSIP_UNDELIVERED_MAX, Crossing
from node.link_gossip import MESSAGE_IDS_MAX, TokenBucket, trim_control
from node.link_thread import PROTOCOL
from protocol.identity import PEER_ID_PREFIX, KeyPair, peer_id

ANY_PORT = "/ip4/127.0.0.1/tcp/0"
TOPIC = "heliotrope/1/test/adverts"


class Inbox:
    """Collects a link's events."""

    def __init__(self) -> None:
        self.events: list[LinkEvent] = []
        self._arrived = asyncio.Event()

    def __call__(self, event: LinkEvent) -> None:
        self.events.append(event)
        self._arrived.set()

    async def until(self, is_enough: Callable[[], bool], timeout_s: float = 10.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not is_enough():
                self._arrived.clear()
                await self._arrived.wait()

    async def has(self, *events: LinkEvent) -> None:
        await self.until(lambda: all(event in self.events for event in events))

    def messages(self) -> list[bytes]:
        return [event.data for event in self.events if isinstance(event, MessageArrived)]

    def gossip(self) -> list[bytes]:
        return [event.data for event in self.events if isinstance(event, GossipArrived)]


Opener = Callable[..., Awaitable[tuple[Link, Inbox]]]


@pytest.fixture
async def open_link() -> AsyncIterator[Opener]:
    """Opens links with seeds of their own, and stops them at the end."""
    links: list[Link] = []

    async def opener(
        *,
        listen: str = ANY_PORT,
        judge: Callable[[str, bytes], bool] = lambda topic, data: True,
        ping_interval_s: float = 5.0,
        ping_timeout_s: float = 10.0,
    ) -> tuple[Link, Inbox]:
        inbox = Inbox()
        link = Link(
            seed=bytes([len(links) + 1]) * 32,
            listen=listen,
            topics=[TOPIC],
            judge=judge,
            deliver=inbox,
            ping_interval_s=ping_interval_s,
            ping_timeout_s=ping_timeout_s,
        )
        await link.start()
        links.append(link)
        return link, inbox

    yield opener
    await asyncio.gather(*(link.stop() for link in links))


# Messages.


async def test_messages_arrive_whole_and_in_order(open_link: Opener) -> None:
    (a, _), (b, inbox) = await open_link(), await open_link()
    await a.dial(b.addresses[0])
    messages = [os.urandom(size) for size in (0, 1, 100, 70_000, MESSAGE_MAX_BYTES, 3)] + [
        bytes([i]) for i in range(100)
    ]

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


async def test_a_cancelled_send_breaks_nothing(open_link: Opener) -> None:
    (a, _), (b, inbox) = await open_link(), await open_link()
    await a.dial(b.addresses[0])

    sending = asyncio.create_task(a.send(b.public, bytes(MESSAGE_MAX_BYTES)))
    await asyncio.sleep(0)  # let it hand over the message
    sending.cancel()
    await a.send(b.public, b"next")

    await inbox.until(lambda: b"next" in inbox.messages())


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
    b, at_b = await open_link(judge=lambda topic, data: data != b"bad")
    c, at_c = await open_link()
    await a.dial(b.addresses[0])
    await c.dial(b.addresses[0])

    await a.publish(TOPIC, b"bad")
    await a.publish(TOPIC, b"good")

    await at_c.has(GossipArrived(TOPIC, b.public, b"good"))
    assert at_b.gossip() == at_c.gossip() == [b"good"]


async def test_a_failing_judge_loses_one_message_only(open_link: Opener) -> None:
    def judge(topic: str, data: bytes) -> bool:
        return 1 // len(data) == 0

    a, _ = await open_link()
    b, at_b = await open_link(judge=judge)
    await a.dial(b.addresses[0])

    await a.publish(TOPIC, b"")
    await a.publish(TOPIC, b"good")

    await at_b.until(lambda: at_b.gossip() == [b"good"])


async def test_gossip_over_a_peers_rate_is_dropped_and_counted(
    open_link: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_gossip, "BURST", 5.0)
    monkeypatch.setattr(link_gossip, "RATE_PER_S", 0.001)
    (a, _), (b, at_b) = await open_link(), await open_link()
    await a.dial(b.addresses[0])

    for i in range(8):
        await a.publish(TOPIC, bytes([i]))
    await a.send(b.public, b"over")

    async with asyncio.timeout(10):
        while b.losses["gossip_over_rate"] < 3:
            await asyncio.sleep(0.01)
    assert len(at_b.gossip()) == 5


async def test_a_slow_loop_loses_the_oldest_gossip_and_no_message() -> None:
    delivered: list[LinkEvent] = []
    losses: Counter[str] = Counter()
    crossing = Crossing(asyncio.get_running_loop(), delivered.append, losses)

    message = MessageArrived(b"peer", b"first")
    crossing.post(message)
    for i in range(GOSSIP_UNDELIVERED_MAX + 3):
        crossing.post(GossipArrived(TOPIC, b"peer", i.to_bytes(2)))
    while len(delivered) <= GOSSIP_UNDELIVERED_MAX:
        await asyncio.sleep(0)

    assert delivered[0] == message
    assert delivered[1] == GossipArrived(TOPIC, b"peer", (3).to_bytes(2))
    assert losses["gossip_undelivered"] == 3


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(rate=2, burst=3, now=0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(0.5), bucket.take(0.5)] == [True, False]
    assert bucket.reserve(0.5) == 0.5


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
        await inbox.until(lambda inbox=inbox: len(inbox.messages()) >= 20 and len(inbox.gossip()) >= 20)
        assert set(inbox.messages()) == set(inbox.gossip()) == expected
        connected = [event.peer for event in inbox.events if isinstance(event, PeerConnected)]
        assert sorted(connected) == sorted(other.public for other, _ in opened if other is not link)
        assert not any(isinstance(event, PeerDisconnected) for event in inbox.events)
        for other, _ in opened:
            in_order = [message for message in inbox.messages() if message[:32] == other.public]
            assert in_order == sorted(in_order)


async def test_disconnect_is_told_once_to_both_and_dialling_again_works(open_link: Opener) -> None:
    (a, at_a), (b, at_b) = await open_link(), await open_link()
    await asyncio.gather(a.dial(b.addresses[0]), b.dial(a.addresses[0]))

    await a.disconnect(b.public)
    await at_b.has(PeerDisconnected(a.public))
    await a.dial(b.addresses[0])
    await a.send(b.public, b"again")
    await b.publish(TOPIC, b"gossip again")

    await at_b.until(lambda: at_b.messages() == [b"again"])
    await at_a.until(lambda: at_a.gossip() == [b"gossip again"])
    assert at_a.events[:3] == [PeerConnected(b.public), PeerDisconnected(b.public), PeerConnected(b.public)]
    assert at_b.events[:3] == [PeerConnected(a.public), PeerDisconnected(a.public), PeerConnected(a.public)]


@pytest.mark.parametrize("lost", ["our connection", "their connection"])
async def test_losing_one_of_two_connections_loses_no_peer(open_link: Opener, lost: str) -> None:
    (a, at_a), (b, at_b) = await open_link(), await open_link()
    dialler, dialled = (a, b) if lost == "our connection" else (b, a)
    async with proxy(dialled.addresses[0]) as (address, cut):
        await asyncio.gather(dialler.dial(address), dialled.dial(dialler.addresses[0]))
        await a.send(b.public, b"before")
        await b.send(a.public, b"before")
        await at_a.until(lambda: at_a.messages() == [b"before"])
        await at_b.until(lambda: at_b.messages() == [b"before"])
        cut()

    for i in range(20):
        await a.publish(TOPIC, bytes([i]))
        await b.publish(TOPIC, bytes([i]))
        await asyncio.sleep(0.02)  # gossip written before the loss is noticed is lost: look at the last of it
    await a.send(b.public, b"after")
    await b.send(a.public, b"after")

    await at_a.until(lambda: at_a.messages() == [b"before", b"after"] and bytes([19]) in at_a.gossip())
    await at_b.until(lambda: at_b.messages() == [b"before", b"after"] and bytes([19]) in at_b.gossip())
    assert min(len(at_a.gossip()), len(at_b.gossip())) >= 15
    assert [event for event in at_a.events if isinstance(event, PeerDisconnected)] == []


async def test_an_inbound_connection_gives_its_place_back(open_link: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_hardening, "CONNECTIONS_MAX", 4)
    monkeypatch.setattr(link_hardening, "CONNECTIONS_OUTBOUND_MIN", 2)
    (a, at_a), (b, _) = await open_link(), await open_link()
    for count in range(1, 4):  # one more than there are places
        await b.dial(a.addresses[0])
        await b.disconnect(a.public)
        await at_a.until(lambda count=count: at_a.events.count(PeerDisconnected(b.public)) == count)


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
    "address",
    [
        "",
        "nonsense",
        "/ip4/127.0.0.1/tcp/1",
        "/ip4/127.0.0.1/tcp/1/p2p/Qm",
        "/p2p/" * 1000,
        "/ip4/127.0.0.1/tcp/1/p2p/\0",
    ],
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
        with pytest.raises(LinkError, match="Connection refused|all attempts to connect"):
            await a.dial(nobody)


async def test_a_peer_with_another_key_than_the_address_says_is_refused(open_link: Opener) -> None:
    (a, at_a), (b, _) = await open_link(), await open_link()
    somebody_else = peer_id(KeyPair(b"n" * 32).public)
    with pytest.raises(LinkError, match="cannot reach"):
        await a.dial(b.addresses[0].rpartition("/")[0] + "/" + somebody_else)
    assert at_a.events == []


# Death.

CHILD = """
import asyncio, sys
from node.link import Link

async def main():
    link = Link(seed=b"c" * 32, listen="/ip4/127.0.0.1/tcp/0", topics=[sys.argv[1]],
                judge=lambda topic, data: True, deliver=lambda event: None)
    await link.start()
    print(link.addresses[0], flush=True)
    if len(sys.argv) > 2:
        await link.dial(sys.argv[2])
    await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def child(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A link in a process of its own, and its address. It dials the address in `arguments`, if there is one."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, TOPIC, *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield process, (await process.stdout.readline()).decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_killed_process_is_reported_once(open_link: Opener) -> None:
    a, inbox = await open_link()
    async with child(a.addresses[0]) as (process, address):
        peer = await a.dial(address)  # both dial: there may be two connections
        await a.send(peer, b"hello")
        process.kill()
        await inbox.has(PeerDisconnected(peer))
    with pytest.raises(LinkError, match="not connected"):
        await a.send(peer, b"hello")
    assert inbox.events == [PeerConnected(peer), PeerDisconnected(peer)]


async def test_a_stopped_process_is_found_by_ping(open_link: Opener) -> None:
    a, inbox = await open_link(ping_interval_s=0.2, ping_timeout_s=0.4)
    async with child() as (process, address):
        peer = await a.dial(address)
        process.send_signal(signal.SIGSTOP)
        await inbox.until(lambda: PeerDisconnected(peer) in inbox.events, timeout_s=3)
    assert inbox.events == [PeerConnected(peer), PeerDisconnected(peer)]


async def test_a_peer_that_answers_pings_stays(open_link: Opener) -> None:
    (a, at_a), (b, _) = await open_link(ping_interval_s=0.02, ping_timeout_s=0.4), await open_link()
    await a.dial(b.addresses[0])
    await asyncio.sleep(0.5)  # some twenty pings: there is no event for what does not happen
    assert at_a.events == [PeerConnected(b.public)]


async def test_the_thread_that_dies_is_reported_and_comes_back_on_its_port(open_link: Opener) -> None:
    faults = [SystemExit("forced")]  # no Exception: nothing contains it

    def judge(topic: str, data: bytes) -> bool:
        if faults:
            raise faults.pop()
        return True

    a, at_a = await open_link()
    b, at_b = await open_link(judge=judge)
    address = b.addresses[0]
    await a.dial(address)
    await a.publish(TOPIC, b"fatal")

    await at_b.has(LinkFailed("SystemExit: forced"))
    assert at_b.events == [PeerConnected(a.public), PeerDisconnected(a.public), LinkFailed("SystemExit: forced")]
    with pytest.raises(LinkError, match="thread is down"):
        await b.dial(a.addresses[0])
    await at_a.has(PeerDisconnected(b.public))

    await eventually(lambda: a.dial(address))
    assert b.addresses == (address,)
    await a.send(b.public, b"back")
    await b.send(a.public, b"welcome")
    await at_b.until(lambda: at_b.messages() == [b"back"])
    await at_a.until(lambda: at_a.messages() == [b"welcome"])


async def test_stop_takes_less_than_a_second_and_ends_all_events(open_link: Opener) -> None:
    (a, at_a), (b, at_b), (c, _) = await open_link(), await open_link(), await open_link()
    await a.dial(b.addresses[0])
    await a.dial(c.addresses[0])
    before = list(at_a.events)
    async with asyncio.timeout(1):
        await a.stop()
    await at_b.has(PeerDisconnected(a.public))
    assert at_a.events == before


# Strangers.


def public_key_protobuf(kind: int, data: bytes) -> bytes:
    return bytes([8, kind, 18, len(data)]) + data


def rpc(**fields: object) -> bytes:
    return encode_varint_prefixed(rpc_pb2.RPC(**fields).SerializeToString())  # type: ignore[arg-type]


def message(**fields: object) -> bytes:
    whole = {
        "topicIDs": [TOPIC],
        "seqno": bytes(8),
        "data": b"evil",
        "from_id": ed25519_author(),
        "signature": bytes(64),
    }
    return rpc(publish=[rpc_pb2.Message(**(whole | fields))])  # type: ignore[arg-type]


def ed25519_author() -> bytes:
    return PEER_ID_PREFIX + KeyPair(b"e" * 32).public


HOSTILE_FRAMES = {
    "undecodable protobuf": encode_varint_prefixed(b"\xff" * 40),
    "length beyond the limit": encode_uvarint(64 * 1024 * 1024),
    "endless varint": b"\xff" * 11,
    "truncated": b"\x7f\x01",
    "key of an unknown kind": message(from_id=b"\x12\x20" + bytes(32), key=public_key_protobuf(99, bytes(32))),
    "key that is no key": message(from_id=b"\x12\x20" + bytes(32), key=b"\xff\xff\xff"),
    "author of no kind": message(from_id=b"\xff"),
    "no author": message(from_id=b""),
    "no signature": message(signature=b""),
    "bad signature": message(),
    "author off the curve": message(from_id=PEER_ID_PREFIX + b"\x02" + bytes(31)),
    "topic that is not text": encode_varint_prefixed(b"\x0a\x04\x12\x02\xff\xfe"),
    "peer record that is none": rpc(senderRecord=b"\xff" * 20),
    "five thousand subscriptions": rpc(
        subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=str(i)) for i in range(5000)]
    ),
    "control messages of all kinds": rpc(
        control=rpc_pb2.ControlMessage(
            graft=[rpc_pb2.ControlGraft(topicID=t) for t in (TOPIC, "foreign")],
            prune=[rpc_pb2.ControlPrune(topicID=TOPIC, backoff=2**64 - 1, peers=[rpc_pb2.PeerInfo(peerID=b"\xff")])],
            ihave=[rpc_pb2.ControlIHave(topicID=TOPIC, messageIDs=[b"\xff", b"", b"abc"])],
            iwant=[rpc_pb2.ControlIWant(messageIDs=[b"\xff", b"", b"abc"])],
            idontwant=[rpc_pb2.ControlIDontWant(messageIDs=[b"x" * 1000])],
        )
    ),
}


def as_raw_peer(attack: Callable[[IHost, ID], Awaitable[None]], address: str, **options: object) -> Awaitable[None]:
    """Run an attack from an unhardened libp2p host, connected to the address, on a thread."""

    async def run() -> None:
        host = new_host(key_pair=create_new_key_pair(b"r" * 32), **options)  # type: ignore[arg-type]
        async with host.run([Multiaddr(ANY_PORT)]):
            target = info_from_p2p_addr(Multiaddr(address))
            with trio.fail_after(20):
                await host.connect(target)
                await attack(host, target.peer_id)
            await host.close()

    return asyncio.to_thread(trio.run, run)


async def test_hostile_gossip_frames_do_not_end_the_host(open_link: Opener) -> None:
    (a, at_a), (b, _) = await open_link(), await open_link()

    async def attack(host: IHost, target: ID) -> None:
        for frame in HOSTILE_FRAMES.values():
            stream = await host.new_stream(target, [PROTOCOL_ID_V11])
            await stream.write(frame)
        await PingService(host).ping(target)

    await as_raw_peer(attack, a.addresses[0])

    await b.dial(a.addresses[0])
    await b.publish(TOPIC, b"good")
    await at_a.until(lambda: at_a.gossip() == [b"good"])
    assert not any(isinstance(event, LinkFailed) for event in at_a.events)


async def test_a_protocol_name_that_is_not_text_does_not_end_the_host(open_link: Opener) -> None:
    a, at_a = await open_link()

    async def attack(host: IHost, target: ID) -> None:
        stream = await host.get_network().new_stream(target)
        await stream.write(encode_varint_prefixed(b"/multistream/1.0.0\n") + encode_varint_prefixed(b"\xff\xfe\n"))
        await PingService(host).ping(target)

    await as_raw_peer(attack, a.addresses[0])
    assert not any(isinstance(event, LinkFailed) for event in at_a.events)


async def test_reject_frame_longer_than_limit(open_link: Opener) -> None:
    (a, at_a), (b, _) = await open_link(), await open_link()

    async def attack(host: IHost, target: ID) -> None:
        stream = await host.new_stream(target, [PROTOCOL])
        await stream.write((4).to_bytes(4) + b"fine" + (MESSAGE_MAX_BYTES + 1).to_bytes(4))
        with pytest.raises(StreamError):
            await stream.read(1)
        await PingService(host).ping(target)

    await as_raw_peer(attack, a.addresses[0])

    await b.dial(a.addresses[0])
    await b.send(a.public, b"good")
    await at_a.until(lambda: at_a.messages() == [b"fine", b"good"])


async def test_an_identity_that_nobody_proved_is_refused(open_link: Opener) -> None:
    a, at_a = await open_link()
    key_pair = create_new_key_pair(b"r" * 32)

    async def attack(host: IHost, target: ID) -> None:
        raise AssertionError("connected in plain text")

    with pytest.RaisesGroup(pytest.RaisesExc(SwarmException, match="unable to connect"), flatten_subgroups=True):
        await as_raw_peer(attack, a.addresses[0], sec_opt={PLAINTEXT_PROTOCOL_ID: InsecureTransport(key_pair)})
    assert at_a.events == []


async def test_garbage_on_the_port_does_not_end_the_host(open_link: Opener) -> None:
    (a, at_a), (b, _) = await open_link(), await open_link()
    port = int(a.addresses[0].split("/")[4])
    for garbage in (
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 100,
        b"\x13/multistream/1.0.0\n\xff\xff\xff\xff",
        os.urandom(5000),
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(garbage)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    await b.dial(a.addresses[0])
    await b.send(a.public, b"good")
    await at_a.until(lambda: at_a.messages() == [b"good"])


async def test_the_library_writes_nothing_to_the_terminal(open_link: Opener) -> None:
    a, inbox = await open_link()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        CHILD,
        TOPIC,
        a.addresses[0],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        address = (await process.stdout.readline()).decode().strip()
        await inbox.until(lambda: bool(inbox.events))

        async def attack(host: IHost, target: ID) -> None:
            stream = await host.new_stream(target, [PROTOCOL_ID_V11])
            await stream.write(HOSTILE_FRAMES["undecodable protobuf"])
            await PingService(host).ping(target)

        await as_raw_peer(attack, address)
        await a.stop()
    finally:
        process.kill()
    assert await process.communicate() == (b"", b"")


@asynccontextmanager
async def proxy(address: str) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """An address that leads to the given one, and a function that cuts every connection made through it."""
    _, _, host, _, port, _, peer = address.split("/")
    writers: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward_writer = await asyncio.open_connection(host, int(port))
        writers.extend((writer, onward_writer))
        await asyncio.gather(pump(reader, onward_writer), pump(onward_reader, writer))

    def cut() -> None:
        for writer in writers:
            writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield f"/ip4/127.0.0.1/tcp/{server.sockets[0].getsockname()[1]}/p2p/{peer}", cut
        server.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def eventually(attempt: Callable[[], Awaitable[object]], timeout_s: float = 10.0) -> None:
    """Retry while the link says that it failed: what every caller of it does."""
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                await attempt()
                return
            except LinkError:
                await asyncio.sleep(0.05)
