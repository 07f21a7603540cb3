"""How entries travel, one event at a time: what a node asks for and what it answers."""

from __future__ import annotations

import pytest

from ledger.heads import HeadIndex, mark_of
from ledger.ledger import Ledger
from ledger.sync import answer_summary, standings, summary
from node.actions import (
    Blame,
    Notify,
    Persist,
    PersistCursor,
    Send,
    SendEntries,
    SendNews,
    SetTimeout,
    Verify,
)
from node.events import EntriesVerified, PeerConnected, PeerDisconnected, Timer, TimerFired, TimerKind
from node.feeds import exchange
from node.feeds.exchange import Cursor
from protocol.direct import Compare, Entries, Heads, News, Since, Summary
from protocol.envelope import Entry, seal
from protocol.identity import KeyPair
from tests.node.peers_scene import (
    BOB,
    CAROL,
    EPOCH,
    GENESIS,
    NETWORK,
    NOW_MS,
    Scene,
    feed,
    heads_of,
    want,
)

THEIR_EPOCH = b"epoch of another"
DAVE = KeyPair(b"dave".ljust(32, b"."))


@pytest.fixture
def scene() -> Scene:
    return Scene()


def index_of(ledger: Ledger) -> HeadIndex:
    index = HeadIndex()
    index.update(standings(ledger.heads, ledger.forks))
    return index


def summary_of(ledger: Ledger, position: int = 7) -> Summary:
    return summary(index_of(ledger), bytes([128]) * 32, THEIR_EPOCH, position)


def holding(*entries: Entry) -> Ledger:
    ledger = Ledger(GENESIS)
    for entry in entries:
        ledger.extend(entry, NOW_MS)
    return ledger


# --- announcements ------------------------------------------------------------------------------------------------


def test_what_is_announced_and_missing_is_asked_of_its_author(scene: Scene) -> None:
    assert scene.hear(CAROL, *feed(BOB, 1)) == [Send(BOB.public, want(BOB, 0))]


def test_of_an_author_who_is_not_there_the_teller_is_asked(scene: Scene) -> None:
    assert scene.hear(CAROL, *feed(DAVE, 1)) == [Send(CAROL.public, want(DAVE, 0))]


def test_only_what_lies_behind_our_head_is_asked_for(scene: Scene) -> None:
    entries = feed(BOB, 3)
    scene.take(BOB, entries[:2])
    assert scene.hear(BOB, entries[2]) == [Send(BOB.public, want(BOB, 2))]
    assert scene.hear(BOB, entries[1]) == []


def test_while_an_answer_is_awaited_the_same_feed_is_not_asked_for_again(scene: Scene) -> None:
    entries = feed(DAVE, 2)
    assert len(scene.hear(BOB, entries[0])) == 1
    assert scene.hear(CAROL, entries[0]) == []
    assert scene.hear(BOB, entries[1]) == [], "the answer may bring it"
    _, again = scene.take(BOB, entries[:1])
    assert again == Send(BOB.public, want(DAVE, 1)), "it did not"
    assert scene.take(BOB, entries[1:]) == [Persist((entries[1],))]


# --- comparing ----------------------------------------------------------------------------------------------------


def test_a_peer_that_connects_for_the_first_time_is_told_a_summary(scene: Scene) -> None:
    entries = feed(BOB, 2)
    scene.take(BOB, entries)
    *_, action = scene.handle(PeerConnected(CAROL.public))
    assert isinstance(action, Send)
    assert isinstance(action.message, Summary)
    assert (action.message.epoch, action.message.position) == (EPOCH, 2)
    assert answer_summary(index_of(holding(*entries)), action.message) is None
    assert answer_summary(index_of(holding(entries[0])), action.message) is not None


def test_heads_are_compared_every_few_ticks(scene: Scene) -> None:
    said = [scene.tick() for _ in range(2 * exchange.COMPARE_EVERY_TICKS)]
    assert [len(actions) for actions in said] == [0, 0, 1, 0, 0, 1]
    assert all(isinstance(action, Send) and isinstance(action.message, Summary) for each in said for action in each)
    assert scene.handle(TimerFired(Timer(TimerKind.SYNC)))[-1] == SetTimeout(Timer(TimerKind.SYNC), exchange.TICK_MS)


def test_an_equal_summary_is_not_answered_and_makes_a_cursor(scene: Scene) -> None:
    entries = feed(BOB, 2)
    scene.take(BOB, entries)
    cursor = Cursor(THEIR_EPOCH, 7).encode()
    assert scene.receive(CAROL, summary_of(holding(*entries))) == [PersistCursor(CAROL.public, cursor)]
    assert scene.receive(CAROL, summary_of(holding(*entries))) == [], "it is kept already"


def test_another_summary_is_answered_by_what_differs_and_makes_none(scene: Scene) -> None:
    scene.take(BOB, feed(BOB, 2))
    (answer,) = scene.receive(CAROL, summary_of(holding()))
    assert isinstance(answer, Send)
    assert isinstance(answer.message, Compare)
    assert scene.node.exchange.cursors == {}


def test_lists_are_answered_with_the_heads_that_differ(scene: Scene) -> None:
    entries = feed(BOB, 2)
    scene.take(BOB, entries)
    lists = ((b"", b"", mark_of(feed(DAVE, 1)[0])),)
    assert scene.receive(CAROL, Compare(spans=(), lists=lists)) == [
        Send(CAROL.public, Heads(heads=heads_of(entries[1]).heads, unknown=lists[0][2]))
    ]


def test_what_the_other_has_is_wanted_and_what_it_lacks_is_sent(scene: Scene) -> None:
    mine, theirs = feed(BOB, 3), feed(CAROL, 2)
    scene.take(BOB, mine)
    assert scene.receive(CAROL, heads_of(mine[0], theirs[1])) == [
        SendEntries(CAROL.public, ((BOB.public, 1),)),
        Send(CAROL.public, want(CAROL, 0)),
    ]


def test_a_claim_that_cannot_be_noted_is_found_again_once_there_is_room(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.feeds.asking.CLAIMS_PER_PEER_MAX", 1)
    one, other = sorted((feed(BOB, 1), feed(DAVE, 1)), key=lambda each: each[0].author)
    (asked,) = scene.receive(CAROL, heads_of(one[0], other[0]))
    assert asked == Send(CAROL.public, want(BOB if one[0].author == BOB.public else DAVE, 0))
    _, again = scene.take(CAROL, one)
    assert isinstance(again, Send)
    assert isinstance(again.message, Summary)


# --- cursors ------------------------------------------------------------------------------------------------------


def reconnected(*known: Entry) -> Scene:
    """A node that has read Carol's store up to position 7, and meets her again."""
    return Scene(holding(*known), cursors={CAROL.public: Cursor(THEIR_EPOCH, 7).encode()})


def news(*entries: Entry, position: int = 9, more: bool = False) -> News:
    return News(epoch=THEIR_EPOCH, position=position, feeds=tuple((e.author, e.seq) for e in entries), more=more)


def test_a_peer_that_is_known_is_asked_what_is_new() -> None:
    scene = reconnected()
    *_, action = scene.handle(PeerConnected(CAROL.public))
    assert action == Send(CAROL.public, Since(epoch=THEIR_EPOCH, position=7))


def test_the_question_is_answered_from_the_store_or_not_at_all(scene: Scene) -> None:
    scene.take(BOB, feed(BOB, 3))
    assert scene.receive(CAROL, Since(epoch=EPOCH, position=1)) == [SendNews(CAROL.public, EPOCH, 1)]
    assert scene.receive(CAROL, Since(epoch=EPOCH, position=3)) == [], "nothing is new"


@pytest.mark.parametrize(("epoch", "position"), [(THEIR_EPOCH, 1), (EPOCH, 4)], ids=["another epoch", "ahead of us"])
def test_a_cursor_that_names_nothing_here_is_answered_by_a_summary(scene: Scene, epoch: bytes, position: int) -> None:
    scene.take(BOB, feed(BOB, 3))
    (answer,) = scene.receive(CAROL, Since(epoch=epoch, position=position))
    assert isinstance(answer, Send)
    assert isinstance(answer.message, Summary)


def test_news_are_asked_for_and_the_cursor_advances_once_they_are_here() -> None:
    entries = feed(BOB, 3)
    scene = reconnected()
    assert scene.receive(CAROL, news(entries[2])) == [Send(CAROL.public, want(BOB, 0))]
    assert scene.take(CAROL, entries[:2]) == [Persist(tuple(entries[:2]))], "not yet"
    cursor = PersistCursor(CAROL.public, Cursor(THEIR_EPOCH, 9).encode())
    assert scene.take(CAROL, entries[2:]) == [Persist((entries[2],)), cursor]


def test_it_does_not_matter_who_brings_the_news() -> None:
    entries = feed(BOB, 3)
    scene = reconnected()
    scene.receive(CAROL, news(entries[2]))
    assert PersistCursor(CAROL.public, Cursor(THEIR_EPOCH, 9).encode()) in scene.take(BOB, entries)


def test_news_that_are_none_advance_the_cursor_at_once() -> None:
    entries = feed(BOB, 3)
    scene = reconnected(*entries)
    assert scene.receive(CAROL, news(entries[2])) == [PersistCursor(CAROL.public, Cursor(THEIR_EPOCH, 9).encode())]


def test_what_a_frozen_author_signed_since_its_fork_holds_no_cursor_up() -> None:
    root, one, two = feed(BOB, 3)
    (other,) = feed(BOB, 1, root, "or not")
    scene = reconnected(root, one)
    scene.take(CAROL, [other])
    assert scene.receive(CAROL, news(two)) == [PersistCursor(CAROL.public, Cursor(THEIR_EPOCH, 9).encode())]


def test_the_next_page_is_asked_for_when_this_one_has_come_in_full() -> None:
    entries = feed(BOB, 2)
    scene = reconnected()
    scene.receive(CAROL, news(entries[1], more=True))
    *_, question = scene.take(CAROL, entries)
    assert question == Send(CAROL.public, Since(epoch=THEIR_EPOCH, position=9))


def test_a_sender_of_empty_pages_does_not_keep_us_asking() -> None:
    assert reconnected().receive(CAROL, news(more=True)) == [
        PersistCursor(CAROL.public, Cursor(THEIR_EPOCH, 9).encode())
    ]


def test_a_peer_that_goes_takes_its_unfinished_page_along() -> None:
    entries = feed(BOB, 3)
    scene = reconnected()
    scene.receive(CAROL, news(entries[2]))
    scene.handle(PeerDisconnected(CAROL.public))
    assert not any(isinstance(action, PersistCursor) for action in scene.take(BOB, entries))


# --- entries ------------------------------------------------------------------------------------------------------


def test_received_entries_are_verified_before_anything_else(scene: Scene) -> None:
    raws = tuple(entry.raw for entry in feed(BOB, 2))
    assert scene.receive(CAROL, Entries(entries=raws, more=True)) == [Verify(CAROL.public, raws, more=True)]


def test_one_peer_does_not_fill_the_queue_of_what_waits_to_be_verified(scene: Scene) -> None:
    message = Entries(entries=(feed(BOB, 1)[0].raw,), more=False)
    said = [scene.receive(CAROL, message) for _ in range(exchange.VERIFYING_PER_PEER_MAX + 1)]
    assert said[-1] == []
    assert len(scene.receive(BOB, message)) == 1
    scene.handle(EntriesVerified(CAROL.public, (), (), more=False))
    assert len(scene.receive(CAROL, message)) == 1
    scene.tick()
    assert len(scene.receive(CAROL, message)) == 1, "messages that were dropped do not count for ever"


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


def test_when_there_is_more_the_rest_is_asked_for(scene: Scene) -> None:
    entries = feed(BOB, 3)
    scene.receive(CAROL, heads_of(entries[2]))
    assert scene.take(CAROL, entries[:1], more=True) == [
        Persist((entries[0],)),
        Send(CAROL.public, want(BOB, 1)),
    ]
    assert scene.take(CAROL, entries[:1], more=True) == [], "or a sender of nothing new would keep us asking"


def test_refusals_are_told_and_cost_nothing_else(scene: Scene) -> None:
    (entry,) = feed(BOB, 1)
    persist, notice, blame = scene.handle(EntriesVerified(CAROL.public, (entry,), ("invalid signature",), more=False))
    assert persist == Persist((entry,))
    assert isinstance(notice, Notify)
    assert notice.data["reason"] == "invalid signature"
    assert blame == Blame(CAROL.public)


def test_an_entry_that_no_honest_program_writes_is_refused(scene: Scene) -> None:
    (entry,) = feed(BOB, 1)
    scene.take(BOB, [entry])
    earlier = seal(BOB, network=NETWORK, kind="note", seq=1, prev=entry.id, time_ms=NOW_MS - 1, refs=(), body={})
    notice, blame = scene.take(CAROL, [earlier])
    assert isinstance(notice, Notify)
    assert notice.data["reason"] == f"feed check g: time_ms {NOW_MS - 1} is below the predecessor's {NOW_MS}"
    assert blame == Blame(CAROL.public), "who has judged it hands it on to nobody"


def test_entries_of_the_far_future_wait_outside(scene: Scene) -> None:
    ahead = seal(BOB, network=NETWORK, kind="note", seq=0, prev=bytes(32), time_ms=10 * NOW_MS, refs=(), body={})
    assert scene.take(CAROL, [ahead]) == []


def test_an_answer_that_does_not_come_is_asked_of_the_next(scene: Scene) -> None:
    (entry,) = feed(DAVE, 1)
    assert scene.hear(BOB, entry) == [Send(BOB.public, want(DAVE, 0))]
    assert scene.hear(CAROL, entry) == []
    assert Send(CAROL.public, want(DAVE, 0)) in [action for _ in range(4) for action in scene.tick()]
