"""Gossip on the wire: RPCs with their length before them, and messages signed by their author.

Faults of the library, by their share of what a gossip message cost (`UPSTREAM.md`): lengths are read byte by byte, each
byte through all locks of the stream (6.0 %). Besides: an author's key comes in a field whose parser raises.
"""

from __future__ import annotations

from collections.abc import Iterator

from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

from protocol.errors import Reject
from protocol.identity import PEER_ID_PREFIX

LENGTH_MAX_BYTES = 5  # five times seven bits, more than any bound here


class FrameReader:
    """Cuts what comes on a stream into frames of at most `max_bytes`, which its memory does not exceed by much."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._arrived = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames that are whole now. Raises Reject: no frame, or one too long."""
        data = self._arrived + data if self._arrived else data
        at = 0
        while (start := self._start(data, at)) is not None:
            size, body_at = start
            if len(data) - body_at < size:
                break
            at = body_at + size
            yield data[body_at:at]
        self._arrived = data[at:]

    def _start(self, data: bytes, at: int) -> tuple[int, int] | None:
        """The length of the frame at a place, and where its body begins."""
        size = 0
        for index, byte in enumerate(data[at : at + LENGTH_MAX_BYTES]):
            size |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                if size > self.max_bytes:
                    raise Reject(f"a frame of {size} bytes, {self.max_bytes} are allowed")
                return size, at + index + 1
        if len(data) - at >= LENGTH_MAX_BYTES:
            raise Reject(f"a length of more than {LENGTH_MAX_BYTES} bytes")
        return None


def framed(*bodies: bytes) -> bytes:
    """One RPC of several: encoded RPCs one after the other are an RPC with the messages of all."""
    size = sum(map(len, bodies))
    length = bytearray()
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return b"".join((length, *bodies))


def is_signed(message: rpc_pb2.Message) -> bool:
    """Whether the author that the message names has signed it; its id must be an Ed25519 key in full."""
    unsigned = rpc_pb2.Message(
        data=message.data, topicIDs=message.topicIDs, from_id=message.from_id, seqno=message.seqno
    )
    payload = PUBSUB_SIGNING_PREFIX.encode() + unsigned.SerializeToString()
    try:
        VerifyKey(message.from_id[len(PEER_ID_PREFIX) :]).verify(payload, message.signature)
    except (CryptoError, ValueError, TypeError):
        return False
    return True
