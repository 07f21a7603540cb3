"""Two ends of one connection over loopback, with Noise: ours, the stock library's, or a peer that writes raw frames."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio
from libp2p.crypto import ed25519, x25519
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.noise.transport import Transport as Noise
from libp2p.security.secure_session import SecureSession
from libp2p.stream_muxer.exceptions import MuxedStreamEOF
from libp2p.stream_muxer.yamux.yamux import Yamux

from node.link.mux.muxer import LivingYamux
from node.link.mux.streams import HEADER

TIMEOUT_S = 30

Make = Callable[[SecureSession, ID], Any]


def ours(session: SecureSession, peer: ID) -> LivingYamux:
    return LivingYamux(session, peer, ping_interval_s=5.0, ping_timeout_s=10.0)


def stock(session: SecureSession, peer: ID) -> Yamux:
    return Yamux(session, peer, is_initiator=session.is_initiator)


class Raw:
    """Writes frames as it likes and reads what comes, by frames."""

    def __init__(self, session: SecureSession, peer: ID) -> None:
        self.session = session

    async def start(self) -> None:
        """Nothing runs by itself."""

    async def write(self, kind: int, flags: int, stream: int, length: int, body: bytes = b"", version: int = 0) -> None:
        await self.session.write(HEADER.pack(version, kind, flags, stream, length) + body)

    async def read(self) -> tuple[int, int, int, int, int]:
        """The next header; a body, if any, must be read by `session`."""
        header: tuple[int, int, int, int, int] = HEADER.unpack(await self.session.read(HEADER.size))
        return header

    async def until_closed(self) -> list[tuple[int, int, int, int, int]]:
        headers = []
        try:
            while True:
                headers.append(await self.read())
        except Exception:  # noqa: BLE001  the library has many words for the end
            return headers


class Relayed(ReadWriteCloser):
    """A connection that is no socket, as through a relay."""

    def __init__(self, way: TrioTCPStream) -> None:
        self._way = way

    async def read(self, n: int | None = None) -> bytes:
        return await self._way.read(n)

    async def write(self, data: bytes) -> None:
        await self._way.write(data)

    async def close(self) -> None:
        await self._way.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        return None


@asynccontextmanager
async def connected(
    near: Make, far: Make, way: Callable[[TrioTCPStream], ReadWriteCloser] = lambda stream: stream
) -> AsyncIterator[tuple[Any, Any]]:
    """The end that dialled, and the other; both run."""
    keys = [ed25519.create_new_key_pair(bytes([number]) * 32) for number in (1, 2)]
    near_id, far_id = (ID.from_pubkey(pair.public_key) for pair in keys)
    near_noise, far_noise = (Noise(pair, noise_privkey=x25519.create_new_key_pair().private_key) for pair in keys)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    sessions: dict[str, Any] = {}

    async def dial() -> None:
        raw = RawConnection(way(TrioTCPStream(await trio.open_tcp_stream("127.0.0.1", port))), True)
        sessions["near"] = await near_noise.secure_outbound(raw, far_id)

    async def accept() -> None:
        raw = RawConnection(way(TrioTCPStream(await listener.accept())), False)
        sessions["far"] = await far_noise.secure_inbound(raw)

    with trio.fail_after(TIMEOUT_S):
        async with trio.open_nursery() as handshake:
            handshake.start_soon(dial)
            handshake.start_soon(accept)
        ends = near(sessions["near"], far_id), far(sessions["far"], near_id)
        async with trio.open_nursery() as nursery:
            for end in ends:
                nursery.start_soon(end.start)
            yield ends
            for session in sessions.values():
                await session.close()
            nursery.cancel_scope.cancel()
    await listener.aclose()


def run(near: Make, far: Make, scene: Callable[[Any, Any], Awaitable[None]], **options: Any) -> None:
    """Play a scene between two ends."""

    async def main() -> None:
        async with connected(near, far, **options) as (near_end, far_end):
            await scene(near_end, far_end)

    trio.run(main)


async def until(is_true: Callable[[], bool]) -> None:
    """For what no event announces."""
    with trio.fail_after(TIMEOUT_S):
        while not is_true():
            await trio.lowlevel.checkpoint()


async def read_all(stream: Any) -> bytes:
    """To the peer's end of the stream."""
    data = bytearray()
    with suppress(MuxedStreamEOF):
        while chunk := await stream.read(65536):
            data += chunk
    return bytes(data)
