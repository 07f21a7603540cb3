"""What the shells do for the exchange, with a real store."""

from __future__ import annotations

import pytest

from ledger.store.sqlite import SqliteStore
from node.actions import FindForks, SendEntries, SendIds, SendNews, Verify
from node.running import serving
from node.running.serving import find_forks, open_entries, read_answer, read_entries, read_ids, read_news
from protocol.messages import ARRAY_MAX
from tests.builders import digest
from tests.node.peers_scene import ALICE, BOB, CAROL, EPOCH, NETWORK, feed


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
    monkeypatch.setattr(serving, "ENTRIES_PER_REQUEST_MAX", 100)
    (batch,) = read_entries(store, ((BOB.public, 0), (CAROL.public, 0)))
    assert (len(batch.entries), batch.more) == (100, True)


def test_read_entries_keeps_messages_small(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "ENTRIES_PER_MESSAGE_BYTES", 500)
    batches = list(read_entries(store, ((CAROL.public, 0),)))
    assert len(batches) > 1
    assert all(sum(map(len, batch.entries)) <= 500 for batch in batches)


def test_nothing_to_send_is_no_message(store: SqliteStore) -> None:
    assert list(read_entries(store, ((ALICE.public, 0), (BOB.public, 300)))) == []
    assert list(read_ids(store, (digest("nothing"),))) == []


def test_read_ids_gives_what_is_there_of_feeds_and_aside(store: SqliteStore) -> None:
    bobs, (aside,) = feed(BOB, 2), feed(CAROL, 1, text="another branch")
    store.add_aside([aside])
    (answer,) = read_ids(store, (bobs[1].id, digest("nothing"), aside.id))
    assert answer.entries == (bobs[1].raw, aside.raw)


def test_read_ids_keeps_messages_small(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "ENTRIES_PER_MESSAGE_BYTES", 500)
    bobs = feed(BOB, 6)
    answers = list(read_ids(store, [entry.id for entry in bobs]))
    assert [raw for answer in answers for raw in answer.entries] == [entry.raw for entry in bobs]
    assert all(sum(map(len, answer.entries)) <= 500 for answer in answers)


def test_news_name_each_feed_once_with_its_newest_seq(store: SqliteStore) -> None:
    (all_of_it,) = read_news(store, EPOCH, 0)
    assert all_of_it.feeds == tuple(sorted([(BOB.public, 299), (CAROL.public, 4)]))
    assert (all_of_it.position, all_of_it.more) == (305, False)
    (rest,) = read_news(store, EPOCH, 302)
    assert (rest.feeds, rest.position) == (((CAROL.public, 4),), 305)
    (nothing,) = read_news(store, EPOCH, 305)
    assert (nothing.feeds, nothing.position, nothing.more) == ((), 305, False)


@pytest.mark.parametrize(("limit", "value"), [("NEWS_ENTRIES_MAX", 100), ("HEADS_MAX", 1)])
def test_news_that_stop_at_a_limit_go_on_where_they_stopped(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(serving, limit, value)
    (first,) = read_news(store, EPOCH, 0)
    assert first.more
    assert first.feeds == ((BOB.public, first.position - 1),)
    heard = dict(first.feeds)
    answer = first
    while answer.more:
        (answer,) = read_news(store, EPOCH, answer.position)
        heard |= dict(answer.feeds)
    assert (heard, answer.position) == ({BOB.public: 299, CAROL.public: 4}, 305)


def test_every_question_has_its_reader(store: SqliteStore) -> None:
    peer = ALICE.public
    assert list(read_answer(store, SendEntries(peer, ((CAROL.public, 0),)))) == list(
        read_entries(store, ((CAROL.public, 0),))
    )
    (entry, *_) = feed(BOB, 1)
    assert list(read_answer(store, SendIds(peer, (entry.id,)))) == list(read_ids(store, (entry.id,)))
    assert list(read_answer(store, SendNews(peer, EPOCH, 3))) == list(read_news(store, EPOCH, 3))


def test_a_fork_is_proven_by_the_entry_that_stands_in_its_place(store: SqliteStore) -> None:
    root, one, two = feed(BOB, 3)
    (other,) = feed(BOB, 1, root, "or not")
    (ahead,) = feed(CAROL, 1, feed(CAROL, 5)[-1])
    found = find_forks(store, FindForks(CAROL.public, (two, other, ahead)))
    assert found.peer == CAROL.public
    (proof,) = found.proofs
    assert (proof.a.id, proof.b.id) == (one.id, other.id)
