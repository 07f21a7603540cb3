"""How entries travel: announced by gossip, pulled by ranges, compared on a timer.

Gossip is a hint and may be lost; every few seconds each node compares heads with one peer, and whenever a peer
connects, so nothing stays missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.feed import Fork, Gap
from ledger.sync import compare
from node.events import EntriesVerified, PersistFork, Send, SendEntries, SetTimeout, Timer, TimerKind, Verify
from node.peers import Peers
from node.turn import Turn
from protocol.direct import HEADS_MAX, Entries, Heads, Want
from protocol.envelope import Head
from protocol.errors import Ignore, Reject
from protocol.gossip import judge_announcement
from protocol.identity import peer_id

SYNC_EVERY_MS = 3_000  # guess, not measured: a lost announcement costs this much delay
ASK_AGAIN_MS = 1_000  # do not ask a second peer for the same range sooner


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
        if self.peers.connected:
            peer = turn.identity.chance.choice(sorted(self.peers.connected))
            turn.do(Send(peer, self._heads(turn)))
        turn.do(SetTimeout(Timer(TimerKind.SYNC), SYNC_EVERY_MS))

    def on_announcement(self, turn: Turn, peer: bytes, data: bytes) -> None:
        """Ask for what is announced and missing: the author itself if it is connected, else whoever told us."""
        try:
            heads = judge_announcement(data)
        except Reject:
            return
        for head in heads:
            own = turn.ledger.heads.get(head.author)
            if (own is None or own.seq < head.seq) and self._may_ask(turn, head):
                source = head.author if head.author in self.peers.connected else peer
                from_seq = 0 if own is None else own.seq + 1
                turn.do(Send(source, Want(ranges=((head.author, from_seq),))))

    def on_heads(self, turn: Turn, peer: bytes, message: Heads) -> None:
        difference = compare(turn.ledger.heads, [Head(*h) for h in message.heads], complete=message.complete)
        if difference.want:
            turn.do(Send(peer, Want(ranges=difference.want[:HEADS_MAX])))
        if difference.have:
            turn.do(SendEntries(peer, difference.have))

    def on_want(self, turn: Turn, peer: bytes, message: Want) -> None:
        turn.do(SendEntries(peer, message.ranges))

    def on_entries(self, turn: Turn, peer: bytes, message: Entries) -> None:
        turn.do(Verify(peer, message.entries, message.more))

    def on_verified(self, turn: Turn, event: EntriesVerified) -> None:
        """Take what continues its feed; ask for what lies between; freeze whoever forked."""
        gaps: dict[bytes, int] = {}
        for entry in event.entries:
            try:
                turn.accept(entry)
            except Gap as gap:
                gaps[gap.author] = gap.from_seq
            except Fork as fork:
                turn.do(PersistFork(fork.proof.b.author))
                turn.notify("fork", author=peer_id(fork.proof.b.author), seq=fork.proof.b.seq)
            except Ignore:
                continue
            except Reject as refusal:
                turn.notify("entry refused", peer=peer_id(event.peer), reason=str(refusal))
        for reason in event.refusals:
            turn.notify("entry refused", peer=peer_id(event.peer), reason=reason)
        if gaps:
            turn.do(Send(event.peer, Want(ranges=tuple(sorted(gaps.items())))))
        elif event.more:
            turn.do(Send(event.peer, self._heads(turn)))

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
        self.asked[head.author] = (head.seq, turn.now_ms)
        return True
