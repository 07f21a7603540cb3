"""Facts about the ledger in memory: what is accepted, what waits, who is frozen."""

from __future__ import annotations

import pytest

from ledger.feed import Fork, ForkProof, Gap
from ledger.ledger import FAR_FUTURE_MS, Ledger, replay
from protocol.envelope import NO_PREV, Head, open_entry
from protocol.errors import Ignore, LocalError, Reject
from tests.builders import NOW_MS, digest, entry, genesis, keypair, offer, whole_history

from .facts import facts

A, B, C = (keypair(n) for n in range(3))


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(genesis())


def test_append_signs_the_next_entry_of_the_own_feed(ledger: Ledger) -> None:
    first, judged = ledger.append(A, "offer", offer().model_dump(), (), NOW_MS)
    second, _ = ledger.append(A, "note", {}, (first.id,), NOW_MS + 1)
    assert judged == [first]
    assert [(e.seq, e.prev, e.time_ms) for e in (first, second)] == [(0, NO_PREV, NOW_MS), (1, first.id, NOW_MS + 1)]
    assert open_entry(second.raw, ledger.network).refs == (first.id,)
    assert ledger.head_list() == [Head(A.public, 1, second.id)]
    assert ledger.count == 2


def test_a_clock_that_was_set_back_does_not_break_the_own_feed(ledger: Ledger) -> None:
    ledger.append(A, "note", {}, (), NOW_MS)
    entry, _ = ledger.append(A, "note", {}, (), NOW_MS - 10)
    assert entry.time_ms == NOW_MS


def test_heads_are_ordered_by_author(ledger: Ledger) -> None:
    for pair in sorted((A, B, C), key=lambda pair: pair.public, reverse=True):
        ledger.append(pair, "note", {}, (), NOW_MS)
    assert [head.author for head in ledger.head_list()] == sorted(pair.public for pair in (A, B, C))


def test_what_is_refused_changes_nothing(ledger: Ledger) -> None:
    ledger.append(A, "note", {}, (), NOW_MS)
    before = facts(ledger)
    for refused, reason in (
        (entry(A, seq=2, prev=digest("x")), Gap),
        (entry(B, prev=digest("x")), Reject),
        (entry(B, time_ms=NOW_MS + 10**9), Ignore),
    ):
        with pytest.raises(reason):
            ledger.extend(refused, NOW_MS)
    assert facts(ledger) == before


def test_an_entry_waits_for_what_it_refers_to_and_its_successors_with_it(ledger: Ledger) -> None:
    awaited = entry(B)
    waiting = entry(A, refs=(awaited.id,))
    successor = entry(A, seq=1, prev=waiting.id)
    assert ledger.extend(waiting, NOW_MS) == []
    assert ledger.extend(successor, NOW_MS) == []
    assert ledger.missing_refs() == {awaited.id}
    assert not ledger.is_judged(waiting.id)
    assert ledger.extend(awaited, NOW_MS) == [awaited, waiting, successor]
    assert ledger.missing_refs() == set()


def test_a_chain_of_waiting_authors_is_judged_at_once_when_the_last_ref_arrives(ledger: Ledger) -> None:
    pairs = [keypair(n) for n in range(200)]
    chain = [entry(pairs[0])]
    for pair in pairs[1:]:
        chain.append(entry(pair, refs=(chain[-1].id,)))
    for waiting in reversed(chain[1:]):
        assert ledger.extend(waiting, NOW_MS) == []
    assert ledger.missing_refs() == {chain[0].id}, "the others are here, only not judged"
    assert ledger.extend(chain[0], NOW_MS) == chain


def test_an_entry_with_several_refs_waits_for_all(ledger: Ledger) -> None:
    awaited = [entry(B), entry(C)]
    waiting = entry(A, refs=tuple(e.id for e in awaited))
    ledger.extend(waiting, NOW_MS)
    assert ledger.extend(awaited[1], NOW_MS) == [awaited[1]]
    assert ledger.extend(awaited[0], NOW_MS) == [awaited[0], waiting]


def test_void_entries_release_those_that_wait_for_them(ledger: Ledger) -> None:
    void = entry(B, kind="offer", body={})
    waiting = entry(A, refs=(void.id,))
    ledger.extend(waiting, NOW_MS)
    assert ledger.extend(void, NOW_MS) == [void, waiting]
    assert void.id in ledger.state.voids


def test_a_fork_freezes_its_author_and_nobody_else(ledger: Ledger) -> None:
    first, other = entry(A), entry(A, kind="other")
    ledger.extend(first, NOW_MS)
    with pytest.raises(Fork):
        ledger.extend(other, NOW_MS)
    assert (ledger.forks[A.public].a, ledger.forks[A.public].b) == (first, other)
    with pytest.raises(Ignore, match="frozen since its fork at 0"):
        ledger.extend(entry(A, seq=1, prev=first.id), NOW_MS)
    ledger.extend(entry(B), NOW_MS)
    assert ledger.heads[A.public] is first, "what was accepted before stands"


def test_a_frozen_authors_waiting_entries_are_still_judged(ledger: Ledger) -> None:
    awaited = entry(B)
    waiting = entry(A, refs=(awaited.id,))
    ledger.extend(waiting, NOW_MS)
    ledger.freeze(ForkProof(waiting, entry(A)))
    assert ledger.extend(awaited, NOW_MS) == [awaited, waiting]


def test_a_frozen_author_cannot_sign_on(ledger: Ledger) -> None:
    first, _ = ledger.append(A, "note", {}, (), NOW_MS)
    ledger.freeze(ForkProof(first, entry(A)))
    with pytest.raises(Ignore, match="frozen"):
        ledger.append(A, "note", {}, (), NOW_MS)


def test_replay_judges_no_clock_and_keeps_forks() -> None:
    ahead = entry(A, time_ms=FAR_FUTURE_MS)
    proof = ForkProof(ahead, entry(A))
    again = replay(genesis(), [ahead.raw], [proof])
    assert again.heads[A.public].id == ahead.id
    assert again.forks == {A.public: proof}


@pytest.mark.parametrize("damage", ["lost", "swapped", "twice", "garbled", "changed"])
def test_replay_of_a_damaged_store_says_which_entry_does_not_fit(damage: str) -> None:
    history = whole_history()
    raws = [e.raw for e in history.entries]
    number = next(n for n, e in enumerate(history.entries) if e.seq == 1)
    match damage:
        case "lost":
            del raws[0]
        case "swapped":
            raws[0], raws[number] = raws[number], raws[0]
        case "twice":
            raws[number] = raws[0]
        case "garbled":
            raws[number] = raws[number][:-1]
        case "changed":
            raws[0] = entry(keypair(1), network=history.ledger.network, kind="other").raw
    with pytest.raises(LocalError, match=r"the stored ledger is damaged: its entry number \d+ does not fit") as failure:
        replay(history.ledger.genesis, raws)
    assert failure.value.code == "HEL-LEDGER-008"
