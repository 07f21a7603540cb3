"""How entries travel: announced by gossip, compared with one peer after the other, asked for by ranges.

Gossip is a hint and may be lost. A peer that connects again is asked what it has accepted since last time (its cursor);
a peer whose cursor we lack, and every few seconds some peer, is told a summary of our heads, and where it differs the
heads are reconciled (`ledger.sync`). So nothing stays missing. A fork's proof is told to everybody at once, and to
whoever turns out not to know it.

What peers claim is asked for as `asking` says; entries that others refer to, by id, as `missing` says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ledger.feed import Fork, ForkProof, Gap, is_fork
from ledger.heads import HeadIndex
from ledger.sync import answer_compare, answer_summary, difference, standings, summary
from node.actions import (
    Blame,
    FindForks,
    PersistCursor,
    PersistFork,
    Send,
    SendEntries,
    SendIds,
    SendNews,
    SetTimeout,
    Verify,
)
from node.events import EntriesVerified, ForksFound, Timer, TimerKind
from node.feeds.asking import Asks
from node.feeds.missing import Missing
from node.peers import Peers
from node.turn import Turn
from protocol.direct import HEADS_MAX, Compare, Entries, Heads, News, Since, Summary, Want, WantCheckpoint, WantIds
from protocol.envelope import NO_PREV, Entry
from protocol.errors import Ignore, Reject
from protocol.gossip import judge_announcement
from protocol.identity import peer_id

TICK_MS = 1_000  # guess, not measured: how soon a lost answer is noticed
COMPARE_EVERY_TICKS = 3  # guess, not measured: a lost announcement costs this much delay
VERIFYING_PER_PEER_MAX = 16  # messages of entries of one peer that wait to be verified; more are dropped
PROOFS_MAX = 16  # told in one answer; the next comparison goes on
POSITION_BYTES = 8


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a peer's store has been read: a position of an epoch."""

    epoch: bytes
    position: int

    @classmethod
    def decode(cls, data: bytes) -> Cursor:
        return cls(data[:-POSITION_BYTES], int.from_bytes(data[-POSITION_BYTES:], "big"))

    def encode(self) -> bytes:
        return self.epoch + self.position.to_bytes(POSITION_BYTES, "big")


@dataclass(slots=True)
class Page:
    """News of a peer that has not come in full yet; then the cursor may advance."""

    cursor: Cursor
    lacking: dict[bytes, int]  # author → the seq that we lack
    more: bool


@dataclass(slots=True)
class Exchange:
    """Keeps this node's ledger level with its peers'. `epoch` names our store, whose positions the ledger counts."""

    peers: Peers
    epoch: bytes
    cursors: dict[bytes, Cursor]  # by peer
    asks: Asks = field(default_factory=Asks)
    missing: Missing = field(default_factory=Missing)
    index: HeadIndex = field(default_factory=HeadIndex)
    pages: dict[bytes, Page] = field(default_factory=dict)  # by peer
    verifying: Counter[bytes] = field(default_factory=Counter)  # by peer

    @property
    def compares(self) -> bool:
        """Whether this tick compares with somebody."""
        return self.asks.tick % COMPARE_EVERY_TICKS == 0

    def on_started(self, turn: Turn) -> None:
        turn.do(SetTimeout(Timer(TimerKind.SYNC), TICK_MS))

    def on_connected(self, turn: Turn, peer: bytes) -> None:
        if peer in self.cursors:
            self._ask_news(turn, peer)
        else:
            self._summarise(turn, peer)

    def on_disconnected(self, turn: Turn, peer: bytes) -> None:
        self.asks.forget(peer)
        self.pages.pop(peer, None)
        self.verifying.pop(peer, None)
        self._ask(turn)

    def on_timer(self, turn: Turn) -> None:
        """Give up what nobody answers, ask for what is missing; every few ticks compare heads with somebody."""
        self.asks.on_tick()
        self.verifying.clear()  # a message that was dropped never comes back
        connected = self.peers.connected
        if connected and self.compares:
            peer = turn.identity.chance.choice(sorted(connected))
            self._summarise(turn, peer)
            if peer in self.cursors:
                self._ask_news(turn, peer)
        refs = turn.ledger.missing_refs()
        for peer, ids in self.missing.on_tick(refs, connected, turn.identity.chance).items():
            turn.do(Send(peer, WantIds(ids=tuple(ids))))
        self._ask(turn)
        turn.do(SetTimeout(Timer(TimerKind.SYNC), TICK_MS))

    # --- what there is ----------------------------------------------------------------------------------------------

    def on_announcement(self, turn: Turn, peer: bytes, data: bytes) -> None:
        """Ask for what is announced and missing: the author itself if it is connected, else whoever told us."""
        try:
            heads = judge_announcement(data)
        except Reject:
            return
        for head in heads:
            source = head.author if head.author in self.peers.connected else peer
            self._claim(turn, source, head.author, head.seq)
        self._ask(turn)

    def on_summary(self, turn: Turn, peer: bytes, message: Summary) -> None:
        """Equal heads: we hold all that the peer has accepted."""
        answer = answer_summary(self._heads(turn), message)
        if answer is None:
            self._advance(turn, peer, Cursor(message.epoch, message.position))
        else:
            turn.do(Send(peer, answer))

    def on_compare(self, turn: Turn, peer: bytes, message: Compare) -> None:
        for answer in answer_compare(self._heads(turn), message):
            if answer is not None:
                turn.do(Send(peer, answer))

    def on_heads(self, turn: Turn, peer: bytes, message: Heads) -> None:
        """Ask for what we lack, send what the other lacks. An equal seq with another id is asked for at once: the entry
        proves the fork."""
        found = difference(self._heads(turn), message)
        twins = []
        for head in found.want:
            own = turn.ledger.heads.get(head.author)
            if own is not None and own.seq == head.seq:
                twins.append((head.author, head.seq))
            else:
                self._claim(turn, peer, head.author, head.seq)
        if twins:
            turn.do(Send(peer, Want(ranges=tuple(twins))))
        if found.have:
            turn.do(SendEntries(peer, found.have[:HEADS_MAX]))
        for author in found.prove[:PROOFS_MAX]:
            turn.do(Send(peer, told(turn.ledger.forks[author])))
        if found.show is not None:
            turn.do(Send(peer, found.show))
        self._ask(turn)

    def on_since(self, turn: Turn, peer: bytes, message: Since) -> None:
        """Of another epoch, or ahead of us, is a cursor that names nothing here: compare heads instead."""
        position = turn.ledger.count
        if message.epoch != self.epoch or message.position > position:
            self._summarise(turn, peer)
        elif message.position < position:
            turn.do(SendNews(peer, self.epoch, message.position))

    def on_news(self, turn: Turn, peer: bytes, message: News) -> None:
        lacking = {author: seq for author, seq in message.feeds if self._lacks(turn, author, seq)}
        for author, seq in lacking.items():
            self._claim(turn, peer, author, seq)
        self.pages[peer] = Page(Cursor(message.epoch, message.position), lacking, message.more)
        self._turn_pages(turn)
        self._ask(turn)

    # --- entries ----------------------------------------------------------------------------------------------------

    def on_want(self, turn: Turn, peer: bytes, message: Want) -> None:
        turn.do(SendEntries(peer, message.ranges))

    def on_want_ids(self, turn: Turn, peer: bytes, message: WantIds) -> None:
        turn.do(SendIds(peer, message.ids))

    def on_entries(self, turn: Turn, peer: bytes, message: Entries) -> None:
        """Verify, asked for or not: who writes an entry hands it to those who wait for it."""
        if self.verifying[peer] < VERIFYING_PER_PEER_MAX:
            self.verifying[peer] += 1
            turn.do(Verify(peer, message.entries, message.more))

    def on_verified(self, turn: Turn, event: EntriesVerified) -> None:
        """Take what continues its feed; ask for what lies between; freeze whoever forked."""
        self.verifying[event.peer] = max(0, self.verifying[event.peer] - 1)
        grown: set[bytes] = set()
        old: list[Entry] = []
        refusals = list(event.refusals)
        for entry in event.entries:
            try:
                turn.accept(entry)
                grown.add(entry.author)
                if awaited := [ref for ref in entry.refs if not turn.ledger.is_judged(ref)]:
                    self.missing.tell(event.peer, awaited)
            except Gap:
                self._claim(turn, event.peer, entry.author, entry.seq)
            except Fork as fork:
                self._on_fork(turn, event.peer, fork.proof)
            except Ignore:
                self._take_aside(turn, event.peer, entry, old)
            except Reject as refusal:
                refusals.append(str(refusal))
        for reason in refusals:
            turn.notify("entry refused", peer=peer_id(event.peer), reason=reason)
        if refusals:
            turn.do(Blame(event.peer))  # an honest peer has judged what it hands on, by the same rules
        for proof in _proofs_among(event.entries):
            self._freeze(turn, event.peer, proof)
        if old:
            turn.do(FindForks(event.peer, tuple(old)))
        self.asks.delivered(event.peer, grown, turn.ledger.heads, more=event.more)
        if grown:
            self._turn_pages(turn)
        for peer in self.asks.take_drained():
            self._summarise(turn, peer)
        self._ask(turn)

    def on_forks_found(self, turn: Turn, event: ForksFound) -> None:
        for proof in event.proofs:
            self._freeze(turn, event.peer, proof)

    # --- forks ------------------------------------------------------------------------------------------------------

    def _take_aside(self, turn: Turn, peer: bytes, entry: Entry, old: list[Entry]) -> None:
        """An entry that does not continue its feed here. If it is older than the head and not the one that stands in
        its place, it is a fork: `old` collects what the store must be asked about."""
        ledger, sought = turn.ledger, self.missing.sought.pop(entry.id, None)
        proof = ledger.forks.get(entry.author)
        if proof is not None and entry.seq >= proof.seq:
            if ledger.is_missing(entry.id):
                turn.put_aside(entry)
            if sought is not None:
                self._seek(turn, peer, entry.prev)
        elif entry.id not in ledger.positions and (head := ledger.heads.get(entry.author)) and entry.seq < head.seq:
            old.append(entry)

    def _freeze(self, turn: Turn, peer: bytes, proof: ForkProof) -> None:
        if turn.ledger.freeze(proof):
            self._on_fork(turn, peer, proof)

    def _on_fork(self, turn: Turn, peer: bytes, proof: ForkProof) -> None:
        """The author is frozen: keep the proof, and tell everybody before it deceives more of them. Where the histories
        part further back, look for the place."""
        self.asks.drop(proof.author)
        turn.do(PersistFork(proof.author))
        turn.notify("fork", author=peer_id(proof.author), seq=proof.seq)
        for each in sorted(self.peers.connected):
            turn.do(Send(each, told(proof)))
        if turn.identity.genesis.witnesses:  # its author signs no more checkpoints, and one of old may make deals final
            turn.do(Send(peer, WantCheckpoint(author=proof.author)))
        if not proof.is_exact:
            self._seek(turn, peer, proof.a.prev)
            self._seek(turn, peer, proof.b.prev)

    def _seek(self, turn: Turn, peer: bytes, entry_id: bytes) -> None:
        if entry_id != NO_PREV and entry_id not in turn.ledger.positions:
            self.missing.seek(peer, entry_id)

    # --- asking -----------------------------------------------------------------------------------------------------

    def _lacks(self, turn: Turn, author: bytes, seq: int) -> bool:
        """Whether entries up to this seq are missing here."""
        head = turn.ledger.heads.get(author)
        return self._useful(turn, author, seq) > (-1 if head is None else head.seq)

    def _useful(self, turn: Turn, author: bytes, seq: int) -> int:
        """What a frozen author signed since its fork is not missed."""
        proof = turn.ledger.forks.get(author)
        return seq if proof is None else min(seq, proof.seq - 1)

    def _claim(self, turn: Turn, peer: bytes, author: bytes, seq: int) -> None:
        if self._lacks(turn, author, seq):
            self.asks.claim(peer, author, self._useful(turn, author, seq))

    def _ask(self, turn: Turn) -> None:
        """Ask for whatever is missing and nobody has been asked for."""
        for peer, ranges in self.asks.due(turn.ledger.heads).items():
            turn.do(Send(peer, Want(ranges=tuple(ranges))))

    def _ask_news(self, turn: Turn, peer: bytes) -> None:
        cursor = self.cursors[peer]
        turn.do(Send(peer, Since(epoch=cursor.epoch, position=cursor.position)))

    def _turn_pages(self, turn: Turn) -> None:
        """Advance the cursors of peers whose news have come in full, and ask for the next page: at once only where this
        one held something, or a sender of nothing would keep us asking."""
        for peer, page in list(self.pages.items()):
            left = {author: seq for author, seq in page.lacking.items() if self._lacks(turn, author, seq)}
            if left:
                continue
            del self.pages[peer]
            self._advance(turn, peer, page.cursor)
            if page.more and page.lacking:
                self._ask_news(turn, peer)

    def _advance(self, turn: Turn, peer: bytes, cursor: Cursor) -> None:
        if self.cursors.get(peer) != cursor:
            self.cursors[peer] = cursor
            turn.do(PersistCursor(peer, cursor.encode()))

    def _heads(self, turn: Turn) -> HeadIndex:
        self.index.update(standings(turn.ledger.heads, turn.ledger.forks))
        return self.index

    def _summarise(self, turn: Turn, peer: bytes) -> None:
        cut = turn.identity.chance.randrange(2**256).to_bytes(32, "big")
        turn.do(Send(peer, summary(self._heads(turn), cut, self.epoch, turn.ledger.count)))


def decode_cursors(kept: Mapping[bytes, bytes]) -> dict[bytes, Cursor]:
    """The cursors as `PersistCursor` kept them."""
    return {peer: Cursor.decode(cursor) for peer, cursor in kept.items()}


def told(proof: ForkProof) -> Entries:
    """A fork's proof as it travels."""
    return Entries(entries=(proof.a.raw, proof.b.raw), more=False)


def _proofs_among(entries: Sequence[Entry]) -> Iterator[ForkProof]:
    """Neighbours that no honest author signs both. They prove it by themselves, whatever we know of the feed."""
    return (ForkProof(a, b) for a, b in pairwise(entries) if is_fork(a, b))
