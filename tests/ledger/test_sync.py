"""Two peers compare heads, exchange what that says, and are level."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.feed import Fork
from ledger.ledger import Ledger
from ledger.sync import Difference, compare
from protocol.envelope import Entry, Head
from protocol.errors import Ignore
from tests.builders import NOW_MS, History, digest, entry, genesis, keypair

from .facts import facts
from .histories import any_history

Feeds = dict[bytes, list[Entry]]


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


def deliver(feeds: Feeds, sender: Ledger, ranges: tuple[tuple[bytes, int], ...], receiver: Ledger, now_ms: int) -> None:
    """Send what the sender has of these ranges; nothing of it may be refused."""
    for author, from_seq in ranges:
        for each in feeds[author][from_seq : sender.heads[author].seq + 1]:
            receiver.extend(each, now_ms)


@given(seed=st.integers(0, 2**32 - 1))
def test_after_one_exchange_both_peers_are_level(seed: int) -> None:
    chance = random.Random(seed)
    history = any_history(chance, 40)
    feeds = feeds_of(history)
    ours, theirs = (
        knowing(history, feeds, {author: chance.randint(0, len(feed)) for author, feed in feeds.items()}) for _ in "ab"
    )
    difference = compare(ours.heads, theirs.head_list(), complete=True)
    mirrored = compare(theirs.heads, ours.head_list(), complete=True)
    assert difference == Difference(want=mirrored.have, have=mirrored.want), "neither sends what the other has"
    deliver(feeds, theirs, difference.want, ours, history.now_ms)
    deliver(feeds, ours, difference.have, theirs, history.now_ms)
    assert facts(ours) == facts(theirs)
    assert compare(ours.heads, theirs.head_list(), complete=True) == Difference((), ())


@given(seed=st.integers(0, 2**32 - 1), sample=st.integers(1, 3))
def test_samples_of_heads_bring_peers_level_in_time(seed: int, sample: int) -> None:
    """Where a message cannot hold all heads: nothing is sent that was not asked about, and all is asked in the end."""
    chance = random.Random(seed)
    history = any_history(chance, 30)
    feeds = feeds_of(history)
    ours = knowing(history, feeds, {author: chance.randint(0, len(feed)) for author, feed in feeds.items()})
    for start in range(0, len(feeds), sample):
        part = history.ledger.head_list()[start : start + sample]
        difference = compare(ours.heads, part, complete=False)
        assert difference.have == ()
        assert {author for author, _ in difference.want} <= {head.author for head in part}
        deliver(feeds, history.ledger, difference.want, ours, history.now_ms)
    assert ours.head_list() == history.ledger.head_list()


A, B = keypair(0), keypair(1)
FIRST = entry(A)
OWN = {A.public: entry(A, seq=5, prev=digest("4"))}
HEAD = OWN[A.public]


@pytest.mark.parametrize(
    ("head", "complete", "want", "have"),
    [
        (Head(A.public, 5, HEAD.id), True, (), ()),
        (Head(A.public, 7, digest("7")), True, ((A.public, 6),), ()),
        (Head(A.public, 3, digest("3")), True, (), ((A.public, 4),)),
        (Head(A.public, 5, digest("other")), True, ((A.public, 5),), ()),
        (Head(B.public, 2, digest("2")), False, ((B.public, 0),), ()),
        (Head(B.public, 2, digest("2")), True, ((B.public, 0),), ((A.public, 0),)),
    ],
    ids=["equal", "behind", "ahead", "fork", "unknown author", "unknown to them"],
)
def test_what_one_head_asks_for(head: Head, complete: bool, want: object, have: object) -> None:
    assert compare(OWN, [head], complete=complete) == Difference(want, have)  # type: ignore[arg-type]


def test_naming_a_feed_often_does_not_make_us_send_it_often() -> None:
    heads = [Head(A.public, seq, digest("x")) for seq in range(5)]
    assert compare(OWN, heads, complete=True) == Difference((), ((A.public, 5),))


def test_a_fork_of_equal_length_comes_to_light_on_both_sides() -> None:
    branches = {name: entry(A, seq=1, prev=FIRST.id, kind=name) for name in ("left", "right")}
    ledgers = {name: Ledger(genesis()) for name in branches}
    for name, ledger in ledgers.items():
        ledger.extend(FIRST, NOW_MS)
        ledger.extend(branches[name], NOW_MS)
    for name, other in (("left", "right"), ("right", "left")):
        difference = compare(ledgers[name].heads, ledgers[other].head_list(), complete=True)
        assert difference == Difference(((A.public, 1),), ())
    for name, other in (("left", "right"), ("right", "left")):
        with pytest.raises(Fork):
            ledgers[name].extend(branches[other], NOW_MS)


def test_a_longer_branch_comes_to_light_at_its_first_entry_that_we_lack() -> None:
    ours, theirs = entry(A, kind="left"), entry(A, kind="right")
    longer = entry(A, seq=1, prev=theirs.id)
    ledger = Ledger(genesis())
    ledger.extend(ours, NOW_MS)
    difference = compare(ledger.heads, [Head(A.public, 1, longer.id)], complete=True)
    assert difference == Difference(((A.public, 1),), ())
    with pytest.raises(Fork):
        ledger.extend(longer, NOW_MS)
    with pytest.raises(Ignore, match="frozen"):
        ledger.extend(theirs, NOW_MS)
