"""A snapshot gives back the ledger that it was made from, or says that it is of no use."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import snapshot
from ledger.audit import violations
from ledger.feed import ForkProof
from ledger.ledger import Ledger, replay
from ledger.snapshot import Unusable
from ledger.store.sqlite import SqliteStore
from tests.builders import NOW_MS, History, digest, entry, genesis, keypair, whole_history

from .facts import facts
from .histories import any_history

STEPS = 60


def raw_at_of(raws: list[bytes]) -> Callable[[int], bytes]:
    return lambda position: raws[position - 1]


@given(seed=st.integers(0, 2**32 - 1), part=st.floats(0, 1))
@settings(max_examples=50)
def test_a_snapshot_and_the_entries_after_it_make_the_same_ledger(seed: int, part: float) -> None:
    history = any_history(random.Random(seed), STEPS)
    entries = history.entries
    until = int(len(entries) * part)
    before = replay(history.ledger.genesis, (e.raw for e in entries[:until]))
    raws = [e.raw for e in entries]
    again = snapshot.read(history.ledger.genesis, list(snapshot.write(before)), raw_at_of(raws))
    assert facts(again) == facts(before)
    assert again.trees.keys() == before.trees.keys()
    assert all(again.trees[a].root() == tree.root() for a, tree in before.trees.items())
    for later in entries[until:]:
        again.extend(later, history.now_ms)
    assert facts(again) == facts(history.ledger)
    assert violations(again.state) == []


def test_a_snapshot_of_an_empty_ledger_is_one() -> None:
    again = snapshot.read(genesis(), list(snapshot.write(Ledger(genesis()))), raw_at_of([]))
    assert facts(again) == facts(Ledger(genesis()))


def test_what_waited_still_waits() -> None:
    ledger = Ledger(genesis())
    waiting = entry(keypair(1), refs=(digest("elsewhere"),))
    successor = entry(keypair(1), seq=1, prev=waiting.id)
    for e in (waiting, successor):
        ledger.extend(e, NOW_MS)
    again = snapshot.read(genesis(), list(snapshot.write(ledger)), raw_at_of([waiting.raw, successor.raw]))
    assert again.missing_refs() == {digest("elsewhere")}
    assert [e.id for e in again.waiting()] == [waiting.id, successor.id]


def test_records_that_were_one_object_are_one_object_again() -> None:
    history = whole_history()
    raws = [e.raw for e in history.entries]
    state = snapshot.read(history.ledger.genesis, list(snapshot.write(history.ledger)), raw_at_of(raws)).state
    for lease in state.leases.values():
        assert lease.placement.lease is lease
        assert any(lease is each for each in state.leases_of[lease.provider])
    for key, record in state.attestations.items():
        assert key is record.id, "a million ids must not be there twice"


@pytest.mark.parametrize("damage", ["flipped", "cut", "reordered", "empty"])
def test_a_damaged_snapshot_is_of_no_use(damage: str) -> None:
    history = whole_history()
    chunks = list(snapshot.write(history.ledger))
    match damage:
        case "flipped":
            chunks[3] = chunks[3][:-1] + bytes([chunks[3][-1] ^ 1])
        case "cut":
            del chunks[-1]
        case "reordered":
            chunks[1], chunks[2] = chunks[2], chunks[1]
        case "empty":
            chunks = []
    with pytest.raises(Unusable):
        snapshot.read(history.ledger.genesis, chunks, raw_at_of([e.raw for e in history.entries]))


def test_a_snapshot_of_another_network_or_program_is_of_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(genesis())
    chunks = list(snapshot.write(ledger))
    with pytest.raises(Unusable, match="another network"):
        snapshot.read(genesis(name="other"), chunks, raw_at_of([]))
    monkeypatch.setattr(snapshot, "layout", lambda: sha256(b"tomorrow").digest())
    with pytest.raises(Unusable, match="another program"):
        snapshot.read(genesis(), chunks, raw_at_of([]))


def test_a_snapshot_of_other_entries_is_of_no_use() -> None:
    history = whole_history()
    raws = [e.raw for e in history.entries]
    head = history.entries[-1]
    raws[-1] = entry(keypair(1), seq=head.seq, prev=head.prev, network=head.network).raw
    with pytest.raises(Unusable, match="another than the one it was made from"):
        snapshot.read(history.ledger.genesis, list(snapshot.write(history.ledger)), raw_at_of(raws))


def test_the_same_ledger_makes_the_same_snapshot() -> None:
    history = whole_history()
    assert list(snapshot.write(history.ledger)) == list(snapshot.write(history.ledger))


# --- with a store -----------------------------------------------------------------------------------------------------


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    with closing(SqliteStore(":memory:", genesis().network_id())) as opened:
        yield opened


def fill(store: SqliteStore, history: History) -> Ledger:
    """Store the history, a snapshot of its first half, and return the whole ledger."""
    half = len(history.entries) // 2
    store.append(history.entries[:half], durable=True)
    snapshot.save(snapshot.fold(genesis(), store), store)
    store.append(history.entries[half:], durable=True)
    return snapshot.fold(genesis(), store)


def test_a_start_goes_on_from_the_snapshot(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fill(store, whole_history())
    monkeypatch.setattr(snapshot, "fold", lambda *_: pytest.fail("the snapshot was not used"))
    assert facts(snapshot.load(genesis(), store)) == facts(whole)


@pytest.mark.parametrize("since", ["a fork", "an entry aside"])
def test_a_snapshot_from_before_a_fork_was_known_is_not_used(store: SqliteStore, since: str) -> None:
    history = whole_history()
    fill(store, history)
    twin = entry(keypair(1), network=history.ledger.network, kind="twin")
    if since == "a fork":
        store.add_fork(ForkProof(next(e for e in history.entries if e.author == twin.author), twin))
    else:
        store.add_aside([twin])
    again = snapshot.load(genesis(), store)
    assert facts(again) == facts(snapshot.fold(genesis(), store))
    assert again.state.frozen_from or again.state.aside


def test_a_damaged_snapshot_costs_a_fold_and_nothing_else(store: SqliteStore) -> None:
    whole = fill(store, whole_history())
    store.save_snapshot(store.position, [b"no snapshot"])
    assert facts(snapshot.load(genesis(), store)) == facts(whole)


def test_no_snapshot_is_kept_of_a_stale_ledger(store: SqliteStore) -> None:
    history = whole_history()
    store.append(history.entries, durable=True)
    ledger = snapshot.fold(genesis(), store)
    first = history.entries[0]
    ledger.freeze(ForkProof(first, entry(history.keys[first.author], network=ledger.network, kind="twin")))
    snapshot.save(ledger, store)
    assert store.snapshot() is None
