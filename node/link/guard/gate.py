"""Who may connect, by address: networks that are denied, and how many places one address may take. Pure: time is
passed in, in seconds.

An address is an IPv4 address or the /64 of an IPv6 address: that is what one customer of a provider has at least, and
so what a stranger can fill with connections for nothing.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass
from itertools import chain
from math import inf

from node.link.events import LinkError
from node.link.guard.rates import Buckets

HALF_OPEN_MAX = 128  # handshakes under way, in all; guess, not measured
DENIED_MAX = 4096  # networks; each connection looks at all of them

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_network(text: str) -> Network:
    """An address, or a network as in `192.0.2.0/24`. Raises LinkError."""
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise LinkError(
            "HEL-LINK-011",
            f"{text[:80]!r} is no network: {str(error)[:200]}",
            "write an address, or a network as in 192.0.2.0/24 or 2001:db8::/32",
        ) from None


def require_few(networks: Sized) -> None:
    """Raises LinkError."""
    if len(networks) > DENIED_MAX:
        cause = f"{len(networks)} networks, {DENIED_MAX} are allowed"
        raise LinkError("HEL-LINK-012", cause, "deny fewer and larger networks, or use the machine's firewall")


def parse_address(text: str) -> Address | None:
    """None for what is no IP address. IPv4 within IPv6 is IPv4: a listener on `::` sees it so."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address


def network_of(address: Address, denied: Iterable[tuple[Network, float]], now_s: float) -> Network | None:
    """The first of these networks, each denied until then, that an address is in."""
    return next((network for network, until_s in denied if address in network and now_s < until_s), None)


def neighbourhood(address: Address) -> Network:
    """What counts as one address."""
    return ipaddress.ip_network((address, 32 if address.version == 4 else 64), strict=False)


@dataclass(eq=False, slots=True)
class Place:
    """One incoming connection. `cut` ends it."""

    at: Network | None
    cut: Callable[[], None]


class Gate:
    """`always` is denied for good. A connection whose address is unknown counts in all, and at no address."""

    def __init__(self, per_address_max: int, always: Iterable[Network] = ()) -> None:
        self.per_address_max = per_address_max
        self.half_open_per_address_max = max(1, per_address_max // 2)
        self.always = tuple(always)
        self.denied: dict[Network, float] = {}  # until when
        self.places: Counter[Network] = Counter()
        self._half_open: dict[Place, None] = {}  # the oldest first
        self._half_open_at: Counter[Network] = Counter()
        # Each handshake takes milliseconds of a core: whoever comes and goes could take all of it. Guess, not measured.
        self._arrivals = Buckets(per_address_max / 2, 4 * per_address_max)

    def deny(self, denied: Mapping[Network, float]) -> None:
        """Deny these from now on, each until then, and no others but those for good. Raises LinkError for too many."""
        require_few(denied)
        self.denied = dict(denied)

    def denial(self, address: Address | None, now_s: float) -> str:
        """Why there is to be no connection with an address, or ""."""
        denied = chain(((network, inf) for network in self.always), self.denied.items())
        network = network_of(address, denied, now_s) if address is not None else None
        return f"{address} is in {network}, which this node's operator denies" if network is not None else ""

    def refusal(self, address: Address | None, now_s: float) -> str:
        """Why a connection that has come from an address is not taken, or ""."""
        if address is None or (reason := self.denial(address, now_s)):
            return "" if address is None else reason
        at = neighbourhood(address)
        if self.places[at] >= self.per_address_max:
            return f"{self.places[at]} connections from {at}, {self.per_address_max} are allowed"
        if self._half_open_at[at] >= self.half_open_per_address_max:
            return f"{self._half_open_at[at]} handshakes from {at}, {self.half_open_per_address_max} are allowed"
        if not self._arrivals.take(at, now_s):
            return f"more than {self._arrivals.rate:g} connections a second from {at}"
        return ""

    def enter(self, address: Address | None, cut: Callable[[], None]) -> Place:
        """Take a place for a connection whose handshake begins. Where too many are under way in all, the oldest is cut:
        an honest one takes less than a second, and whoever holds up many must not keep others out."""
        place = Place(neighbourhood(address) if address is not None else None, cut)
        if len(self._half_open) >= HALF_OPEN_MAX:
            oldest = next(iter(self._half_open))
            self.opened(oldest)
            oldest.cut()
        self._half_open[place] = None
        if place.at is not None:
            self.places[place.at] += 1
            self._half_open_at[place.at] += 1
        return place

    def opened(self, place: Place) -> None:
        """Its handshake is done."""
        if place in self._half_open:
            del self._half_open[place]
            _less(self._half_open_at, place.at)

    def leave(self, place: Place) -> None:
        """Give the place back, once."""
        self.opened(place)
        _less(self.places, place.at)


def _less(counts: Counter[Network], at: Network | None) -> None:
    """One less, and no trace of a zero: there are more addresses than memory."""
    if at is not None:
        counts[at] -= 1
        if counts[at] <= 0:
            del counts[at]
