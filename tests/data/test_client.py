"""Facts about fetching a blob: what is named arrives, over real HTTPS, and goes on where it broke; a liar's bytes leave
nothing behind."""

from __future__ import annotations

import asyncio
import gzip
import re
import ssl
import time
from pathlib import Path

import pytest

from node.data import admission
from node.data.client import FAILURES_MAX, DataClient
from node.data.traffic import RoadName
from node.training.blobs import BlobStore
from protocol.errors import LocalError
from protocol.messages import Blob
from tests.builders import NOW_MS, digest
from tests.data.scene import (
    BLOB,
    CONTENT,
    SIZE_BYTES_MAX,
    STRANGER,
    Served,
    client,
    head,
    lying,
    refusal,
    speaking,
    until,
)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    """The holder's store."""
    return BlobStore(tmp_path / "client", SIZE_BYTES_MAX)


async def test_a_ticket_brings_its_blob(served: Served, blobs: BlobStore) -> None:
    fetcher = client()
    path = await fetcher.fetch(served.ticket(), blobs)
    assert path.read_bytes() == CONTENT
    assert fetcher._traffic.fetched_bytes == served.traffic.sent_bytes == {RoadName.HTTPS: len(CONTENT)}


async def test_the_same_blob_may_be_fetched_twice_at_once(served: Served, blobs: BlobStore) -> None:
    paths = await asyncio.gather(*(client().fetch(served.ticket(), blobs) for _ in range(2)))
    assert [path.read_bytes() for path in paths] == [CONTENT] * 2
    assert len(list(blobs._directory.iterdir())) == 1


async def test_a_blob_of_no_bytes_arrives(served: Served, blobs: BlobStore) -> None:
    nothing = served.blobs.put(b"")
    assert (await client().fetch(served.ticket(blob=nothing), blobs)).read_bytes() == b""


# --- refused ------------------------------------------------------------------------------------------------------


async def test_a_stranger_cannot_use_the_holders_ticket(served: Served, blobs: BlobStore) -> None:
    assert "holder's key" in await refusal(served.ticket(), blobs, STRANGER)
    assert served.traffic.refused == {"ticket": 1}


async def test_a_ticket_of_another_issuer_is_refused(served: Served, blobs: BlobStore) -> None:
    foreign = served.ticket().model_copy(update={"server": STRANGER.public})
    assert "not issued by this node" in await refusal(foreign, blobs)


async def test_an_expired_ticket_is_refused(served: Served, blobs: BlobStore) -> None:
    assert "expired 1 ms ago" in await refusal(served.ticket(expires_at_ms=NOW_MS - 1), blobs)


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


async def test_a_blob_larger_than_this_node_takes_is_not_asked_for(tmp_path: Path, blobs: BlobStore) -> None:
    asked: list[bytes] = []

    async def speak(question: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(question)

    async with speaking(tmp_path, speak) as server:
        huge = Blob(sha256=BLOB.sha256, size_bytes=SIZE_BYTES_MAX + 1)
        assert "takes at most" in await refusal(server.ticket(blob=huge), blobs)
    assert asked == []


# --- a server that lies -------------------------------------------------------------------------------------------


CORRUPT = CONTENT[:-1] + b"\0"
LIES: dict[str, tuple[bytes, ...]] = {
    "oversized": (head(2 * len(CONTENT)), CONTENT, CONTENT),
    "endless": (head(), *(CONTENT,) * 8),
    "chunked without end": (head(extra="Transfer-Encoding: chunked\r\n"), *(b"100000\r\n" + CONTENT + b"\r\n",) * 8),
    "short": (head(100), CONTENT[:100]),
    "corrupt": (head(len(CONTENT)), CORRUPT),
    "unpacked": (head(extra="Content-Encoding: gzip\r\n"), gzip.compress(CONTENT)),
    "packed to the right size": (head(len(CONTENT), "Content-Encoding: gzip\r\n"), CONTENT),
    "elsewhere": (b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",),
    "a part unasked": (
        head(len(CONTENT), f"Content-Range: bytes 0-1048575/{len(CONTENT)}\r\n", "206 Partial"),
        CONTENT,
    ),
    "no HTTP": (b"\0" * 100,),
    "a refusal cut off": (head(1000, status="403 Forbidden"), b"because"),
    "a header without end": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2**20,),
    "busy for ever": (head(0, "Retry-After: 99999\r\n", "429 Too Many"),),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_liar_leaves_nothing_behind(lie: str, tmp_path: Path, blobs: BlobStore) -> None:
    async with lying(tmp_path, *LIES[lie]) as liar:
        await refusal(liar.ticket(), blobs)


async def test_a_server_that_stands_still_is_left(tmp_path: Path, blobs: BlobStore) -> None:
    async with lying(tmp_path, head(len(CONTENT)), stalls=True) as liar:
        await refusal(liar.ticket(), blobs, stall_timeout_s=0.2)


async def test_a_server_that_trickles_is_left(
    tmp_path: Path, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may stand still for longer than this lasts: the transfer as a whole is too slow."""
    monkeypatch.setattr(admission, "RATE_MIN_BYTES_PER_S", 10 * len(CONTENT))
    trickle = [CONTENT[i : i + 1] for i in range(100)]
    async with lying(tmp_path, head(len(CONTENT)), *trickle, stalls=True) as liar:
        fetcher = client()
        fetcher._stall_timeout_s = 0.1
        with pytest.raises(LocalError, match="the transfer failed"):
            await fetcher.fetch(liar.ticket(), blobs)


async def test_a_server_with_an_older_tls_is_not_spoken_to(tmp_path: Path, blobs: BlobStore) -> None:
    async with speaking(tmp_path, lambda *_: asyncio.sleep(0), newest=ssl.TLSVersion.TLSv1_2) as old:
        assert (await refusal(old.ticket(), blobs)).endswith("the transfer failed")


# --- a transfer that breaks ---------------------------------------------------------------------------------------


PIECE_BYTES = len(CONTENT) // 3 + 1


class Breaking:
    """Sends the blob in three pieces; once its reader has taken one, the connection is gone. `spoil` changes the second
    answer."""

    def __init__(self, fetcher: DataClient, spoil: str = "") -> None:
        self.fetcher, self.spoil = fetcher, spoil
        self.asked: list[int] = []

    async def __call__(self, question: bytes, writer: asyncio.StreamWriter) -> None:
        wanted = re.search(rb"\r\nRange: bytes=([0-9]+)-\r\n", question)
        first, size = int(wanted[1]) if wanted else 0, len(CONTENT)
        self.asked.append(first)
        writer.write(
            self.answer(first, size) + (bytes(size) if self.is_false(first) else CONTENT)[first:][:PIECE_BYTES]
        )
        await writer.drain()
        end = min(size, first + PIECE_BYTES)
        await until(lambda: self.fetcher._traffic.fetched_bytes[RoadName.HTTPS] >= end)

    def is_false(self, first: int) -> bool:
        return self.spoil == "other bytes" and first > 0

    def answer(self, first: int, size: int) -> bytes:
        if first == 0 or self.spoil == "the whole":
            return head(size)
        told, total = first - (self.spoil == "another first byte"), size + (self.spoil == "another total")
        return head(size - first, f"Content-Range: bytes {told}-{size - 1}/{total}\r\n", "206 Partial Content")


async def test_a_transfer_that_broke_goes_on_where_it_stopped(tmp_path: Path, blobs: BlobStore) -> None:
    fetcher = client()
    breaking = Breaking(fetcher)
    async with speaking(tmp_path, breaking) as server:
        path = await fetcher.fetch(server.ticket(), blobs)
    assert path.read_bytes() == CONTENT
    assert breaking.asked == [0, PIECE_BYTES, 2 * PIECE_BYTES]


@pytest.mark.parametrize("spoil", ["another first byte", "another total", "the whole", "other bytes"])
async def test_a_part_that_does_not_continue_is_discarded(spoil: str, tmp_path: Path, blobs: BlobStore) -> None:
    fetcher = client()
    async with speaking(tmp_path, Breaking(fetcher, spoil)) as server:
        with pytest.raises(LocalError, match="with hash" if spoil == "other bytes" else "its server answered"):
            await fetcher.fetch(server.ticket(), blobs)
    assert list(blobs._directory.iterdir()) == []


async def test_a_server_that_never_sends_a_byte_is_asked_a_few_times(tmp_path: Path, blobs: BlobStore) -> None:
    asked: list[bytes] = []

    async def speak(question: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(question)

    async with speaking(tmp_path, speak) as server:
        await refusal(server.ticket(), blobs)
    assert FAILURES_MAX <= len(asked) <= 2 * FAILURES_MAX  # aiohttp asks once more by itself


async def test_a_busy_server_is_asked_again_when_it_says(tmp_path: Path, blobs: BlobStore) -> None:
    asked: list[float] = []

    async def speak(_: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(time.monotonic())
        busy = head(0, "Retry-After: 1\r\n", "429 Too Many Requests")
        writer.write(busy if len(asked) == 1 else head(len(CONTENT)) + CONTENT)
        await writer.drain()

    async with speaking(tmp_path, speak) as server:
        await client().fetch(server.ticket(), blobs)
    assert asked[1] - asked[0] >= 1
