"""libp2p 0.8.1 with the faults of its connections contained: no stranger ends the host, fills it or borrows a name.

Each class corrects one part of the library from outside, by subclass; its docstring names the fault.

Refused besides: identities nobody proved (the library offers plaintext and secio with Noise), keys other than Ed25519,
dials by the library itself (a peer could send us anywhere), and identify records (the key is the name).

Not here: gossip (`gossip.py`), and what Heliotrope says to whom (`link.py`).
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import libp2p
import trio
from libp2p.abc import IMuxedConn, INetConn, INetStream, ISecureConn
from libp2p.crypto import ed25519, x25519
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.identity.identify_push.identify_push import ID_PUSH
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection import swarm_connection
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as Noise
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux import yamux
from libp2p.tools.anyio_service import Service, TrioManager
from libp2p.transport.tcp.tcp import TCP
from libp2p.transport.upgrader import TransportUpgrader
from multiaddr import Multiaddr

from node.link.events import cannot_listen
from protocol.identity import PEER_ID_PREFIX

VERSION = "0.8.1"
if libp2p.__version__ != VERSION:
    raise ImportError(f"libp2p {libp2p.__version__} found, this file corrects {VERSION}: pip install libp2p=={VERSION}")

CONNECTIONS_MAX = 256  # guess, not measured
CONNECTIONS_OUTBOUND_MIN = 64  # of these, kept for our own dials: strangers cannot take every place
CONNECTIONS_PER_PEER_MAX = 4  # two after a simultaneous dial, twice that while stale ones await their ping
STREAMS_PER_CONNECTION_MAX = 64  # guess, not measured; an honest peer has about six
UNREAD_MAX_BYTES = 32 * 1024 * 1024  # received and not yet read, per connection; one yamux window is at most 16 MiB
LISTEN_ADDRESS = re.compile(r"/ip[46]/([0-9A-Fa-f.:]{2,45})/tcp/([0-9]{1,5})")

log = logging.getLogger(__name__)


def is_ed25519(peer: bytes) -> bool:
    """Whether a peer id is an Ed25519 public key in full."""
    return len(peer) == len(PEER_ID_PREFIX) + 32 and peer.startswith(PEER_ID_PREFIX)


def is_usable(stream: INetStream) -> bool:
    """Whether a write has a chance. The library's `is_closed` learns of a remote reset only when it next reads."""
    muxed: Any = stream.muxed_stream  # type: ignore[attr-defined]
    return not (muxed.closed or muxed.send_closed or muxed.conn.event_shutting_down.is_set())


async def cut(connection: INetConn) -> None:
    """Close the socket and let the library find out, as after a TCP reset.

    Its own close first sends a farewell, which waits for ever when the peer no longer reads.
    """
    muxed: Any = connection.muxed_conn
    await muxed.secured_conn.close()


class LivingYamux(yamux.Yamux):
    """Finds silently dead peers and bounds what lies unread.

    Faults: an unanswered ping has no consequence; a sender that ignores the receive window is only logged.
    """

    def __init__(self, conn: ISecureConn, peer: ID, ping_interval_s: float, ping_timeout_s: float) -> None:
        super().__init__(conn, peer, is_initiator=conn.is_initiator)
        self.ping_interval_s, self.ping_timeout_s = ping_interval_s, ping_timeout_s

    async def start(self) -> None:
        try:
            await super().start()
        except Exception:
            log.debug("connection to %s is lost, the multiplexer failed", self.peer_id, exc_info=True)
            await self._cleanup_on_error()

    async def _measure_rtt_loop(self) -> None:
        while True:
            await trio.sleep(self.ping_interval_s)
            self._ping_id = (self._ping_id + 1) % 2**32
            self._ping_event = trio.Event()
            self._ping_sent_time = trio.current_time()
            ping = struct.pack(yamux.YAMUX_HEADER_FORMAT, 0, yamux.TYPE_PING, yamux.FLAG_SYN, 0, self._ping_id)
            try:
                with trio.move_on_after(self.ping_timeout_s) as waiting:
                    await self._write_frame(ping)
                    await self._ping_event.wait()
            except Exception:  # noqa: BLE001  nothing is lost: the reader meets the same end, and an error here would cancel it
                return
            if waiting.cancelled_caught:
                log.debug("peer %s did not answer a ping within %g s", self.peer_id, self.ping_timeout_s)
                await self.secured_conn.close()
                return

    async def _read_data_body(self, length: int) -> bytes:
        if length + sum(map(len, self.stream_buffers.values())) > UNREAD_MAX_BYTES:
            raise trio.TooSlowError  # the library's word for: close this connection
        return await super()._read_data_body(length)


class LivingMuxers(MuxerMultistream):
    """Fault: whatever class is registered for yamux, the library builds its own."""

    def __init__(self, ping_interval_s: float, ping_timeout_s: float) -> None:
        super().__init__({TProtocol(yamux.PROTOCOL_ID): LivingYamux})
        self.ping_interval_s, self.ping_timeout_s = ping_interval_s, ping_timeout_s

    async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        await self.select_transport(conn)
        return LivingYamux(conn, peer_id, self.ping_interval_s, self.ping_timeout_s)


class ContainedSwarm(Swarm):
    """Admits Ed25519 peers, few connections and streams each, and survives its stream handlers.

    Faults: an exception in a stream handler ends the host (a protocol name that is not UTF-8 is enough); an inbound
    connection keeps its place until the host stops, so that after 250 of them nobody can connect; anything may dial.
    """

    async def dial_peer(self, peer_id: ID) -> list[INetConn]:
        raise SwarmException(f"not connected to {peer_id}")

    async def add_conn(self, muxed_conn: IMuxedConn, direction: str = "unknown") -> Any:
        peer = muxed_conn.peer_id
        open_to_peer = sum(not connection.is_closed for connection in self.get_connections(peer))
        if not is_ed25519(peer.to_bytes()) or peer == self.self_id or open_to_peer >= CONNECTIONS_PER_PEER_MAX:
            await muxed_conn.secured_conn.close()  # type: ignore[attr-defined]
            raise SwarmException(f"{peer} refused: not an Ed25519 key, or our own, or {open_to_peer} connections open")
        return await super().add_conn(muxed_conn, direction)

    async def upgrade_inbound_raw_conn(self, raw_conn: Any, maddr: Multiaddr) -> IMuxedConn:
        muxed_conn = await super().upgrade_inbound_raw_conn(raw_conn, maddr)
        await muxed_conn.event_closed.wait()  # type: ignore[attr-defined]
        raise SwarmException("the connection has ended")  # what makes the caller give the place back

    def set_stream_handler(self, stream_handler: Callable[[INetStream], Awaitable[None]]) -> None:
        async def contained(stream: INetStream) -> None:
            if len(stream.swarm_conn.streams) > STREAMS_PER_CONNECTION_MAX:  # type: ignore[attr-defined]
                await stream.reset()
                return
            try:
                await stream_handler(stream)
            except Exception:
                log.debug("a stream of %s is lost, its handler failed", stream.muxed_conn.peer_id, exc_info=True)
                await stream.reset()

        super().set_stream_handler(contained)


class SilentHost(BasicHost):
    """Asks nobody who they are: the transport has proved the key, and an identify record is a stranger's claim."""

    def _schedule_identify(self, peer_id: ID, *, reason: str) -> None:
        pass


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


def build_host(seed: bytes, ping_interval_s: float, ping_timeout_s: float) -> tuple[BasicHost, ContainedSwarm]:
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
        [TCP()],
        retry_config=RetryConfig(max_retries=0),  # who redials, and when, is decided above
        connection_config=ConnectionConfig(
            max_connections=CONNECTIONS_MAX,
            high_watermark=CONNECTIONS_MAX,
            low_watermark=CONNECTIONS_OUTBOUND_MIN,
            min_connections=CONNECTIONS_OUTBOUND_MIN,
            max_connections_per_peer=CONNECTIONS_PER_PEER_MAX,
        ),
    )
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
