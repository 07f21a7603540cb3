"""What every store promises."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ledger.feed import ForkProof
from ledger.store import Store
from ledger.store.sql import REPLAY_PAGE
from ledger.store.sqlite import SqliteStore
from protocol.envelope import Entry
from tests.builders import digest, entry, feed, genesis, keypair

NETWORK = genesis().network_id()
A, B = keypair(0), keypair(1)


def raws(entries: list[Entry]) -> list[bytes]:
    return [each.raw for each in entries]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, path: Path) -> Iterator[Store]:
    with closing(SqliteStore(":memory:" if request.param == "memory" else path, NETWORK)) as opened:
        yield opened


def test_a_new_store_is_empty(store: Store) -> None:
    assert [raw for _, raw in store.replay()] == []
    assert store.page(0, 10) == []
    assert store.feed(A.public, 0, 10) == []
    assert store.entry(digest("x")) is None
    assert store.forks() == []


def test_replay_gives_entries_in_the_order_of_append(store: Store) -> None:
    a, b = feed(A, 3), feed(B, 2)
    order = [a[0], b[0], a[1], a[2], b[1]]
    store.append(order[:2], durable=True)
    store.append([], durable=True)
    store.append(order[2:], durable=True)
    assert [raw for _, raw in store.replay()] == raws(order)


def test_replay_reads_more_than_a_page_and_what_is_appended_meanwhile(store: Store) -> None:
    entries = feed(A, REPLAY_PAGE + 3)
    store.append(entries[:-1], durable=True)
    replayed = store.replay()
    assert next(replayed) == (1, entries[0].raw)
    store.append(entries[-1:], durable=True)
    assert [raw for _, raw in replayed] == raws(entries[1:])


def test_a_feed_is_read_from_a_seq_on(store: Store) -> None:
    a = feed(A, 5)
    store.append([*a, *feed(B, 2)], durable=True)
    assert store.feed(A.public, 0, 100) == raws(a)
    assert store.feed(A.public, 3, 100) == raws(a[3:])
    assert store.feed(A.public, 1, 2) == raws(a[1:3])
    assert store.feed(A.public, 5, 100) == []
    assert store.feed(keypair(7).public, 0, 100) == []


def test_an_entry_is_found_by_its_id(store: Store) -> None:
    a = feed(A, 2)
    store.append(a, durable=True)
    assert store.entry(a[1].id) == a[1].raw
    assert store.entry(digest("x")) is None


def test_pages_follow_each_other_without_gap(store: Store) -> None:
    a = feed(A, 7)
    store.append(a, durable=True)
    after, seen = 0, []
    while page := store.page(after, 3):
        assert len(page) <= 3
        seen += [raw for _, raw in page]
        after = page[-1][0]
    assert seen == raws(a)


def test_an_append_that_fails_stores_nothing_of_it(store: Store) -> None:
    a, b = feed(A, 3), feed(B, 1)
    store.append(a[:1], durable=True)
    for faulty in ([a[1], a[1]], [*b, a[0]], [a[1], entry(A, seq=1, kind="other")]):
        with pytest.raises(ValueError, match="UNIQUE"):
            store.append(faulty, durable=True)
    assert [raw for _, raw in store.replay()] == raws(a[:1])
    store.append([*b, *a[1:]], durable=True)
    assert [raw for _, raw in store.replay()] == raws([a[0], *b, *a[1:]])
    assert store.feed(B.public, 0, 10) == raws(b)


def test_no_other_thread_reads_what_is_not_durable_yet(store: Store) -> None:
    """The reader comes while the second of three entries is written."""
    a = feed(A, 3)
    store.append(a[:1], durable=True)
    seen: list[list[bytes]] = []
    reader = threading.Thread(target=lambda: seen.append(store.feed(A.public, 0, 10)))

    class Interrupted(list[Entry]):
        def __iter__(self) -> Iterator[Entry]:
            yield a[1]
            reader.start()
            reader.join(0.2)  # long enough for a reader that nothing holds back
            yield a[2]

    store.append(Interrupted(a[1:]), durable=True)
    reader.join()
    assert seen in ([raws(a[:1])], [raws(a)])


def test_the_first_fork_proof_of_each_author_is_kept(store: Store) -> None:
    a, b = feed(A, 1), feed(B, 1)
    store.append([*a, *b], durable=True)
    proofs = [ForkProof(a[0], entry(A, kind=kind)) for kind in ("one", "two")] + [ForkProof(b[0], entry(B, kind="one"))]
    for proof in proofs:
        store.add_fork(proof)
    kept = {proof.b.author: (proof.a.raw, proof.b.raw) for proof in store.forks()}
    assert kept == {proof.b.author: (proof.a.raw, proof.b.raw) for proof in (proofs[0], proofs[2])}
