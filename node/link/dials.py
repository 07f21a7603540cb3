"""Dials: from the address that we listen on, to an address or to a name, and why one came to nothing."""

from __future__ import annotations

import errno
import socket

import trio
from libp2p.abc import IMuxedConn, IRawConnection
from libp2p.custom_types import THandler
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.exceptions import SwarmException
from libp2p.security.noise.exceptions import NoiseFailure, PeerIDMismatchesPubkey
from libp2p.transport.exceptions import OpenConnectionError
from libp2p.transport.tcp.tcp import TCP, TCPListener
from multiaddr import Multiaddr

from node.link.events import LinkError, describe, innermost

RESOLVE_TIMEOUT_S = 5.0
FAMILIES = {
    "ip4": socket.AF_INET,
    "dns4": socket.AF_INET,
    "ip6": socket.AF_INET6,
    "dns6": socket.AF_INET6,
}
UNSPECIFIED = frozenset({"0.0.0.0", "::"})  # noqa: S104  no address to bind, but its opposite


class Stream(TrioTCPStream):
    """Fault: the library knows no remote address of an IPv6 connection, which has four parts."""

    def get_remote_address(self) -> tuple[str, int] | None:
        if self._cached_remote_address is None:
            try:
                host, port = self.stream.socket.getpeername()[:2]
            except OSError:
                return None
            self._cached_remote_address = (host, port)
        return self._cached_remote_address


class Denied(SwarmException):
    """Our own operator wants no connection with the network to which a dial leads."""


class BoundTCP(TCP):
    """Dials leave from `source`, where that is one address: on a host with several, peers would see another than the
    one we say we listen on. An address of the other family leaves from wherever the system likes.

    Faults: a dial binds no address without its port; names are resolved with retries that outlast any dial.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self._source = None if source in UNSPECIFIED else source

    async def dial(self, maddr: Multiaddr) -> IRawConnection:
        """To the first resolved address that answers. Raises OpenConnectionError."""
        _, kind, host, _, port, *_ = str(maddr).split("/")
        try:
            last = OSError(f"{host} has no address of this family")
            for address in await resolve(host, int(port), FAMILIES[kind]):
                try:
                    return RawConnection(Stream(await self._open(address, int(port), FAMILIES[kind])), True)
                except OSError as error:
                    last = error
            raise last
        except (KeyError, OSError, ValueError) as error:
            raise OpenConnectionError(f"cannot dial {maddr}") from error

    async def _open(self, address: str, port: int, family: socket.AddressFamily) -> trio.SocketStream:
        dialling = trio.socket.socket(family, socket.SOCK_STREAM)
        try:
            if self._source is not None and (":" in self._source) == (family is socket.AF_INET6):
                await dialling.bind((self._source, 0))
            await dialling.connect((address, port))
        except BaseException:
            dialling.close()
            raise
        return trio.SocketStream(dialling)

    def create_listener(self, handler_function: THandler) -> TCPListener:
        async def handle(stream: ReadWriteCloser) -> None:
            await handler_function(Stream(stream.stream))  # type: ignore[attr-defined]

        return super().create_listener(handle)


async def resolve(host: str, port: int, family: socket.AddressFamily) -> list[str]:
    """The addresses of a name, as the system knows them; an address is its own. Raises OSError."""
    with trio.move_on_after(RESOLVE_TIMEOUT_S):
        found = await trio.socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))
    raise socket.gaierror(socket.EAI_AGAIN, f"no answer within {RESOLVE_TIMEOUT_S:g} s")


def unreached(address: object, error: BaseException | None, waited_s: float) -> LinkError:
    """Why a dial came to nothing, and what to do about it. `error` None: there was no answer."""
    cause = OSError(errno.ETIMEDOUT, "") if error is None else innermost(error)
    _, _, host, _, port, *_ = f"{address}/////".split("/")
    match cause:
        case socket.gaierror():
            code, why = "HEL-DIAL-004", f"the name does not resolve ({cause.strerror})"
            remedy = (
                f"correct the name in link.bootstrap, or this machine's resolver: `getent hosts {host}` must answer"
            )
        case ConnectionRefusedError():
            code, why = "HEL-DIAL-001", "nobody listens there"
            remedy = "start that node, or take the address that its `heliotrope status` shows"
        case OSError(errno=errno.ETIMEDOUT):
            code, why = "HEL-DIAL-002", f"no answer within {waited_s:g} s"
            remedy = f"let TCP to port {port} of {host} through all firewalls and routers, or correct the address"
        case OSError(errno=errno.ENETUNREACH | errno.EHOSTUNREACH | errno.EADDRNOTAVAIL):
            code, why = "HEL-DIAL-003", f"there is no way there from here ({cause.strerror})"
            remedy = f"mend this machine's network, or its link.listen: `ip route get {host}` must show a way"
        case PeerIDMismatchesPubkey():
            code, why = "HEL-DIAL-005", "another node answers there"
            remedy = "take the address anew from the node that you mean: its `heliotrope status` shows it"
        case Denied():
            code, why = "HEL-DIAL-008", str(cause)
            remedy = (
                "let it in again: heliotrope peer unban, or take it out of link.deny; `heliotrope peer list` shows it"
            )
        case NoiseFailure():
            code, why = "HEL-DIAL-006", f"whatever answers there does not speak Noise ({describe(cause)})"
            remedy = "check the port: the address is that of link.listen, not of the API or of the data"
        case _:
            code, why = "HEL-DIAL-007", f"the connection came to nothing ({describe(cause)})"
            remedy = "see that node's log: it may be stopping, full, no Heliotrope node, or deny this machine's network"
    return LinkError(code, f"cannot reach {address}: {why}", remedy)


def seen_at(connection: IMuxedConn) -> str:
    """The multiaddr from which a peer's connection comes; "" where that is not known, as over a relay."""
    address = connection.get_remote_address()  # type: ignore[attr-defined]
    if address is None:
        return ""
    host = address[0].partition("%")[0]  # a link-local address names our interface, which is nothing to the peer
    return f"/ip{6 if ':' in host else 4}/{host}/tcp/{address[1]}"
