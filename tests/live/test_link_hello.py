"""Who is admitted, who is told why not, and which of two lives of a key counts."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable

import pytest
import trio
from libp2p.abc import IHost, INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11
from libp2p.pubsub.pb import rpc_pb2
from libp2p.utils.varint import encode_varint_prefixed

from node.link import (
    DialRefused,
    GossipArrived,
    Link,
    LinkError,
    MessageArrived,
    PeerConnected,
    PeerDisconnected,
    PeerRefused,
)
from node.link import peers as link_peers
from node.link.messages import PROTOCOL
from node.link.names import id_of
from protocol.hello import Hello, decode_hello
from protocol.identity import KeyPair

from .links import RAW_SEED, TOPIC, Inbox, Opener, Proxy, as_raw_peer, child, hear_hello, say_hello

RAW = KeyPair(RAW_SEED).public
CHILD_SEED = b"c" * 32
NEVER_S = 3600.0


# Refused.


async def test_a_node_of_another_network_is_refused_and_both_learn_why(open_link: Opener) -> None:
    (a, at_a), (b, at_b) = await open_link(network=b"1" * 32), await open_link(network=b"2" * 32)
    with pytest.raises(DialRefused, match="another network") as refusal:
        await a.dial(b.addresses[0])
    assert "genesis.json" in refusal.value.remedy
    await at_b.until(lambda: bool(at_b.events))
    for inbox, other in ((at_a, b), (at_b, a)):
        (event,) = inbox.events
        assert isinstance(event, PeerRefused)
        assert (event.peer, "another network" in event.reason) == (other.public, True)


async def test_whoever_is_not_invited_learns_it(open_link: Opener) -> None:
    a, at_a = await open_link()
    b, at_b = await open_link(admit=lambda peer, hello: "not invited: ask Bob")
    with pytest.raises(DialRefused, match="refuses this node: 'not invited: ask Bob'"):
        await a.dial(b.addresses[0])
    await at_b.until(lambda: bool(at_b.events))
    assert [type(event) for event in at_a.events + at_b.events] == [PeerRefused, PeerRefused]


async def test_two_dials_at_once_both_learn_of_the_refusal(open_link: Opener) -> None:
    a, _ = await open_link(network=b"1" * 32)
    b, _ = await open_link(network=b"2" * 32)
    answers = await asyncio.gather(*(a.dial(b.addresses[0]) for _ in range(2)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [DialRefused, DialRefused]


async def take_hello(stream: INetStream) -> None:
    await hear_hello(stream)
    await trio.sleep_forever()


async def ignore_hello(stream: INetStream) -> None:
    await trio.sleep_forever()


async def until_cut(host: IHost, target: ID) -> None:
    while host.get_network().get_connections(target):  # noqa: ASYNC110  the library has no event for it
        await trio.sleep(0.01)


@pytest.mark.parametrize("takes_hello", [take_hello, ignore_hello])
async def test_a_peer_that_does_not_greet_is_cut(
    open_link: Opener, monkeypatch: pytest.MonkeyPatch, takes_hello: Callable[[INetStream], Awaitable[None]]
) -> None:
    monkeypatch.setattr(link_peers, "HELLO_TIMEOUT_S", 0.3)
    a, inbox = await open_link()
    await as_raw_peer(until_cut, a.addresses[0], greets=False, takes_hello=takes_hello)
    (event,) = inbox.events
    assert isinstance(event, PeerRefused)
    assert "did not greet: it sent no hello within 0.3 s" in event.reason


async def test_a_peer_that_resets_our_hello_is_cut(open_link: Opener) -> None:
    async def reset(stream: INetStream) -> None:
        await stream.reset()

    a, inbox = await open_link()
    await as_raw_peer(until_cut, a.addresses[0], greets=False, takes_hello=reset)
    assert [type(event) for event in inbox.events] == [PeerRefused]


async def test_nothing_is_heard_of_a_peer_before_it_is_admitted_and_nothing_is_lost(open_link: Opener) -> None:
    a, inbox = await open_link()
    said, held = trio.Event(), trio.Event()

    async def hold_hello(stream: INetStream) -> None:
        held.set()
        await said.wait()
        await hear_hello(stream)
        await trio.sleep_forever()

    async def attack(host: IHost, target: ID) -> None:
        gossip = await host.new_stream(target, [PROTOCOL_ID_V11])
        stream = await say_hello(host, target)
        await held.wait()
        for data in (b"one", b"two"):
            await stream.write(len(data).to_bytes(4) + data)
        await gossip.write(rumour(b"rumour"))
        said.set()  # only now do we accept its hello
        assert await stream.read(8) == (2).to_bytes(8)
        await trio.to_thread.run_sync(is_heard.wait)

    is_heard = threading.Event()
    raw = asyncio.ensure_future(as_raw_peer(attack, a.addresses[0], greets=False, takes_hello=hold_hello))
    await inbox.has(MessageArrived(RAW, b"two"), GossipArrived(TOPIC, RAW, b"rumour"))
    is_heard.set()
    await raw
    assert inbox.events[0] == PeerConnected(RAW)
    assert inbox.messages() == [b"one", b"two"]


def rumour(data: bytes) -> bytes:
    """A signed publication of the raw peer, as a frame of gossip."""
    key_pair = create_new_key_pair(RAW_SEED)
    message = rpc_pb2.Message(from_id=id_of(RAW).to_bytes(), data=data, topicIDs=[TOPIC], seqno=bytes(8))
    message.signature = key_pair.private_key.sign(b"libp2p-pubsub:" + message.SerializeToString())
    frame = rpc_pb2.RPC(publish=[message]).SerializeToString()
    return encode_varint_prefixed(frame)


# What is said in a hello.


class Hellos:
    """Admits everybody, and keeps what they said."""

    def __init__(self) -> None:
        self.heard: list[Hello] = []

    def __call__(self, peer: bytes, hello: Hello) -> str:
        self.heard.append(hello)
        return ""


async def test_a_dial_leaves_from_the_address_that_is_listened_on_and_the_peer_says_what_it_sees(
    open_link: Opener,
) -> None:
    hellos = Hellos()
    (a, _), (b, _) = await open_link(listen="/ip4/127.0.0.2/tcp/0", admit=hellos), await open_link()
    await a.dial(b.addresses[0])
    assert hellos.heard[0].observed.startswith("/ip4/127.0.0.2/tcp/")


async def test_over_ipv6_too_the_peer_says_what_it_sees(open_link: Opener) -> None:
    hellos = Hellos()
    (a, _), (b, _) = await open_link(listen="/ip6/::1/tcp/0", admit=hellos), await open_link(listen="/ip6/::1/tcp/0")
    await b.dial(a.addresses[0])
    assert hellos.heard[0].observed.startswith("/ip6/::1/tcp/")


async def test_a_dial_from_an_address_of_the_other_family_leaves_from_any(open_link: Opener) -> None:
    (a, _), (b, _) = await open_link(listen="/ip6/::1/tcp/0"), await open_link()
    assert await a.dial(b.addresses[0]) == b.public


async def test_a_name_is_resolved(open_link: Opener) -> None:
    (a, _), (b, _) = await open_link(), await open_link()
    assert await a.dial(b.addresses[0].replace("/ip4/127.0.0.1/", "/dns4/localhost/")) == b.public


# Sessions.


async def test_a_restarted_peer_is_told_from_its_former_self_though_that_ones_socket_stays_open(
    open_link: Opener,
) -> None:
    a, at_a = await open_link(ping_interval_s=NEVER_S)
    async with child(a.addresses[0]) as (process, _):
        peer = KeyPair(CHILD_SEED).public
        await at_a.has(PeerConnected(peer))
        process.send_signal(signal.SIGSTOP)
        again, at_again = await open_link(seed=CHILD_SEED)
        await again.dial(a.addresses[0])
        await at_a.until(lambda: len(at_a.events) == 3)
        assert at_a.events == [PeerConnected(peer), PeerDisconnected(peer), PeerConnected(peer)]
        await a.send(peer, b"welcome back")
        await at_again.has(MessageArrived(a.public, b"welcome back"))


async def test_the_older_of_two_processes_with_one_key_is_refused_without_harm_to_the_newer(
    open_link: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    a, at_a = await open_link()
    old, at_old = await open_link(seed=CHILD_SEED)
    new, at_new = await open_link(seed=CHILD_SEED)
    await old.dial(a.addresses[0])
    await new.dial(a.addresses[0])
    await at_old.has(PeerDisconnected(a.public))
    for _ in range(3):
        with pytest.raises(DialRefused, match="another process with your key"):
            await old.dial(a.addresses[0])
    await new.send(a.public, b"still here")
    await a.send(new.public, b"so you are")
    await at_new.has(MessageArrived(a.public, b"so you are"))
    key = new.public
    assert at_a.events == [
        PeerConnected(key),
        PeerDisconnected(key),
        PeerConnected(key),
        MessageArrived(key, b"still here"),
    ]
    assert sum("two processes run with the key" in message for message in caplog.messages) == 1

    await new.stop()
    await at_a.until(lambda: at_a.events.count(PeerDisconnected(key)) == 2)
    assert await old.dial(a.addresses[0]) == a.public


async def test_one_key_in_two_networks_does_not_throw_out_the_right_one(open_link: Opener) -> None:
    a, at_a = await open_link()
    right, _ = await open_link(seed=CHILD_SEED)
    wrong, _ = await open_link(seed=CHILD_SEED, network=b"2" * 32)
    await right.dial(a.addresses[0])
    with pytest.raises(DialRefused, match="another network"):
        await wrong.dial(a.addresses[0])
    await right.send(a.public, b"still here")
    await at_a.has(MessageArrived(right.public, b"still here"))
    assert at_a.events[0] == PeerConnected(right.public)
    assert PeerDisconnected(right.public) not in at_a.events


async def test_two_simultaneous_dials_are_one_peer_and_one_session(open_link: Opener) -> None:
    (a, at_a), (b, at_b) = await open_link(), await open_link()
    async with Proxy(a.addresses[0]) as to_a, Proxy(b.addresses[0]) as to_b:
        dials = asyncio.gather(a.dial(to_b.address), b.dial(to_a.address))
        await asyncio.gather(to_a.accepted.wait(), to_b.accepted.wait())
        to_a.released.set()
        to_b.released.set()
        await dials
        await asyncio.gather(*(say(a, b, number) for number in range(5)), *(say(b, a, number) for number in range(5)))
        for inbox, other in ((at_a, b), (at_b, a)):
            await inbox.until_counts(messages=5, gossip=0)
            assert inbox.events.count(PeerConnected(other.public)) == 1
            assert PeerDisconnected(other.public) not in inbox.events


async def say(sender: Link, receiver: Link, number: int) -> None:
    await sender.send(receiver.public, bytes([number]))


async def test_a_hello_that_is_none_is_not_answered(open_link: Opener) -> None:
    a, inbox = await open_link()

    async def attack(host: IHost, target: ID) -> None:
        for frame in (b"\xff" * 4, (5).to_bytes(4) + b"hello", (4097).to_bytes(4)):
            stream = await host.new_stream(target, [PROTOCOL])
            await stream.write(frame)
            with pytest.raises(Exception):  # noqa: B017, PT011  the library has a dozen names for a stream's end
                decode_hello(await stream.read(4096))

    await as_raw_peer(attack, a.addresses[0])
    await expect_alive(a, inbox, open_link)


async def expect_alive(link: Link, inbox: Inbox, open_link: Opener) -> None:
    other, _ = await open_link()
    await other.dial(link.addresses[0])
    await other.send(link.public, b"alive")
    await inbox.has(MessageArrived(other.public, b"alive"))
    with pytest.raises(LinkError):
        await link.send(RAW, b"gone")
