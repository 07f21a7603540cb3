"""Who may hold a connection to the data listener, and for how long before it has asked for something.

Counted from the first byte of TCP on, before any handshake is paid for. Where there is no place left, whoever has
waited longest without a question makes room: strangers who hold connections and say nothing keep nobody out.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from node.link.guard.gate import Network, neighbourhood, parse_address
from node.link.guard.rates import Buckets

CONNECTIONS_MAX = 128  # 256 KiB of TLS buffer each; guess, not measured
CONNECTIONS_PER_ADDRESS_MAX = 32  # several honest nodes may share one
ARRIVALS_PER_S, ARRIVALS_BURST = 20.0, 64.0  # of one address: 1.4 % of a core, a handshake takes 0.7 ms (measured)
HANDSHAKE_TIMEOUT_S = 5.0  # two round trips and a signature
QUESTION_TIMEOUT_S = 10.0  # from the handshake to the last header
FAREWELL_TIMEOUT_S = 15.0  # for what lies in buffers when the answer is complete
ACCEPT_PAUSE_S = 0.5  # where the process has no file left
HEAD_MAX_BYTES = 6 * 1024  # one header: a ticket with its proof takes 4108 at most
HEADERS_MAX = 32

log = logging.getLogger("heliotrope")


@dataclass(slots=True, eq=False)
class Guest:
    """A connection until it is closed: how to end it, and the timer that does. No transport before the handshake."""

    at: Network
    turn_away: Callable[[], object] = lambda: None
    transport: asyncio.BaseTransport | None = None
    timer: asyncio.TimerHandle | None = None


class Conversation(web.RequestHandler):
    """One connection's HTTP. It tells when it is over."""

    __slots__ = ("_on_over",)

    def __init__(self, server: web.Server, on_over: Callable[[], None]) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # it takes None, and then writes none
            logger=_Quiet(log),  # type: ignore[arg-type]
            max_line_size=1024,
            max_field_size=HEAD_MAX_BYTES,
            max_headers=HEADERS_MAX,
            lingering_time=0,
            auto_decompress=False,
            keepalive_timeout=QUESTION_TIMEOUT_S,
        )
        self._on_over = on_over

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._on_over()


class _Quiet(logging.LoggerAdapter[logging.Logger]):
    """What strangers' requests come to is for debugging: nobody fills a log with them."""

    def log(self, level: int, msg: object, *args: object, **options: object) -> None:
        super().log(min(level, logging.DEBUG), msg, *args, **options)  # type: ignore[arg-type]


class Door:
    """Accepts connections, over TLS, for one HTTP server; none from an IP address that `denies` names."""

    def __init__(self, denies: Callable[[str], bool] = lambda address: False) -> None:
        self._denies = denies
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._greeting: set[asyncio.Task[None]] = set()
        self._arrivals = Buckets(ARRIVALS_PER_S, ARRIVALS_BURST)
        self._guests: set[Guest] = set()
        self._waiting: dict[Guest, None] = {}  # without a question so far, oldest first
        self._by_transport: dict[asyncio.BaseTransport, Guest] = {}
        self.places: Counter[Network] = Counter()  # taken, by what counts as one address

    def open(self, host: str, port: int, server: web.Server, context: ssl.SSLContext) -> int:
        """Listen; the real port. Raises OSError."""
        self._server, self._context = server, context
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=CONNECTIONS_MAX)
        self._listener.setblocking(False)
        self._accepting = asyncio.create_task(self._accept(self._listener), name="data listener")
        return int(self._listener.getsockname()[1])

    async def close(self) -> None:
        """Nobody comes in any more, and whoever is in is sent away."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait({self._accepting})
        if self._listener is not None:
            self._listener.close()
            await self._server.shutdown(0)
        for guest in list(self._guests):
            guest.turn_away()
        await asyncio.gather(*self._greeting, return_exceptions=True)

    def has_asked(self, transport: asyncio.BaseTransport | None) -> None:
        """Its question has come whole: from here on the answer has its own time limits."""
        guest = self._by_transport.get(transport) if transport is not None else None
        if guest is not None:
            self._waiting.pop(guest, None)
            if guest.timer is not None:
                guest.timer.cancel()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listener)
            except OSError as error:
                log.warning("the data listener cannot accept: %s", error)
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            ip = parse_address(address[0])
            at = neighbourhood(ip) if ip is not None and not self._denies(address[0]) else None
            if at is not None and self._arrivals.take(at, loop.time()) and self._make_room(at):
                self._let_in(connection, at)
            else:
                connection.close()

    def _make_room(self, at: Network) -> bool:
        """Whether there is a place, after somebody has made one where it was possible."""
        if self.places[at] >= CONNECTIONS_PER_ADDRESS_MAX:
            return self._turn_oldest_away(lambda guest: guest.at == at)
        return len(self._guests) < CONNECTIONS_MAX or self._turn_oldest_away(lambda guest: True)

    def _turn_oldest_away(self, is_one: Callable[[Guest], bool]) -> bool:
        guest = next(filter(is_one, self._waiting), None)
        if guest is None:
            return False
        guest.turn_away()
        self._leave(guest)
        return True

    def _let_in(self, connection: socket.socket, at: Network) -> None:
        guest = Guest(at)
        self._guests.add(guest)
        self._waiting[guest] = None
        self.places[at] += 1
        greeting = asyncio.create_task(self._greet(guest, connection))
        guest.turn_away = greeting.cancel
        self._greeting.add(greeting)
        greeting.add_done_callback(self._greeting.discard)

    async def _greet(self, guest: Guest, connection: socket.socket) -> None:
        """The handshake. Whoever fails it has left."""
        loop = asyncio.get_running_loop()
        transport: asyncio.Transport | None = None
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: Conversation(self._server, lambda: self._leave(guest)),
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
                ssl_shutdown_timeout=FAREWELL_TIMEOUT_S,
            )
        except OSError as error:
            log.debug("a handshake at the data listener failed: %s", error)
        finally:
            if transport is None:
                connection.close()
                self._leave(guest)
        if transport is not None and guest in self._guests:
            guest.transport, guest.turn_away = transport, transport.abort
            guest.timer = loop.call_later(QUESTION_TIMEOUT_S, transport.abort)
            self._by_transport[transport] = guest

    def _leave(self, guest: Guest) -> None:
        """Once or twice."""
        if guest not in self._guests:
            return
        self._guests.discard(guest)
        self._waiting.pop(guest, None)
        self.places[guest.at] -= 1
        if not self.places[guest.at]:
            del self.places[guest.at]
        if guest.timer is not None:
            guest.timer.cancel()
        if guest.transport is not None:
            del self._by_transport[guest.transport]
