"""Addresses that strangers name: which may be dialled, and which stand for one and the same operator.

Whoever names addresses sends others there. A peer of the open internet must not lead this node into the networks it
stands in: it names public addresses, or is not heard. Names are never resolved: a resolver tells whom one asks for.
"""

from __future__ import annotations

import ipaddress
import re

from node.reachability import Scope

DIRECT = re.compile(r"/ip[46]/([0-9A-Fa-f.:]{2,45})/tcp/([0-9]{1,5})")
RELAYED = re.compile(r"(/ip[46]/[^/]{2,45}/tcp/[0-9]{1,5})/p2p/[1-9A-Za-z]{52}/p2p-circuit")
GROUP_BITS = {4: 24, 6: 48}  # what one customer is given, and so one operator has for nothing

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def scope_of(address: Address) -> Scope | None:
    """Shared and documentation ranges count as a site's. None: an address of nobody."""
    if address.version == 6 and address.ipv4_mapped is not None:
        return None  # another spelling, which would pass what the plain one does not
    if address.is_loopback:
        return Scope.MACHINE
    if address.is_unspecified or address.is_multicast or address.is_reserved:
        return None
    return Scope.INTERNET if address.is_global else Scope.SITE


def ip_of(address: str) -> Address | None:
    """The IP address of a multiaddr of the form `/ip4/ADDRESS/tcp/PORT`; None for any other."""
    match = DIRECT.fullmatch(address)
    if match is None or not 0 < int(match[2]) < 65_536:
        return None
    try:
        ip = ipaddress.ip_address(match[1])
    except ValueError:
        return None
    return ip if address.startswith(f"/ip{ip.version}/") else None


def may_dial(address: str, teller: Scope) -> bool:
    """Whether an address may be dialled told by a peer that we reach in this scope: one of the same or a wider one."""
    ip = ip_of(address)
    scope = None if ip is None else scope_of(ip)
    return scope is not None and scope >= teller


def way_to(address: str) -> str:
    """The address that is dialled first: the relay's, where one stands between."""
    match = RELAYED.fullmatch(address)
    return address if match is None else match[1]


def group_of(address: str) -> str:
    """Whose address it is, as far as it shows: the network that one customer is given, of a relay the relay's; "" if it
    is no public one, since in a local network all addresses are one operator's."""
    ip = ip_of(way_to(address))
    if ip is None or scope_of(ip) is not Scope.INTERNET:
        return ""
    return str(ipaddress.ip_network((ip, GROUP_BITS[ip.version]), strict=False))
