"""An admitted raw peer sends all that fuzzing has found, on every protocol that a node speaks; the node goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from math import inf

import pytest
import trio
from libp2p.abc import IHost
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.ping import PingService
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.io.exceptions import IOException
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11
from libp2p.utils.varint import encode_varint_prefixed, read_varint_prefixed_bytes

from node.link import LinkFailed
from node.link.blobs import PROTOCOL as BLOBS
from node.link.guard import conduct as link_conduct
from node.link.guard import standing
from node.link.messages import PROTOCOL
from node.link.ways.circuits import STOP
from node.link.ways.reach import AUTONAT
from tests.fuzz.targets import seeds

from .links import TOPIC, Opener, as_raw_peer
from .test_link_strangers import HOSTILE_FRAMES

IDENTIFY, PING = TProtocol("/ipfs/id/1.0.0"), TProtocol("/ipfs/ping/1.0.0")
RAW = None  # a stream on which no protocol was agreed
GONE = (BaseLibp2pError, IOException, trio.TooSlowError)


def prefixed(inputs: list[bytes]) -> list[bytes]:
    return [encode_varint_prefixed(raw) for raw in inputs]


# What is sent on each protocol, an input a stream. A protocol that a node speaks belongs here.
PROTOCOLS: dict[TProtocol | None, Callable[[], list[bytes]]] = {
    RAW: lambda: seeds("negotiation"),
    PROTOCOL_ID_V11: lambda: [*HOSTILE_FRAMES.values(), *prefixed(seeds("meshsub"))],
    PROTOCOL: lambda: [*seeds("frames"), *(len(raw).to_bytes(4) + raw for raw in seeds("hello"))],
    IDENTIFY: lambda: seeds("frames"),
    PING: lambda: seeds("frames"),
    BLOBS: lambda: seeds("frames"),
    AUTONAT: lambda: seeds("frames"),
    STOP: lambda: seeds("frames"),
}


@asynccontextmanager
async def survivor(open_link: Opener, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The address of a link that bans nobody, and that must do its work afterwards."""
    monkeypatch.setattr(standing, "BANNED_BELOW", -inf)
    monkeypatch.setattr(link_conduct, "STREAMS_BURST", inf)
    (a, at_a), (b, _) = await open_link(), await open_link()
    yield a.addresses[0]
    await b.dial(a.addresses[0])
    await b.send(a.public, b"good")
    await b.publish(TOPIC, b"good")
    await at_a.until(lambda: at_a.messages()[-1:] == at_a.gossip()[-1:] == [b"good"])
    assert not any(isinstance(event, LinkFailed) for event in at_a.events)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=str)
async def test_whatever_comes_on_a_stream_the_node_goes_on(
    open_link: Opener, monkeypatch: pytest.MonkeyPatch, protocol: TProtocol | None
) -> None:
    inputs = PROTOCOLS[protocol]()

    async def attack(host: IHost, target: ID) -> None:
        for raw in inputs:
            if protocol is RAW:
                stream = await host.get_network().new_stream(target)
            else:
                stream = await host.new_stream(target, [protocol])
            with suppress(*GONE):
                await stream.write(raw)
            with suppress(*GONE):
                await stream.reset()
        await PingService(host).ping(target)

    async with survivor(open_link, monkeypatch) as address:
        await as_raw_peer(attack, address)


async def test_whatever_comes_below_the_streams_the_node_goes_on(
    open_link: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = seeds("yamux")[::8]  # each ends its connection; `fuzz.wire` reads all of them

    def attack_with(raw: bytes) -> Callable[[IHost, ID], Awaitable[None]]:
        async def attack(host: IHost, target: ID) -> None:
            connection = host.get_network().get_connections(target)[0]
            with suppress(*GONE):
                await connection.muxed_conn.secured_conn.write(raw)  # type: ignore[attr-defined]

        return attack

    async with survivor(open_link, monkeypatch) as address:
        for raw in inputs:
            await as_raw_peer(attack_with(raw), address)


async def test_a_node_answers_these_protocols_and_no_others(open_link: Opener) -> None:
    """Identify and ping, since other libp2p programs ask for them; identify push is a stranger's word, and refused."""
    a, _ = await open_link()
    told: list[str] = []

    async def ask(host: IHost, target: ID) -> None:
        stream = await host.new_stream(target, [IDENTIFY])
        record = Identify()
        record.ParseFromString(await read_varint_prefixed_bytes(stream))
        told.extend(record.protocols)

    await as_raw_peer(ask, a.addresses[0])
    assert set(told) == {protocol for protocol in PROTOCOLS if protocol is not RAW}
