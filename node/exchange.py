"""How entries travel: announced by gossip, pulled by ranges, compared on a timer.

Gossip is a hint and may be lost; every few seconds each node compares heads with one peer, and whenever a peer
connects, so nothing stays missing. A fork's proof is told to everybody at once, and again on the timer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ledger.feed import Fork, ForkProof, Gap
from ledger.store import Store
from ledger.sync import compare
from node.actions import (
    PersistFork,
    Send,
    SendEntries,
    SetTimeout,
    Verify,
)
from node.events import (
    EntriesVerified,
    Timer,
    TimerKind,
)
from node.peers import Peers
from node.turn import Turn
from protocol.direct import HEADS_MAX, Entries, Heads, Want
from protocol.envelope import Entry, Head, open_entry
from protocol.errors import Ignore, Reject
from protocol.gossip import judge_announcement
from protocol.identity import peer_id
from protocol.messages import ARRAY_MAX

SYNC_EVERY_MS = 3_000  # guess, not measured: a lost announcement costs this much delay
ASK_AGAIN_MS = 1_000  # do not ask a second peer for the same range sooner
ASKED_MAX = 4096  # feeds asked for lately; announcements are unsigned, so anybody may invent authors
ENTRIES_PER_MESSAGE_BYTES = 1024 * 1024
ENTRIES_PER_REQUEST_MAX = 4096  # then `more`: the other asks again, so nobody is served for ever


@dataclass(slots=True)
class Exchange:
    """Keeps this node's ledger level with its peers'."""

    peers: Peers
    asked: dict[bytes, tuple[int, int]] = field(default_factory=dict)  # author → (up to seq, asked at ms)

    def on_started(self, turn: Turn) -> None:
        turn.do(SetTimeout(Timer(TimerKind.SYNC), SYNC_EVERY_MS))

    def on_connected(self, turn: Turn, peer: bytes) -> None:
        turn.do(Send(peer, self._heads(turn)))

    def on_timer(self, turn: Turn) -> None:
        """Compare heads with one peer, and tell it of one fork that we know."""
        if self.peers.connected:
            peer = turn.identity.chance.choice(sorted(self.peers.connected))
            turn.do(Send(peer, self._heads(turn)))
            if turn.ledger.forks:
                author = turn.identity.chance.choice(sorted(turn.ledger.forks))
                turn.do(Send(peer, _proof(turn.ledger.forks[author])))
        turn.do(SetTimeout(Timer(TimerKind.SYNC), SYNC_EVERY_MS))

    def on_announcement(self, turn: Turn, peer: bytes, data: bytes) -> None:
        """Ask for what is announced and missing: the author itself if it is connected, else whoever told us."""
        try:
            heads = judge_announcement(data)
        except Reject:
            return
        for head in heads:
            own = turn.ledger.heads.get(head.author)
            if head.author in turn.ledger.forks:
                continue
            if (own is None or own.seq < head.seq) and self._may_ask(turn, head):
                source = head.author if head.author in self.peers.connected else peer
                from_seq = 0 if own is None else own.seq + 1
                turn.do(Send(source, Want(ranges=((head.author, from_seq),))))

    def on_heads(self, turn: Turn, peer: bytes, message: Heads) -> None:
        """Ask for what we lack, send what the other lacks. Of a frozen author nothing more is taken, and what there
        is, is given to those who ask."""
        difference = compare(turn.ledger.heads, [Head(*h) for h in message.heads], complete=message.complete)
        want = tuple(r for r in difference.want if r[0] not in turn.ledger.forks)
        have = tuple(r for r in difference.have if r[0] not in turn.ledger.forks)
        if want:
            turn.do(Send(peer, Want(ranges=want[:HEADS_MAX])))
        if have:
            turn.do(SendEntries(peer, have))

    def on_want(self, turn: Turn, peer: bytes, message: Want) -> None:
        turn.do(SendEntries(peer, message.ranges))

    def on_entries(self, turn: Turn, peer: bytes, message: Entries) -> None:
        turn.do(Verify(peer, message.entries, message.more))

    def on_verified(self, turn: Turn, event: EntriesVerified) -> None:
        """Take what continues its feed; ask for what lies between; freeze whoever forked."""
        before = turn.ledger.count
        gaps: dict[bytes, int] = {}
        for entry in event.entries:
            try:
                turn.accept(entry)
            except Gap as gap:
                gaps[gap.author] = gap.from_seq
            except Fork as fork:
                self._on_fork(turn, fork.proof)
            except Ignore:
                continue
            except Reject as refusal:
                turn.notify("entry refused", peer=peer_id(event.peer), reason=str(refusal))
        for reason in event.refusals:
            turn.notify("entry refused", peer=peer_id(event.peer), reason=reason)
        for proof in _proofs_among(event.entries):
            # A proof of a feed we have nothing of is told again once we have.
            if proof.b.author in turn.ledger.heads and proof.b.author not in turn.ledger.forks:
                turn.ledger.freeze(proof)
                self._on_fork(turn, proof)
        if gaps:
            turn.do(Send(event.peer, Want(ranges=tuple(sorted(gaps.items())))))
        elif event.more and turn.ledger.count > before:  # a sender of nothing new would keep us asking
            turn.do(Send(event.peer, self._heads(turn)))

    def _on_fork(self, turn: Turn, proof: ForkProof) -> None:
        """The author is frozen: keep the proof, and tell everybody before it deceives more of them."""
        turn.do(PersistFork(proof.b.author))
        turn.notify("fork", author=peer_id(proof.b.author), seq=proof.b.seq)
        for peer in sorted(self.peers.connected):
            turn.do(Send(peer, _proof(proof)))

    def _heads(self, turn: Turn) -> Heads:
        """Our heads; of more than fit, a random sample, so that all are compared in time."""
        heads = turn.ledger.head_list()
        complete = len(heads) <= HEADS_MAX
        if not complete:
            heads = sorted(turn.identity.chance.sample(heads, HEADS_MAX), key=lambda h: h.author)
        return Heads(heads=tuple((h.author, h.seq, h.id) for h in heads), complete=complete)

    def _may_ask(self, turn: Turn, head: Head) -> bool:
        seq, asked_at_ms = self.asked.get(head.author, (-1, 0))
        if seq >= head.seq and turn.now_ms - asked_at_ms < ASK_AGAIN_MS:
            return False
        if len(self.asked) >= ASKED_MAX:
            self.asked.clear()  # costs a question asked twice
        self.asked[head.author] = (head.seq, turn.now_ms)
        return True


def _proof(proof: ForkProof) -> Entries:
    return Entries(entries=(proof.a.raw, proof.b.raw), more=False)


def _proofs_among(entries: Sequence[Entry]) -> Iterator[ForkProof]:
    """Neighbours that no honest author signs both. They prove it by themselves, whatever we know of the feed."""
    for a, b in pairwise(entries):
        same_seq = a.seq == b.seq and a.id != b.id
        if a.author == b.author and (same_seq or (a.seq + 1 == b.seq and b.prev != a.id)):
            yield ForkProof(a, b)


# --- what the shells do for it ------------------------------------------------------------------------------------


def open_entries(action: Verify, network: bytes) -> EntriesVerified:
    """Carry out a Verify: a quarter of a millisecond for each entry."""
    entries: list[Entry] = []
    refusals: list[str] = []
    for raw in action.raws:
        try:
            entries.append(open_entry(raw, network))
        except Reject as refusal:
            refusals.append(str(refusal))
    return EntriesVerified(action.peer, tuple(entries), tuple(refusals), action.more)


def read_entries(store: Store, ranges: Sequence[tuple[bytes, int]]) -> Iterator[Entries]:
    """The messages that carry out a SendEntries, each within the bounds of one."""
    left = ENTRIES_PER_REQUEST_MAX
    batch: list[bytes] = []
    size_bytes = 0
    for author, start_seq in ranges:
        from_seq = start_seq
        while left > 0:
            raws = store.feed(author, from_seq, min(left, ARRAY_MAX))
            for raw in raws:
                if len(batch) == ARRAY_MAX or size_bytes + len(raw) > ENTRIES_PER_MESSAGE_BYTES:
                    yield Entries(entries=tuple(batch), more=False)
                    batch, size_bytes = [], 0
                batch.append(raw)
                size_bytes += len(raw)
            left -= len(raws)
            from_seq += len(raws)
            if len(raws) < ARRAY_MAX:
                break
    if batch:
        yield Entries(entries=tuple(batch), more=left <= 0)
