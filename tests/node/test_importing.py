"""An import makes a home level with the archive, whatever it held before, and whoever of its authors lied to whom."""

from __future__ import annotations

import io
import random
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.archive import Kind, Part, frames
from ledger.archive.check import verify
from ledger.archive.write import parts_of_store
from ledger.feed import ForkProof
from ledger.ledger import Ledger, replay
from ledger.snapshot import fold
from ledger.store.sqlite import SqliteStore
from node.home.importing import Import
from protocol.envelope import Entry
from tests.builders import NOW_MS, History, entry, feed, keypair
from tests.ledger.facts import facts
from tests.ledger.histories import honest_history
from tests.ledger.test_forks import Peer, effects, other_branch
from tests.ledger.test_order import shuffled

STEPS = 60
LATER_MS = 10**9  # the home's clock is ahead of all entries


def home_of(history: History, entries: Iterable[Entry]) -> SqliteStore:
    store = SqliteStore(":memory:", history.ledger.network)
    store.append(list(entries), durable=False)
    return store


def imported(history: History, store: SqliteStore, parts: list[Part], own: bytes = b"") -> Import:
    genesis = history.ledger.genesis
    ledger = replay(genesis, (raw for _, raw in store.replay()), store.forks(), store.asides())
    work = Import(ledger, store, own, history.now_ms + LATER_MS, dry=False)
    for part in parts:
        work.take(part)
    kept = -1
    while work.counts["aside"] > kept:
        kept = work.counts["aside"]
        work.take_aside(parts)
    work.finish()
    return work


def exported(history: History, store: SqliteStore) -> Ledger:
    """What a stranger makes of the home's archive: it must verify."""
    made = parts_of_store(store, history.ledger.genesis, keypair(9), 0)
    return verify(io.BytesIO(b"".join(frames.write(made)))).ledger


def some_of(entries: list[Entry], chance: random.Random) -> list[Entry]:
    """Of every feed its beginning, in an order in which they may have come."""
    lengths = {author: chance.randrange(len(entries)) for author in sorted({entry.author for entry in entries})}
    return shuffled([entry for entry in entries if entry.seq < lengths[entry.author]], chance)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_a_home_that_held_some_of_it_holds_all_of_it(seed: int) -> None:
    chance = random.Random(seed)
    history = honest_history(chance, STEPS)
    held = some_of(history.entries, chance)
    store = home_of(history, held)
    own = history.entries[0].author
    work = imported(history, store, history.parts(), own)
    assert work.found == {}
    assert work.counts["added"] == len(history.entries) - len(held)
    assert work.counts["own"] == sum(e.author == own for e in history.entries) - sum(e.author == own for e in held)
    assert facts(fold(history.ledger.genesis, store)) == facts(history.ledger)
    assert facts(exported(history, store)) == facts(history.ledger)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_a_home_that_was_lied_to_comes_to_the_same_as_one_that_saw_both_histories(seed: int) -> None:
    chance = random.Random(seed)
    history = honest_history(chance, STEPS)
    cheat = history.keys[chance.choice(sorted(history.ledger.heads))]
    seq = chance.randrange(history.ledger.heads[cheat.public].seq + 1)
    lie = other_branch(history.entries, cheat, seq)
    truth = [entry for entry in history.entries if entry.author == cheat.public and entry.seq < seq]
    others = [entry for entry in history.entries if entry.author != cheat.public]
    store = home_of(history, [*truth, *lie, *some_of(others, chance)])
    work = imported(history, store, history.parts())
    assert {author: proof.seq for author, proof in work.found.items()} == {cheat.public: seq}
    both = Peer()
    for _ in range(2):
        for heard in [*history.entries, *lie]:
            both.hear(heard)
    assert effects(fold(history.ledger.genesis, store)) == effects(both.fold())
    assert effects(exported(history, store)) == effects(both.fold())
    again = imported(history, store, history.parts())
    assert (again.found, again.counts["added"], again.counts["aside"]) == ({}, 0, 0)


def test_what_the_home_keeps_aside_is_taken_into_its_feed_where_it_is_final() -> None:
    history = History()
    cheat, honest = keypair(0), keypair(1)
    root, one = feed(cheat, 2)
    twin = entry(cheat, seq=1, prev=root.id, kind="twin")
    store = home_of(history, [root, entry(honest, refs=(one.id,))])
    store.add_fork(ForkProof(one, twin))
    store.add_aside([one])
    ledger = fold(history.ledger.genesis, store)
    ledger.admit(cheat.public, 2)  # a quorum has cosigned it, the archive says
    work = Import(ledger, store, b"", NOW_MS, dry=False)
    work.take(Part(Kind.ENTRY, one.raw))
    work.finish()
    assert store.feed(cheat.public, 0, 9) == [root.raw, one.raw]
    assert (work.counts["added"], store.asides()) == (1, [])
