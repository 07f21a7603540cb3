"""How often each address may begin a connection: a handshake costs the node 0.7 ms of processor time (measured)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

RATE_PER_S = 20.0  # 1.4 % of a core; guess, not measured
BURST = 64.0
ADDRESSES_MAX = 4096  # that are not rested; beyond it the one that began longest ago is forgotten


def group_of(address: str) -> str:
    """Whom to count as one: an address, of IPv6 the 64 bits that are one customer's."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if ip.version == 4:
        return address
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False).network_address)


@dataclass(slots=True)
class Pace:
    """A token bucket for each group of addresses."""

    tokens: dict[str, tuple[float, float]] = field(default_factory=dict)  # and when that was so, in seconds

    def allows(self, group: str, now_s: float) -> bool:
        """Whether it may begin another one now; if so, that is counted."""
        left, since_s = self.tokens.pop(group, (BURST, now_s))
        left = min(BURST, left + (now_s - since_s) * RATE_PER_S)
        is_allowed = left >= 1
        self.tokens[group] = (left - is_allowed, now_s)
        if len(self.tokens) > ADDRESSES_MAX:
            del self.tokens[next(iter(self.tokens))]
        return is_allowed
