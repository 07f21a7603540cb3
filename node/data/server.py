"""Serves this node's blobs by HTTPS, from a listener of its own, apart from the API (`protocol/SPEC.md`, 17).

One question per connection, answered and closed: nothing that is smuggled in behind it is read.
"""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from node.data.admission import STALL_TIMEOUT_S, Admission, Grant, deadline_s
from node.data.certificate import server_context
from node.data.door import Door
from node.data.quota import Denied
from protocol.errors import LocalError

CHUNK_BYTES = 256 * 1024
PATH = re.compile("/v1/blobs/([0-9a-f]{64})")
RANGE = re.compile("bytes=([0-9]{1,16})-")


class DataServer:
    """Answers holders of this node's tickets, as `admission` decides, and nobody else; no IP address that `denies`
    names."""

    def __init__(
        self,
        admission: Admission,
        denies: Callable[[str], bool] = lambda address: False,
        stall_timeout_s: float = STALL_TIMEOUT_S,
    ) -> None:
        self._admission = admission
        self._stall_timeout_s = stall_timeout_s
        self._door = Door(denies)

    async def start(self, host: str, port: int, certificate: Path) -> int:
        """Listen; returns the real port. Raises LocalError for a taken one, and for an address of another machine."""
        try:
            return self._door.open(host, port, web.Server(self._answer), server_context(certificate))
        except OSError as error:
            cause = f"the data listener cannot have {host}:{port}: {error.strerror}"
            remedy = (
                "Set link.listen in config.toml to an address of this machine (`ip address` shows them), or to 0.0.0.0"
                " for all of them."
                if error.errno == errno.EADDRNOTAVAIL
                else "Stop whoever holds the port, or set link.data_port in config.toml (0 takes any free one)."
            )
            raise LocalError("HEL-DATA-001", cause, remedy) from None

    async def stop(self) -> None:
        await self._door.close()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self._door.has_asked(request.transport)
        try:
            grant = self._admit(request)
        except Denied as denied:
            response = web.Response(status=denied.status, text=denied.reason)
            if denied.retry_after_s:
                response.headers["Retry-After"] = str(denied.retry_after_s)
            response.force_close()
            return response
        with grant:
            blob = _head(grant)
            try:
                async with asyncio.timeout(deadline_s(grant.unsent_bytes, self._stall_timeout_s)):
                    await blob.prepare(request)
                    await self._send(grant, blob)
            except (OSError, TimeoutError):  # the file is cut short, or its reader is slow or gone: no orderly end
                if request.transport is not None:
                    request.transport.abort()
            return blob

    def _admit(self, request: web.BaseRequest) -> Grant:
        """Raises Denied. The path is matched as it was sent: what is encoded in it is another path."""
        path = PATH.fullmatch(request.raw_path)
        if path is None:
            raise self._refuse(404, "path", "there are blobs here, at /v1/blobs/SHA256, and nothing else")
        if request.method != "GET" or request.body_exists:
            raise self._refuse(405 if request.method != "GET" else 400, "method", "GET without a body is all there is")
        wanted = RANGE.fullmatch(request.headers.get("Range", "bytes=0-"))
        if wanted is None:
            raise self._refuse(416, "range", "one range to the end is all there is: bytes=FIRST-")
        authorization = request.headers.get("Authorization", "")
        return self._admission.admit(authorization, int(wanted[1]), sha256=bytes.fromhex(path[1]))

    def _refuse(self, status: int, kind: str, reason: str) -> Denied:
        self._admission.traffic.refused[kind] += 1
        return Denied(status, kind, reason)

    async def _send(self, grant: Grant, response: web.StreamResponse) -> None:
        """The next chunk is read while this one is written. Raises OSError for a file that is shorter than its name
        promises, TimeoutError for a reader that stands still."""
        file = await asyncio.to_thread(_open, grant)
        try:
            chunk = await asyncio.to_thread(file.read, CHUNK_BYTES)
            while grant.unsent_bytes:
                if not chunk:
                    raise OSError(f"{grant.path.name} ends {grant.unsent_bytes} bytes early")
                following = asyncio.ensure_future(asyncio.to_thread(file.read, CHUNK_BYTES))
                try:
                    async with asyncio.timeout(self._stall_timeout_s):
                        await response.write(chunk)
                    grant.sent(len(chunk))
                finally:
                    chunk = await following
        finally:
            file.close()


def _head(grant: Grant) -> web.StreamResponse:
    response = web.StreamResponse(status=200 if grant.first_byte == 0 else 206)
    response.content_type = "application/octet-stream"
    response.content_length = grant.unsent_bytes
    if grant.first_byte:
        response.headers["Content-Range"] = f"bytes {grant.first_byte}-{grant.size_bytes - 1}/{grant.size_bytes}"
    response.headers["Accept-Ranges"] = "bytes"
    response.force_close()
    return response


def _open(grant: Grant) -> BinaryIO:
    file = grant.path.open("rb")
    file.seek(grant.first_byte)
    return file
