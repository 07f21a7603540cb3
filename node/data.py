"""How blobs move between nodes: an HTTPS listener of its own, apart from the API, and a client for it.

The certificate is self-signed and pinned by the ticket, which its server signed; the request proves the holder's key.
Neither side trusts a certificate authority, a name or an address.
"""

from __future__ import annotations

import datetime
import hashlib
import ssl
import time
from collections.abc import Callable
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
STALL_TIMEOUT_S = 30  # a transfer may take as long as it needs, but not stand still
CERTIFICATE_DAYS = 3650  # pinned, not trusted for its dates


def make_certificate(path: Path) -> bytes:
    """Write a key and a self-signed certificate to `path` (0600) and return the certificate's SHA-256."""
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
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()


class DataServer:
    """Serves this node's blobs to holders of its tickets, and to nobody else."""

    def __init__(self, blobs: BlobStore, keypair: KeyPair, now_ms: Callable[[], int]) -> None:
        self._blobs = blobs
        self._keypair = keypair
        self._now_ms = now_ms
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int, certificate: Path) -> int:
        """Listen; returns the real port. Raises LocalError for a taken one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(certificate)
        application = web.Application(client_max_size=0)
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
                "Stop whoever holds the port, or set link.data_port in config.toml (0 takes any free one).",
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
        if ticket.blob.sha256 not in self._blobs:
            raise web.HTTPNotFound(text="no such blob here any more")
        return web.FileResponse(self._blobs.path(ticket.blob.sha256), chunk_size=CHUNK_BYTES)


class DataClient:
    """Fetches what a ticket names into this node's store."""

    def __init__(self, blobs: BlobStore, keypair: KeyPair) -> None:
        self._blobs = blobs
        self._keypair = keypair
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, ticket: Ticket) -> Path:
        """The blob's path, once it is here whole and of the right hash. One we have already is not fetched again.

        Raises LocalError: unreachable, refused, too long, or not what its hash says.
        """
        sha256 = ticket.blob.sha256
        if sha256 in self._blobs:
            return self._blobs.path(sha256)
        if self._session is None:
            timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT_S, sock_read=STALL_TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)
        url = f"{ticket.url}/v1/blobs/{sha256.hex()}"
        headers = {"Authorization": authorization(self._keypair, ticket, time.time_ns() // 10**6)}
        pin = aiohttp.Fingerprint(ticket.certificate_sha256)
        try:
            async with self._session.get(url, headers=headers, ssl=pin, allow_redirects=False) as response:
                if response.status != 200:
                    reason = (await response.content.read(200)).decode(errors="replace")
                    raise _failed(ticket.blob, f"its server answered {response.status}: {reason!r}")
                with self._blobs.receive(ticket.blob) as sink:
                    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                        sink.write(chunk)
            return self._blobs.path(sha256)
        except Reject as refusal:
            raise _failed(ticket.blob, str(refusal)) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _failed(ticket.blob, f"{type(error).__name__}: {error}") from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _failed(blob: Blob, cause: str) -> LocalError:
    return LocalError(
        "HEL-DATA-002",
        f"blob {blob.sha256.hex()[:16]} could not be fetched: {cause}",
        "The peer that serves it may be gone; the shard is placed anew.",
    )
