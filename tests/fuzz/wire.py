"""What a connected peer can send, against the link's own readers: each runs to its end in virtual time.

Beside them `tests/live/test_link_fuzz.py` sends the same over the wire. Identify has no reader: a node answers it, and
asks nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest.mock import patch

import trio
from libp2p.abc import ISecureConn
from libp2p.exceptions import BaseLibp2pError
from libp2p.io.exceptions import IOException
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.id import ID
from libp2p.protocol_muxer.exceptions import MultiselectError
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.pubsub.pb import rpc_pb2
from libp2p.stream_muxer.exceptions import MuxedStreamError
from libp2p.utils.varint import encode_varint_prefixed
from trio.testing import MockClock

from node.link.events import Verdict
from node.link.gossip.pubsub import GOSSIP_MAX_BYTES, RPC_ITEMS_MAX, ContainedPubsub, parse_rpc
from node.link.gossip.router import ContainedGossipSub
from node.link.guard.conduct import Conduct
from node.link.guard.standing import Standings
from node.link.host import demote_library_logging
from node.link.messages import MESSAGE_MAX_BYTES, PROTOCOL, read_frame
from node.link.mux import muxer
from node.link.mux.muxer import LivingMuxers
from node.link.names import id_of
from protocol.errors import Reject
from protocol.hello import HELLO_MAX_BYTES, encode_hello
from protocol.identity import PEER_ID_PREFIX, KeyPair
from tests.fuzz.targets import HELLO
from tests.hosts import own_host

TOPIC = "heliotrope/1/test/adverts"
PEER = id_of(KeyPair(b"p" * 32).public)
GREETING = encode_varint_prefixed(b"/multistream/1.0.0\n")
YAMUX = GREETING + encode_varint_prefixed(b"/yamux/1.0.0\n")


class Bytes(ISecureConn):
    """A stream, or a connection, on which a stranger has sent this and nothing more; what we say is lost."""

    is_initiator = False

    def __init__(self, raw: bytes) -> None:
        self.left = raw

    async def read(self, n: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        size = len(self.left) if n is None else n
        read, self.left = self.left[:size], self.left[size:]
        return read

    async def write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()

    async def close(self) -> None:
        self.left = b""

    async def reset(self) -> None:
        self.left = b""

    def get_remote_address(self) -> tuple[str, int] | None:
        return None

    def get_transport_addresses(self) -> list[Any]:
        return []

    def get_connection_type(self) -> Any:
        return None

    def get_local_peer(self) -> ID:
        return PEER

    def get_local_private_key(self) -> Any:
        raise NotImplementedError

    def get_remote_peer(self) -> ID:
        return PEER

    def get_remote_public_key(self) -> Any:
        raise NotImplementedError


def to_its_end(function: Callable[..., Awaitable[None]], *arguments: object) -> None:
    """Time that is waited for passes at once."""
    trio.run(function, *arguments, clock=MockClock(autojump_threshold=0))


def frames(raw: bytes) -> None:
    """A stream of messages: memory grows with what has come, not with what was announced."""

    async def read() -> None:
        stream: Any = Bytes(raw)
        total = 0
        try:
            total += 4 + len(await read_frame(stream, HELLO_MAX_BYTES))
            while True:
                total += 4 + len(await read_frame(stream, MESSAGE_MAX_BYTES))
        except (StreamEOF, Reject):
            assert total <= len(raw)

    to_its_end(read)


@dataclass
class Manager:
    """What the library runs tasks with; each input waits for those it brings about."""

    nursery: trio.Nursery
    is_running = True

    def run_task(self, function: Callable[..., Awaitable[None]], *arguments: object, **_: object) -> None:
        self.nursery.start_soon(function, *arguments)


@cache
def pubsub() -> tuple[ContainedPubsub, list[bytes]]:
    """One that has no peers, and what it accepted."""
    demote_library_logging()
    host, _ = own_host(b"f" * 32)
    accepted: list[bytes] = []

    async def admits(peer: ID) -> bool:
        return True

    return ContainedPubsub(
        host,
        ContainedGossipSub(lambda topic: 0.0),
        [TOPIC],
        admits,
        lambda topic, data: list(Verdict)[len(data) % 3],
        lambda peer, topic, data: accepted.append(data),
        Conduct(Standings(), Counter(), Counter(), lambda peer, ban: None),
    ), accepted


def meshsub(raw: bytes) -> None:
    """Only what is well formed, signed and accepted is delivered, and every other end is a refusal."""
    parsed = rpc_pb2.RPC()
    node, accepted = pubsub()
    accepted.clear()
    node.seen_messages.cache.clear()

    async def handle() -> None:
        async with trio.open_nursery() as nursery:
            node._manager = node.router._manager = Manager(nursery)  # type: ignore[assignment]
            if TOPIC not in node.topic_ids:
                await node.subscribe(TOPIC)
            wishes, _ = trio.open_memory_channel[rpc_pb2.ControlMessage](1)
            node._handle_rpc(PEER, raw, wishes)

    try:
        parsed = parse_rpc(raw)
        to_its_end(handle)
    except* (Reject, BaseLibp2pError):
        pass
    assert len(parsed.publish) + len(parsed.subscriptions) <= RPC_ITEMS_MAX
    assert len(accepted) <= len(parsed.publish)
    assert all(len(data) <= GOSSIP_MAX_BYTES and len(data) % 3 == 0 for data in accepted)


def negotiation(raw: bytes) -> None:
    """What a new stream opens with."""
    host = pubsub()[0].host

    async def negotiate() -> None:
        stream: Any = Bytes(raw)
        try:
            protocol, handler = await host.get_mux().negotiate(MultiselectCommunicator(stream))
        except (MultiselectError, BaseLibp2pError, IOException, UnicodeDecodeError):
            return  # the swarm resets the stream
        assert protocol in host.get_mux().get_protocols()
        assert handler is not None

    to_its_end(negotiate)


class Unsealed:
    """What the multiplexer reads and writes, with nothing to decrypt: a stranger seals what it likes."""

    is_congested = False

    def __init__(self, connection: Bytes) -> None:
        self._connection = connection

    async def read(self) -> bytes:
        return await self._connection.read(1 << 16)

    def write(self, data: bytes) -> None: ...

    def abandon(self) -> None: ...

    async def uncongested(self) -> None: ...

    async def emptied(self) -> None: ...

    async def flush(self) -> None:
        await trio.sleep_forever()


def yamux(raw: bytes) -> None:
    """All frames of a connection, its streams read to their ends; it is closed in the end, whatever came."""

    async def run() -> None:
        connection: Any = Bytes(YAMUX + raw)
        with patch.object(muxer, "SealedConnection", Unsealed):
            muxed: Any = await LivingMuxers(5.0, 10.0).new_conn(connection, PEER)

        async def read_all(stream: Any) -> None:
            try:
                while await stream.read(1 << 16):
                    pass
            except (MuxedStreamError, BaseLibp2pError):
                pass

        async def accept_all(nursery: trio.Nursery) -> None:
            try:
                while True:
                    nursery.start_soon(read_all, await muxed.accept_stream())
            except (BaseLibp2pError, trio.EndOfChannel):
                pass

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(accept_all, nursery)
                await muxed.start()
                await muxed.event_closed.wait()
                nursery.cancel_scope.cancel()

    to_its_end(run)


TARGETS: dict[str, Callable[[bytes], None]] = {each.__name__: each for each in (frames, meshsub, negotiation, yamux)}


def message(**fields: object) -> rpc_pb2.Message:
    author = PEER_ID_PREFIX + KeyPair(b"e" * 32).public
    whole = {"topicIDs": [TOPIC], "seqno": bytes(8), "data": b"evil", "from_id": author, "signature": bytes(64)}
    return rpc_pb2.Message(**(whole | fields))  # type: ignore[arg-type]


def good(name: str) -> Iterator[bytes]:
    """Inputs to set out from."""
    if name == "frames":
        data = encode_hello(HELLO)
        yield len(data).to_bytes(4) + data + (5).to_bytes(4) + b"hello" + (0).to_bytes(4)
        yield (HELLO_MAX_BYTES + 1).to_bytes(4)
    elif name == "meshsub":
        control = rpc_pb2.ControlMessage(
            graft=[rpc_pb2.ControlGraft(topicID=TOPIC)],
            prune=[rpc_pb2.ControlPrune(topicID=TOPIC, backoff=60, peers=[rpc_pb2.PeerInfo(peerID=b"x")])],
            ihave=[rpc_pb2.ControlIHave(topicID=TOPIC, messageIDs=[b"abc"])],
            iwant=[rpc_pb2.ControlIWant(messageIDs=[b"abc"])],
        )
        subscriptions = [rpc_pb2.RPC.SubOpts(subscribe=True, topicid=TOPIC)]
        yield rpc_pb2.RPC(subscriptions=subscriptions, control=control).SerializeToString()
        yield rpc_pb2.RPC(publish=[message(), signed(b"ccc")]).SerializeToString()
        yield rpc_pb2.RPC(publish=[message(from_id=b"\x12\x20" + bytes(32), key=b"\xff")]).SerializeToString()
    elif name == "negotiation":
        yield GREETING + encode_varint_prefixed(PROTOCOL.encode() + b"\n")
        yield GREETING + encode_varint_prefixed(b"ls\n") + encode_varint_prefixed(b"/nothing\n")
    elif name == "yamux":
        yield frame(1, 1, 3, 0) + frame(0, 0, 3, 5) + b"hello" + frame(0, 4, 3, 0)
        yield frame(2, 1, 0, 7) + frame(1, 1, 5, 1 << 20) + frame(1, 8, 5, 0) + frame(3, 0, 0, 0)


def frame(kind: int, flags: int, stream: int, length: int) -> bytes:
    """The head of a yamux frame."""
    return bytes([0, kind]) + flags.to_bytes(2) + stream.to_bytes(4) + length.to_bytes(4)


def signed(data: bytes, topic: str = TOPIC, number: int = 0) -> rpc_pb2.Message:
    """What its author would send, under a sequence number."""
    key = KeyPair(b"e" * 32)
    unsigned = message(data=data, topicIDs=[topic], seqno=number.to_bytes(8), signature=b"")
    unsigned.ClearField("signature")
    unsigned.signature = key.sign(b"libp2p-pubsub:" + unsigned.SerializeToString())
    return unsigned
