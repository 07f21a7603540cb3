"""Checkpoints as they travel: the newest of each feed is kept, held against the feed, and told to those who ask.

A checkpoint is believed to be its author's by its signature; that it is of the feed we know, by its root. One that a
quorum of witnesses cosigned makes the feed final up to there. One whose root is another than our feed's proves that its
author shows two histories: we say so, and ask for the entry in which the other history ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache

from ledger.checkpoint import Note, is_final, open_note, parse_note, trim
from ledger.ledger import Ledger
from ledger.store import Store
from node.actions import PersistCheckpoint, Publish, ReadTree, Send
from node.events import TreeRead
from node.turn import Turn
from protocol.direct import Checkpoint, Want, WantCheckpoint
from protocol.errors import Reject
from protocol.identity import peer_id

AHEAD_MAX = 1024  # checkpoints that wait for their feeds; the oldest are dropped, and come again
CONTRADICTED_MAX = 1024  # feeds whose other history was asked for; guess, not measured
ASKS_MAX = 8  # for what is final of a frozen author, without progress: we may hold the branch that is not


@dataclass(frozen=True, slots=True)
class Heard:
    """A note that its author signed, `is_final` if a quorum of witnesses cosigned it, and who brought it."""

    author: bytes
    note: Note
    is_final: bool
    source: bytes

    @property
    def size(self) -> int:
        return self.note.checkpoint.size

    def contradicts(self, other: Heard) -> bool:
        """Whether the author has signed two roots for one size."""
        return self.size == other.size and self.note.checkpoint.root != other.note.checkpoint.root


@dataclass(slots=True)
class Checkpoints:
    """Of each feed: `newest` and `final`, the largest ones that were held against it, and `ahead`, one that waits for
    entries or for the root to be read."""

    newest: dict[bytes, Heard] = field(default_factory=dict)
    final: dict[bytes, Heard] = field(default_factory=dict)
    ahead: dict[bytes, Heard] = field(default_factory=dict)
    contradicted: set[tuple[bytes, int]] = field(default_factory=set)
    asks: Counter[bytes] = field(default_factory=Counter)  # by frozen author in `ahead`, since its feed last grew

    def on_heard(self, turn: Turn, peer: bytes, data: bytes) -> None:
        """Gossip, or a direct answer. The peer is innocent of what it forwards; what is false is dropped."""
        try:
            author, note, final = read_note(data, turn.identity.network, turn.identity.genesis.witnesses)
        except Reject as refusal:
            turn.notify("checkpoint refused", peer=peer_id(peer), reason=str(refusal))
            return
        heard = Heard(author, note, final, peer)
        known = self.newest.get(author)
        if known is not None and heard.contradicts(known):
            self._on_contradiction(turn, heard)
        elif heard.size and self._is_news(heard):
            self._consider(turn, heard)

    def _is_news(self, heard: Heard) -> bool:
        """An old one says nothing, and to hold it against the feed would cost reading that from its beginning."""
        newest, final, ahead = (book.get(heard.author) for book in (self.newest, self.final, self.ahead))
        if ahead is not None and (heard.is_final, heard.size) <= (ahead.is_final, ahead.size):
            return False
        if heard.is_final:
            return final is None or heard.size > final.size
        return newest is None or heard.size > newest.size

    def _consider(self, turn: Turn, heard: Heard) -> None:
        """Read the root to hold it against, or wait for the feed."""
        author, own_size = heard.author, turn.ledger.size(heard.author)
        if author not in self.ahead and len(self.ahead) >= AHEAD_MAX:
            self.ahead.pop(next(iter(self.ahead)))
        self.ahead[author] = heard
        if heard.is_final:
            turn.ledger.admit(author, heard.size)
        if heard.size <= own_size:
            turn.do(ReadTree(author, heard.size))
        elif author not in turn.ledger.forks or heard.is_final:
            turn.do(Send(heard.source, Want(ranges=((author, own_size),))))

    def on_tick(self, turn: Turn, connected: Collection[bytes]) -> None:
        """A frozen author's feed is nobody's news any more, and its checkpoints are gossip no more: ask somebody for
        what may be final of one, and for the entries of those that are known to be."""
        ledger, chance = turn.ledger, turn.identity.chance
        if not turn.identity.genesis.witnesses or not ledger.forks or not connected:
            return
        peers = sorted(connected)
        turn.do(Send(chance.choice(peers), WantCheckpoint(author=chance.choice(sorted(ledger.forks)))))
        self.asks = Counter({author: asked for author, asked in self.asks.items() if author in self.ahead})
        for author in ledger.forks.keys() & self.ahead.keys():
            own_size = ledger.size(author)
            if self.ahead[author].is_final and own_size < self.ahead[author].size and self.asks[author] < ASKS_MAX:
                self.asks[author] += 1
                turn.do(Send(chance.choice(peers), Want(ranges=((author, own_size),))))

    def watch(self, turn: Turn) -> None:
        """After every event: a feed has grown, perhaps up to a checkpoint that waits for it."""
        for entry in turn.accepted if self.ahead else ():
            heard = self.ahead.get(entry.author)
            self.asks.pop(entry.author, None)
            if heard is not None and entry.seq + 1 == heard.size:
                turn.do(ReadTree(entry.author, heard.size))

    def on_tree(self, turn: Turn, event: TreeRead) -> bool:
        """Hold the checkpoint against the feed; whether more of it is final now."""
        heard = self.ahead.get(event.author)
        if heard is None or heard.size != event.size:
            return False
        del self.ahead[event.author]
        if heard.note.checkpoint.root != event.root:
            self._on_contradiction(turn, heard)
            return False
        return self.keep(turn, heard, event.last)

    def keep(self, turn: Turn, heard: Heard, last: bytes) -> bool:
        """Remember a checkpoint of the feed that we have, whose entry `last` is the newest that it covers. Returns
        whether more of the feed is final now."""
        self.remember(heard)
        turn.do(PersistCheckpoint(heard.author, heard.size, heard.note.encoded(), heard.is_final))
        return heard.is_final and turn.ledger.finalize(heard.author, heard.size, last)

    def remember(self, heard: Heard) -> None:
        """Of equal size the last: it may have more cosignatures."""
        for book in (self.newest, self.final) if heard.is_final else (self.newest,):
            known = book.get(heard.author)
            if known is None or heard.size >= known.size:
                book[heard.author] = heard

    def on_want(self, turn: Turn, peer: bytes, message: WantCheckpoint) -> None:
        """Who asks waits for something to be final."""
        heard = self.final.get(message.author) or self.newest.get(message.author)
        if heard is not None:
            turn.do(Send(peer, Checkpoint(note=heard.note.encoded())))

    def _on_contradiction(self, turn: Turn, heard: Heard) -> None:
        """The other history has another entry at the last place: two entries of one author that prove the fork."""
        place = heard.author, heard.size
        if place in self.contradicted:
            return
        if len(self.contradicted) >= CONTRADICTED_MAX:
            self.contradicted.clear()  # costs a question asked twice
        self.contradicted.add(place)
        turn.notify("checkpoint contradicts feed", author=peer_id(heard.author), size=heard.size, final=heard.is_final)
        for peer in dict.fromkeys((heard.source, heard.author)):
            if peer != turn.identity.key:
                turn.do(Send(peer, Want(ranges=((heard.author, heard.size - 1),))))


def publish(turn: Turn, note: Note) -> None:
    """Tell everybody."""
    turn.do(Publish(turn.identity.topics.checkpoints, note.encoded()))


def restore(ledger: Ledger, store: Store) -> Checkpoints:
    """What was kept before the last end, whose signatures were verified then; `snapshot.load` has told the ledger what
    of it is final."""
    restored = Checkpoints()
    for stored in store.checkpoints():
        if stored.size > ledger.size(stored.author):
            continue  # it outlived a power cut that took its entries: they come again, and so does it
        restored.remember(Heard(stored.author, parse_note(stored.note.encode()), stored.final, stored.author))
    return restored


@lru_cache(maxsize=256)
def read_note(data: bytes, network: bytes, witnesses: tuple[bytes, ...]) -> tuple[bytes, Note, bool]:
    """Author, note and whether it is final. Raises Reject.

    Asked on the network's thread before a message is forwarded, and again by the core: the cache spares it the
    signatures.
    """
    note, author = open_note(data, network)
    final = is_final(note, network, witnesses)
    return author, trim(note, network, author, witnesses), final
