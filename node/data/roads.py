"""The two roads to a blob, alike to whoever fetches: a question, an answer, and then the bytes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import aiohttp

from node.data.certificate import client_context
from node.data.traffic import RoadName
from node.link import LinkError
from node.link.blobs import BlobHead
from protocol.direct import Ticket
from protocol.errors import Reject

CONNECT_TIMEOUT_S = 10.0
READ_BUFFER_BYTES = 2**20  # up to twice that is held; measured: half the processor time of 64 KiB
REASON_MAX_BYTES = 200
RETRY_AFTER = re.compile("[0-9]{1,5}")


class Unreached(Exception):
    """No answer came by this road; why is for our log alone."""


class Broken(Exception):
    """The road gave way, or its server is busy. It may be taken again, after `retry_after_s`; why is for our log
    alone."""

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's. `chunks` are the bytes from the first one asked for; they are good for nothing unless `status` is 200
    or 206."""

    status: int
    reason: str
    retry_after_s: int
    chunks: AsyncIterator[bytes]


class Road(Protocol):
    """One road. `ask` raises Unreached, Broken, and Reject for an answer that is none; so may its chunks."""

    name: RoadName

    def ask(self, ticket: Ticket, authorization: str, first_byte: int) -> AbstractAsyncContextManager[Answer]: ...


class Https:
    """To the address in the ticket, if whoever is there has the certificate in the ticket."""

    name = RoadName.HTTPS

    def __init__(self, stall_timeout_s: float) -> None:
        self._timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT_S, sock_read=stall_timeout_s)
        self._context = client_context()

    @asynccontextmanager
    async def ask(self, ticket: Ticket, authorization: str, first_byte: int) -> AsyncIterator[Answer]:
        """A certificate holds for one ticket, so no connection is kept. A server may not set cookies, send us
        elsewhere, nor have a small answer grow when unpacked."""
        headers = {"Authorization": authorization, "Accept-Encoding": "identity"}
        if first_byte:
            headers["Range"] = f"bytes={first_byte}-"
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=aiohttp.Fingerprint(ticket.certificate_sha256), force_close=True),
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_BUFFER_BYTES,
        ) as session:
            url = f"{ticket.url}/v1/blobs/{ticket.blob.sha256.hex()}"
            try:
                response = await session.get(url, headers=headers, ssl=self._context, allow_redirects=False)
                answer = await _read_head(response, ticket.blob.size_bytes, first_byte)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                raise Unreached(repr(error)) from None
            async with response:
                yield answer


async def _read_head(response: aiohttp.ClientResponse, size_bytes: int, first_byte: int) -> Answer:
    """Raises Reject for an answer to something else."""
    headers = response.headers
    status, reason = response.status, ""
    if status in (200, 206):
        wanted = f"bytes {first_byte}-{size_bytes - 1}/{size_bytes}" if first_byte else ""
        found = (status, headers.get("Content-Range", ""), response.content_length)
        if found != (206 if first_byte else 200, wanted, size_bytes - first_byte):
            raise Reject(f"asked from byte {first_byte} of {size_bytes} on, its server answered {found}"[:300])
        if "Content-Encoding" in headers:
            raise Reject("its server packed it")
    else:
        reason = (await response.content.read(REASON_MAX_BYTES)).decode(errors="replace")
    retry_after = RETRY_AFTER.fullmatch(headers.get("Retry-After", ""))
    return Answer(status, reason, int(retry_after[0]) if retry_after else 0, _read_body(response))


async def _read_body(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.content.iter_chunked(READ_BUFFER_BYTES):
            yield chunk
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Broken(repr(error)) from None


OpenStream = Callable[[bytes, str, int], AbstractAsyncContextManager[tuple[BlobHead, AsyncIterator[bytes]]]]


class Streams:
    """Over the connection that we have with the server, if we have one: for peers that nobody can dial."""

    name = RoadName.STREAM

    def __init__(self, open_stream: OpenStream) -> None:
        self._open_stream = open_stream

    @asynccontextmanager
    async def ask(self, ticket: Ticket, authorization: str, first_byte: int) -> AsyncIterator[Answer]:
        try:
            async with self._open_stream(ticket.server, authorization, first_byte) as (head, chunks):
                if head.status in (200, 206) and head.size_bytes != ticket.blob.size_bytes:
                    raise Reject(f"its server has {head.size_bytes} bytes, {ticket.blob.size_bytes} were promised")
                yield Answer(head.status, head.reason[:REASON_MAX_BYTES], head.retry_after_s, _read_stream(chunks))
        except LinkError as error:
            raise Unreached(error.cause) from None


async def _read_stream(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for chunk in chunks:
            yield chunk
    except LinkError as error:
        raise Broken(error.cause) from None
