"""What every store promises, of a file, of memory and of PostgreSQL."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ledger.feed import ForkProof
from ledger.store import Checkpoint, Store
from ledger.store.rows import id_key
from ledger.store.sql import REPLAY_PAGE
from protocol.envelope import Entry
from protocol.identity import KeyPair
from tests.builders import digest, entry, feed, keypair

from .places import place_of

A, B = keypair(0), keypair(1)


@pytest.fixture(params=["memory", "file", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with closing(place_of(request.param, tmp_path / "ledger.db", request)()) as opened:
        yield opened


def raws(entries: list[Entry]) -> list[bytes]:
    return [each.raw for each in entries]


def replayed(store: Store, after: int = 0) -> list[bytes]:
    return [raw for _, raw in store.replay(after)]


def test_a_new_store_is_empty(store: Store) -> None:
    assert list(store.replay()) == store.page(0, 10) == []
    assert store.heads() == store.asides() == store.feed(A.public, 0, 10) == store.ids(A.public, 0, 10) == []
    assert store.forks() == []
    assert store.checkpoints() == []
    assert store.cursors() == {}
    assert store.entry(digest("x")) is None
    assert store.snapshot() is None
    assert store.cosigned("x") is None
    assert store.position == 0
    assert len(store.epoch) == 16
    assert list(store.check()) == []


# --- entries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durable", [False, True])
def test_replay_gives_entries_in_the_order_of_append(store: Store, durable: bool) -> None:
    a, b = feed(A, 3), feed(B, 2)
    order = [a[0], b[0], a[1], a[2], b[1]]
    store.append(order[:2], durable)
    store.append([], durable)
    store.append(order[2:], durable)
    assert list(store.replay()) == list(enumerate(raws(order), start=1))
    assert list(store.replay(after=3)) == [(4, a[2].raw), (5, b[1].raw)]
    assert store.position == 5


def test_replay_reads_more_than_a_page_and_what_is_appended_meanwhile(store: Store) -> None:
    entries = feed(A, REPLAY_PAGE + 3)
    store.append(entries[:-1], durable=False)
    reading = store.replay()
    assert next(reading) == (1, entries[0].raw)
    store.append(entries[-1:], durable=False)
    assert [raw for _, raw in reading] == raws(entries[1:])


def test_a_feed_is_read_from_a_seq_on(store: Store) -> None:
    a = feed(A, 5)
    store.append([*a, *feed(B, 2)], durable=False)
    for from_seq, limit in ((0, 100), (3, 100), (1, 2), (4, 1), (5, 100), (0, 0)):
        assert store.feed(A.public, from_seq, limit) == raws(a[from_seq : from_seq + limit])
        assert store.ids(A.public, from_seq, limit) == [each.id for each in a[from_seq : from_seq + limit]]
    assert store.feed(keypair(7).public, 0, 100) == []


def test_an_entry_is_found_by_its_id(store: Store) -> None:
    a = feed(A, 2)
    store.append(a, durable=False)
    assert store.entry(a[1].id) == a[1].raw
    assert store.entry(digest("x")) is None


def test_entries_whose_ids_begin_alike_are_told_apart(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.store.sql.id_key", lambda entry_id: id_key(bytes(8)))
    a = feed(A, 3)
    store.append(a, durable=False)
    assert [store.entry(each.id) for each in a] == raws(a)
    assert store.entry(digest("x")) is None


def test_pages_follow_each_other_without_gap(store: Store) -> None:
    a = feed(A, 7)
    store.append(a, durable=False)
    after, seen = 0, []
    while page := store.page(after, 3):
        assert len(page) <= 3
        seen += [raw for _, raw in page]
        after = page[-1][0]
    assert seen == raws(a)


def test_heads_are_the_newest_of_each_feed(store: Store) -> None:
    a, b = feed(A, 3), feed(B, 2)
    store.append([a[0], b[0], b[1], a[1]], durable=False)
    assert sorted(store.heads()) == sorted([a[1].raw, b[1].raw])
    store.append([a[2]], durable=False)
    assert sorted(store.heads()) == sorted([a[2].raw, b[1].raw])


def test_an_append_that_fails_stores_nothing_of_it(store: Store) -> None:
    a, b = feed(A, 4), feed(B, 1)
    store.append(a[:1], durable=False)
    gap, again = [a[2]], [entry(A, kind="other")]
    for faulty in ([a[1], a[1]], [*b, a[0]], [a[1], entry(A, seq=1, kind="other")], gap, again):
        with pytest.raises(ValueError, match=r"does not continue its feed: the next seq is \d"):
            store.append(faulty, durable=True)
    assert replayed(store) == raws(a[:1])
    assert store.position == 1
    store.append([*b, *a[1:]], durable=True)
    assert replayed(store) == raws([a[0], *b, *a[1:]])
    assert store.feed(B.public, 0, 10) == raws(b)


def test_no_other_thread_reads_what_is_not_committed_yet(store: Store) -> None:
    """The reader comes while the second of three entries is written."""
    a = feed(A, 3)
    store.append(a[:1], durable=False)
    seen: list[list[bytes]] = []
    reader = threading.Thread(target=lambda: seen.append(store.feed(A.public, 0, 10)))

    class Interrupted(list[Entry]):
        def __iter__(self) -> Iterator[Entry]:
            yield a[1]
            reader.start()
            reader.join(0.1)  # long enough for a reader that nothing holds back
            yield a[2]

    store.append(Interrupted(a[1:]), durable=True)
    reader.join()
    assert seen in ([raws(a[:1])], [raws(a)])


def test_many_threads_may_call_anything_at_once(store: Store) -> None:
    """Four writers with feeds of their own, and readers in between: positions stay without gaps."""
    authors = [keypair(n) for n in range(4)]

    def work(author: KeyPair) -> None:
        for each in feed(author, 20):
            store.append([each], durable=False)
            assert store.feed(author.public, each.seq, 2) == [each.raw]
            store.set_cursor(author.public, each.id)

    threads = [threading.Thread(target=work, args=(author,)) for author in authors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [position for position, _ in store.page(0, 100)] == list(range(1, 81))
    assert all(store.feed(author.public, 0, 100) == raws(feed(author, 20)) for author in authors)
    assert store.cursors() == {author.public: feed(author, 20)[-1].id for author in authors}


def test_a_store_that_grows_says_so(store: Store) -> None:
    before = store.size_bytes()
    store.save_snapshot(0, [random.Random(0).randbytes(2**20)])
    assert 0 <= before < 2**20 <= store.size_bytes()


# --- forks and asides -------------------------------------------------------------------------------------------------


def test_the_proof_at_the_lowest_seq_of_each_author_is_kept_and_of_several_the_first(store: Store) -> None:
    a, b = feed(A, 3), feed(B, 1)
    at_2 = ForkProof(a[2], entry(A, seq=2, prev=a[1].id, kind="other"))
    at_1 = ForkProof(a[1], entry(A, seq=2, prev=digest("another")))  # the next one names another predecessor
    at_1_too = ForkProof(a[1], entry(A, seq=1, prev=a[0].id, kind="other"))
    of_b = ForkProof(b[0], entry(B, kind="other"))
    for proof in (at_2, of_b, at_1, at_1_too, at_2):
        store.add_fork(proof)
    kept = {proof.b.author: (proof.a.raw, proof.b.raw) for proof in store.forks()}
    assert kept == {A.public: (at_1.a.raw, at_1.b.raw), B.public: (of_b.a.raw, of_b.b.raw)}


def test_an_aside_that_came_to_stand_in_its_feed_is_one_no_more(store: Store) -> None:
    store.add_aside([entry(B)])
    store.append([entry(B)], durable=False)
    assert store.asides() == []


def test_asides_are_kept_once_beside_the_feeds_and_found_by_their_ids(store: Store) -> None:
    a, other = feed(A, 2), entry(A, seq=1, kind="other")
    store.append(a, durable=False)
    store.add_aside([other, entry(B)])
    store.add_aside([other])
    assert store.asides() == [each.raw for each in sorted((other, entry(B)), key=lambda each: each.id)]
    assert store.entry(other.id) == other.raw
    assert store.feed(A.public, 0, 10) == raws(a)
    assert store.feed(B.public, 0, 10) == []
    assert replayed(store) == raws(a)


# --- what peers and witnesses say -------------------------------------------------------------------------------------


def test_the_largest_checkpoint_of_each_author_is_kept_and_the_largest_final_one(store: Store) -> None:
    store.set_checkpoint(A.public, 5, "five", final=True)
    store.set_checkpoint(A.public, 4, "four", final=True)
    store.set_checkpoint(A.public, 8, "eight")
    store.set_checkpoint(A.public, 8, "eight, with one more cosignature")
    store.set_checkpoint(A.public, 7, "seven")
    store.set_checkpoint(B.public, 0, "nothing yet")
    assert sorted(store.checkpoints(), key=lambda each: each.size) == [
        Checkpoint(B.public, 0, "nothing yet", final=False),
        Checkpoint(A.public, 5, "five", final=True),
        Checkpoint(A.public, 8, "eight, with one more cosignature", final=False),
    ]


def test_the_last_cursor_of_each_peer_is_kept(store: Store) -> None:
    store.set_cursor(A.public, b"one")
    store.set_cursor(B.public, b"")
    store.set_cursor(A.public, b"two")
    assert store.cursors() == {A.public: b"two", B.public: b""}


def test_a_witness_advances_only_from_where_it_stands(store: Store) -> None:
    five, nine = digest("root of five"), digest("root of nine")
    assert not store.advance_cosigned("origin", 3, 5, five)
    assert store.cosigned("origin") is None
    assert store.advance_cosigned("origin", 0, 5, five)
    assert store.cosigned("origin") == (5, five)
    for old_size, size, root in ((0, 9, nine), (4, 9, nine), (6, 9, nine), (5, 4, digest("back")), (5, 5, nine)):
        assert not store.advance_cosigned("origin", old_size, size, root)
        assert store.cosigned("origin") == (5, five)
    assert store.advance_cosigned("origin", 5, 5, five)
    assert store.advance_cosigned("origin", 5, 9, nine)
    assert store.advance_cosigned("another", 0, 0, digest("empty"))
    assert store.cosigned("origin") == (9, nine)
    assert store.cosigned("another") == (0, digest("empty"))


def test_of_witnesses_that_race_one_advances(store: Store) -> None:
    won: list[int] = []
    start = threading.Barrier(8)

    def race(number: int) -> None:
        start.wait()
        if store.advance_cosigned("origin", 0, 1 + number, digest(f"root {number}")):
            won.append(number)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = won
    assert store.cosigned("origin") == (1 + winner, digest(f"root {winner}"))


# --- the snapshot -----------------------------------------------------------------------------------------------------


def snapshot_of(store: Store) -> tuple[int, list[bytes]] | None:
    found = store.snapshot()
    return None if found is None else (found[0], list(found[1]))


def test_the_last_snapshot_is_kept(store: Store, chance: random.Random) -> None:
    store.append(feed(A, 3), durable=False)
    store.save_snapshot(0, [])
    assert snapshot_of(store) == (0, [])
    for position in (2, 3):
        chunks = [chance.randbytes(chance.choice((0, 1, 100_000))) for _ in range(5)]
        store.save_snapshot(position, iter(chunks))
        assert snapshot_of(store) == (position, chunks)
    assert list(store.check()) == []


def test_a_snapshot_speaks_of_no_entry_that_is_not_there(store: Store) -> None:
    store.append(feed(A, 1), durable=False)
    with pytest.raises(ValueError, match="a snapshot at position 2, the newest entry is 1"):
        store.save_snapshot(2, [b"x"])
    assert store.snapshot() is None


def test_a_snapshot_that_fails_half_way_leaves_the_last_one_and_others_append_meanwhile(store: Store) -> None:
    a = feed(A, 2)
    store.append(a[:1], durable=False)
    store.save_snapshot(1, [b"whole"])

    def fail() -> Iterator[bytes]:
        yield b"half"
        store.append(a[1:], durable=False)
        yield b"more"
        raise OSError("the fold failed")

    with pytest.raises(OSError, match="the fold failed"):
        store.save_snapshot(1, fail())
    assert snapshot_of(store) == (1, [b"whole"])
    assert replayed(store) == raws(a)
    store.save_snapshot(2, [b"new"])
    assert snapshot_of(store) == (2, [b"new"])


def test_a_snapshot_that_is_replaced_while_it_is_read_ends_early(store: Store) -> None:
    store.save_snapshot(0, [b"1", b"2", b"3"])
    found = store.snapshot()
    assert found is not None
    chunks = found[1]
    assert next(chunks) == b"1"
    store.save_snapshot(0, [b"4"])
    assert list(chunks) == []


def test_compacting_changes_nothing(store: Store) -> None:
    store.append(feed(A, 20), durable=False)
    store.save_snapshot(20, [bytes(100_000)])
    store.save_snapshot(20, [b"small"])
    store.compact()
    store.append([entry(B)], durable=True)
    assert replayed(store) == raws([*feed(A, 20), entry(B)])
    assert snapshot_of(store) == (20, [b"small"])
    assert list(store.check()) == []


def test_a_store_may_be_closed_twice(store: Store) -> None:
    store.close()
    store.close()
