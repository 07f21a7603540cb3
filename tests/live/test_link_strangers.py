"""A raw libp2p peer, and less than that, misbehaves; the link lives on."""

from __future__ import annotations

import asyncio
import os
import subprocess
from contextlib import suppress
from math import inf

import pytest
from libp2p.abc import IHost
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.host.exceptions import StreamFailure
from libp2p.host.ping import PingService
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11
from libp2p.pubsub.pb import rpc_pb2
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport
from libp2p.utils.varint import encode_uvarint, encode_varint_prefixed

from node.link import MESSAGE_MAX_BYTES, LinkFailed
from node.link.guard import standing
from protocol.identity import PEER_ID_PREFIX, KeyPair

from .links import TOPIC, Opener, as_raw_peer, child, say_hello


def public_key_protobuf(kind: int, data: bytes) -> bytes:
    return bytes([8, kind, 18, len(data)]) + data


def rpc(**fields: object) -> bytes:
    return encode_varint_prefixed(rpc_pb2.RPC(**fields).SerializeToString())  # type: ignore[arg-type]


def message(**fields: object) -> bytes:
    author = PEER_ID_PREFIX + KeyPair(b"e" * 32).public
    whole = {"topicIDs": [TOPIC], "seqno": bytes(8), "data": b"evil", "from_id": author, "signature": bytes(64)}
    return rpc(publish=[rpc_pb2.Message(**(whole | fields))])  # type: ignore[arg-type]


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
    "five thousand subscriptions": rpc(subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid="x")] * 5000),
    "a thousand empty messages, many times": rpc(publish=[rpc_pb2.Message()] * 1000) * 50,
    "RPCs with nothing in them": b"\0" * 50_000,
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


async def test_hostile_gossip_frames_do_not_end_the_host(open_link: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "BANNED_BELOW", -inf)
    (a, at_a), (b, _) = await open_link(), await open_link()

    async def attack(host: IHost, target: ID) -> None:
        for frame in HOSTILE_FRAMES.values():
            stream = await host.new_stream(target, [PROTOCOL_ID_V11])
            with suppress(StreamError):  # it may be reset before all is written
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
        stream = await say_hello(host, target)
        await stream.write((4).to_bytes(4) + b"fine" + (MESSAGE_MAX_BYTES + 1).to_bytes(4))
        assert await stream.read(8) == (2).to_bytes(8)
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
    hello = b"\x13/multistream/1.0.0\n"
    for garbage in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100, hello + b"\xff" * 8, hello + os.urandom(5000)):
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

    async def attack(host: IHost, target: ID) -> None:
        with suppress(StreamError, SwarmException, StreamFailure):  # it is banned before it is through
            for frame in HOSTILE_FRAMES.values():
                stream = await host.new_stream(target, [PROTOCOL_ID_V11])
                await stream.write(frame)

    async with child(a.addresses[0], stderr=subprocess.PIPE) as (process, address):
        await inbox.until(lambda: bool(inbox.events))
        await as_raw_peer(attack, address)
        await a.stop()
        process.kill()
        assert await process.communicate() == (b"", b"")
