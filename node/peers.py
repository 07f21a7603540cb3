"""Who is there: connections, adverts, and the addresses to dial again, forever.

Nothing about a peer is believed here but what it signed; an advert says what a peer claims, the ledger what it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from node.actions import (
    Dial,
    Notify,
    RememberPeers,
    SetTimeout,
)
from node.events import (
    DialFailed,
    PeerConnected,
    PeerDisconnected,
    Timer,
    TimerKind,
)
from node.turn import Turn
from protocol.adverts import SignedAdvert
from protocol.errors import Ignore, Reject
from protocol.gossip import judge_advert
from protocol.identity import peer_id, public_key, short

REDIAL_EVERY_MS = 500
REDIAL_PAUSES_MAX = 60  # guess, not measured: twice a minute costs nothing and finds a peer soon after it returns
CONNECTIONS_MAX = 32  # guess, not measured: a gossip mesh wants 6 to 12
ADVERTS_MAX = 10_000
FOUND_MAX = 32  # dialled at one finding
ADDRESSES_MAX = 256  # dialled at any time, and remembered; beyond it newcomers have to dial us


@dataclass(slots=True)
class Peers:
    """The book of peers. `me` and `my_label`: the node itself, which is in no advert that it hears."""

    me: bytes
    my_label: str
    bootstrap: tuple[str, ...]  # addresses from the configuration and from the last run
    connected: set[bytes] = field(default_factory=set)
    adverts: dict[bytes, SignedAdvert] = field(default_factory=dict)
    # of each address that we try to reach
    failures: dict[str, int] = field(default_factory=dict)  # since the last success
    pauses: dict[str, int] = field(default_factory=dict)  # of REDIAL_EVERY_MS, until the next attempt
    reasons: dict[str, str] = field(default_factory=dict)  # why the last dial failed
    remembered: tuple[str, ...] = ()

    def on_started(self, turn: Turn) -> None:
        for address in self.bootstrap[:ADDRESSES_MAX]:
            self._dial(turn, address)
        turn.do(SetTimeout(Timer(TimerKind.REDIAL), REDIAL_EVERY_MS))

    def on_connected(self, turn: Turn, event: PeerConnected) -> None:
        self.connected.add(event.peer)
        for address in self._addresses_of(event.peer):
            self._forget(address)
        turn.do(Notify("peer connected", {"peer": peer_id(event.peer), "label": self.label(event.peer)}))

    def on_disconnected(self, turn: Turn, event: PeerDisconnected) -> None:
        self.connected.discard(event.peer)
        turn.do(Notify("peer lost", {"peer": peer_id(event.peer), "label": self.label(event.peer)}))
        for address in self._addresses_of(event.peer):
            self._dial_later(turn, address)

    def on_dial_failed(self, turn: Turn, event: DialFailed) -> None:
        if event.address in self.failures:
            self.reasons[event.address] = event.reason
            self._dial_later(turn, event.address)

    def on_found(self, turn: Turn, addresses: Sequence[str]) -> None:
        """Somebody says that peers are there: each is tried once, and what it says then counts."""
        for address in addresses[:FOUND_MAX]:
            wanted = peer_of(address) not in (None, *self.connected) and address not in self.failures
            if wanted and len(self.connected) < CONNECTIONS_MAX:
                self._dial(turn, address)

    def on_redial(self, turn: Turn) -> None:
        """Try again wherever it is time. An address is given up when nobody advertises it any more."""
        for address, pauses in list(self.pauses.items()):
            if peer_of(address) in self.connected or not self._is_wanted(address, turn.now_ms):
                self._forget(address)
            elif pauses > 0:
                self.pauses[address] = pauses - 1
            elif len(self.connected) < CONNECTIONS_MAX:
                self._dial(turn, address)
        turn.do(SetTimeout(Timer(TimerKind.REDIAL), REDIAL_EVERY_MS))

    def on_advert(self, turn: Turn, data: bytes) -> None:
        """Keep the newest advert of each peer, and meet peers that are new."""
        try:
            signed = judge_advert(data, turn.identity.network, turn.now_ms)
        except (Ignore, Reject):
            return
        known = self.adverts.get(signed.author)
        if signed.author == turn.identity.key or (known and known.advert.number >= signed.advert.number):
            return  # an old one, replayed
        if known is None and len(self.adverts) >= ADVERTS_MAX:
            self._forget_expired(turn.now_ms)
            if len(self.adverts) >= ADVERTS_MAX:
                return  # the book is full of living peers: a newcomer waits for a place
        self.adverts[signed.author] = signed
        if known is None:
            turn.do(Notify("peer advertised", {"peer": peer_id(signed.author), "label": self.label(signed.author)}))
        if signed.author not in self.connected and len(self.connected) < CONNECTIONS_MAX:
            for address in self._addresses_of(signed.author):
                if address not in self.failures:
                    self._dial(turn, address)
        if known is None or known.advert.addresses != signed.advert.addresses:
            self._remember(turn, self._addresses_of(signed.author))

    def fresh_adverts(self, now_ms: int) -> list[SignedAdvert]:
        """Adverts that have not expired, ordered by peer."""
        return [s for _, s in sorted(self.adverts.items()) if s.advert.expires_at_ms > now_ms]

    def label(self, peer: bytes) -> str:
        """What people call the peer: its own label and enough of its id to tell it from a namesake."""
        if peer == self.me:
            return self.my_label
        signed = self.adverts.get(peer)
        return signed.advert.label if signed is not None and signed.advert.label else short(peer)

    def _dial(self, turn: Turn, address: str) -> None:
        if peer_of(address) == self.me or (address not in self.failures and len(self.failures) >= ADDRESSES_MAX):
            return
        self.failures.setdefault(address, 0)
        self.pauses[address] = REDIAL_PAUSES_MAX  # should the answer be lost
        turn.do(Dial(address))

    def _dial_later(self, turn: Turn, address: str) -> None:
        failures = self.failures.get(address, 0)
        self.failures[address] = failures + 1
        pauses = min(2 ** min(failures, 10), REDIAL_PAUSES_MAX)
        self.pauses[address] = pauses + turn.identity.chance.randrange(pauses + 1)

    def _forget(self, address: str) -> None:
        for book in (self.failures, self.pauses, self.reasons):
            book.pop(address, None)

    def _remember(self, turn: Turn, addresses: list[str]) -> None:
        """Keep addresses for the next start, the newest first after the operator's own."""
        newest = dict.fromkeys((*self.bootstrap, *addresses, *self.remembered))
        self.remembered = tuple(newest)[:ADDRESSES_MAX]
        turn.do(RememberPeers(self.remembered))

    def _addresses_of(self, peer: bytes) -> list[str]:
        """Addresses that name this peer; an advert cannot lend its signature to somebody else's address."""
        signed = self.adverts.get(peer)
        claimed = signed.advert.addresses if signed is not None else ()
        return [a for a in dict.fromkeys((*self.bootstrap, *claimed)) if peer_of(a) == peer]

    def _is_wanted(self, address: str, now_ms: int) -> bool:
        if address in self.bootstrap:
            return True
        signed = self.adverts.get(peer_of(address) or b"")
        return signed is not None and signed.advert.expires_at_ms > now_ms and address in signed.advert.addresses

    def _forget_expired(self, now_ms: int) -> None:
        self.adverts = {k: s for k, s in self.adverts.items() if s.advert.expires_at_ms > now_ms}


@lru_cache(maxsize=4 * ADDRESSES_MAX)
def peer_of(address: str) -> bytes | None:
    """The public key that an address ends in, if it names one."""
    try:
        return public_key(address.rpartition("/p2p/")[2])
    except ValueError:
        return None
