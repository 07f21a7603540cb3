"""Who is there: connections and adverts. Whom to dial, and when again, is in `dialling`.

Nothing about a peer is believed here but what it signed; an advert says what a peer claims, the ledger what it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from node.actions import Notify
from node.dialling import Dialling
from node.events import PeerConnected, PeerDisconnected
from node.market.book import AdvertBook
from node.turn import Turn
from protocol.adverts import SignedAdvert, SignedUpdate
from protocol.direct import Adverts
from protocol.errors import Ignore, Reject
from protocol.gossip import judge_adverts
from protocol.identity import peer_id, short

HINT_LASTS_MS = 600_000  # guess, not measured
HINTS_MAX = 32  # addresses of one finding


@dataclass(slots=True)
class Peers:
    """The book of peers. `me` and `my_label`: the node itself, which is in no advert that it hears; `book`: what others
    advertise."""

    me: bytes
    my_label: str
    dialling: Dialling
    book: AdvertBook
    connected: set[bytes] = field(default_factory=set)

    @property
    def adverts(self) -> dict[bytes, SignedAdvert]:
        """What each peer says now; perhaps it has expired."""
        return self.book.adverts

    def on_connected(self, turn: Turn, event: PeerConnected) -> None:
        self.connected.add(event.peer)
        self.dialling.on_connected(turn, event.peer)
        turn.do(Notify("peer connected", {"peer": peer_id(event.peer), "label": self.label(event.peer)}))
        self.book.on_connected(turn, event.peer, self.connected)

    def on_disconnected(self, turn: Turn, event: PeerDisconnected) -> None:
        self.connected.discard(event.peer)
        self.dialling.on_disconnected(turn, event.peer)
        self.book.on_disconnected(turn, event.peer, self.connected)
        turn.do(Notify("peer lost", {"peer": peer_id(event.peer), "label": self.label(event.peer)}))

    def on_found(self, turn: Turn, addresses: Sequence[str]) -> None:
        """Somebody says that peers are there: a hint, to be tried for a while."""
        until_ms = turn.now_ms + HINT_LASTS_MS * turn.identity.genesis.clock.speed
        self.dialling.on_hints(turn, addresses[:HINTS_MAX], until_ms, self.connected)

    def on_gossip(self, turn: Turn, peer: bytes, region: str, data: bytes) -> None:
        """Adverts of a region, handed on by a peer."""
        try:
            items = judge_adverts(data, turn.identity.network, region, turn.now_ms)
        except (Ignore, Reject):
            return
        for item in items:
            self._take(turn, peer, item)

    def on_answer(self, turn: Turn, peer: bytes, message: Adverts) -> None:
        """Adverts that we asked for."""
        for item in self.book.on_answer(turn, peer, message):
            self._take(turn, peer, item)

    def _take(self, turn: Turn, peer: bytes, item: SignedAdvert | SignedUpdate) -> None:
        """Meet peers that are new, and let those go that say goodbye."""
        author = item.author
        known, label = self.adverts.get(author), self.label(author)
        self.book.take(turn.now_ms, peer, item)
        said = self.adverts.get(author)
        if said is known:
            return
        if said is None:
            self.dialling.on_left(author)
            turn.do(Notify("peer left", {"peer": peer_id(author), "label": label}))
            return
        if known is None:
            turn.do(Notify("peer advertised", {"peer": peer_id(author), "label": self.label(author)}))
        advert = said.advert
        self.dialling.on_addresses(turn, author, advert.addresses, advert.expires_at_ms, self.connected)

    def label(self, peer: bytes) -> str:
        """What people call the peer: its own label and enough of its id to tell it from a namesake."""
        if peer == self.me:
            return self.my_label
        signed = self.adverts.get(peer)
        return signed.advert.label if signed is not None and signed.advert.label else short(peer)
