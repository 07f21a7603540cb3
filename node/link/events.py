"""What the link reports: events, how they cross from the libp2p thread to the loop, and errors.

Imports neither libp2p nor trio.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from node.reachability import Reachability
from protocol.errors import LocalError

GOSSIP_UNDELIVERED_MAX = 1024  # guess, not measured
DELIVERIES_PER_TURN = 64  # then the loop gets to do other things; guess, not measured

THREAD_IS_DOWN = "HEL-LINK-007"
# How these reasons for a refusal begin.
ANOTHER_NETWORK = "another network"
ANOTHER_PROCESS = "another process"
BANNED = "banned "  # how the reason of a ban begins

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """The first connection with a peer is up, and both have accepted each other. Once per peer, before its messages."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class PeerDisconnected:
    """The last connection with a peer is gone. Once for every PeerConnected; messages under way may be lost."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class GossipArrived:
    """Signed by its author, accepted by the judge, not our own. `peer` handed it to us, which makes it no author."""

    topic: str
    peer: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class MessageArrived:
    """One whole message of a connected peer."""

    peer: bytes
    data: bytes


class Verdict(Enum):
    """What the judge says of gossip, and so of whoever sent it: only what is accepted is forwarded and delivered."""

    ACCEPT = "accept"
    IGNORE = "ignore"
    """innocent: late, or not for us"""
    REJECT = "reject"
    """faulty: no honest peer forwards it"""


@dataclass(frozen=True, slots=True)
class LinkFailed:
    """The libp2p thread has died, or failed to come back. It is started again by itself."""

    reason: str


@dataclass(frozen=True, slots=True)
class PeerRefused:
    """A connection that came to nothing, since one side refused the other's hello; or that ends, since what had let the
    peer in no longer does."""

    peer: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class PeerBanned:
    """By its own acts: its connections are cut, and its hellos refused. `reason` says for how long, too."""

    peer: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class ReachabilityChanged:
    """Whether others can dial us, and all the addresses at which they may: the ones to advertise from now on."""

    reachability: Reachability
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PeersFound:
    """Addresses that somebody on the same wire announces by mDNS, each ending in `/p2p/` and the peer's id. A hint:
    dialling tells who is there."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LinkRestarted:
    """It is back after a LinkFailed, on its port, and knows nobody: dial again."""


LinkEvent = (
    PeerConnected
    | PeerDisconnected
    | PeerRefused
    | PeerBanned
    | PeersFound
    | GossipArrived
    | MessageArrived
    | LinkFailed
    | LinkRestarted
    | ReachabilityChanged
)


class LinkError(LocalError):
    """What was asked of the link did not happen; after a failed `send` the peer may have the message all the same."""


def cannot_listen(listen: str, reason: str) -> LinkError:
    return LinkError(
        "HEL-LINK-001",
        f"cannot listen on {listen[:80]!r}: {reason}",
        "end the program that uses the port (`ss -ltnp` names it), or choose another; tcp/0 takes any that is free",
    )


class DialRefused(LinkError):
    """The peer is there, and one of the two refuses the other."""

    @property
    def is_lasting(self) -> bool:
        """Whether only an operator can change that. A second process with one key may be what is left of a crash."""
        return ANOTHER_PROCESS not in self.cause


def refused_by(peer: str, reason: str) -> DialRefused:
    """`reason` is a stranger's."""
    return DialRefused("HEL-LINK-010", f"{peer} refuses this node: {reason[:200]!r}", remedy_of(reason))


def refused_here(peer: str, reason: str) -> DialRefused:
    remedy = lift_of(peer) if reason.startswith(BANNED) else remedy_of(reason)
    return DialRefused("HEL-LINK-003", f"this node refuses {peer}: {reason}", remedy)


def remedy_of(reason: str) -> str:
    """What to do about a refused hello."""
    if reason.startswith(ANOTHER_NETWORK):
        return "give both nodes the same genesis.json, or take the address out of link.bootstrap"
    if reason.startswith(ANOTHER_PROCESS):
        return "end one of the two processes, or give it a key of its own: heliotrope init, in another home"
    if reason.startswith(BANNED):
        return "mend what the reason names, then wait until the ban has ended, or ask that node's operator to lift it"
    return "do what the reason asks, or ask that node's operator: a closed network wants an invitation"


def banned(peer: str, reason: str) -> LinkError:
    return LinkError("HEL-LINK-013", f"{peer} is {reason}", lift_of(peer))


def lift_of(peer: str) -> str:
    """What to do about a ban of our own."""
    return f"wait until it has ended, or lift it: heliotrope peer unban {peer}"


def thread_is_down(reason: str) -> LinkError:
    return LinkError(THREAD_IS_DOWN, f"the libp2p thread is down: {reason}", "it restarts by itself: try again")


def did_not_start(reason: str) -> LinkError:
    return LinkError(
        "HEL-LINK-009", f"the libp2p thread did not start: {reason}", "report it as a fault, with this line"
    )


def innermost(error: BaseException) -> BaseException:
    """The first cause, out of groups and chains."""
    while not isinstance(error, LinkError):
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif error.__cause__ is not None:
            error = error.__cause__
        else:
            break
    return error


def describe(error: BaseException) -> str:
    """The part of a failure that a person can act on, in a line."""
    cause = innermost(error)
    return f"{type(cause).__name__} {cause}".strip()[:200]


class Crossing:
    """Events on their way to the loop, in the order they were posted.

    At most GOSSIP_UNDELIVERED_MAX gossip messages wait: then the oldest is dropped and counted. Messages are bounded by
    their readers, which wait for `delivered`; events of peers, by the number of connections.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, deliver: Callable[[LinkEvent], bool | None], losses: Counter[str]
    ) -> None:
        self._loop, self._deliver, self._losses = loop, deliver, losses
        self._lock = threading.Lock()
        # under the lock
        self._waiting: deque[tuple[LinkEvent, Callable[[bool], None] | None]] = deque()
        self._gossip_waiting = 0
        self._is_draining = False

    def post(self, event: LinkEvent, delivered: Callable[[bool], None] | None = None) -> None:
        """From any thread. `delivered` is called on the loop: whether the event was taken."""
        with self._lock:
            if isinstance(event, GossipArrived):
                if self._gossip_waiting == GOSSIP_UNDELIVERED_MAX:
                    self._drop_oldest_gossip()
                self._gossip_waiting += 1
            self._waiting.append((event, delivered))
            if self._is_draining:
                return
            self._is_draining = True
        with suppress(RuntimeError):  # the loop is closed: nobody is there to be told
            self._loop.call_soon_threadsafe(self._drain)

    def close(self) -> None:
        """On the loop: from now on nothing is delivered."""
        self._deliver = lambda event: False

    def _drop_oldest_gossip(self) -> None:
        oldest = next(i for i, (event, _) in enumerate(self._waiting) if isinstance(event, GossipArrived))
        del self._waiting[oldest]
        self._gossip_waiting -= 1
        self._losses["gossip_undelivered"] += 1

    def _drain(self) -> None:
        for _ in range(DELIVERIES_PER_TURN):
            with self._lock:
                if not self._waiting:
                    self._is_draining = False
                    return
                event, delivered = self._waiting.popleft()
                self._gossip_waiting -= isinstance(event, GossipArrived)
            is_taken = False
            try:
                is_taken = self._deliver(event) is not False
            except Exception:
                log.exception("a %s is lost: its receiver failed", type(event).__name__)
            if not is_taken and isinstance(event, GossipArrived):
                self._losses["gossip_undelivered"] += 1
            if delivered is not None:
                delivered(is_taken)
        self._loop.call_soon(self._drain)
