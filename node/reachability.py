"""Can others dial us? A verdict on what peers said who tried, and what an operator can do about it.

A peer tries the address at which it sees us, with our listening port, over a fresh connection. One peer may lie or have
a fault of its own: two must agree, or the one there is.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum

AGREEING_PEERS = 2
TRIED_MAX = 12  # answers for one verdict, of all addresses; guess, not measured
FAILURES_SHOWN_MAX = 3
CONFIRMED_MAX = 3  # with one that we listen on, and four through relays, they are the eight of an advert


class Reach(Enum):
    """Whether others can dial this node."""

    UNKNOWN = "unknown"
    PUBLIC = "public"
    PRIVATE = "private"


class Scope(IntEnum):
    """From how far away an address can be dialled at most."""

    MACHINE = 0
    SITE = 1
    INTERNET = 2


WHERE = {Scope.MACHINE: "on this machine only", Scope.SITE: "in this local network only", Scope.INTERNET: "by anyone"}


@dataclass(frozen=True, slots=True)
class DialBack:
    """A peer has tried an address of ours; `failure` is its words, "" if it reached us."""

    address: str
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Reachability:
    """`scope` is what the verdict is about; `confirmed` and `missed` are multiaddrs without a peer id at which peers
    reached us or did not; `failures` what they met, each once; `relayed` the addresses through relays, complete."""

    reach: Reach = Reach.UNKNOWN
    scope: Scope = Scope.MACHINE
    confirmed: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    relayed: tuple[str, ...] = ()


def scope_of(address: str) -> Scope:
    """Of a multiaddr that begins with an IP address. Raises ValueError for another."""
    host = host_of(address)
    if host.is_loopback:
        return Scope.MACHINE
    return Scope.INTERNET if host.is_global else Scope.SITE


def host_of(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Of a multiaddr that begins with an IP address. Raises ValueError for another."""
    return ipaddress.ip_address(address.split("/")[2] if address.count("/") > 1 else "")


def judge(tried: Collection[DialBack], peers: int) -> Reachability:
    """The verdict for the widest scope of which enough is known; `peers` is how many could be asked.

    Enough is AGREEING_PEERS, or all there are but for those that see us in another scope: at home there may be one peer
    in the local network and one beyond. A majority decides: else one liar could keep a node from its relays.
    """
    for scope in sorted(Scope, reverse=True):
        of_scope = [dial_back for dial_back in tried if scope_of(dial_back.address) is scope]
        enough = max(1, min(AGREEING_PEERS, peers - (len(tried) - len(of_scope))))
        reached = Counter(dial_back.address for dial_back in of_scope if not dial_back.failure)
        missed = Counter(dial_back.address for dial_back in of_scope if dial_back.failure)
        confirmed = [a for a, count in sorted(reached.items()) if count >= max(enough, missed[a])]
        if confirmed:
            return Reachability(Reach.PUBLIC, scope, tuple(confirmed[:CONFIRMED_MAX]))
        if missed.total() >= enough and missed.total() > reached.total():
            failures = dict.fromkeys(dial_back.failure for dial_back in of_scope if dial_back.failure)
            told = tuple(failures)[:FAILURES_SHOWN_MAX]
            return Reachability(Reach.PRIVATE, scope, missed=tuple(sorted(missed)), failures=told)
    return Reachability()


def is_worth_trying(address: str, tried: Collection[DialBack], peers: int) -> bool:
    """Whether another peer should try this address: what is known of others, nearer or farther, says nothing of it."""
    same = [dial_back for dial_back in tried if dial_back.address == address]
    return len(tried) < TRIED_MAX and judge(same, peers).reach is Reach.UNKNOWN


def advertised(listening: Iterable[str], reachability: Reachability, peer_id: str) -> tuple[str, ...]:
    """What others may dial: confirmed addresses, then those that we listen on, then those through relays."""
    own = (address for address in listening if not host_of(address).is_unspecified)
    confirmed = (f"{address}/p2p/{peer_id}" for address in reachability.confirmed)
    return tuple(dict.fromkeys((*confirmed, *own, *reachability.relayed)))


def said(reachability: Reachability) -> str:
    """The verdict in a line, for people, with numbered remedies where there is something to mend."""
    match reachability.reach:
        case Reach.UNKNOWN:
            return "not known yet: too few peers have tried to dial this node"
        case Reach.PUBLIC:
            return f"reachable at {', '.join(reachability.confirmed)}, {WHERE[reachability.scope]}"
        case Reach.PRIVATE:
            port = reachability.missed[0].rpartition("/")[2]
            text = (
                f"peers cannot dial this node at {', '.join(reachability.missed)} ({'; '.join(reachability.failures)}):"
                f" 1. forward TCP port {port} to this machine, and open it in its firewall"
            )
            if reachability.relayed:
                return f"{text}; until then it is reached through relays, at {', '.join(reachability.relayed)}"
            return f"{text}; 2. connect it to a public peer that relays (link.relay = true in its config.toml)"
