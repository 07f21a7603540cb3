"""A book of adverts with peers around it, and what authors say."""

from __future__ import annotations

import random
from typing import Any

from ledger.ledger import Ledger
from node.actions import Action, Send
from node.market.book import (
    AdvertBook,
)
from node.turn import Identity, Turn
from protocol.adverts import Advert, SignedAdvert, SignedUpdate, goodbye, seal, update_of
from protocol.direct import Adverts, WantAdverts
from protocol.gossip import Topics
from protocol.identity import KeyPair
from protocol.messages import Body
from tests.builders import NOW_MS, genesis, keypair
from tests.protocol.test_adverts import advert as said

GENESIS = genesis()
NETWORK = GENESIS.network_id()
ME, BOB, CAROL, DAVE = (keypair(n) for n in range(4))
EVERYBODY: dict[str, Any] = {"authors": (), "regions": ("europe",), "since": 0, "after": b""}


def full(author: KeyPair, number: int = NOW_MS, **changes: Any) -> SignedAdvert:
    advert = said(number=number, expires_at_ms=number + 600_000, **changes)
    return SignedAdvert(author.public, advert, seal(author, NETWORK, advert))


def changed(base: SignedAdvert, author: KeyPair, number: int, free_units: int) -> SignedUpdate:
    later = {"number": number, "expires_at_ms": number + 600_000, "free_units": free_units}
    update = update_of(base.advert, base.advert.model_copy(update=later))
    assert update is not None
    return SignedUpdate(author.public, update, seal(author, NETWORK, update))


def gone(base: SignedAdvert, author: KeyPair, number: int) -> SignedUpdate:
    update = goodbye(base.advert, number)
    return SignedUpdate(author.public, update, seal(author, NETWORK, update))


class Scene:
    """A book, and peers that are connected."""

    def __init__(self, *connected: KeyPair, **changes: Any) -> None:
        self.book = AdvertBook(ME.public, **changes)
        self.connected = {peer.public for peer in connected}
        self.now_ms = NOW_MS
        self._identity = Identity(ME, "me", GENESIS, NETWORK, Topics.of(NETWORK), random.Random(1))
        self._ledger = Ledger(GENESIS)

    def turn(self) -> Turn:
        return Turn(self._identity, self._ledger, self.now_ms)

    def take(self, *items: SignedAdvert | SignedUpdate, peer: KeyPair = DAVE) -> None:
        for item in items:
            self.book.take(self.now_ms, peer.public, item)

    def connect(self, peer: KeyPair) -> list[tuple[bytes, Body]]:
        self.connected.add(peer.public)
        turn = self.turn()
        self.book.on_connected(turn, peer.public, self.connected)
        return sent(turn.actions())

    def tick(self, times: int = 1) -> list[tuple[bytes, Body]]:
        found = []
        for _ in range(times):
            turn = self.turn()
            self.book.on_tick(turn, self.connected)
            found += sent(turn.actions())
        return found

    def want(self, peer: KeyPair, **changes: Any) -> Adverts | None:
        turn = self.turn()
        self.book.on_want(turn, peer.public, WantAdverts(**EVERYBODY | changes))
        answers = [message for to, message in sent(turn.actions()) if to == peer.public]
        assert all(isinstance(answer, Adverts) for answer in answers)
        return answers[0] if answers else None  # type: ignore[return-value]

    def answer(self, peer: KeyPair | bytes, *raws: bytes, more: bool = False) -> None:
        """What the core does with an answer."""
        key = peer if isinstance(peer, bytes) else peer.public
        for item in self.book.on_answer(self.turn(), key, Adverts(adverts=raws, more=more)):
            self.book.take(self.now_ms, key, item)

    def says(self, author: KeyPair) -> Advert | None:
        found = self.book.adverts.get(author.public)
        return None if found is None else found.advert


def sent(actions: list[Action]) -> list[tuple[bytes, Body]]:
    return [(action.peer, action.message) for action in actions if isinstance(action, Send)]


def asking(*authors: KeyPair) -> WantAdverts:
    return WantAdverts(authors=tuple(a.public for a in authors), regions=(), since=0, after=b"")
