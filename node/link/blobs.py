"""Blobs over a stream of a connection that there is: for peers that cannot be dialled by HTTPS.

    asker   → server   length (2 bytes, big end first) and the text of HTTP's Authorization header; the first byte
                       wanted (8 bytes)
    server  → asker    status as in HTTP (2 bytes), size of the blob (8), seconds until another try (2), length of the
                       reason (2), the reason (UTF-8); after 200 and 206 the bytes from the first one wanted to the last

What is answered, and to whom, is decided on the loop (`node.data`). All of `Blobs` runs on the libp2p thread; files are
read on worker threads, and what arrives waits for the loop in a `BlobReader`, a few chunks at most.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.basic_host import BasicHost

from node.link.events import LinkError, describe
from node.link.messages import read_exactly
from node.link.names import id_of, key_of
from node.link.peers import Peer
from protocol.errors import Reject
from protocol.identity import peer_id

PROTOCOL = TProtocol("/heliotrope/blobs/1")
HEAD = ">HQHH"  # status, size, seconds until another try, length of the reason
CHUNK_BYTES = 64 * 1024  # messages of the same connection get through between two
CHUNKS_WAITING_MAX = 8  # for the loop
AUTHORIZATION_MAX_BYTES = 6 * 1024
REASON_MAX_BYTES = 512
SERVED_MAX, SERVED_PER_PEER_MAX = 32, 4  # streams; guesses, not measured
QUESTION_TIMEOUT_S = 10.0
STALL_TIMEOUT_S = 30.0  # a transfer may not stand still

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BlobHead:
    """The answer to a question for a blob. `reason` is for people, a stranger's where we ask."""

    status: int
    size_bytes: int = 0
    retry_after_s: int = 0
    reason: str = ""


class BlobSource(Protocol):
    """A head, and the bytes behind it, to be sent within `deadline_s`. `read` blocks, and is called on a worker thread;
    b"" ends them. `close` is called on the loop, once, with how many were sent."""

    head: BlobHead
    deadline_s: float

    def read(self, size_bytes: int) -> bytes: ...

    def close(self, sent_bytes: int) -> None: ...


ServeBlob = Callable[[bytes, str, int], BlobSource]
"""Called on the loop: peer, authorization, first byte."""


class NoBlobs:
    """A node that serves none."""

    head = BlobHead(404, reason="no blobs are served here")
    deadline_s = STALL_TIMEOUT_S

    def __init__(self, peer: bytes, authorization: str, first_byte: int) -> None:
        pass

    def read(self, size_bytes: int) -> bytes:
        return b""

    def close(self, sent_bytes: int) -> None:
        pass


class BlobReader:
    """A blob that arrives: its head, then chunks. It is filled on the thread and read on the loop."""

    def __init__(self, on_loop: Callable[..., None], on_thread: Callable[..., None]) -> None:
        self.scope = trio.CancelScope()
        self._on_loop, self._on_thread = on_loop, on_thread
        self._room = trio.Semaphore(CHUNKS_WAITING_MAX)
        self._head: asyncio.Future[BlobHead] = asyncio.get_running_loop().create_future()
        self._arrived: asyncio.Queue[bytes] = asyncio.Queue()  # bounded by `_room`; an empty one is the last
        self._failure: BaseException | None = None

    # On the thread.

    def begin(self, head: BlobHead) -> None:
        self._on_loop(self._settle, head)

    async def put(self, chunk: bytes) -> None:
        await self._room.acquire()
        self._on_loop(self._arrived.put_nowait, chunk)

    # On the loop.

    def end(self, filling: asyncio.Future[None]) -> None:
        """Nothing comes any more."""
        self._failure = None if filling.cancelled() else filling.exception()
        self._settle(None)
        self._arrived.put_nowait(b"")

    def close(self) -> None:
        """Nothing is wanted any more."""
        self._on_thread(self.scope.cancel)

    async def head(self) -> BlobHead:
        """Raises LinkError."""
        return await self._head

    async def chunks(self) -> AsyncIterator[bytes]:
        """Raises LinkError if they end early."""
        while chunk := await self._arrived.get():
            self._on_thread(self._room.release)
            yield chunk
        if self._failure is not None:
            raise self._failure

    def _settle(self, head: BlobHead | None) -> None:
        if self._head.done():
            return
        if head is not None:
            self._head.set_result(head)
        elif self._failure is not None:
            self._head.set_exception(self._failure)
        else:
            self._head.cancel()


@dataclass(slots=True)
class Blobs:
    """Answers peers' questions for blobs, and asks. `peers` holds the connected ones."""

    host: BasicHost
    peers: dict[bytes, Peer]
    serve: ServeBlob
    on_loop: Callable[..., None]
    on_thread: Callable[..., None]
    served: Counter[bytes] = field(default_factory=Counter)  # streams, by peer

    async def answer(self, stream: INetStream) -> None:
        """The handler of an incoming stream."""
        key = key_of(stream.muxed_conn.peer_id)
        peer = self.peers.get(key)
        if peer is None or not peer.is_admitted:
            await stream.reset()
            return
        if self.served[key] >= SERVED_PER_PEER_MAX or self.served.total() >= SERVED_MAX:
            await stream.reset()
            return
        self.served[key] += 1
        try:
            await self._answer(key, stream)
        except (BaseLibp2pError, Reject, OSError, trio.TooSlowError) as error:
            log.debug("a blob for %s was not sent to its end: %s", peer_id(key), error)
            await stream.reset()
        finally:
            self.served[key] -= 1
            if not self.served[key]:
                del self.served[key]

    async def _answer(self, key: bytes, stream: INetStream) -> None:
        with trio.fail_after(QUESTION_TIMEOUT_S):
            size_bytes = int.from_bytes(await read_exactly(stream, 2), "big")
            if size_bytes > AUTHORIZATION_MAX_BYTES:
                raise Reject(f"an authorization of {size_bytes} bytes, at most {AUTHORIZATION_MAX_BYTES} are allowed")
            text = (await read_exactly(stream, size_bytes)).decode("utf-8", "replace")
            first_byte = int.from_bytes(await read_exactly(stream, 8), "big")
        source = await self._ask_loop(key, text, first_byte)
        sent_bytes = 0
        try:
            left_bytes = source.head.size_bytes - first_byte if source.head.status in (200, 206) else 0
            with trio.fail_after(source.deadline_s):
                await stream.write(encode_head(source.head))
                while left_bytes > 0:
                    chunk = await trio.to_thread.run_sync(source.read, min(CHUNK_BYTES, left_bytes))
                    if not chunk:
                        raise OSError(f"the file ends {left_bytes} bytes early")
                    with trio.fail_after(STALL_TIMEOUT_S):
                        await stream.write(chunk)
                    sent_bytes += len(chunk)
                    left_bytes -= len(chunk)
                await stream.close()
                with suppress(BaseLibp2pError):
                    await stream.read(1)  # until the asker lets go: a reset now would take from it what is on its way
        finally:
            self.on_loop(source.close, sent_bytes)
        await stream.reset()

    async def _ask_loop(self, key: bytes, text: str, first_byte: int) -> BlobSource:
        """What is granted and comes too late is given back; both are told on the loop, one after the other."""
        decided = trio.Event()
        sources: list[BlobSource] = []
        is_given_up = False

        def decide() -> None:
            try:
                if not is_given_up:
                    sources.append(self.serve(key, text, first_byte))
            finally:
                self.on_thread(decided.set)

        def give_up() -> None:
            nonlocal is_given_up
            is_given_up = True
            for source in sources:
                source.close(0)

        self.on_loop(decide)
        try:
            with trio.fail_after(QUESTION_TIMEOUT_S):
                await decided.wait()
        except BaseException:
            self.on_loop(give_up)
            raise
        if not sources:
            raise Reject("no answer, for a fault of this program")
        return sources[0]

    async def fetch(self, key: bytes, authorization: str, first_byte: int, reader: BlobReader) -> None:
        """Fill the reader. Raises LinkError."""
        peer = self.peers.get(key)
        if peer is None or not peer.is_admitted:
            raise LinkError("HEL-LINK-004", f"not connected to {peer_id(key)}", "dial it, and ask again then")
        with reader.scope:
            stream = None
            try:
                with trio.fail_after(QUESTION_TIMEOUT_S):
                    stream = await self.host.new_stream(id_of(key), [PROTOCOL])
                    text = authorization.encode()
                    await stream.write(len(text).to_bytes(2, "big") + text + first_byte.to_bytes(8, "big"))
                    head = await read_head(stream)
                reader.begin(head)
                left_bytes = head.size_bytes - first_byte if head.status in (200, 206) else 0
                while left_bytes > 0:
                    with trio.fail_after(STALL_TIMEOUT_S):
                        chunk = await stream.read(min(CHUNK_BYTES, left_bytes))
                    if not chunk:
                        raise Reject(f"it ended {left_bytes} bytes early")
                    await reader.put(chunk)
                    left_bytes -= len(chunk)
            except Exception as error:
                raise broken(key, describe(error)) from error
            finally:
                if stream is not None:
                    with trio.CancelScope(shield=True), trio.move_on_after(1):
                        await stream.reset()


def encode_head(head: BlobHead) -> bytes:
    reason = head.reason.encode()[:REASON_MAX_BYTES]
    return struct.pack(HEAD, head.status, head.size_bytes, head.retry_after_s, len(reason)) + reason


async def read_head(stream: INetStream) -> BlobHead:
    """Raises Reject, StreamEOF."""
    raw = await read_exactly(stream, struct.calcsize(HEAD))
    status, size_bytes, retry_after_s, length = struct.unpack(HEAD, raw)
    if length > REASON_MAX_BYTES:
        raise Reject(f"a reason of {length} bytes, at most {REASON_MAX_BYTES} are allowed")
    return BlobHead(status, size_bytes, retry_after_s, (await read_exactly(stream, length)).decode(errors="replace"))


def broken(key: bytes, reason: str) -> LinkError:
    return LinkError(
        "HEL-LINK-020", f"a blob from {peer_id(key)} broke off: {reason}", "ask again, from the byte where it broke off"
    )
