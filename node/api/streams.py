"""The API's answers that are no JSON document: events as they happen, the exported ledger, blobs in and out."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING

from aiohttp import web

from ledger.archive import MATCHING_MAX_BYTES, Part, frames
from ledger.archive.write import parts_of_store
from node.api.openapi import BINARY_TYPE, EVENTS_TYPE
from node.api.problems import NotFound, TooLarge
from node.api.resources import BlobOf
from node.documents import Fault, Strict, invalid
from node.home.jobfile import UPLOAD_MAX_BYTES
from node.running.eventlog import EventLog, LoggedEvent
from protocol.errors import Reject, VerificationFailed
from protocol.messages import Blob, Count

if TYPE_CHECKING:
    from node.running.runtime import Runtime

KEEP_ALIVE_S = 15.0  # a stream that is silent longer is cut by some middleboxes, and a dead reader is never noticed
GREETING = b": this stream is alive\n\n"  # a comment; the headers leave with the first bytes, and not before
CHUNK_BYTES = 256 * 1024
FRAMES_PER_CHUNK = 512  # at a typical entry of 500 bytes, one chunk

log = logging.getLogger("heliotrope")


class EventsQuery(Strict):
    """`after`: the number of the last event that was seen. The header Last-Event-ID says the same, and wins."""

    after: Count | None = None


async def events(runtime: Runtime, request: web.Request, asked: EventsQuery) -> web.StreamResponse:
    """Server-sent events: everything still held that is newer than the position, then whatever happens.

    `event: lost` where the ring has dropped what lay between, or the node was restarted and numbers began anew.
    """
    last_seen = request.headers.get("Last-Event-ID")
    if last_seen is not None and not (last_seen.isdecimal() and len(last_seen) <= 16):
        raise invalid("the request", [Fault("Last-Event-ID", f"expected an event's number, not {last_seen[:40]!r}")])
    after = int(last_seen) if last_seen is not None else asked.after
    response = web.StreamResponse(headers={"Content-Type": EVENTS_TYPE, "Cache-Control": "no-store"})
    await response.prepare(request)
    try:
        await response.write(GREETING)
        while True:
            text, after = news(runtime.log, after)
            if text:
                await response.write(text.encode())
            try:
                async with asyncio.timeout(KEEP_ALIVE_S):
                    await runtime.log.wait(after)
            except TimeoutError:
                await response.write(GREETING)
    except ConnectionResetError:
        return response  # the reader has gone


def news(events: EventLog, after: int | None) -> tuple[str, int]:
    """What a reader at a position has missed, as event-stream text, and its new position. None: a new reader, who gets
    all that is still held and has lost nothing."""
    lost = ""
    if after is not None and after > events.newest:
        lost, after = _lost("the node was restarted: its events are numbered anew", after), None
    pending = events.since(after or 0)
    if after is not None and pending and pending[0].number > after + 1:
        lost = _lost(f"{pending[0].number - after - 1} events are no longer held", after)
    return lost + "".join(map(_frame, pending)), events.newest


def _frame(event: LoggedEvent) -> str:
    data = {"number": event.number, "time_ms": event.time_ms, "kind": event.kind, "data": dict(event.data)}
    return f"id: {event.number}\nevent: {event.kind}\ndata: {json.dumps(data, default=str)}\n\n"


def _lost(reason: str, after: int) -> str:
    data = {"kind": "lost", "data": {"after": after, "reason": reason}}
    return f"event: lost\ndata: {json.dumps(data)}\n\n"


async def export_ledger(runtime: Runtime, request: web.Request, _: None) -> web.StreamResponse:
    """The archive of what is stored, sealed by this node."""
    pieces = frames.write(await runtime.compute(parts, runtime))
    disposition = 'attachment; filename="ledger.bin"'
    response = web.StreamResponse(headers={"Content-Type": BINARY_TYPE, "Content-Disposition": disposition})
    await response.prepare(request)
    try:
        while chunk := await runtime.compute(_next_chunk, pieces):
            await response.write(chunk)
    except ConnectionResetError:
        return response
    except Exception:
        # The status is sent. A connection that breaks off is all that is left to say; the missing seal says the rest.
        log.exception("the export broke off; what was sent of it does not verify")
        if request.transport is not None:
            request.transport.abort()
    return response


def parts(runtime: Runtime) -> Iterator[Part]:
    """The parts of this node's archive; they are read on the thread that asks for them."""
    return parts_of_store(
        runtime.store,
        runtime.genesis,
        runtime.node.identity.keypair,
        runtime.now_ms(),
        lambda sha256: runtime.blobs.read(sha256, MATCHING_MAX_BYTES),
    )


def _next_chunk(pieces: Iterator[bytes]) -> bytes:
    return b"".join(islice(pieces, FRAMES_PER_CHUNK))


async def put_blob(runtime: Runtime, request: web.Request, _: None) -> BlobOf:
    """Take a text in under the hash that its path names; one that is here already is taken again, to no effect."""
    size_bytes = request.content_length
    if size_bytes is None:
        raise invalid("the request", [Fault("Content-Length", "is required and missing")])
    if size_bytes > UPLOAD_MAX_BYTES:
        cause = f"a blob of {size_bytes} bytes; at most {UPLOAD_MAX_BYTES} are taken"
        raise TooLarge("HEL-BLOB-005", cause, "Split the text into several files; a job may name up to 64.")
    blob = Blob(sha256=_digest(request), size_bytes=size_bytes)
    try:
        with ExitStack() as stack:
            incoming = stack.enter_context(runtime.blobs.receive(blob))
            async for chunk in request.content.iter_chunked(CHUNK_BYTES):
                incoming.write(chunk)
            await runtime.compute(stack.close)  # the hash is compared and the file made durable: the disk's time
    except Reject as refusal:
        cause, remedy = f"the upload is not what its name says: {refusal}", "Read the file again and repeat."
        raise VerificationFailed("HEL-BLOB-006", cause, remedy) from None
    return BlobOf(sha256=blob.sha256.hex(), size_bytes=blob.size_bytes)


async def get_blob(runtime: Runtime, request: web.Request, _: None) -> web.StreamResponse:
    """A blob of this node: a checkpoint, a text, the recorded input of a matching."""
    sha256 = _digest(request)
    if sha256 not in runtime.blobs:
        remedy = "A job's checkpoint, texts and matchings are on the node that led it: ask there."
        raise NotFound("HEL-BLOB-007", f"blob {sha256.hex()} is not on this node", remedy)
    return web.FileResponse(runtime.blobs.path(sha256), chunk_size=CHUNK_BYTES, headers={"Content-Type": BINARY_TYPE})


def _digest(request: web.Request) -> bytes:
    return bytes.fromhex(request.match_info["sha256"])
