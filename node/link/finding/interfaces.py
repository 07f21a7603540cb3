"""The machine's own addresses: which network an interface is in, and where a wildcard listens."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

import ifaddr

from node.link.events import LinkError
from node.link.finding.addresses import DIRECT, scope_of
from node.reachability import Scope


@dataclass(frozen=True, slots=True)
class Interface:
    """One IPv4 address of the machine, with the network it is in."""

    name: str
    own: ipaddress.IPv4Interface

    @property
    def network(self) -> ipaddress.IPv4Network:
        return self.own.network


def interfaces() -> Iterator[Interface]:
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            if isinstance(ip.ip, str):
                yield Interface(adapter.name, ipaddress.IPv4Interface(f"{ip.ip}/{ip.network_prefix}"))


def find_interface(wanted: str) -> Interface:
    """By its IPv4 address or its name; one of a local network. Raises LinkError."""
    known = list(interfaces())
    found = next((one for one in known if wanted in (str(one.own.ip), one.name)), None)
    if found is None or scope_of(found.own.ip) is Scope.INTERNET:
        usable = ", ".join(f"{one.name} {one.own.ip}" for one in known if scope_of(one.own.ip) is not Scope.INTERNET)
        raise LinkError(
            "HEL-MDNS-001",
            f"mDNS on {wanted[:64]!r}: this machine has no such interface with an IPv4 address in a local network",
            f'set mdns under [link] to one of: {usable[:400]}; or to "" for none',
        )
    return found


def spelled_out(address: str) -> list[str]:
    """Where a multiaddr `/ip4/0.0.0.0/tcp/PORT/...` listens: every IPv4 address of the machine, loopback only if there
    is no other. Any other multiaddr as it is."""
    wildcard = "/ip4/0.0.0.0/"
    if not address.startswith(wildcard) or DIRECT.match(address) is None:
        return [address]
    own = [one.own.ip for one in interfaces()]
    others = [ip for ip in own if not ip.is_loopback]
    return [f"/ip4/{ip}/{address.removeprefix(wildcard)}" for ip in others or own]
