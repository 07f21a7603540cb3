"""Who is there: connections and adverts. Whom to dial, and when again, is in `dialling`.

Nothing about a peer is believed here but what it signed; an advert says what a peer claims, the ledger what it did.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from node.actions import Notify
from node.dialling import Dialling
from node.events import PeerConnected, PeerDisconnected
from node.turn import Turn
from protocol.adverts import SignedAdvert
from protocol.errors import Ignore, Reject
from protocol.gossip import judge_advert
from protocol.identity import peer_id, short

ADVERTS_MAX = 10_000


@dataclass(slots=True)
class Peers:
    """The book of peers. `me` and `my_label`: the node itself, which is in no advert that it hears."""

    me: bytes
    my_label: str
    dialling: Dialling
    connected: set[bytes] = field(default_factory=set)
    adverts: dict[bytes, SignedAdvert] = field(default_factory=dict)

    def on_connected(self, turn: Turn, event: PeerConnected) -> None:
        self.connected.add(event.peer)
        self.dialling.on_connected(turn, event.peer)
        turn.do(Notify("peer connected", {"peer": peer_id(event.peer), "label": self.label(event.peer)}))

    def on_disconnected(self, turn: Turn, event: PeerDisconnected) -> None:
        self.connected.discard(event.peer)
        self.dialling.on_disconnected(turn, event.peer)
        turn.do(Notify("peer lost", {"peer": peer_id(event.peer), "label": self.label(event.peer)}))

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
        advert = signed.advert
        self.dialling.on_addresses(turn, signed.author, advert.addresses, advert.expires_at_ms, self.connected)

    def fresh_adverts(self, now_ms: int) -> list[SignedAdvert]:
        """Adverts that have not expired, ordered by peer."""
        return [s for _, s in sorted(self.adverts.items()) if s.advert.expires_at_ms > now_ms]

    def label(self, peer: bytes) -> str:
        """What people call the peer: its own label and enough of its id to tell it from a namesake."""
        if peer == self.me:
            return self.my_label
        signed = self.adverts.get(peer)
        return signed.advert.label if signed is not None and signed.advert.label else short(peer)

    def _forget_expired(self, now_ms: int) -> None:
        self.adverts = {k: s for k, s in self.adverts.items() if s.advert.expires_at_ms > now_ms}
