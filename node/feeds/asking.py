"""Who is asked for which feed: what peers claim to have, what is under way, and what becomes of it.

A claim is unsigned, so it may be a lie or a mistake. A peer holds a bounded number of claims and of asks; an ask that
brings nothing moves to the next peer that claims the feed; and each failure halves what its peer may be asked at once,
until it delivers again. So a slow or lying peer delays what it alone has, and costs one small message for each of its
own claims.

Time is counted in ticks of the sync timer: the network's clock may run fast, a machine's does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ledger.heads import HeadLike

CLAIMS_PER_PEER_MAX = 1024
SOURCES_MAX = 4  # peers remembered for one feed; a later claim finds another
ASKS_PER_PEER_MAX = 256  # feeds under way with one peer
IDLE_TICKS = 3  # an ask has failed when its peer has delivered nothing for so long,
ASK_TICKS_MAX = 20  # or nothing of this feed for so long, whatever else it delivers


@dataclass(slots=True)
class Wanted:
    """One feed that we know to be longer than what we hold."""

    sources: dict[bytes, int] = field(default_factory=dict)  # peer → the seq that it claims to have
    asked: bytes | None = None  # one of the sources
    asked_seq: int = 0  # what it claimed to have then
    asked_at_tick: int = 0


@dataclass(slots=True)
class Asks:
    """The book of asks. `heads` is what we hold, by author."""

    wanted: dict[bytes, Wanted] = field(default_factory=dict)  # by author
    overflowed: set[bytes] = field(default_factory=set)  # peers that claimed more than could be noted
    tick: int = 0
    _idle: set[bytes] = field(default_factory=set)  # authors nobody has been asked for
    _claims: Counter[bytes] = field(default_factory=Counter)  # by peer
    _asks: Counter[bytes] = field(default_factory=Counter)  # by peer
    _failures: Counter[bytes] = field(default_factory=Counter)  # by peer, since it last delivered
    _delivered_at_tick: dict[bytes, int] = field(default_factory=dict)  # by peer

    def claim(self, peer: bytes, author: bytes, seq: int) -> None:
        """Note that a peer says it has a feed up to this seq, which we have not."""
        wanted = self.wanted.get(author)
        known_seq = wanted.sources.get(peer) if wanted is not None else None
        if known_seq is None and self._claims[peer] >= CLAIMS_PER_PEER_MAX:
            self.overflowed.add(peer)
            return
        if wanted is None:
            wanted = self.wanted[author] = Wanted()
            self._idle.add(author)
        if known_seq is not None:
            wanted.sources[peer] = max(known_seq, seq)
        elif len(wanted.sources) < SOURCES_MAX:
            wanted.sources[peer] = seq
            self._claims[peer] += 1

    def due(self, heads: Mapping[bytes, HeadLike]) -> dict[bytes, list[tuple[bytes, int]]]:
        """What to ask for now: peer → (author, from seq). Of those who claim a feed the most reliable one is asked."""
        asks: dict[bytes, list[tuple[bytes, int]]] = {}
        for author in sorted(self._idle):
            next_seq = heads[author].seq + 1 if author in heads else 0
            self._settle(author, next_seq)
            wanted = self.wanted.get(author)
            ready = [peer for peer in wanted.sources if self._asks[peer] < self._asks_max(peer)] if wanted else ()
            if wanted and ready:
                peer = min(ready, key=lambda source: (self._failures[source], self._asks[source]))
                wanted.asked, wanted.asked_seq, wanted.asked_at_tick = peer, wanted.sources[peer], self.tick
                self._asks[peer] += 1
                self._idle.discard(author)
                asks.setdefault(peer, []).append((author, next_seq))
        return asks

    def delivered(self, peer: bytes, grown: set[bytes], heads: Mapping[bytes, HeadLike], *, more: bool) -> None:
        """A peer has sent what these feeds lacked. What has come in full is over; `more`: it stopped at its limit, and
        the rest is to be asked for anew."""
        if not grown:
            return  # a sender of nothing new would keep us asking
        self._failures.pop(peer, None)
        self._delivered_at_tick[peer] = self.tick
        for author in grown & self.wanted.keys():
            wanted = self.wanted[author]
            if heads[author].seq >= wanted.asked_seq:
                self._release(author, wanted)
            elif wanted.asked == peer:
                wanted.asked_at_tick = self.tick
            self._settle(author, heads[author].seq + 1)
        if more:
            for author, wanted in self.wanted.items():
                if wanted.asked == peer:
                    self._release(author, wanted)

    def on_tick(self) -> None:
        """Give up asks that brought nothing, and who failed to answer them as their source."""
        self.tick += 1
        failed = set()
        for author, wanted in list(self.wanted.items()):
            peer = wanted.asked
            if peer is None:
                continue
            age = self.tick - wanted.asked_at_tick
            silence = self.tick - self._delivered_at_tick.get(peer, 0)
            if age >= ASK_TICKS_MAX or (age >= IDLE_TICKS and silence >= IDLE_TICKS):
                failed.add(peer)
                self._forget_source(author, wanted, peer)
        self._failures.update(failed)

    def forget(self, peer: bytes) -> None:
        """A peer has gone; others are asked for what it owed."""
        for author, wanted in list(self.wanted.items()):
            if peer in wanted.sources:
                self._forget_source(author, wanted, peer)
        for book in (self._claims, self._asks, self._failures, self._delivered_at_tick):
            book.pop(peer, None)
        self.overflowed.discard(peer)

    def drop(self, author: bytes) -> None:
        """Ask for this feed no more."""
        wanted = self.wanted.pop(author, None)
        if wanted is not None:
            self._release(author, wanted)
            self._idle.discard(author)
            self._claims.subtract(wanted.sources.keys())

    def take_drained(self) -> list[bytes]:
        """Peers that had more to claim, and have delivered all that was noted: there is room for the rest."""
        drained = sorted(peer for peer in self.overflowed if not self._claims[peer])
        self.overflowed.difference_update(drained)
        return drained

    def _asks_max(self, peer: bytes) -> int:
        return max(1, ASKS_PER_PEER_MAX >> self._failures[peer])

    def _release(self, author: bytes, wanted: Wanted) -> None:
        if wanted.asked is not None:
            self._asks[wanted.asked] -= 1
            wanted.asked = None
            self._idle.add(author)

    def _settle(self, author: bytes, next_seq: int) -> None:
        """Nobody need be asked for what we hold by now."""
        wanted = self.wanted[author]
        for peer in [peer for peer, seq in wanted.sources.items() if seq < next_seq]:
            self._forget_source(author, wanted, peer)

    def _forget_source(self, author: bytes, wanted: Wanted, peer: bytes) -> None:
        if wanted.asked == peer:
            self._release(author, wanted)
        del wanted.sources[peer]
        self._claims[peer] -= 1
        if not wanted.sources:
            self.drop(author)
