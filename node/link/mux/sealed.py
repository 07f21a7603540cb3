"""The bytes of one connection under Noise: read in large pieces, written without waiting while the socket takes them.

Faults of the library, by their share of what a gossip message cost (`UPSTREAM.md`): each Noise message is read by two
reads of the socket under two locks, and each multiplexer frame by two reads of that (15.6 %); every uncontended lock
yields to the scheduler (12.7 %).
"""

from __future__ import annotations

import os
from typing import Any

import trio
from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH, NoiseTransportReadWriter
from libp2p.security.secure_session import SecureSession
from libp2p.transport.exceptions import MuxerUpgradeFailure

READ_BYTES, READ_MANY_BYTES = 16 * 1024, 256 * 1024  # the second after a read that was full
CONGESTED_BYTES = 256 * 1024  # not yet taken by the socket: who writes waits
DROWNED_BYTES = 4 * CONGESTED_BYTES  # the same: whoever reads waits, for what it reads may have to be answered
CHUNK_MAX_BYTES = MAX_PLAINTEXT_LENGTH


class SealedConnection:
    """Takes over a secured connection. `read`, and `flush` while the connection lives, belong to one task each."""

    def __init__(self, session: SecureSession) -> None:
        sealing: Any = session.conn
        if not isinstance(sealing, NoiseTransportReadWriter):
            raise MuxerUpgradeFailure(f"{type(sealing).__name__} secures the connection, only Noise can")
        self._noise = sealing.noise_state
        self._raw: Any = sealing.read_writer.read_write_closer
        stream = getattr(getattr(self._raw, "stream", None), "stream", None)
        self._socket = stream.socket if isinstance(stream, trio.SocketStream) else None
        self._early = session._drain(None)  # came with the last bytes of the negotiation
        self._arrived = bytearray()  # the beginning of a Noise message
        self._read_bytes = READ_BYTES
        self._outgoing = bytearray()
        self._filled, self._drained = trio.Event(), trio.Event()

    @property
    def is_congested(self) -> bool:
        return len(self._outgoing) >= CONGESTED_BYTES

    async def read(self) -> bytes:
        """What has come, decrypted; b"" at the end. Raises what the socket raises, and NoiseInvalidMessage."""
        if self._early:
            early, self._early = self._early, b""
            return early
        while len(self._outgoing) >= DROWNED_BYTES:
            await self._drained.wait()
        while True:
            data = await self._receive()
            if not data:
                return b""
            self._arrived += data
            if plain := self._open():
                return plain

    async def _receive(self) -> bytes:
        if self._socket is None:
            data: bytes = await self._raw.read(self._read_bytes)
            return data
        while True:
            await trio.lowlevel.wait_readable(self._socket.fileno())
            try:
                data = os.read(self._socket.fileno(), self._read_bytes)
            except BlockingIOError:
                continue
            self._read_bytes = READ_MANY_BYTES if len(data) == self._read_bytes else READ_BYTES
            return data

    def _open(self) -> bytes:
        """Decrypt all whole Noise messages."""
        arrived, plain, at = self._arrived, [], 0
        while len(arrived) - at >= 2:
            end = at + 2 + (arrived[at] << 8 | arrived[at + 1])
            if end > len(arrived):
                break
            plain.append(self._noise.decrypt(bytes(arrived[at + 2 : end])))
            at = end
        del arrived[:at]
        return plain[0] if len(plain) == 1 else b"".join(plain)

    def write(self, data: bytes) -> None:
        """Never waits: look at `is_congested` first, or await `uncongested`. Raises OSError: the connection is lost."""
        sealed = b"".join(self._seal(data[at : at + CHUNK_MAX_BYTES]) for at in range(0, len(data), CHUNK_MAX_BYTES))
        if self._socket is not None and not self._outgoing:
            try:
                taken = os.write(self._socket.fileno(), sealed)
            except BlockingIOError:
                taken = 0
            if taken == len(sealed):
                return
            sealed = sealed[taken:]
        self._outgoing += sealed
        self._filled.set()

    def abandon(self) -> None:
        """The connection has ended: what waits to be sent is dropped, and whoever waits for that is woken."""
        self._outgoing.clear()
        self._drained.set()

    def _seal(self, data: bytes) -> bytes:
        sealed: bytes = self._noise.encrypt(bytes(data))
        return len(sealed).to_bytes(2, "big") + sealed

    async def uncongested(self) -> None:
        while self.is_congested:
            await self._drained.wait()

    async def emptied(self) -> None:
        """Until the socket has taken all."""
        while self._outgoing:
            await self._drained.wait()

    async def flush(self) -> None:
        """Write what the socket did not take, for ever. Raises what the socket raises."""
        while True:
            await self._filled.wait()
            self._filled = trio.Event()
            while self._outgoing:
                await self._send_some()
                self._drained.set()
                self._drained = trio.Event()

    async def _send_some(self) -> None:
        if self._socket is None:
            data = bytes(self._outgoing[:CONGESTED_BYTES])
            await self._raw.write(data)
            del self._outgoing[: len(data)]
            return
        await trio.lowlevel.wait_writable(self._socket.fileno())
        try:
            taken = os.write(self._socket.fileno(), memoryview(self._outgoing)[:CONGESTED_BYTES])
        except BlockingIOError:
            return
        del self._outgoing[:taken]
