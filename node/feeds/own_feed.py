"""Whether this node may sign: only who knows its own newest entry can write the next one.

A ledger may come from a backup, and a key may outlive its ledger. Signing then would use a seq twice, and peers would
freeze an honest author for ever. So a node whose key has signed before asks its peers at each start what they hold of
its feed, takes from them what it lacks, and signs nothing until then. An entry of its own that a peer shows is proof
enough, as nobody else can have signed it; that peers show none is taken for an answer once some have had time to.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ledger.feed import ForkProof
from node.actions import Send
from node.feeds.exchange import told
from node.peers import Peers
from node.turn import Turn
from protocol.direct import HeadIs, Want, WantHead
from protocol.envelope import Entry, open_entry
from protocol.errors import Reject
from protocol.identity import peer_id

ANSWERED_TICKS = 2  # guess, not measured: from the first answer on, time for other peers to know of more


class Signing(enum.Enum):
    """allowed: our newest entry is known · unconfirmed: peers are still being asked · forked: our feed has two
    branches, and whatever we sign is void."""

    ALLOWED = "allowed"
    UNCONFIRMED = "unconfirmed"
    FORKED = "forked"


@dataclass(slots=True)
class OwnFeed:
    """The state of this node's own feed. `signing` starts as allowed for a fresh key, or by the operator's word."""

    peers: Peers
    signing: Signing
    newest: Entry | None = None  # of our own entries that peers have shown, while unconfirmed
    answered: bool = False  # by some peer
    ticks: int = 0  # since then

    def on_connected(self, turn: Turn, peer: bytes) -> None:
        if self.signing is Signing.UNCONFIRMED:
            turn.do(Send(peer, WantHead()))

    def on_timer(self, turn: Turn) -> None:
        """Whoever has not answered yet may have lost the question; all are asked again."""
        if self.signing is not Signing.UNCONFIRMED:
            return
        self.ticks += self.answered
        for peer in sorted(self.peers.connected):
            turn.do(Send(peer, WantHead()))
            if self._lags(turn):
                turn.do(Send(peer, self._tail(turn)))

    def on_want_head(self, turn: Turn, peer: bytes) -> None:
        head = turn.ledger.heads.get(peer)
        turn.do(Send(peer, HeadIs(entry=None if head is None else head.raw)))
        if peer in turn.ledger.forks:
            turn.do(Send(peer, told(turn.ledger.forks[peer])))

    def on_head_is(self, turn: Turn, peer: bytes, message: HeadIs) -> None:
        """A peer shows our newest entry that it holds. Only what we have signed counts."""
        if self.signing is not Signing.UNCONFIRMED:
            return
        if message.entry is not None:
            try:
                entry = open_entry(message.entry, turn.identity.network)
                if entry.author != turn.identity.key:
                    raise Reject("it is not this node's")
            except Reject as refusal:
                turn.notify("entry refused", peer=peer_id(peer), reason=f"shown as our newest: {refusal}")
                return
            self._compare(turn, peer, entry)
        self.answered = True

    def check(self, turn: Turn) -> bool:
        """Called at the end of each turn. Whether the node may sign from now on, and could not before."""
        if turn.identity.key in turn.ledger.forks:
            if self.signing is not Signing.FORKED:
                turn.notify("own feed forked", remedy=REMEDIES[Signing.FORKED])
            self.signing = Signing.FORKED
        elif self.signing is Signing.UNCONFIRMED and self.ticks >= ANSWERED_TICKS and self._knows_all(turn):
            self.signing = Signing.ALLOWED
            return True
        return False

    def _compare(self, turn: Turn, peer: bytes, entry: Entry) -> None:
        head = turn.ledger.heads.get(turn.identity.key)
        if head is not None and head.seq == entry.seq and head.id != entry.id:
            self._report(turn, ForkProof(head, entry))
        elif self.newest is None or entry.seq > self.newest.seq:
            self.newest = entry
            if self._lags(turn):
                turn.do(Send(peer, self._tail(turn)))

    def _report(self, turn: Turn, proof: ForkProof) -> None:
        """The proof takes the way that every proof takes."""
        turn.do(Send(turn.identity.key, told(proof)))

    def _lags(self, turn: Turn) -> bool:
        """Whether we lack entries of our own."""
        head = turn.ledger.heads.get(turn.identity.key)
        return self.newest is not None and (head is None or head.seq < self.newest.seq)

    def _knows_all(self, turn: Turn) -> bool:
        """Whether what we have signed is here, and judged: else the state would let us lease or owe it once more."""
        return not self._lags(turn) and not turn.ledger.is_waiting(turn.identity.key)

    def _tail(self, turn: Turn) -> Want:
        return Want(ranges=((turn.identity.key, turn.ledger.size(turn.identity.key)),))


REMEDIES = {
    Signing.ALLOWED: "",
    Signing.UNCONFIRMED: "nothing is signed until a peer has said what it holds of this node's feed: connect to one"
    " (bootstrap in config.toml), or, if this copy of the ledger is certainly the newest, restart with:"
    " heliotrope up --trust-ledger",
    Signing.FORKED: "this node's key has signed two histories, by a second node with the same key or a ledger from a"
    " backup, and whatever it signs now is void: stop every node with this key, and begin again with: heliotrope init",
}
