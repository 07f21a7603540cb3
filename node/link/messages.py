"""Direct messages on long-lived streams, one per peer and direction: a hello, then frames, each acknowledged.

    sender    → receiver   length (4 bytes, big end first) and data; the first frame is a hello (`protocol.hello`)
    receiver  → sender     how many frames it has taken so far, the hello among them (8 bytes, big end first); or
                           REFUSED, and why (length in 2 bytes, UTF-8)

Acknowledged is what the receiver's loop has taken, so it survives the death of either thread. All of this runs on the
libp2p thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

import trio
from libp2p.abc import INetConn, INetStream
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.basic_host import BasicHost
from libp2p.network.stream.exceptions import StreamEOF

from node.link.events import ANOTHER_PROCESS, Crossing, LinkError, MessageArrived, describe, refused_by, refused_here
from node.link.guard.standing import Act
from node.link.mux.muxer import cut, is_usable
from node.link.names import id_of, key_of
from node.link.peers import HELLO_TIMEOUT_S, Answer, Outgoing, Peer, Peers
from protocol.errors import Reject
from protocol.hello import HELLO_MAX_BYTES, Hello, decode_hello
from protocol.identity import peer_id

PROTOCOL = TProtocol("/heliotrope/1")
MESSAGE_MAX_BYTES = 4 * 1024 * 1024
READERS_PER_PEER_MAX = 4  # incoming message streams; an honest peer has one, and another while it replaces that
ABANDONED_LINGERS_S = 5.0  # a stream given up, until the peer has read to its end
UNACKNOWLEDGED_MAX = 64  # frames on one stream; guess, not measured
WRITE_TIMEOUT_S = 30.0  # for a frame of 4 MiB over 1 Mbit/s
NO_ROOM_PAUSE_S = 0.1  # half of what `conduct.STREAMS_PER_S` allows: each such message costs its sender a stream
REFUSED = 2**64 - 1
REASON_MAX_BYTES = 512
REFUSAL_LINGERS_S = 1.0  # until the refused peer has read why

log = logging.getLogger(__name__)


class Messages:
    """Reads what peers send, and sends."""

    def __init__(
        self,
        host: BasicHost,
        peers: Peers,
        crossing: Crossing,
        on_thread: Callable[..., None],
        spawn: Callable[..., None],
    ) -> None:
        self._host, self._peers = host, peers
        self._crossing, self._on_thread, self._spawn = crossing, on_thread, spawn

    # --- in ---------------------------------------------------------------------------------------------------------

    async def read(self, stream: INetStream) -> None:
        """The handler of an incoming stream. It reads on once the loop has taken the message before."""
        key = key_of(stream.muxed_conn.peer_id)
        peer = self._peers.meet(stream.muxed_conn.peer_id)
        if peer is None or peer.readers == READERS_PER_PEER_MAX:
            await stream.reset()
            return
        peer.readers += 1
        try:
            with trio.fail_after(HELLO_TIMEOUT_S):
                hello = decode_hello(await read_frame(stream, HELLO_MAX_BYTES))
            if reason := self._peers.conduct.refusal(key) or self._twin(key, peer, hello):
                await self._refuse(stream, key, peer, reason)
                return
            if reason := self._peers.judge(key, hello):
                await self._refuse(stream, key, peer, reason)
                self._peers.conduct.blame(key, Act.REFUSED_HELLO)
                return
            if peer.session not in (b"", hello.session):
                successor = await self._peers.restarted(key, hello.session, stream.swarm_conn)  # type: ignore[attr-defined]
                peer.readers, successor.readers = peer.readers - 1, successor.readers + 1
                peer = successor
            peer.hello = hello
            await stream.write((1).to_bytes(8, "big"))
            peer.heard.set()
            await peer.settled.wait()
            await self._read_on(key, peer, stream)
        except (StreamEOF, Reject, trio.TooSlowError) as error:
            if isinstance(error, Reject):
                self._peers.conduct.blame(key, Act.MALFORMED)
            log.debug("a message stream of %s has ended: %s", peer_id(key), error)
        finally:
            peer.readers -= 1
            await stream.reset()

    async def _read_on(self, key: bytes, peer: Peer, stream: INetStream) -> None:
        count = 1
        while peer.is_admitted:
            data = await read_frame(stream, MESSAGE_MAX_BYTES)
            if peer.gone.is_set():
                return
            if not await self._hand_over(key, data):
                await trio.sleep(NO_ROOM_PAUSE_S)
                return  # the end of the stream tells the sender that its message was not taken
            count += 1
            await stream.write(count.to_bytes(8, "big"))
            await self._peers.conduct.pace_message(key, len(data))

    async def _hand_over(self, key: bytes, data: bytes) -> bool:
        """Whether the loop has taken it."""
        handled = trio.Event()
        outcome: list[bool] = []

        def delivered(is_taken: bool) -> None:
            outcome.append(is_taken)
            self._on_thread(handled.set)

        self._crossing.post(MessageArrived(key, data), delivered)
        await handled.wait()
        return outcome[0]

    def _twin(self, key: bytes, peer: Peer, hello: Hello) -> str:
        """Why a hello is refused that comes from the other of two processes with one key; "" for any other."""
        if hello.session not in peer.replaced:
            return ""
        if not peer.has_twin:
            peer.has_twin = True
            log.warning("two processes run with the key of %s; the older one is refused", peer_id(key))
        return f"{ANOTHER_PROCESS} with your key is connected here"

    async def _refuse(self, stream: INetStream, key: bytes, peer: Peer, reason: str) -> None:
        """Say why, so that its operator can mend it, and then cut: all of a stranger's connections; of an admitted
        key's, this one alone."""
        connection: INetConn = stream.swarm_conn  # type: ignore[attr-defined]
        is_stranger = not peer.is_admitted and not peer.replaced
        if is_stranger:
            self._peers.note_refusal(key, peer, refused_here(peer_id(key), reason))
        text = reason.encode()[:REASON_MAX_BYTES]
        with trio.move_on_after(REFUSAL_LINGERS_S):
            await stream.write(REFUSED.to_bytes(8, "big") + len(text).to_bytes(2, "big") + text)
            await connection.event_closed.wait()  # type: ignore[attr-defined]
        if is_stranger:
            await self._peers.dismiss(key, peer)
        else:
            await cut(connection)

    def is_busy(self) -> bool:
        """Whether a message is being written, or an acknowledgement awaited."""
        return any(
            peer.lock.locked() or (peer.outgoing is not None and peer.outgoing.waiting)
            for peer in self._peers.book.values()
            if peer.is_admitted
        )

    # --- out --------------------------------------------------------------------------------------------------------

    async def greet(self, key: bytes, peer: Peer) -> None:
        """Until the peer has accepted our hello. Raises LinkError: it refuses us, and says why."""
        async with peer.lock:
            outgoing = await self._open(key, peer)
        while outgoing.taken == 0:
            if outgoing.failure is not None:
                raise outgoing.failure
            await outgoing.progress.wait()

    async def send(self, key: bytes, data: bytes, acknowledged: Answer) -> None:
        """Write it; `acknowledged` is called when the peer has taken it, or with the reason why it may have not. Raises
        LinkError, and then `acknowledged` is not called."""
        peer = self._peers.book.get(key)
        if peer is None or not peer.is_admitted:
            raise LinkError("HEL-LINK-004", f"not connected to {peer_id(key)}", "dial it, and send again then")
        if peer.lock.statistics().tasks_waiting:  # the loop sends one at a time: what waits here was cancelled there
            raise LinkError(
                "HEL-LINK-005",
                f"{peer_id(key)} is slow: two cancelled messages stand before one of {len(data)} bytes",
                "give a message more time before you cancel it",
            )
        async with peer.lock:
            try:
                with trio.fail_after(WRITE_TIMEOUT_S):
                    outgoing = await self._open(key, peer)
                    while len(outgoing.waiting) >= UNACKNOWLEDGED_MAX and outgoing.failure is None:
                        await outgoing.progress.wait()
                    if outgoing.failure is not None:
                        raise outgoing.failure
                    outgoing.waiting.append(acknowledged)
                    await outgoing.stream.write(len(data).to_bytes(4, "big") + data)
            except Exception as error:
                await self._abandon(key, peer, acknowledged)
                raise unsent(key, len(data), describe(error)) from error

    async def give_up(self, key: bytes, acknowledged: Answer) -> None:
        """Wait no longer for an acknowledgement, nor for those behind it."""
        peer = self._peers.book.get(key)
        if peer is not None and peer.outgoing is not None and acknowledged in peer.outgoing.waiting:
            await self._abandon(key, peer)

    async def _abandon(self, key: bytes, peer: Peer, told: Answer | None = None) -> None:
        """Leave the stream of our messages: the next opens another. Whoever waits is told, but for `told`."""
        abandoned, peer.outgoing = peer.outgoing, None
        if abandoned is None:
            return
        if told in abandoned.waiting:
            abandoned.waiting.remove(told)  # type: ignore[arg-type]
        abandoned.end(unsent(key, None, "its stream was given up"))
        abandoned.life.deadline = trio.current_time() + ABANDONED_LINGERS_S
        with suppress(BaseLibp2pError), trio.move_on_after(ABANDONED_LINGERS_S):
            await abandoned.stream.close()  # not a reset, which would discard the messages before this one

    async def _open(self, key: bytes, peer: Peer) -> Outgoing:
        """The stream of our messages, made anew where there is none that works; under the lock."""
        if peer.outgoing is not None and peer.outgoing.failure is None and is_usable(peer.outgoing.stream):
            return peer.outgoing
        stream = await self._host.new_stream(id_of(key), [PROTOCOL])
        hello = self._peers.hello_to(stream)
        await stream.write(len(hello).to_bytes(4, "big") + hello)
        outgoing = peer.outgoing = Outgoing(stream)
        outgoing.waiting.append(lambda failure: None)  # for the hello
        self._spawn(self._read_acknowledgements, key, outgoing)
        return outgoing

    async def _read_acknowledgements(self, key: bytes, outgoing: Outgoing) -> None:
        failure = unsent(key, None, "the connection was lost, or the peer did not take it")
        try:
            with outgoing.life:
                while True:
                    count = int.from_bytes(await read_exactly(outgoing.stream, 8), "big")
                    if count == REFUSED:
                        size = int.from_bytes(await read_exactly(outgoing.stream, 2), "big")
                        reason = await read_exactly(outgoing.stream, min(size, REASON_MAX_BYTES))
                        failure = refused_by(peer_id(key), reason.decode(errors="replace"))
                        return
                    if outgoing.failure is not None:
                        continue  # given up: nobody waits, but what was written is still read there
                    if not 0 < count - outgoing.taken <= len(outgoing.waiting):
                        log.debug("%s acknowledged what was not sent", peer_id(key))
                        return
                    for _ in range(count - outgoing.taken):
                        outgoing.waiting.popleft()(None)
                    outgoing.taken = count
                    outgoing.advance()
        except Exception as error:  # noqa: BLE001  nothing is lost: whoever waits is told below
            log.debug("a message stream to %s has ended: %s", peer_id(key), describe(error))
        finally:
            outgoing.end(failure)
            with trio.CancelScope(shield=True), trio.move_on_after(1):
                await outgoing.stream.reset()


async def read_frame(stream: INetStream, max_bytes: int) -> bytes:
    """Raises Reject for a longer one, StreamEOF at the end."""
    size = int.from_bytes(await read_exactly(stream, 4), "big")
    if size > max_bytes:
        raise Reject(f"a frame of {size} bytes, at most {max_bytes} are allowed")
    return await read_exactly(stream, size)


async def read_exactly(stream: INetStream, size: int) -> bytes:
    """Exactly so many bytes. Memory grows with what has arrived, not with what was announced."""
    buffer = bytearray()
    while len(buffer) < size:
        chunk = await stream.read(size - len(buffer))
        if not chunk:
            raise StreamEOF
        buffer += chunk
    return bytes(buffer)


def unsent(key: bytes, size_bytes: int | None, reason: str) -> LinkError:
    what = "a message" if size_bytes is None else f"a message of {size_bytes} bytes"
    return LinkError(
        "HEL-LINK-005",
        f"{what} to {peer_id(key)} failed: {reason}",
        "the peer may have it or not: send it again if it may arrive twice",
    )
