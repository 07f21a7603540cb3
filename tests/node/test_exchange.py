"""How entries travel, one event at a time: what a node asks for and what it answers."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from ledger.feed import ForkProof
from ledger.ledger import Ledger
from ledger.store.sqlite import SqliteStore
from node import exchange
from node.actions import (
    Action,
    Notify,
    Persist,
    PersistFork,
    Send,
    SendEntries,
    SetTimeout,
    Verify,
)
from node.core import Node
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
from node.exchange import open_entries, read_entries
from node.turn import Identity
from protocol.direct import HEADS_MAX, Entries, Heads, Want, encode_direct
from protocol.envelope import NO_PREV, Entry, Head, seal
from protocol.gossip import Topics, encode_announcement
from protocol.identity import KeyPair
from protocol.messages import ARRAY_MAX, Body
from tests.sim.worlds import genesis

NOW_MS = 5_000_000
GENESIS = genesis()
NETWORK = GENESIS.network_id()
TOPICS = Topics.of(NETWORK)
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


def heads_of(*entries: Entry, complete: bool = True) -> Heads:
    return Heads(heads=tuple(sorted((e.author, e.seq, e.id) for e in entries)), complete=complete)


class Scene:
    """A node that only buys, connected to Bob and Carol; it says nothing unasked."""

    def __init__(self) -> None:
        identity = Identity(ALICE, "alice", GENESIS, NETWORK, TOPICS, random.Random(1))
        self.node = Node(identity, Ledger(GENESIS), None, ())
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

    def take(self, sender: KeyPair, entries: Sequence[Entry], *, more: bool = False) -> list[Action]:
        """Entries that have been verified."""
        return self.handle(EntriesVerified(sender.public, tuple(entries), (), more))


@pytest.fixture
def scene() -> Scene:
    return Scene()


def want(author: KeyPair, from_seq: int) -> Want:
    return Want(ranges=((author.public, from_seq),))


# --- announcements ------------------------------------------------------------------------------------------------


def test_what_is_announced_and_missing_is_asked_of_its_author(scene: Scene) -> None:
    assert scene.hear(CAROL, *feed(BOB, 1)) == [Send(BOB.public, want(BOB, 0))]


def test_of_an_author_who_is_not_there_the_teller_is_asked(scene: Scene) -> None:
    dave = KeyPair(b"dave".ljust(32, b"."))
    assert scene.hear(CAROL, *feed(dave, 1)) == [Send(CAROL.public, want(dave, 0))]


def test_only_what_lies_behind_our_head_is_asked_for(scene: Scene) -> None:
    entries = feed(BOB, 3)
    scene.take(BOB, entries[:2])
    assert scene.hear(BOB, entries[2]) == [Send(BOB.public, want(BOB, 2))]
    assert scene.hear(BOB, entries[1]) == []


def test_the_same_entry_is_asked_for_once_a_second(scene: Scene) -> None:
    entries = feed(BOB, 2)
    assert len(scene.hear(BOB, entries[0])) == 1
    assert scene.hear(CAROL, entries[0], after_ms=999) == []
    assert len(scene.hear(CAROL, entries[1], after_ms=999)) == 1, "a later one is news"
    assert len(scene.hear(CAROL, entries[1], after_ms=1_999)) == 1


def test_invented_authors_fill_no_memory(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "ASKED_MAX", 10)
    for number in range(50):
        scene.hear(CAROL, feed(KeyPair(number.to_bytes(32, "big")), 1)[0])
    assert len(scene.node.exchange.asked) <= 10


# --- heads --------------------------------------------------------------------------------------------------------


def test_heads_are_compared_whenever_a_peer_connects(scene: Scene) -> None:
    (entry,) = feed(BOB, 1)
    scene.take(BOB, [entry])
    *_, action = scene.handle(PeerConnected(CAROL.public))
    assert action == Send(CAROL.public, heads_of(entry))


def test_heads_are_compared_on_a_timer(scene: Scene) -> None:
    first, again = scene.handle(TimerFired(Timer(TimerKind.SYNC)))
    assert isinstance(first, Send)
    assert first.peer in (BOB.public, CAROL.public)
    assert first.message == heads_of()
    assert again == SetTimeout(Timer(TimerKind.SYNC), exchange.SYNC_EVERY_MS)


def test_what_the_other_has_is_wanted_and_what_it_lacks_is_sent(scene: Scene) -> None:
    mine, theirs = feed(BOB, 3), feed(CAROL, 2)
    scene.take(BOB, mine)
    assert scene.receive(CAROL, heads_of(mine[0], theirs[1])) == [
        Send(CAROL.public, want(CAROL, 0)),
        SendEntries(CAROL.public, ((BOB.public, 1),)),
    ]


def test_more_heads_than_fit_are_sampled(scene: Scene) -> None:
    entries = [feed(KeyPair(number.to_bytes(32, "big")), 1)[0] for number in range(HEADS_MAX + 1)]
    scene.take(BOB, entries)
    *_, action = scene.handle(PeerConnected(CAROL.public))
    assert isinstance(action, Send)
    assert isinstance(action.message, Heads)
    assert len(action.message.heads) == HEADS_MAX
    assert not action.message.complete


# --- entries ------------------------------------------------------------------------------------------------------


def test_received_entries_are_verified_before_anything_else(scene: Scene) -> None:
    raws = tuple(entry.raw for entry in feed(BOB, 2))
    assert scene.receive(CAROL, Entries(entries=raws, more=True)) == [Verify(CAROL.public, raws, more=True)]


def test_verified_entries_are_made_durable(scene: Scene) -> None:
    entries = feed(BOB, 2)
    assert scene.take(CAROL, entries) == [Persist(tuple(entries))]
    assert scene.take(CAROL, entries) == []


def test_a_gap_is_asked_for(scene: Scene) -> None:
    entries = feed(BOB, 4)
    assert scene.take(CAROL, [entries[0], entries[3]]) == [
        Persist((entries[0],)),
        Send(CAROL.public, want(BOB, 1)),
    ]


def test_when_there_is_more_the_heads_are_compared_again(scene: Scene) -> None:
    (entry,) = feed(BOB, 1)
    assert scene.take(CAROL, [entry], more=True) == [Persist((entry,)), Send(CAROL.public, heads_of(entry))]
    assert scene.take(CAROL, [entry], more=True) == [], "or a sender of nothing new would keep us asking"


def test_refusals_are_told_and_cost_nothing_else(scene: Scene) -> None:
    (entry,) = feed(BOB, 1)
    persist, notice = scene.handle(EntriesVerified(CAROL.public, (entry,), ("invalid signature",), more=False))
    assert persist == Persist((entry,))
    assert isinstance(notice, Notify)
    assert notice.data["reason"] == "invalid signature"


# --- forks --------------------------------------------------------------------------------------------------------


def test_a_fork_is_kept_and_told_to_everybody_at_once(scene: Scene) -> None:
    root, one = feed(BOB, 2)
    (other,) = feed(BOB, 1, root, "or not")
    scene.take(BOB, [root, one])
    proof = Entries(entries=(one.raw, other.raw), more=False)
    actions = scene.take(CAROL, [other])
    assert actions[0] == PersistFork(BOB.public)
    assert actions[2:] == [Send(peer, proof) for peer in sorted((BOB.public, CAROL.public))]
    assert scene.take(CAROL, feed(BOB, 1, one)) == [], "a frozen author says nothing any more"


def test_a_proof_is_told_again_on_the_timer(scene: Scene) -> None:
    root, one = feed(BOB, 2)
    (other,) = feed(BOB, 1, root, "or not")
    scene.take(BOB, [root, one, other])
    _, proof, _ = scene.handle(TimerFired(Timer(TimerKind.SYNC)))
    assert isinstance(proof, Send)
    assert proof.message == Entries(entries=(one.raw, other.raw), more=False)


@pytest.mark.parametrize("known", [1, 2, 3], ids=["behind the fork", "at the fork", "ahead of the fork"])
def test_a_proof_freezes_its_author_wherever_we_stand_in_the_feed(scene: Scene, known: int) -> None:
    root, one, two = feed(BOB, 3)
    (other,) = feed(BOB, 1, root, "or not")
    scene.take(BOB, [root, one, two][:known])
    scene.take(CAROL, [one, other])
    assert scene.node.ledger.forks.keys() == {BOB.public}


def test_a_proof_against_a_feed_that_we_have_nothing_of_waits(scene: Scene) -> None:
    root, one = feed(BOB, 2)
    (other,) = feed(BOB, 1, root, "or not")
    assert scene.take(CAROL, [one, other]) == [Send(CAROL.public, want(BOB, 0))]
    assert scene.node.ledger.forks == {}


def test_an_honest_feed_proves_nothing(scene: Scene) -> None:
    entries = feed(BOB, 4)
    scene.take(CAROL, [*entries, *reversed(entries), entries[0], entries[2]])
    assert scene.node.ledger.forks == {}


def test_a_frozen_feed_is_not_asked_for_and_still_given_to_those_who_ask(scene: Scene) -> None:
    root, one = feed(BOB, 2)
    (other,) = feed(BOB, 1, root, "or not")
    scene.take(BOB, [root, one, other])
    (ahead,) = feed(BOB, 1, other)
    assert scene.hear(CAROL, ahead) == []
    assert scene.receive(CAROL, heads_of(ahead)) == []
    assert scene.receive(CAROL, want(BOB, 0)) == [SendEntries(CAROL.public, ((BOB.public, 0),))]


# --- what the shells do -------------------------------------------------------------------------------------------


def test_open_entries_keeps_the_order_and_says_what_it_refused() -> None:
    one, two = feed(BOB, 2)
    forged = one.raw[:-1] + bytes([one.raw[-1] ^ 1])
    answer = open_entries(Verify(CAROL.public, (one.raw, b"?", forged, two.raw), more=True), NETWORK)
    assert [entry.id for entry in answer.entries] == [one.id, two.id]
    assert len(answer.refusals) == 2
    assert (answer.peer, answer.more) == (CAROL.public, True)


@pytest.fixture
def store() -> SqliteStore:
    held = SqliteStore(":memory:", NETWORK)
    held.append([*feed(BOB, 300), *feed(CAROL, 5)], durable=True)
    return held


def test_read_entries_fills_messages_to_their_bound(store: SqliteStore) -> None:
    batches = list(read_entries(store, ((BOB.public, 10), (CAROL.public, 4), (ALICE.public, 0))))
    assert [len(batch.entries) for batch in batches] == [ARRAY_MAX, 290 - ARRAY_MAX + 1]
    assert [batch.more for batch in batches] == [False, False]


def test_read_entries_stops_at_its_limit_and_says_so(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "ENTRIES_PER_REQUEST_MAX", 100)
    (batch,) = read_entries(store, ((BOB.public, 0), (CAROL.public, 0)))
    assert (len(batch.entries), batch.more) == (100, True)


def test_read_entries_keeps_messages_small(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "ENTRIES_PER_MESSAGE_BYTES", 500)
    batches = list(read_entries(store, ((CAROL.public, 0),)))
    assert len(batches) > 1
    assert all(sum(map(len, batch.entries)) <= 500 for batch in batches)


def test_nothing_to_send_is_no_message(store: SqliteStore) -> None:
    assert list(read_entries(store, ((ALICE.public, 0), (BOB.public, 300)))) == []


def test_a_proof_that_arrives_again_is_not_told_again(scene: Scene) -> None:
    root, one = feed(BOB, 2)
    (other,) = feed(BOB, 1, root, "or not")
    scene.take(BOB, [root, one, other])
    assert scene.node.ledger.forks[BOB.public] == ForkProof(one, other)
    assert scene.take(CAROL, [one, other]) == []


def test_an_entry_that_no_honest_program_writes_is_refused(scene: Scene) -> None:
    (entry,) = feed(BOB, 1)
    scene.take(BOB, [entry])
    earlier = seal(BOB, network=NETWORK, kind="note", seq=1, prev=entry.id, time_ms=NOW_MS - 1, refs=(), body={})
    (notice,) = scene.take(CAROL, [earlier])
    assert isinstance(notice, Notify)
    assert notice.data["reason"] == f"time runs backwards in a feed: {NOW_MS - 1} after {NOW_MS}"
