"""Two peers find out what they owe each other, exchange it, and are level."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.feed import ForkProof
from ledger.heads import ALL, HeadIndex, mark_of
from ledger.ledger import Ledger
from ledger.sync import (
    FROZEN,
    Difference,
    answer_compare,
    answer_summary,
    difference,
    standings,
    summary,
)
from protocol.direct import HEADS_MAX, LISTED_MAX, SPANS_MAX, SPLIT, Compare, Heads, News, Since, encode_direct
from protocol.envelope import Entry, Head
from tests.builders import History, digest, entry, genesis, keypair

from .dialogue import EPOCH, Dialogue, behind, index_of, many_heads
from .facts import facts
from .histories import any_history

Feeds = dict[bytes, list[Entry]]
seeds = st.integers(0, 2**32 - 1)
A, B = keypair(0), keypair(1)


def index(ledger: Ledger) -> HeadIndex:
    return index_of(standings(ledger.heads, ledger.forks).values())


# --- honest peers are level after one exchange --------------------------------------------------------------------


def feeds_of(history: History) -> Feeds:
    feeds: Feeds = {}
    for each in history.entries:
        feeds.setdefault(each.author, []).append(each)
    return feeds


def knowing(history: History, feeds: Feeds, lengths: Mapping[bytes, int]) -> Ledger:
    """A ledger that has heard so much of each feed."""
    ledger = Ledger(history.ledger.genesis)
    for author, feed in feeds.items():
        for each in feed[: lengths[author]]:
            ledger.extend(each, history.now_ms)
    return ledger


def deliver(feeds: Feeds, found: Difference, sender: Ledger, receiver: Ledger, now_ms: int) -> None:
    """Send what the sender found the other to lack; nothing of it may be refused."""
    for author, from_seq in found.have:
        for each in feeds[author][from_seq : sender.heads[author].seq + 1]:
            receiver.extend(each, now_ms)


def fetch(feeds: Feeds, found: Difference, asker: Ledger, now_ms: int) -> None:
    for head in found.want:
        known = asker.heads.get(head.author)
        for each in feeds[head.author][0 if known is None else known.seq + 1 : head.seq + 1]:
            asker.extend(each, now_ms)


@given(seed=seeds)
def test_after_one_exchange_both_peers_are_level(seed: int) -> None:
    chance = random.Random(seed)
    history = any_history(chance, 40)
    feeds = feeds_of(history)
    pair = tuple(
        knowing(history, feeds, {author: chance.randint(0, len(feed)) for author, feed in feeds.items()}) for _ in "ab"
    )
    talk = Dialogue((index(pair[0]), index(pair[1])), chance).run()
    for side in (0, 1):
        for found in talk.found[side]:
            deliver(feeds, found, pair[side], pair[1 - side], history.now_ms)
            fetch(feeds, found, pair[side], history.now_ms)
    assert facts(pair[0]) == facts(pair[1])
    assert Dialogue((index(pair[0]), index(pair[1])), chance).run().depth == 1, "a summary without an answer"


@given(seed=seeds, authors=st.integers(0, 3000), missing=st.integers(0, 30))
def test_whatever_differs_is_found_and_nothing_else(seed: int, authors: int, missing: int) -> None:
    chance = random.Random(seed)
    union = many_heads(chance, authors)
    sides = [behind(chance, union, min(missing, authors)) for _ in "ab"]
    for side in sides:
        for key in chance.sample(sorted(side), min(missing, authors)):
            del side[key]
    talk = Dialogue((index_of(sides[0].values()), index_of(sides[1].values())), chance).run()
    lacking = [
        {
            key
            for key, head in sides[1 - mine].items()
            if key not in sides[mine] or sides[mine][key].seq < head.seq or is_fork(sides[mine][key], head)
        }
        for mine in (0, 1)
    ]
    forks = {key for key in sides[0].keys() & sides[1].keys() if is_fork(sides[0][key], sides[1][key])}
    for mine in (0, 1):
        assert talk.wanted(mine) - forks == lacking[mine] - forks
    assert forks <= talk.wanted(0) | talk.wanted(1), "who hears of it tells the other"


def is_fork(a: Head, b: Head) -> bool:
    return a.seq == b.seq and a.id != b.id


# --- what it costs ------------------------------------------------------------------------------------------------


def test_equal_ledgers_cost_one_tiny_message_and_no_answer() -> None:
    chance = random.Random(1)
    heads = many_heads(chance, 10_000).values()
    talk = Dialogue((index_of(heads), index_of(heads)), chance).run()
    assert (talk.depth, talk.found) == (1, ([], []))
    assert talk.sent_bytes <= 160


@pytest.mark.parametrize("seed", range(4))
def test_a_hundred_missing_of_a_million_entries_are_found_without_a_cursor(seed: int) -> None:
    chance = random.Random(seed)
    whole = many_heads(chance, authors=10_000, seq_mean=100)
    part = behind(chance, whole, missing=100)
    talk = Dialogue((index_of(part.values()), index_of(whole.values())), chance).run()
    assert talk.wanted(0) == {key for key in whole if whole[key] != part[key]}
    assert talk.sent_bytes <= 50 * 1024
    assert talk.round_trips <= 4


def test_a_hundred_missing_entries_are_found_with_a_cursor_in_one_round_trip() -> None:
    chance = random.Random(1)
    authors = [chance.randbytes(32) for _ in range(100)]  # one entry each: the case that costs most
    question = Since(epoch=EPOCH, position=999_900)
    answer = News(epoch=EPOCH, position=10**6, feeds=tuple((author, 200) for author in authors), more=False)
    assert len(encode_direct(question)) + len(encode_direct(answer)) <= 5 * 1024


@pytest.mark.parametrize(("authors", "missing"), [(10_000, 10_000), (3000, 1500)])
def test_peers_that_share_nothing_exchange_bounded_messages_and_agree_in_time(authors: int, missing: int) -> None:
    """What does not fit is found in one of the next exchanges: each begins at another place."""
    chance = random.Random(1)
    theirs = many_heads(chance, authors)
    ours = dict(list(theirs.items())[missing:])
    for _ in range(80):
        talk = Dialogue((index_of(ours.values()), index_of(theirs.values())), chance).run()
        assert talk.sent_bytes < 512 * 1024
        if not (wanted := talk.wanted(0)):
            break
        ours |= {author: theirs[author] for author in wanted}
    assert ours == theirs


# --- liars --------------------------------------------------------------------------------------------------------


def test_wrong_fingerprints_are_answered_once_each_and_within_bounds() -> None:
    own = index_of(many_heads(random.Random(1), 5000).values())
    wrong = bytes(16)
    spans = ((ALL, ((ALL, wrong),) * SPLIT),) * SPANS_MAX
    comparison, heads = answer_compare(own, Compare(spans=spans, lists=()))
    assert comparison is not None
    assert heads is None
    assert len(comparison.spans) == SPANS_MAX
    assert len(encode_direct(comparison)) < 100 * 1024


def test_lists_of_everything_are_answered_within_bounds() -> None:
    own = index_of(many_heads(random.Random(1), 5000).values())
    comparison, heads = answer_compare(own, Compare(spans=(), lists=((ALL, ALL, bytes(8)),) * SPANS_MAX))
    assert comparison is None
    assert heads is not None
    assert len(heads.heads) <= HEADS_MAX
    assert len(encode_direct(heads)) < 100 * 1024


@given(
    spans=st.lists(
        st.tuples(st.binary(max_size=3), st.lists(st.tuples(st.binary(max_size=3), st.just(bytes(16))), max_size=4))
    ),
    lists=st.lists(st.tuples(st.binary(max_size=3), st.binary(max_size=3), st.binary(max_size=40))),
    unknown=st.binary(max_size=100),
)
def test_any_ranges_get_an_answer_that_can_be_sent(
    spans: list[tuple[bytes, list[tuple[bytes, bytes]]]], lists: list[tuple[bytes, bytes, bytes]], unknown: bytes
) -> None:
    own = index_of(many_heads(random.Random(1), 100).values())
    message = Compare(spans=tuple((start, tuple(ends)) for start, ends in spans), lists=tuple(lists))
    for answer in answer_compare(own, message):
        assert answer is None or encode_direct(answer)
    assert difference(own, Heads(heads=(), unknown=unknown)).want == ()


def test_a_list_that_hides_its_difference_under_equal_marks_is_answered_with_all_heads() -> None:
    own = many_heads(random.Random(1), 5)
    marks = b"".join(map(mark_of, own.values()))
    _, answer = answer_compare(index_of(own.values()), Compare(spans=(), lists=((ALL, ALL, marks),)))
    assert answer is not None
    assert {author for author, _, _ in answer.heads} == own.keys()


def test_naming_a_feed_often_does_not_make_us_send_it_often() -> None:
    own = index_of([Head(A.public, 5, digest("5"))])
    message = Heads(
        heads=tuple((A.public, seq, digest("x")) for seq in range(5)),
        unknown=mark_of(Head(A.public, 5, digest("5"))) * 9,
    )
    assert difference(own, message) == Difference(have=((A.public, 5),))


# --- what one head says -------------------------------------------------------------------------------------------

OWN = Head(A.public, 5, digest("5"))
FORKED = Head(A.public, 3, FROZEN)


def told(*heads: Head, unknown: bytes = b"") -> Heads:
    return Heads(heads=tuple((head.author, head.seq, head.id) for head in heads), unknown=unknown)


@pytest.mark.parametrize(
    ("own", "message", "expected"),
    [
        (OWN, told(OWN), Difference()),
        (OWN, told(Head(A.public, 7, digest("7"))), Difference(want=(Head(A.public, 7, digest("7")),))),
        (OWN, told(Head(A.public, 3, digest("3"))), Difference(have=((A.public, 4),))),
        (OWN, told(Head(A.public, 5, digest("x"))), Difference(want=(Head(A.public, 5, digest("x")),))),
        (OWN, told(Head(B.public, 2, digest("2"))), Difference(want=(Head(B.public, 2, digest("2")),))),
        (OWN, told(unknown=mark_of(OWN)), Difference(have=((A.public, 0),))),
        (OWN, told(unknown=bytes(8)), Difference()),
        (OWN, told(FORKED), Difference(show=told(OWN))),
        (FORKED, told(FORKED), Difference()),
        (FORKED, told(OWN), Difference(prove=(A.public,))),
        (FORKED, told(Head(A.public, 0, digest("0"))), Difference(prove=(A.public,), have=((A.public, 1),))),
        (FORKED, told(Head(A.public, 4, FROZEN)), Difference(prove=(A.public,))),
        (FORKED, told(Head(A.public, 2, FROZEN)), Difference(show=told(FORKED))),
        (FORKED, told(unknown=mark_of(FORKED)), Difference(prove=(A.public,), have=((A.public, 0),))),
        (OWN, told(Head(B.public, 0, FROZEN)), Difference(show=told(unknown=mark_of(Head(B.public, 0, FROZEN))))),
    ],
    ids=[
        "equal",
        "behind",
        "ahead",
        "fork",
        "unknown author",
        "unknown to them",
        "a mark that means nothing",
        "they know a fork",
        "both know the fork",
        "they do not know it",
        "nor what came before it",
        "we know it further back",
        "they know it further back",
        "they know nothing of the feed",
        "a fork of somebody unknown",
    ],
)
def test_what_follows_from_one_head(own: Head, message: Heads, expected: Difference) -> None:
    assert difference(index_of([own]), message) == expected


@pytest.mark.parametrize("left_ahead", [0, 3])
def test_peers_that_know_of_a_fork_agree_whichever_branch_they_hold(left_ahead: int) -> None:
    root = entry(A)
    branches = {name: entry(A, seq=1, prev=root.id, kind=name) for name in ("left", "right")}
    ledgers = {name: Ledger(genesis()) for name in branches}
    for name, ledger in ledgers.items():
        ledger.extend(root, root.time_ms)
        ledger.extend(branches[name], root.time_ms)
    for seq in range(2, 2 + left_ahead):
        ledgers["left"].extend(entry(A, seq=seq, prev=ledgers["left"].heads[A.public].id), root.time_ms)
    sides = index(ledgers["left"]), index(ledgers["right"])
    assert Dialogue(sides, random.Random(1)).run().wanted(1) == {A.public}
    for ledger in ledgers.values():
        ledger.freeze(ForkProof(branches["left"], branches["right"]))
    assert Dialogue((index(ledgers["left"]), index(ledgers["right"])), random.Random(1)).run().depth == 1


def test_of_a_frozen_author_the_entries_before_the_fork_are_still_compared() -> None:
    behind_fork, proof = (
        entry(A),
        ForkProof(entry(A, seq=2, prev=digest("1")), entry(A, seq=2, prev=digest("1"), kind="b")),
    )
    assert standings({A.public: behind_fork}, {A.public: proof})[A.public] is behind_fork
    assert standings({A.public: proof.a}, {A.public: proof})[A.public] == Head(A.public, 2, FROZEN)


def test_all_proofs_of_one_fork_stand_for_the_same() -> None:
    """Else peers that heard of it by different proofs would tell each other for ever."""
    first = entry(A)
    told, lie = (entry(A, seq=1, prev=first.id, kind=kind) for kind in ("told", "lie"))
    for proof in (ForkProof(told, lie), ForkProof(told, entry(A, seq=2, prev=lie.id))):
        assert standings({A.public: first}, {A.public: proof})[A.public] == Head(A.public, 1, FROZEN)


def test_a_range_small_enough_is_listed_and_a_larger_one_is_split() -> None:
    chance = random.Random(1)
    for authors, is_listed in ((LISTED_MAX, True), (LISTED_MAX + 1, False)):
        own = index_of(many_heads(chance, authors).values())
        other = summary(HeadIndex(), bytes(32), EPOCH, 0)
        answer = answer_summary(own, other)
        assert answer is not None
        assert bool(answer.lists) is is_listed
        assert bool(answer.spans) is not is_listed
