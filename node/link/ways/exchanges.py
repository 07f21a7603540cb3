"""One request and one answer on a stream of its own, as protobuf: how libp2p's own protocols speak."""

from __future__ import annotations

from typing import TypeVar

import trio
from libp2p.abc import INetStream
from libp2p.connection_types import ConnectionType
from libp2p.host.autonat.pb.autonat_pb2 import Message as DialBackMessage
from libp2p.relay.circuit_v2.pb.circuit_pb2 import HopMessage, StopMessage
from libp2p.utils.varint import encode_varint_prefixed, read_varint_prefixed_bytes_limited
from multiaddr import Multiaddr

from protocol.errors import Reject

EXCHANGE_MAX_BYTES = 4096  # a request or answer has a few addresses at most; go-libp2p's bound for relays
ABANDON_TIMEOUT_S = 1.0

AnyMessage = TypeVar("AnyMessage", DialBackMessage, HopMessage, StopMessage)


async def write_message(stream: INetStream, message: DialBackMessage | HopMessage | StopMessage) -> None:
    await stream.write(encode_varint_prefixed(message.SerializeToString()))


async def read_message(stream: INetStream, kind: type[AnyMessage]) -> AnyMessage:
    """Raises Reject for what is too long, cut short or no such message."""
    message = kind()
    try:
        message.ParseFromString(await read_varint_prefixed_bytes_limited(stream, EXCHANGE_MAX_BYTES))
    except Exception as error:
        raise Reject(f"no {kind.__name__} of at most {EXCHANGE_MAX_BYTES} bytes: {error}") from error
    return message


def is_relayed(stream: INetStream) -> bool:
    """Whether the stream runs over somebody else's connection."""
    kind: ConnectionType = stream.muxed_conn.get_connection_type()
    return kind is ConnectionType.RELAYED


def read_address(raw: bytes) -> str:
    """A stranger's multiaddr; "" if it is none."""
    try:
        return str(Multiaddr(raw))
    except Exception:  # noqa: BLE001  the parser promises nothing of what it raises
        return ""


async def abandon(stream: INetStream) -> None:
    """Reset it, even if we are cancelled, and never wait for long."""
    with trio.CancelScope(shield=True), trio.move_on_after(ABANDON_TIMEOUT_S):
        await stream.reset()
