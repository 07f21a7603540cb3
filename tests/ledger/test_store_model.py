"""A store beside a naive one: whatever is done to both, in whatever order, with deaths in between, they agree."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from ledger.feed import ForkProof
from ledger.store import Checkpoint
from ledger.store.sql import SqlStore
from protocol.envelope import Entry
from tests.builders import digest, entry, feed, keypair

from .places import Open, crash, place_of

AUTHORS = [keypair(n) for n in range(4)]
FEED_LENGTH = 40
SIZES = st.integers(0, 5)
authors = st.integers(0, len(AUTHORS) - 1)


@cache
def entries_of(author: int) -> list[Entry]:
    return feed(AUTHORS[author], FEED_LENGTH)


@cache
def other(author: int, seq: int) -> Entry:
    """What the author signed in its other branch."""
    kept = entries_of(author)[seq]
    return entry(AUTHORS[author], seq=seq, prev=kept.prev, kind="other")


class Naive:
    """The promises as plain values."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.forks: dict[bytes, ForkProof] = {}
        self.asides: dict[bytes, bytes] = {}
        self.checkpoints: dict[tuple[bytes, bool], Checkpoint] = {}
        self.cursors: dict[bytes, bytes] = {}
        self.cosigned: dict[str, tuple[int, bytes]] = {}
        self.snapshot: tuple[int, list[bytes]] | None = None

    def feed(self, author: int) -> list[bytes]:
        return [each.raw for each in self.entries if each.author == AUTHORS[author].public]


class Comparison(RuleBasedStateMachine):
    new_place: ClassVar[Callable[[], Open]]
    is_lasting: ClassVar[bool]

    def __init__(self) -> None:
        super().__init__()
        self.naive = Naive()
        self.place = type(self).new_place()
        self.store: SqlStore = self.place()

    def teardown(self) -> None:
        self.store.close()

    # --- what is done -----------------------------------------------------------------------------------------------

    @rule(counts=st.lists(st.tuples(authors, SIZES), max_size=4), durable=st.booleans())
    def append(self, counts: list[tuple[int, int]], durable: bool) -> None:
        batch: list[Entry] = []
        for author, count in counts:
            start = sum(each.author == AUTHORS[author].public for each in (*self.naive.entries, *batch))
            batch += entries_of(author)[start : start + count]
        self.store.append(batch, durable)
        self.naive.entries += batch

    @rule(author=authors, durable=st.booleans(), data=st.data())
    def append_what_does_not_follow(self, author: int, durable: bool, data: st.DataObject) -> None:
        length = len(self.naive.feed(author))
        seq = data.draw(st.integers(0, FEED_LENGTH - 1).filter(lambda seq: seq != length))
        good = entries_of((author + 1) % len(AUTHORS))[len(self.naive.feed((author + 1) % len(AUTHORS))) :][:1]
        with pytest.raises(ValueError, match=f"the next seq is {length}$"):
            self.store.append([*good, entries_of(author)[seq]], durable)

    @rule(author=authors, seq=st.integers(0, FEED_LENGTH - 1))
    def add_fork(self, author: int, seq: int) -> None:
        proof = ForkProof(entries_of(author)[seq], other(author, seq))
        self.store.add_fork(proof)
        kept = self.naive.forks.setdefault(proof.author, proof)
        if proof.seq < kept.seq:
            self.naive.forks[proof.author] = proof

    @rule(branch=st.lists(st.tuples(authors, SIZES), max_size=3))
    def add_aside(self, branch: list[tuple[int, int]]) -> None:
        entries = [other(*each) for each in branch]
        self.store.add_aside(entries)
        self.naive.asides |= {each.id: each.raw for each in entries}

    @rule(author=authors, size=SIZES, final=st.booleans(), note=st.text(st.characters(exclude_characters="\0")))
    def set_checkpoint(self, author: int, size: int, final: bool, note: str) -> None:
        key = AUTHORS[author].public
        self.store.set_checkpoint(key, size, note, final)
        kept = self.naive.checkpoints.get((key, final))
        if kept is None or size >= kept.size:
            self.naive.checkpoints[key, final] = Checkpoint(key, size, note, final)

    @rule(author=authors, cursor=st.binary(max_size=24))
    def set_cursor(self, author: int, cursor: bytes) -> None:
        self.store.set_cursor(AUTHORS[author].public, cursor)
        self.naive.cursors[AUTHORS[author].public] = cursor

    @rule(origin=st.sampled_from("ab"), old_size=SIZES, size=SIZES, root=st.sampled_from([digest("1"), digest("2")]))
    def advance_cosigned(self, origin: str, old_size: int, size: int, root: bytes) -> None:
        promised = self.naive.cosigned.get(origin, (0, root))
        allowed = old_size == promised[0] and (size > old_size or (size == old_size and root == promised[1]))
        assert self.store.advance_cosigned(origin, old_size, size, root) == allowed
        if allowed:
            self.naive.cosigned[origin] = (size, root)

    @rule(chunks=st.lists(st.binary(max_size=9), max_size=3), back=SIZES, fails=st.booleans())
    def save_snapshot(self, chunks: list[bytes], back: int, fails: bool) -> None:
        def parts() -> Iterator[bytes]:
            yield from chunks
            if fails:
                raise InterruptedError

        position = max(0, len(self.naive.entries) - back)
        if fails:
            with pytest.raises(InterruptedError):
                self.store.save_snapshot(position, parts())
        else:
            self.store.save_snapshot(position, parts())
            self.naive.snapshot = (position, chunks)

    @precondition(lambda self: self.is_lasting)
    @rule(end=st.sampled_from([SqlStore.close, crash]))
    def end_and_open_again(self, end: Any) -> None:
        end(self.store)
        self.store = self.place()

    @rule()
    def compact(self) -> None:
        self.store.compact()

    # --- what must hold ---------------------------------------------------------------------------------------------

    @invariant()
    def agree(self) -> None:
        store, naive = self.store, self.naive
        numbered = list(enumerate((each.raw for each in naive.entries), start=1))
        assert list(store.replay()) == numbered
        assert store.page(2, 3) == numbered[2:5]
        assert store.position == len(naive.entries)
        feeds = [naive.feed(author) for author in range(len(AUTHORS))]
        assert sorted(store.heads()) == sorted(each[-1] for each in feeds if each)
        for author, raws in enumerate(feeds):
            assert store.feed(AUTHORS[author].public, 1, 3) == raws[1:4]
            assert store.ids(AUTHORS[author].public, 0, 2) == [each.id for each in entries_of(author)[: len(raws)][:2]]
        if naive.entries:
            assert store.entry(naive.entries[-1].id) == naive.entries[-1].raw
        assert {p.author: (p.a.raw, p.b.raw) for p in store.forks()} == {
            key: (proof.a.raw, proof.b.raw) for key, proof in naive.forks.items()
        }
        in_feeds = {each.id for each in naive.entries}
        assert store.asides() == [raw for entry_id, raw in sorted(naive.asides.items()) if entry_id not in in_feeds]
        assert all(store.entry(entry_id) == raw for entry_id, raw in naive.asides.items())
        assert {(each.author, each.final): each for each in store.checkpoints()} == naive.checkpoints
        assert store.cursors() == naive.cursors
        assert [store.cosigned(origin) for origin in "ab"] == [naive.cosigned.get(origin) for origin in "ab"]
        snapshot = store.snapshot()
        assert (None if snapshot is None else (snapshot[0], list(snapshot[1]))) == naive.snapshot
        assert list(store.check()) == []


@pytest.mark.parametrize(("kind", "examples"), [("memory", 30), ("file", 30), ("postgres", 6)])
def test_a_store_agrees_with_a_naive_one(
    kind: str, examples: int, in_memory: Path, request: pytest.FixtureRequest
) -> None:
    paths = (in_memory / f"{number}.db" for number in itertools.count())

    class Here(Comparison):
        new_place = lambda: place_of(kind, next(paths), request)  # noqa: E731 - called on the class
        is_lasting = kind != "memory"

    run_state_machine_as_test(Here, settings=settings(max_examples=examples, stateful_step_count=25))
