"""The library's host, built from parts whose faults are contained: no stranger ends it, fills it or borrows a name.

Each class in `host`, `swarm`, `sealed`, `muxer`, `streams`, `router`, `gossip`, `outbox` and `rpc` corrects one part of
libp2p 0.8.1 from outside; its docstring names the fault, and `UPSTREAM.md` lists them for the library's maintainers.
Refused: identities nobody proved (the library offers plaintext and secio with Noise).
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import libp2p
import trio
from libp2p.crypto import ed25519, x25519
from libp2p.host.basic_host import BasicHost
from libp2p.identity.identify_push.identify_push import ID_PUSH
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection import swarm_connection
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as Noise
from libp2p.tools.anyio_service import Service, TrioManager
from libp2p.transport.upgrader import TransportUpgrader

from node.link.dials import BoundTCP
from node.link.events import cannot_listen
from node.link.guard.conduct import Conduct
from node.link.guard.gate import Gate
from node.link.mux.muxer import LivingMuxers
from node.link.swarm import CONNECTIONS_PER_PEER_MAX, ContainedSwarm, SilentHost

VERSION = "0.8.1"
if libp2p.__version__ != VERSION:
    raise ImportError(f"libp2p {libp2p.__version__} found, this file corrects {VERSION}: pip install libp2p=={VERSION}")

CONNECTIONS_MAX = 256  # guess, not measured
CONNECTIONS_OUTBOUND_MIN = 64  # of these, kept for our own dials: strangers cannot take every place
LISTEN_ADDRESS = re.compile(r"/ip[46]/([0-9A-Fa-f.:]{2,45})/tcp/([0-9]{1,5})")

log = logging.getLogger(__name__)


class ContainedManager(TrioManager):
    """Fault: an exception in any background task of a service ends the service, and with it the host."""

    def run_task(self, async_fn: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> None:
        async def contained(*args: Any) -> None:
            try:
                await async_fn(*args)
            except Exception:
                log.debug("libp2p background task %r is lost", async_fn, exc_info=True)

        # A daemon that ends leaves half a host: that one takes the thread with it, and the thread is started anew.
        essential = options.get("daemon") or options.get("_internal")
        super().run_task(async_fn if essential else contained, *args, **options)


def require_free(listen: str) -> None:
    """Refuse a port that somebody listens on: the library shares it, and each of the two gets half the connections."""
    match = LISTEN_ADDRESS.fullmatch(listen)
    if match is None:
        raise cannot_listen(listen, "it is not of the form /ip4/ADDRESS/tcp/PORT or /ip6/ADDRESS/tcp/PORT")
    try:
        host, port = ipaddress.ip_address(match[1]), int(match[2])
        with socket.socket(socket.AF_INET if host.version == 4 else socket.AF_INET6) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((str(host), port))
    except (OSError, OverflowError, ValueError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        raise cannot_listen(listen, "the port is taken" if taken else str(error)) from error


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[None]:
    """Run one of the library's services under a manager that survives its tasks."""
    async with trio.open_nursery() as nursery:
        manager = ContainedManager(service)
        nursery.start_soon(manager.run)
        await manager.wait_started()
        try:
            yield
        finally:
            await manager.stop()


def build_host(
    seed: bytes, listen: str, ping_interval_s: float, ping_timeout_s: float, gate: Gate, conduct: Conduct
) -> tuple[BasicHost, ContainedSwarm]:
    """TCP, Noise and yamux, nothing else: `new_host` would add three handshakes, of which one proves nothing."""
    key_pair = ed25519.create_new_key_pair(seed)
    identity = ID.from_pubkey(key_pair.public_key)
    peerstore = PeerStore()
    peerstore.add_key_pair(identity, key_pair)
    noise = Noise(key_pair, noise_privkey=x25519.create_new_key_pair().private_key)
    upgrader = TransportUpgrader({NOISE: noise}, {})
    upgrader.muxer_multistream = LivingMuxers(ping_interval_s, ping_timeout_s)
    swarm = ContainedSwarm(
        identity,
        peerstore,
        upgrader,
        [BoundTCP(listen.split("/")[2])],
        retry_config=RetryConfig(max_retries=0),  # who redials, and when, is decided above
        connection_config=ConnectionConfig(
            max_connections=CONNECTIONS_MAX,
            high_watermark=CONNECTIONS_MAX,
            low_watermark=CONNECTIONS_OUTBOUND_MIN,
            min_connections=CONNECTIONS_OUTBOUND_MIN,
            max_connections_per_peer=CONNECTIONS_PER_PEER_MAX,
        ),
    )
    swarm.gate, swarm.conduct = gate, conduct
    host = SilentHost(swarm, disable_identify_address_discovery=True)
    host.remove_stream_handler(ID_PUSH)
    return host, swarm


class _Demoted(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        log.debug("libp2p: %s %s", record.levelname, record.getMessage())


def demote_library_logging() -> None:
    """Whatever the library has to say becomes DEBUG of this module, unless LIBP2P_DEBUG asks for more.

    Stock, its warnings go to the terminal, and one module logs through the root logger, which installs a handler there.
    """
    if not os.environ.get("LIBP2P_DEBUG"):
        logging.getLogger("libp2p").handlers = [_Demoted()]
    swarm_connection.logging = logging.getLogger("libp2p.network.connection")  # type: ignore[attr-defined, assignment]
