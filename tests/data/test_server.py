"""Facts about the data listener before strangers: who has no ticket gets nothing, and keeps nobody out."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from node.data import admission, door, quota
from node.data.certificate import client_context, make_certificate, reachable_host
from node.data.server import DataServer
from node.market.tickets import data_url
from node.training.blobs import BlobStore
from protocol.errors import LocalError
from protocol.messages import Blob
from tests.data.scene import BLOB, CONTENT, HOLDER, SIZE_BYTES_MAX, Served, admission_of, client, proof, serving, until

PATH = f"/v1/blobs/{BLOB.sha256.hex()}"


@asynccontextmanager
async def connected(
    served: Served, **options: object
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port, ssl=client_context(), **options)  # type: ignore[arg-type]
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def said(served: Served, question: bytes) -> bytes:
    """All that the server says to these bytes, until it hangs up."""
    async with connected(served) as (reader, writer), asyncio.timeout(10):
        writer.write(question)
        return await reader.read()


def question(served: Served, *extra: str, path: str = PATH, method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: {proof(served.ticket())}", *extra]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def body(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


# --- what is answered -----------------------------------------------------------------------------------------------


async def test_the_whole_blob_and_the_rest_of_it(served: Served) -> None:
    whole = await said(served, question(served))
    rest = await said(served, question(served, "Range: bytes=1000000-"))
    assert (status(whole), body(whole)) == (200, CONTENT)
    assert (status(rest), body(rest)) == (206, CONTENT[1_000_000:])
    assert f"Content-Range: bytes 1000000-{len(CONTENT) - 1}/{len(CONTENT)}".encode() in rest


@pytest.mark.parametrize(
    "wanted",
    ["bytes=0-9", "bytes=-9", "bytes=9-1", f"bytes={len(CONTENT)}-", "bytes=0-,5-", "pages=1-", "bytes=9" * 99],
)
async def test_other_ranges_than_to_the_end_are_refused(wanted: str, served: Served) -> None:
    assert status(await said(served, question(served, f"Range: {wanted}"))) == 416
    assert served.traffic.refused == {"range": 1}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/blobs/",
        "/v1/blobs/../../etc/passwd",
        "/v1/blobs/..%2f..%2fetc%2fpasswd",
        "/v1/blobs/%2e%2e/%2e%2e/etc/passwd",
        "/../tls.pem",
        "/v1/blobs/" + BLOB.sha256.hex().upper(),
        PATH + "/",
        PATH + "?x",
        PATH + "%00",
        "//v1/blobs/" + BLOB.sha256.hex(),
        "/v1/./blobs/" + BLOB.sha256.hex(),
        f"/v1/blobs/%{ord(BLOB.sha256.hex()[0]):x}{BLOB.sha256.hex()[1:]}",
        "https://127.0.0.1" + PATH,
    ],
)
async def test_no_path_but_a_blobs_leads_anywhere(path: str, served: Served) -> None:
    answer = await said(served, question(served, path=path))
    assert status(answer) == 404
    assert b"root:" not in answer
    assert CONTENT[:100] not in answer


async def test_a_ticket_is_good_for_its_own_blob_only(served: Served) -> None:
    """The path names another blob of this server than the ticket under the holder's proof."""
    other = served.blobs.put(b"another lease's")
    answer = await said(served, question(served, path=f"/v1/blobs/{other.sha256.hex()}"))
    assert (status(answer), body(answer)) == (403, b"the ticket is for another blob")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT"])
async def test_nothing_but_get_is_done(method: str, served: Served) -> None:
    assert status(await said(served, question(served, method=method))) in (400, 404, 405)
    assert CONTENT[:100] not in await said(served, question(served, method=method))


async def test_the_quota_is_told_with_the_time_to_come_again(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "SLACK_BYTES", 0)
    for _ in range(quota.REPEATS_MAX):
        assert status(await said(served, question(served))) == 200
    answer = await said(served, question(served))
    assert status(answer) == 429
    assert b"Retry-After: 900" in answer
    assert served.traffic.refused == {"quota": 1}


# --- what is smuggled, packed or too long ---------------------------------------------------------------------------


async def test_a_question_behind_the_first_is_not_read(served: Served) -> None:
    answer = await said(served, question(served, path="/") + question(served))
    assert answer.count(b"HTTP/1.") == 1
    assert CONTENT[:100] not in answer


@pytest.mark.parametrize(
    "extra",
    [
        ("Content-Length: 5",),
        ("Transfer-Encoding: chunked",),
        ("Transfer-Encoding: chunked", "Content-Length: 5"),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Transfer-Encoding: chunked", "Content-Encoding: gzip"),
        ("Content-Length: +5",),
        ("Content-Length : 5",),
        ("Transfer-Encoding: \x0bchunked",),
        ("X: y\rContent-Length: 5",),
    ],
)
async def test_a_question_with_a_body_is_refused_unread(extra: tuple[str, ...], served: Served) -> None:
    """Whatever stands between us and the asker might see two questions in it: neither is answered with a blob."""
    answer = await said(served, question(served, *extra) + b"0\r\n\r\n" + question(served))
    assert status(answer) == 400
    assert answer.count(b"HTTP/1.") == 1


@pytest.mark.parametrize(
    "sent",
    [
        b"GET " + b"/" * 100_000,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        bytes(range(256)) * 100,
    ],
    ids=["path", "headers", "header", "HTTP/2", "garbage"],
)
async def test_what_is_too_long_or_no_question_is_hung_up_on(sent: bytes, served: Served) -> None:
    answer = await said(served, sent)
    assert answer == b"" or status(answer) in (400, 404, 505)
    path = await client().fetch(served.ticket(), BlobStore(served.blobs._directory.parent / "after", SIZE_BYTES_MAX))
    assert path.read_bytes() == CONTENT


# --- who takes its time, and who comes in numbers -------------------------------------------------------------------


async def test_tls_below_1_3_is_refused(served: Served) -> None:
    old = client_context()
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):  # told by an alert, or by hanging up
        await asyncio.open_connection("127.0.0.1", served.port, ssl=old)


async def test_headers_that_trickle_end_with_the_time_for_them(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "QUESTION_TIMEOUT_S", 0.3)
    async with connected(served) as (reader, writer), asyncio.timeout(10):
        hung_up = asyncio.ensure_future(reader.read())
        writer.write(b"GET / HTTP/1.1\r\n")
        while not hung_up.done():
            writer.write(b"X: y\r\n")
            await asyncio.wait({hung_up}, timeout=0.05)
        assert hung_up.exception() is not None or hung_up.result() == b""


async def test_whoever_never_begins_a_handshake_is_hung_up_on(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "HANDSHAKE_TIMEOUT_S", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()


LARGE = bytes(32 * 2**20)  # more than the sockets between take
LARGE_BLOB = Blob(sha256=hashlib.sha256(LARGE).digest(), size_bytes=len(LARGE))


@asynccontextmanager
async def asking(served: Served) -> AsyncIterator[asyncio.StreamReader]:
    """Somebody has asked for the large blob, and takes none of it yet beyond what buffers take."""
    path = f"/v1/blobs/{LARGE_BLOB.sha256.hex()}"
    async with connected(served, limit=1024) as (reader, writer):
        lines = (f"GET {path} HTTP/1.1", "Host: x", f"Authorization: {proof(served.ticket(blob=LARGE_BLOB))}")
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await until(lambda: served.transfers == 1)
        yield reader


async def test_a_reader_that_stands_still_loses_its_connection(tmp_path: Path) -> None:
    async with serving(tmp_path, LARGE, stall_timeout_s=0.3) as served, asking(served):
        await until(lambda: served.transfers == 0 and served.connections == 0)
        assert 0 < served.traffic.sent_bytes.total() < len(LARGE)


async def test_a_reader_that_trickles_loses_its_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "RATE_MIN_BYTES_PER_S", 10 * len(LARGE))
    async with serving(tmp_path, LARGE, stall_timeout_s=0.3) as served:
        assert served.server is not None
        async with asking(served):
            served.server._stall_timeout_s = 60  # it may stand still for longer: the transfer as a whole is too slow
            await until(lambda: served.transfers == 0 and served.connections == 0)
            assert served.traffic.sent_bytes.total() < len(LARGE)


async def test_the_time_for_a_question_does_not_end_its_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "QUESTION_TIMEOUT_S", 0.1)
    async with serving(tmp_path, LARGE) as served, asking(served) as reader:
        await asyncio.sleep(0.3)  # what would end is to end within it
        assert body(await reader.read()) == LARGE


async def test_a_reader_that_hangs_up_gives_its_quota_back(tmp_path: Path) -> None:
    async with serving(tmp_path, LARGE) as served:
        async with asking(served):
            pass
        await until(lambda: served.transfers == 0 and served.connections == 0)
        assert served.server is not None
        (account,) = served.server._admission._quota.accounts.values()
        assert account.sent_bytes == served.traffic.sent_bytes.total() < len(LARGE)


@asynccontextmanager
async def silent(served: Served, count: int, address: str) -> AsyncIterator[None]:
    """So many connections from an address, on which nothing is said."""
    held = []
    try:
        for _ in range(count):
            connection = socket.socket()
            held.append(connection)
            connection.setblocking(False)
            connection.bind((address, 0))
            await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", served.port))
        yield
    finally:
        for connection in held:
            connection.close()


async def test_five_hundred_silent_connections_keep_nobody_out(served: Served, tmp_path: Path) -> None:
    async with silent(served, 500, "127.0.0.2"):
        await client().fetch(served.ticket(), BlobStore(tmp_path / "client", SIZE_BYTES_MAX))
        assert served.connections <= door.CONNECTIONS_PER_ADDRESS_MAX


async def test_silent_connections_do_not_even_keep_out_who_shares_their_address(served: Served, tmp_path: Path) -> None:
    async with silent(served, door.CONNECTIONS_PER_ADDRESS_MAX + 5, "127.0.0.1"):
        await client().fetch(served.ticket(), BlobStore(tmp_path / "client", SIZE_BYTES_MAX))


async def test_a_denied_network_has_no_connection(tmp_path: Path) -> None:
    async with serving(tmp_path, denies=lambda address: address == "127.0.0.2") as served:
        with pytest.raises((ConnectionError, ssl.SSLError)):
            async with connected(served, local_addr=("127.0.0.2", 0)):
                pass
        assert status(await said(served, question(served))) == 200


async def test_a_holder_who_is_banned_since_its_ticket_was_written_is_sent_nothing(served: Served) -> None:
    assert served.server is not None
    served.server._admission.refusal = {HOLDER.public: "banned for 600 s: 2 malformed frames"}.__getitem__
    answer = await said(served, question(served))
    assert status(answer) == 403
    assert b"banned for 600 s" in answer
    assert served.traffic.refused["banned"] == 1


async def knock_for_ever(served: Served) -> None:
    while True:
        async with connected(served, local_addr=("127.0.0.2", 0)):
            pass


async def test_who_begins_connections_without_end_is_refused_before_the_handshake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And others are not."""
    monkeypatch.setattr(door, "ARRIVALS_PER_S", 0.0)
    async with serving(tmp_path) as served:
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await asyncio.wait_for(knock_for_ever(served), 20)
        assert status(await said(served, question(served))) == 200


async def test_connections_of_all_addresses_are_bounded_and_the_silent_make_room(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "CONNECTIONS_MAX", 8)
    async with AsyncExitStack() as stack:
        for number in range(16):
            address = (f"127.0.1.{number + 1}", 0)
            await stack.enter_async_context(connected(served, local_addr=address))
        await until(lambda: served.connections == 8)
        await client().fetch(served.ticket(), BlobStore(tmp_path / "client", SIZE_BYTES_MAX))
        assert served.connections <= 8


async def test_who_is_being_served_makes_room_for_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "CONNECTIONS_MAX", 1)
    async with serving(tmp_path, LARGE) as served, asking(served):
        with pytest.raises((OSError, TimeoutError)):
            async with connected(served):
                pass
        assert (served.transfers, served.connections) == (1, 1)


# --- what it rests upon ---------------------------------------------------------------------------------------------


def test_the_certificates_key_is_its_owners_alone_even_where_a_loose_file_stood(tmp_path: Path) -> None:
    path = tmp_path / "tls.pem"
    path.write_text("old")
    path.chmod(0o644)
    first, second = make_certificate(path), make_certificate(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first != second


async def test_a_taken_port_is_named_with_its_setting(served: Served, tmp_path: Path) -> None:
    server = DataServer(admission_of(served.blobs))
    with pytest.raises(LocalError, match="data listener cannot have") as failure:
        await server.start("127.0.0.1", served.port, tmp_path / "tls.pem")
    assert "link.data_port" in failure.value.remedy
    await server.stop()


async def test_an_address_of_another_machine_is_named_with_its_setting(served: Served, tmp_path: Path) -> None:
    """To free the port would not help."""
    server = DataServer(admission_of(served.blobs))
    with pytest.raises(LocalError, match="data listener cannot have") as failure:
        await server.start("203.0.113.9", 0, tmp_path / "tls.pem")
    assert "Set link.listen" in failure.value.remedy
    await server.stop()


def test_peers_are_told_an_address_that_is_not_our_loopback() -> None:
    assert reachable_host(["/ip4/127.0.0.1/tcp/1/p2p/a", "/ip4/192.0.2.7/tcp/1/p2p/a"]) == "192.0.2.7"
    assert reachable_host(["/ip4/127.0.0.1/tcp/1/p2p/a"]) == "127.0.0.1"
    assert data_url("2001:db8::1", 8472) == "https://[2001:db8::1]:8472"
