"""Direct messages as frames, a 4-byte big-endian length and the data, on one long-lived stream per peer and direction.

Runs on the libp2p thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.basic_host import BasicHost
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.id import ID

from node.link.events import Crossing, LinkError, MessageArrived, describe
from node.link.muxer import is_usable
from node.link.names import id_of, key_of
from protocol.identity import peer_id

PROTOCOL = TProtocol("/heliotrope/1")
MESSAGE_MAX_BYTES = 4 * 1024 * 1024
READERS_PER_PEER_MAX = 4  # incoming message streams; an honest peer has one, and another while it replaces that

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Peer:
    """A connected peer, for as long as it is."""

    lock: trio.Lock = field(default_factory=trio.Lock)
    outgoing: INetStream | None = None  # where our messages go; under the lock
    readers: int = 0
    gone: trio.Event = field(default_factory=trio.Event)


class Messages:
    """`peers` holds the connected ones; `reconcile` brings it up to date with a peer's connections."""

    def __init__(
        self,
        host: BasicHost,
        peers: dict[bytes, Peer],
        reconcile: Callable[[ID], None],
        crossing: Crossing,
        on_thread: Callable[..., None],
    ) -> None:
        self._host, self._peers, self._reconcile = host, peers, reconcile
        self._crossing, self._on_thread = crossing, on_thread

    async def read(self, stream: INetStream) -> None:
        """The handler of an incoming stream. It reads on once the loop has taken the message before."""
        self._reconcile(stream.muxed_conn.peer_id)
        key = key_of(stream.muxed_conn.peer_id)
        peer = self._peers.get(key)
        if peer is None or peer.readers == READERS_PER_PEER_MAX:
            await stream.reset()
            return
        peer.readers += 1
        try:
            while True:
                size = int.from_bytes(await read_exactly(stream, 4), "big")
                if size > MESSAGE_MAX_BYTES:
                    log.debug("%s announced %d bytes, at most %d are allowed", peer_id(key), size, MESSAGE_MAX_BYTES)
                    return
                data = await read_exactly(stream, size)
                delivered = trio.Event()
                self._crossing.post(MessageArrived(key, data), partial(self._on_thread, delivered.set))
                await delivered.wait()
        except StreamEOF:
            return
        finally:
            peer.readers -= 1
            await stream.reset()

    async def send(self, key: bytes, data: bytes) -> None:
        peer = self._peers.get(key)
        if peer is None:
            raise LinkError("HEL-LINK-004", f"not connected to {peer_id(key)}", "dial it, and send again then")
        if peer.lock.statistics().tasks_waiting:  # the loop sends one at a time: what waits here was cancelled there
            raise LinkError(
                "HEL-LINK-005",
                f"{peer_id(key)} is slow: two cancelled messages stand before one of {len(data)} bytes",
                "give a message more time before you cancel it",
            )
        async with peer.lock:
            try:
                if peer.outgoing is None or not is_usable(peer.outgoing):
                    peer.outgoing = await self._host.new_stream(id_of(key), [PROTOCOL])
                await peer.outgoing.write(len(data).to_bytes(4, "big") + data)
            except Exception as error:
                abandoned, peer.outgoing = peer.outgoing, None
                if abandoned is not None:
                    with suppress(BaseLibp2pError):
                        await abandoned.close()  # not a reset, which would discard the messages before this one
                raise LinkError(
                    "HEL-LINK-005",
                    f"a message of {len(data)} bytes to {peer_id(key)} failed: {describe(error)}",
                    "the peer may have it or not: send it again if it may arrive twice",
                ) from error


async def read_exactly(stream: INetStream, size: int) -> bytes:
    """Exactly so many bytes. Memory grows with what has arrived, not with what was announced."""
    buffer = bytearray()
    while len(buffer) < size:
        chunk = await stream.read(size - len(buffer))
        if not chunk:
            raise StreamEOF
        buffer += chunk
    return bytes(buffer)
