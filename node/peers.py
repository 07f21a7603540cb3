"""Who is there: connections, adverts, and the addresses to dial again, forever.

Nothing about a peer is believed here but what it signed; an advert says what a peer claims, the ledger what it did.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from node.events import (
    Dial,
    DialFailed,
    Notify,
    PeerConnected,
    PeerDisconnected,
    RememberPeers,
    SetTimeout,
    Timer,
    TimerKind,
)
from node.turn import Turn
from protocol.adverts import SignedAdvert
from protocol.errors import Ignore, Reject
from protocol.gossip import judge_advert
from protocol.identity import peer_id, short

REDIAL_MIN_MS = 500
REDIAL_MAX_MS = 30_000  # guess, not measured: twice a minute costs nothing and finds a peer soon after it returns
CONNECTIONS_MAX = 32  # guess, not measured: a gossip mesh wants 6 to 12
ADVERTS_MAX = 10_000
ADDRESSES_MAX = 256


@dataclass(slots=True)
class Peers:
    """The book of peers. `me` and `my_label`: the node itself, which is in no advert that it hears."""

    me: bytes
    my_label: str
    bootstrap: tuple[str, ...]  # addresses from the configuration and from the last run
    connected: set[bytes] = field(default_factory=set)
    adverts: dict[bytes, SignedAdvert] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)  # per address, since the last success
    reasons: dict[str, str] = field(default_factory=dict)  # why the last dial failed

    def on_started(self, turn: Turn) -> None:
        for address in self.bootstrap[:ADDRESSES_MAX]:
            self._dial(turn, address)

    def on_connected(self, turn: Turn, event: PeerConnected) -> None:
        self.connected.add(event.peer)
        for address in self._addresses_of(event.peer):
            self.failures.pop(address, None)
            self.reasons.pop(address, None)
        turn.do(Notify("peer connected", {"peer": peer_id(event.peer), "label": self.label(event.peer)}))

    def on_disconnected(self, turn: Turn, event: PeerDisconnected) -> None:
        self.connected.discard(event.peer)
        turn.do(Notify("peer lost", {"peer": peer_id(event.peer), "label": self.label(event.peer)}))
        for address in self._addresses_of(event.peer):
            self._redial_later(turn, address)

    def on_dial_failed(self, turn: Turn, event: DialFailed) -> None:
        self.reasons[event.address] = event.reason
        self._redial_later(turn, event.address)

    def on_redial(self, turn: Turn, timer: Timer) -> None:
        address = timer.key.decode()
        if not self._is_connected_at(address):
            self._dial(turn, address)

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
            addresses = [a for s in self.adverts.values() for a in self._addresses_of(s.author)]
            turn.do(RememberPeers(tuple(dict.fromkeys((*self.bootstrap, *addresses)))[:ADDRESSES_MAX]))

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
        self.failures.setdefault(address, 0)
        turn.do(Dial(address))

    def _redial_later(self, turn: Turn, address: str) -> None:
        failures = self.failures.get(address, 0)
        self.failures[address] = failures + 1
        pause_ms = min(REDIAL_MIN_MS * 2 ** min(failures, 10), REDIAL_MAX_MS)
        jitter_ms = turn.identity.chance.randrange(pause_ms)
        turn.do(SetTimeout(Timer(TimerKind.REDIAL, address.encode()), pause_ms + jitter_ms))

    def _addresses_of(self, peer: bytes) -> list[str]:
        """Addresses that name this peer; an advert cannot lend its signature to somebody else's address."""
        signed = self.adverts.get(peer)
        suffix = f"/p2p/{peer_id(peer)}"
        claimed = signed.advert.addresses if signed is not None else ()
        return [a for a in dict.fromkeys((*self.bootstrap, *claimed)) if a.endswith(suffix)]

    def _is_connected_at(self, address: str) -> bool:
        return any(address.endswith(f"/p2p/{peer_id(peer)}") for peer in self.connected)

    def _forget_expired(self, now_ms: int) -> None:
        self.adverts = {k: s for k, s in self.adverts.items() if s.advert.expires_at_ms > now_ms}
