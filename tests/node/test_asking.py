"""Facts about the book of asks: who is asked for a feed, how often, and what a liar can do to it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ledger.heads import HeadLike
from node.feeds import asking
from node.feeds.asking import ASK_TICKS_MAX, IDLE_TICKS, Asks
from protocol.envelope import Head
from tests.builders import digest

BOB, CAROL, DAVE = digest("bob"), digest("carol"), digest("dave")
ONE, TWO, THREE = sorted(digest(name) for name in ("one", "two", "three"))
NOTHING: Mapping[bytes, HeadLike] = {}


def heads(lengths: Mapping[bytes, int]) -> dict[bytes, HeadLike]:
    """We hold so many entries of each of these feeds."""
    return {author: Head(author, length - 1, digest("id")) for author, length in lengths.items()}


@pytest.fixture
def asks() -> Asks:
    return Asks()


def ticks(asks: Asks, count: int) -> None:
    for _ in range(count):
        asks.on_tick()


def test_what_is_claimed_is_asked_for_from_the_first_entry_that_we_lack(asks: Asks) -> None:
    asks.claim(BOB, ONE, 9)
    asks.claim(BOB, TWO, 9)
    assert asks.due(heads({TWO: 4})) == {BOB: [(ONE, 0), (TWO, 4)]}
    assert asks.due(heads({TWO: 4})) == {}, "once"


def test_what_has_come_meanwhile_is_not_asked_for(asks: Asks) -> None:
    asks.claim(BOB, ONE, 2)
    assert asks.due(heads({ONE: 3})) == {}
    assert asks.wanted == {}


def test_an_ask_without_an_answer_moves_to_the_next_who_claims_the_feed(asks: Asks) -> None:
    asks.claim(BOB, ONE, 9)
    asks.claim(CAROL, ONE, 9)
    assert asks.due(NOTHING) == {BOB: [(ONE, 0)]}
    ticks(asks, IDLE_TICKS - 1)
    assert asks.due(NOTHING) == {}
    ticks(asks, 1)
    assert asks.due(NOTHING) == {CAROL: [(ONE, 0)]}
    ticks(asks, IDLE_TICKS)
    assert asks.due(NOTHING) == {}, "nobody is left to ask"
    assert asks.wanted == {}


def test_as_long_as_a_peer_delivers_it_may_take_its_time(asks: Asks) -> None:
    asks.claim(BOB, ONE, 99)
    asks.claim(CAROL, ONE, 99)
    asks.due(NOTHING)
    for length in range(1, 3 * ASK_TICKS_MAX):
        ticks(asks, 1)
        asks.delivered(BOB, {ONE}, heads({ONE: length}), more=False)
    assert asks.due(heads({ONE: 3 * ASK_TICKS_MAX - 1})) == {}


def test_other_feeds_do_not_hold_one_up_for_ever(asks: Asks) -> None:
    """A peer that trickles one feed to keep the claim on another."""
    asks.claim(BOB, ONE, 99)
    asks.claim(BOB, TWO, 9)
    asks.due(NOTHING)
    asks.claim(CAROL, TWO, 9)
    for length in range(1, ASK_TICKS_MAX + 1):
        ticks(asks, 1)
        asks.delivered(BOB, {ONE}, heads({ONE: length}), more=False)
    assert asks.due(heads({ONE: ASK_TICKS_MAX})) == {CAROL: [(TWO, 0)]}


def test_of_those_who_claim_a_feed_the_one_that_kept_its_word_is_asked(asks: Asks) -> None:
    asks.claim(BOB, ONE, 9)
    asks.due(NOTHING)
    ticks(asks, IDLE_TICKS)
    asks.claim(BOB, TWO, 9)
    asks.claim(CAROL, TWO, 9)
    assert asks.due(NOTHING) == {CAROL: [(TWO, 0)]}


def test_each_failure_halves_what_a_peer_may_be_asked_until_it_delivers(
    asks: Asks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "ASKS_PER_PEER_MAX", 8)
    authors = [digest(str(number)) for number in range(40)]

    def asked() -> int:
        for author in authors:
            asks.claim(BOB, author, 9)
        return len(asks.due(NOTHING).get(BOB, ()))

    numbers = []
    for _ in range(6):
        numbers.append(asked())
        ticks(asks, IDLE_TICKS)
    assert numbers == [8, 4, 2, 1, 1, 1]
    asks.delivered(BOB, {ONE}, heads({ONE: 1}), more=False)
    assert asked() == 8


def test_a_peers_claims_are_bounded_and_it_is_remembered_that_there_were_more(
    asks: Asks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "CLAIMS_PER_PEER_MAX", 2)
    for author in (ONE, TWO, THREE):
        asks.claim(BOB, author, 9)
    asks.claim(CAROL, THREE, 9)
    assert asks.due(NOTHING) == {BOB: [(ONE, 0), (TWO, 0)], CAROL: [(THREE, 0)]}
    assert asks.take_drained() == []
    asks.delivered(BOB, {ONE, TWO}, heads({ONE: 10, TWO: 10}), more=False)
    assert asks.take_drained() == [BOB]
    assert asks.take_drained() == []


def test_a_claim_that_was_too_high_does_not_make_the_honest_look_faulty(asks: Asks) -> None:
    asks.claim(BOB, ONE, 2)
    asks.claim(CAROL, ONE, 2**53 - 1)
    asks.due(NOTHING)
    asks.delivered(BOB, {ONE}, heads({ONE: 3}), more=False)
    assert asks.due(heads({ONE: 3})) == {CAROL: [(ONE, 3)]}, "Bob has kept his word"
    ticks(asks, IDLE_TICKS)
    assert asks.wanted == {}


def test_what_was_announced_after_the_ask_is_asked_for_when_the_answer_is_here(asks: Asks) -> None:
    asks.claim(BOB, ONE, 0)
    asks.due(NOTHING)
    asks.claim(BOB, ONE, 1)
    assert asks.due(NOTHING) == {}
    asks.delivered(BOB, {ONE}, heads({ONE: 1}), more=False)
    assert asks.due(heads({ONE: 1})) == {BOB: [(ONE, 1)]}


def test_a_page_that_ends_early_is_followed_by_the_next(asks: Asks) -> None:
    asks.claim(BOB, ONE, 9)
    asks.claim(BOB, TWO, 9)
    asks.due(NOTHING)
    asks.delivered(BOB, {ONE}, heads({ONE: 5}), more=True)
    assert asks.due(heads({ONE: 5})) == {BOB: [(ONE, 5), (TWO, 0)]}
    asks.delivered(BOB, set(), heads({ONE: 5}), more=True)
    assert asks.due(heads({ONE: 5})) == {}, "a sender of nothing new would keep us asking"


def test_who_leaves_is_forgotten_and_others_are_asked(asks: Asks) -> None:
    asks.claim(BOB, ONE, 9)
    asks.claim(CAROL, ONE, 9)
    asks.claim(BOB, TWO, 9)
    asks.due(NOTHING)
    asks.forget(BOB)
    assert asks.due(NOTHING) == {CAROL: [(ONE, 0)]}
    assert asks.wanted.keys() == {ONE}


def test_a_thousand_claims_of_one_feed_take_no_more_memory_than_a_few(asks: Asks) -> None:
    for number in range(1000):
        asks.claim(digest(str(number)), ONE, 9)
    assert len(asks.wanted[ONE].sources) == asking.SOURCES_MAX


def test_what_was_claimed_of_a_feed_that_is_dropped_makes_room(asks: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the feed was said to be: else one fork would let its author claim without end."""
    monkeypatch.setattr(asking, "CLAIMS_PER_PEER_MAX", 2)
    asks.claim(BOB, ONE, 10**6)
    asks.claim(BOB, TWO, 0)
    asks.drop(ONE)
    asks.claim(BOB, THREE, 9)
    asks.claim(BOB, digest("one too many"), 9)
    assert asks.wanted.keys() == {TWO, THREE}
