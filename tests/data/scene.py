"""A data server with one blob, clients, and a server that lies."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from node.data.admission import Admission
from node.data.certificate import make_certificate
from node.data.client import DataClient
from node.data.roads import Https, Road
from node.data.server import DataServer
from node.data.traffic import Traffic
from node.market.tickets import data_url
from node.training.blobs import BlobStore
from protocol.direct import Ticket
from protocol.errors import LocalError
from protocol.identity import KeyPair
from protocol.messages import Blob
from protocol.tickets import authorization, issue
from tests.builders import NOW_MS, digest, keypair

SERVER, HOLDER, STRANGER = keypair(1), keypair(2), keypair(3)
CONTENT = bytes(range(256)) * 4096  # a megabyte: several chunks
BLOB = Blob(sha256=hashlib.sha256(CONTENT).digest(), size_bytes=len(CONTENT))
SIZE_BYTES_MAX = 2**22


class Served(NamedTuple):
    url: str
    certificate_sha256: bytes
    blobs: BlobStore
    traffic: Traffic = Traffic()
    server: DataServer | None = None

    @property
    def transfers(self) -> int:
        """Under way now."""
        assert self.server is not None
        return self.server._admission._quota.under_way.total()

    @property
    def connections(self) -> int:
        """Held now, asked or not."""
        assert self.server is not None
        return self.server._door.places.total()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def ticket(self, **changes: Any) -> Ticket:
        return ticket(**{"url": self.url, "certificate_sha256": self.certificate_sha256} | changes)


def ticket(**changes: Any) -> Ticket:
    fields: dict[str, Any] = {
        "blob": BLOB,
        "url": "https://127.0.0.1:1",
        "certificate_sha256": digest("certificate"),
        "holder": HOLDER.public,
        "award": digest("award"),
        "shard": 0,
        "expires_at_ms": NOW_MS + 1000,
    }
    return issue(SERVER, **fields | changes)


def proof(of: Ticket, holder: KeyPair = HOLDER) -> str:
    """The Authorization header, now."""
    return authorization(holder, of, time.time_ns() // 10**6)


def admission_of(blobs: BlobStore) -> Admission:
    def find(sha256: bytes) -> Path | None:
        return blobs.path(sha256) if sha256 in blobs else None

    return Admission(find, SERVER.public, lambda: NOW_MS, lambda: time.time_ns() // 10**6, Traffic())


@asynccontextmanager
async def serving(directory: Path, content: bytes = CONTENT, **options: Any) -> AsyncIterator[Served]:
    """A data server that holds the blob."""
    blobs = BlobStore(directory / "server", 2**26)
    blobs.put(content)
    certificate_sha256 = make_certificate(directory / "tls.pem")
    admission = admission_of(blobs)
    server = DataServer(admission, **options)
    port = await server.start("127.0.0.1", 0, directory / "tls.pem")
    try:
        yield Served(data_url("127.0.0.1", port), certificate_sha256, blobs, admission.traffic, server)
    finally:
        await server.stop()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110  what it waits for sets no event
            await asyncio.sleep(0.005)


def client(holder: KeyPair = HOLDER, stall_timeout_s: float = 10, roads: Sequence[Road] | None = None) -> DataClient:
    """One that loses no time between its attempts."""
    roads = (Https(stall_timeout_s),) if roads is None else roads
    return DataClient(holder, roads, Traffic(), stall_timeout_s=stall_timeout_s, backoff_s=0.001)


async def refusal(wanted: Ticket, blobs: BlobStore, holder: KeyPair = HOLDER, stall_timeout_s: float = 10) -> str:
    """Why the ticket's blob was not fetched; nothing of it is left."""
    with pytest.raises(LocalError) as failure:
        await client(holder, stall_timeout_s).fetch(wanted, blobs)
    assert failure.value.code == "HEL-DATA-002"
    assert list(blobs._directory.iterdir()) == []
    return failure.value.cause


Speak = Callable[[bytes, asyncio.StreamWriter], Any]


@asynccontextmanager
async def speaking(
    directory: Path, speak: Speak, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> AsyncIterator[Served]:
    """A server with the right certificate that does as `speak` says with each question's head."""
    certificate_sha256 = make_certificate(directory / "other.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "other.pem")
    context.maximum_version = newest

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await speak(await reader.readuntil(b"\r\n\r\n"), writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has hung up, as it should
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    try:
        port = server.sockets[0].getsockname()[1]
        yield Served(data_url("127.0.0.1", port), certificate_sha256, BlobStore(directory / "none", 1))
    finally:
        server.close()


@asynccontextmanager
async def lying(directory: Path, *answer: bytes, stalls: bool = False) -> AsyncIterator[Served]:
    """One that sends these bytes whatever it is asked."""
    over = asyncio.Event()

    async def speak(_: bytes, writer: asyncio.StreamWriter) -> None:
        for part in answer:
            writer.write(part)
            await writer.drain()
        if stalls:
            await over.wait()

    async with speaking(directory, speak) as liar:
        try:
            yield liar
        finally:
            over.set()


def head(length: int | None = None, extra: str = "", status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", "Connection: close", *([f"Content-Length: {length}"] if length is not None else [])]
    return ("\r\n".join(lines) + "\r\n" + extra + "\r\n").encode()
