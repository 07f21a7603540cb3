"""Facts about the transfer of blobs: what is named arrives, over real HTTPS; a liar's bytes leave nothing behind."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import ssl
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from node.running import data
from node.running.data import DataClient, DataServer, data_url, make_certificate, reachable_host
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

    def ticket(self, **changes: Any) -> Ticket:
        fields: dict[str, Any] = {
            "blob": BLOB,
            "url": self.url,
            "certificate_sha256": self.certificate_sha256,
            "holder": HOLDER.public,
            "award": digest("award"),
            "shard": 0,
            "expires_at_ms": NOW_MS + 1000,
        }
        return issue(SERVER, **fields | changes)


def finder(blobs: BlobStore) -> Callable[[bytes], Path | None]:
    return lambda sha256: blobs.path(sha256) if sha256 in blobs else None


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A data server that holds the blob."""
    blobs = BlobStore(tmp_path / "server", SIZE_BYTES_MAX)
    blobs.put(CONTENT)
    certificate_sha256 = make_certificate(tmp_path / "tls.pem")
    server = DataServer(finder(blobs), SERVER, lambda: NOW_MS)
    port = await server.start("127.0.0.1", 0, tmp_path / "tls.pem")
    yield Served(data_url("127.0.0.1", port), certificate_sha256, blobs)
    await server.stop()


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    """The holder's store."""
    return BlobStore(tmp_path / "client", SIZE_BYTES_MAX)


@asynccontextmanager
async def client(holder: KeyPair = HOLDER, stall_timeout_s: float = 10) -> AsyncIterator[DataClient]:
    client = DataClient(holder, stall_timeout_s)
    try:
        yield client
    finally:
        await client.close()


async def refusal(ticket: Ticket, blobs: BlobStore, holder: KeyPair = HOLDER, stall_timeout_s: float = 10) -> str:
    """Why the ticket's blob was not fetched; nothing of it is left."""
    async with client(holder, stall_timeout_s) as fetcher:
        with pytest.raises(LocalError) as failure:
            await fetcher.fetch(ticket, blobs)
    assert failure.value.code == "HEL-DATA-002"
    assert list(blobs._directory.iterdir()) == []
    return failure.value.cause


async def test_a_ticket_brings_its_blob(served: Served, blobs: BlobStore) -> None:
    async with client() as fetcher:
        path = await fetcher.fetch(served.ticket(), blobs)
    assert path.read_bytes() == CONTENT


async def test_the_same_blob_may_be_fetched_twice_at_once(served: Served, blobs: BlobStore) -> None:
    async with client() as fetcher:
        paths = await asyncio.gather(*(fetcher.fetch(served.ticket(), blobs) for _ in range(2)))
    assert [path.read_bytes() for path in paths] == [CONTENT] * 2
    assert len(list(blobs._directory.iterdir())) == 1


async def test_a_stranger_cannot_use_the_holders_ticket(served: Served, blobs: BlobStore) -> None:
    assert "holder's key" in await refusal(served.ticket(), blobs, STRANGER)


async def test_a_ticket_of_another_issuer_is_refused(served: Served, blobs: BlobStore) -> None:
    foreign = served.ticket().model_copy(update={"server": STRANGER.public})
    assert "not issued by this node" in await refusal(foreign, blobs)


async def test_an_expired_ticket_is_refused(served: Served, blobs: BlobStore) -> None:
    assert "expired 1 ms ago" in await refusal(served.ticket(expires_at_ms=NOW_MS - 1), blobs)


async def test_a_ticket_is_good_for_its_own_blob_only(served: Served, blobs: BlobStore) -> None:
    """The path names another blob than the ticket under the holder's proof."""
    other = Blob(sha256=digest("other"), size_bytes=10)
    async with client() as fetcher:
        session = fetcher._open_session()
        url = f"{served.url}/v1/blobs/{other.sha256.hex()}"
        headers = {"Authorization": authorization(HOLDER, served.ticket(), time.time_ns() // 10**6)}
        async with session.get(url, headers=headers, ssl=False) as response:
            assert (response.status, await response.text()) == (403, "the ticket is for another blob")


async def test_a_blob_that_has_gone_is_named(served: Served, blobs: BlobStore) -> None:
    served.blobs.remove(BLOB.sha256)
    assert "404" in await refusal(served.ticket(), blobs)


async def test_another_certificate_than_the_tickets_is_refused(served: Served, blobs: BlobStore) -> None:
    assert await refusal(served.ticket(certificate_sha256=digest("other")), blobs) == "blob " + (
        f"{BLOB.sha256.hex()[:16]} could not be fetched: the transfer failed"
    )


@pytest.mark.parametrize("url", ["https://[", "https://a:99999", "https://:::", "https://127.0.0.1:1"])
async def test_an_address_that_fails_is_an_answer_that_does_not_tell_how(
    url: str, served: Served, blobs: BlobStore
) -> None:
    assert (await refusal(served.ticket(url=url), blobs)).endswith("the transfer failed")


# --- a server that lies -------------------------------------------------------------------------------------------


@asynccontextmanager
async def lying(tmp_path: Path, *answer: bytes, stalls: bool = False) -> AsyncIterator[Served]:
    """A server with the right certificate that sends these bytes whatever it is asked."""
    certificate_sha256 = make_certificate(tmp_path / "liar.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "liar.pem")
    over = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            for part in answer:
                writer.write(part)
                await writer.drain()
            if stalls:
                await over.wait()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has hung up, as it should
        finally:
            writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Served(data_url("127.0.0.1", port), certificate_sha256, BlobStore(tmp_path / "none", 1))
    finally:
        over.set()
        server.close()


def head(length: int | None = None, extra: str = "") -> bytes:
    lines = ["HTTP/1.1 200 OK", "Connection: close", *([f"Content-Length: {length}"] if length is not None else [])]
    return ("\r\n".join(lines) + "\r\n" + extra + "\r\n").encode()


CORRUPT = CONTENT[:-1] + b"\0"
LIES: dict[str, tuple[bytes, ...]] = {
    "oversized": (head(2 * len(CONTENT)), CONTENT, CONTENT),
    "endless": (head(), *(CONTENT,) * 8),
    "short": (head(100), CONTENT[:100]),
    "cut off": (head(len(CONTENT)), CONTENT[:100]),
    "corrupt": (head(len(CONTENT)), CORRUPT),
    "unpacked": (head(extra="Content-Encoding: gzip\r\n"), gzip.compress(CONTENT)),
    "elsewhere": (b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",),
    "no HTTP": (b"\0" * 100,),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_liar_leaves_nothing_behind(lie: str, tmp_path: Path, blobs: BlobStore) -> None:
    async with lying(tmp_path, *LIES[lie]) as liar:
        await refusal(liar.ticket(), blobs)


async def test_a_server_that_stands_still_is_left(tmp_path: Path, blobs: BlobStore) -> None:
    async with lying(tmp_path, head(len(CONTENT)), CONTENT[:100], stalls=True) as liar:
        await refusal(liar.ticket(), blobs, stall_timeout_s=0.2)


async def test_a_server_that_trickles_is_left(
    tmp_path: Path, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may stand still for longer than this lasts: the transfer as a whole is too slow."""
    monkeypatch.setattr(data, "RATE_MIN_BYTES_PER_S", 10 * len(CONTENT))
    trickle = [CONTENT[i : i + 1] for i in range(100)]
    async with lying(tmp_path, head(len(CONTENT)), *trickle, stalls=True) as liar, client() as fetcher:
        fetcher._open_session()  # with its own patience of 10 s
        fetcher._stall_timeout_s = 0.1
        with pytest.raises(LocalError, match="the transfer failed"):
            await fetcher.fetch(liar.ticket(), blobs)


# --- what both rest upon ------------------------------------------------------------------------------------------


def test_the_certificates_key_is_its_owners_alone_even_where_a_loose_file_stood(tmp_path: Path) -> None:
    path = tmp_path / "tls.pem"
    path.write_text("old")
    path.chmod(0o644)
    first, second = make_certificate(path), make_certificate(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first != second


async def test_a_taken_port_is_named_with_its_setting(served: Served, tmp_path: Path) -> None:
    server = DataServer(finder(served.blobs), SERVER, lambda: NOW_MS)
    with pytest.raises(LocalError, match="data listener cannot have") as failure:
        await server.start("127.0.0.1", int(served.url.rpartition(":")[2]), tmp_path / "tls.pem")
    assert "link.data_port" in failure.value.remedy
    await server.stop()


def test_peers_are_told_an_address_that_is_not_our_loopback() -> None:
    assert reachable_host(["/ip4/127.0.0.1/tcp/1/p2p/a", "/ip4/192.0.2.7/tcp/1/p2p/a"]) == "192.0.2.7"
    assert reachable_host(["/ip4/127.0.0.1/tcp/1/p2p/a"]) == "127.0.0.1"
    assert data_url("2001:db8::1", 8472) == "https://[2001:db8::1]:8472"
