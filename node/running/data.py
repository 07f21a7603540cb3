"""How blobs move between nodes: an HTTPS listener of its own, apart from the API, and a client for it.

The certificate is self-signed and pinned by the ticket, which its server signed; the request proves the holder's key.
Neither side trusts a certificate authority, a name or an address.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import ipaddress
import logging
import os
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from node.training.blobs import BlobStore
from protocol.direct import Ticket
from protocol.errors import LocalError, Reject
from protocol.identity import KeyPair
from protocol.messages import Blob
from protocol.tickets import authorization, redeem

CHUNK_BYTES = 256 * 1024
CONNECT_TIMEOUT_S = 10
STALL_TIMEOUT_S = 30.0  # a transfer may not stand still,
RATE_MIN_BYTES_PER_S = 100_000  # nor trickle: whoever waits for it would wait for ever. A guess, not measured
CERTIFICATE_DAYS = 3650  # pinned, not trusted for its dates

log = logging.getLogger("heliotrope")


def make_certificate(path: Path) -> bytes:
    """Write a key and a self-signed certificate to `path` (0600) and return the certificate's SHA-256.

    Made anew at every start: tickets of an earlier run are void then, and so is the training that they were for.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "heliotrope")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=CERTIFICATE_DAYS))
        .sign(key, hashes.SHA256())
    )
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()


def reachable_host(addresses: Sequence[str]) -> str:
    """The host of the first multiaddr that is not this machine's loopback, else of the first."""
    hosts = [address.split("/")[2] for address in addresses]
    return next((host for host in hosts if not ipaddress.ip_address(host).is_loopback), hosts[0])


def data_url(host: str, port: int) -> str:
    """Where peers fetch blobs."""
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


class DataServer:
    """Serves this node's blobs to holders of its tickets, and to nobody else. `find` gives a blob's file, or None."""

    def __init__(self, find: Callable[[bytes], Path | None], keypair: KeyPair, now_ms: Callable[[], int]) -> None:
        self._find = find
        self._keypair = keypair
        self._now_ms = now_ms
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int, certificate: Path) -> int:
        """Listen; returns the real port. Raises LocalError for a taken one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(certificate)
        application = web.Application()
        application.router.add_get("/v1/blobs/{sha256:[0-9a-f]{64}}", self._get)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=context)
        try:
            await site.start()
        except OSError as error:
            raise LocalError(
                "HEL-DATA-001",
                f"the data listener cannot have {host}:{port}: {error.strerror}",
                "Stop whoever holds the port, or set link.data_port in config.toml (0 takes any free one). The address"
                " is that of link.listen.",
            ) from None
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _get(self, request: web.Request) -> web.StreamResponse:
        try:
            ticket = redeem(
                request.headers.get("Authorization", ""), self._keypair.public, self._now_ms(), time.time_ns() // 10**6
            )
        except Reject as refusal:
            raise web.HTTPForbidden(text=str(refusal)) from None
        if ticket.blob.sha256.hex() != request.match_info["sha256"]:
            raise web.HTTPForbidden(text="the ticket is for another blob")
        path = self._find(ticket.blob.sha256)
        if path is None:
            raise web.HTTPNotFound(text="no such blob here any more")
        return web.FileResponse(path, chunk_size=CHUNK_BYTES)  # one that goes meanwhile is a 404, or sent to its end


class DataClient:
    """Fetches what tickets name."""

    def __init__(self, keypair: KeyPair, stall_timeout_s: float = STALL_TIMEOUT_S) -> None:
        self._keypair = keypair
        self._stall_timeout_s = stall_timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, ticket: Ticket, blobs: BlobStore) -> Path:
        """The blob's path in `blobs`, once it is there whole and of the right hash.

        Raises LocalError: unreachable, refused, too slow, too long, or not what its hash says. Its cause may go back to
        whoever wrote the ticket, so it does not tell how an address failed: a stranger could explore our network.
        """
        try:
            async with asyncio.timeout(self._stall_timeout_s + ticket.blob.size_bytes / RATE_MIN_BYTES_PER_S):
                await self._receive(ticket, blobs)
        except Reject as refusal:
            raise _failed(ticket.blob, str(refusal)) from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            log.warning("%s could not be fetched from %s: %r", ticket.blob.sha256.hex()[:16], ticket.url, error)
            raise _failed(ticket.blob, "the transfer failed") from None
        return blobs.path(ticket.blob.sha256)

    async def _receive(self, ticket: Ticket, blobs: BlobStore) -> None:
        url = f"{ticket.url}/v1/blobs/{ticket.blob.sha256.hex()}"
        headers = {"Authorization": authorization(self._keypair, ticket, time.time_ns() // 10**6)}
        pin = aiohttp.Fingerprint(ticket.certificate_sha256)
        async with self._open_session().get(url, headers=headers, ssl=pin, allow_redirects=False) as response:
            if response.status != 200:
                reason = (await response.content.read(200)).decode(errors="replace")
                raise Reject(f"its server answered {response.status}: {reason!r}")
            with contextlib.ExitStack() as undo:
                sink = undo.enter_context(blobs.receive(ticket.blob))
                async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                    await asyncio.to_thread(sink.write, chunk)
                await asyncio.to_thread(undo.pop_all().close)  # hash compared, file made durable: the disk's time

    def _open_session(self) -> aiohttp.ClientSession:
        """Made at the first use, on the loop. A server may not set cookies, nor have a small answer grow when unpacked;
        a certificate holds for one ticket, so no connection is kept."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True),
                timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT_S, sock_read=self._stall_timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _failed(blob: Blob, cause: str) -> LocalError:
    return LocalError(
        "HEL-DATA-002",
        f"blob {blob.sha256.hex()[:16]} could not be fetched: {cause}",
        "The peer that serves it may be gone; the shard is placed anew.",
    )
