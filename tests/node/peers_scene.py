"""A node that only buys, with two peers beside it, one event at a time."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ledger.ledger import Ledger
from node.actions import Action, SetTimeout
from node.core import Kept, Node
from node.events import (
    EntriesVerified,
    Event,
    GossipReceived,
    MessageReceived,
    PeerConnected,
    Timer,
    TimerFired,
    TimerKind,
)
from node.turn import Identity
from protocol.direct import Heads, Want, encode_direct
from protocol.envelope import NO_PREV, Entry, Head, seal
from protocol.gossip import Topics, encode_announcement
from protocol.identity import KeyPair
from protocol.messages import Body
from tests.sim.worlds import genesis

NOW_MS = 5_000_000
GENESIS = genesis()
NETWORK = GENESIS.network_id()
TOPICS = Topics.of(NETWORK)
EPOCH = b"the epoch of us."
ALICE, BOB, CAROL = (KeyPair(name.ljust(32, b".")) for name in (b"alice", b"bob", b"carol"))


def feed(author: KeyPair, length: int, after: Entry | None = None, text: str = "") -> list[Entry]:
    entries = []
    for _ in range(length):
        after = seal(
            author,
            network=NETWORK,
            kind="note",
            seq=0 if after is None else after.seq + 1,
            prev=NO_PREV if after is None else after.id,
            time_ms=NOW_MS,
            refs=(),
            body={"text": text},
        )
        entries.append(after)
    return entries


def head(entry: Entry) -> Head:
    return Head(entry.author, entry.seq, entry.id)


def heads_of(*entries: Entry) -> Heads:
    """An answer in which somebody tells these heads."""
    return Heads(heads=tuple(sorted((e.author, e.seq, e.id) for e in entries)), unknown=b"")


def want(author: KeyPair, from_seq: int) -> Want:
    return Want(ranges=((author.public, from_seq),))


def without_timer(actions: Sequence[Action]) -> list[Action]:
    """What else a tick asks for."""
    return [action for action in actions if not isinstance(action, SetTimeout)]


class Scene:
    """Alice's node, which only buys, connected to Bob and Carol; it says nothing unasked. `ledger`: what it holds."""

    def __init__(
        self,
        ledger: Ledger | None = None,
        *,
        cursors: Mapping[bytes, bytes] = MappingProxyType({}),
        may_sign: bool = True,
    ) -> None:
        identity = Identity(ALICE, "alice", GENESIS, NETWORK, TOPICS, random.Random(1))
        kept = Kept(EPOCH, cursors)
        self.node = Node(identity, ledger or Ledger(GENESIS), None, (), kept=kept, may_sign=may_sign)
        for peer in (BOB, CAROL):
            self.handle(PeerConnected(peer.public))

    def handle(self, event: Event, after_ms: int = 0) -> list[Action]:
        return self.node.handle(event, NOW_MS + after_ms)

    def hear(self, sender: KeyPair, *entries: Entry, after_ms: int = 0) -> list[Action]:
        """An announcement."""
        data = encode_announcement([head(entry) for entry in entries])
        return self.handle(GossipReceived(TOPICS.entries, sender.public, data), after_ms)

    def receive(self, sender: KeyPair, message: Body) -> list[Action]:
        return self.handle(MessageReceived(sender.public, encode_direct(message)))

    def tick(self, ticks: int = 1) -> list[Action]:
        """Ticks of the sync timer; what the last one asks for."""
        actions: list[Action] = []
        for _ in range(ticks):
            actions = self.handle(TimerFired(Timer(TimerKind.SYNC)))
        return without_timer(actions)

    def take(self, sender: KeyPair, entries: Sequence[Entry], *, more: bool = False) -> list[Action]:
        """Entries that have been verified."""
        return self.handle(EntriesVerified(sender.public, tuple(entries), (), more))
