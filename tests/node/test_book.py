"""The book of adverts: what is believed of whom, what is asked of whom, and what strangers cannot do to it."""

from __future__ import annotations

from typing import Any

import pytest

from node.market import book
from node.market.book import (
    ANSWERS_PER_PEER_MAX,
    ANSWERS_PER_TICK_MAX,
    GONE_MAX,
    LACKING_MAX,
    SOURCES,
    TRIES_MAX,
    WAIT_TICKS,
    Parts,
)
from protocol.adverts import SignedUpdate, goodbye, open_advert, updated
from protocol.direct import WANTED_MAX, Adverts, WantAdverts
from protocol.gossip import CLOCK_SKEW_MAX_MS
from protocol.messages import Place
from tests.builders import NOW_MS, keypair, offer
from tests.node.book_scene import BOB, CAROL, DAVE, ME, NETWORK, Scene, asking, changed, full, gone
from tests.protocol.test_adverts import advert as said

JAPAN = Place(zone="JP-TK", latitude_decidegrees=357, longitude_decidegrees=1397)


# --- what is believed -----------------------------------------------------------------------------------------------


def test_an_update_changes_the_advert_that_it_is_based_on() -> None:
    scene, base = Scene(), full(BOB)
    update = changed(base, BOB, NOW_MS + 1, free_units=2)
    scene.take(base, update)
    assert scene.says(BOB) == updated(base.advert, update.update)
    assert scene.book.parts[BOB.public] == Parts(base, update)


def test_updates_that_overtake_each_other_leave_the_newest() -> None:
    scene, base = Scene(), full(BOB)
    older, newer = (changed(base, BOB, NOW_MS + n, free_units=n) for n in (1, 2))
    scene.take(base, newer, older, base, newer)
    advert = scene.says(BOB)
    assert advert is not None
    assert (advert.number, advert.free_units) == (NOW_MS + 2, 2)


def test_an_update_of_another_authors_advert_counts_for_nothing() -> None:
    """A base is named by its author and its number; two authors may share a number."""
    scene, bobs = Scene(), full(BOB)
    scene.take(bobs, full(CAROL), changed(bobs, CAROL, NOW_MS + 1, free_units=1))
    assert scene.says(BOB) == bobs.advert


def test_an_update_that_does_not_fit_changes_nothing() -> None:
    scene, base = Scene(), full(BOB)
    update = changed(base, BOB, NOW_MS + 1, free_units=0).update.model_copy(update={"slots": 200})
    scene.take(base, SignedUpdate(BOB.public, update, b""))
    assert scene.says(BOB) == base.advert


def test_our_own_advert_heard_from_others_is_not_booked() -> None:
    scene = Scene()
    scene.take(full(ME))
    assert scene.book.adverts == {}


# --- goodbyes -------------------------------------------------------------------------------------------------------


def test_who_says_goodbye_is_forgotten_at_once_and_no_replay_brings_it_back() -> None:
    scene, base = Scene(), full(BOB)
    update = changed(base, BOB, NOW_MS + 1, free_units=1)
    scene.take(base, update, gone(base, BOB, NOW_MS + 2), base, update)
    assert scene.says(BOB) is None
    scene.take(full(BOB, NOW_MS + 3))
    assert scene.says(BOB) is not None, "it has come back"
    assert scene.book.gone == {}


def test_a_goodbye_that_overtakes_the_advert_counts() -> None:
    scene, base = Scene(), full(BOB)
    scene.take(gone(base, BOB, NOW_MS + 2), base)
    assert scene.says(BOB) is None
    assert scene.tick() == [], "nobody is asked for what is void"


def test_an_old_goodbye_does_not_end_what_was_said_since() -> None:
    scene, base = Scene(), full(BOB)
    scene.take(full(BOB, NOW_MS + 3), gone(base, BOB, NOW_MS + 2))
    assert scene.says(BOB) is not None


def test_goodbyes_of_strangers_fill_no_memory() -> None:
    scene, update = Scene(), goodbye(said(), NOW_MS)
    for n in range(GONE_MAX + 10):
        scene.take(SignedUpdate(n.to_bytes(32, "big"), update, b""))
    assert len(scene.book.gone) == GONE_MAX


# --- what is asked --------------------------------------------------------------------------------------------------


def test_a_missing_base_is_asked_of_its_author_else_of_whoever_brought_the_update() -> None:
    for connected in ((BOB, CAROL, DAVE), (CAROL, DAVE)):
        scene, base = Scene(*connected), full(BOB)
        scene.take(changed(base, BOB, NOW_MS + 1, free_units=1))
        assert scene.tick() == [(connected[0].public if BOB in connected else DAVE.public, asking(BOB))]


def test_an_answer_brings_base_and_update() -> None:
    scene, base = Scene(BOB), full(BOB)
    update = changed(base, BOB, NOW_MS + 1, free_units=1)
    scene.take(update)
    scene.tick()
    scene.answer(BOB, base.raw, update.raw)
    assert scene.says(BOB) == updated(base.advert, update.update)
    assert scene.tick(3 * WAIT_TICKS) == []


def test_what_nobody_sends_is_asked_for_a_few_times_and_of_others() -> None:
    scene = Scene(CAROL, DAVE)
    scene.take(changed(full(BOB), BOB, NOW_MS + 1, free_units=1))
    asked = scene.tick(10 * WAIT_TICKS)
    assert [message for _, message in asked] == [asking(BOB)] * TRIES_MAX
    assert scene.book.lacking == {}


def test_an_author_whose_updates_have_no_base_is_asked_for_once_in_a_while() -> None:
    """Else one gossiped message would cost each of its hearers a question."""
    scene = Scene(BOB)
    for n in range(50):
        scene.take(changed(full(BOB, NOW_MS - n), BOB, NOW_MS + n + 1, free_units=1))
    assert scene.tick(WAIT_TICKS) == [(BOB.public, asking(BOB))]


def test_updates_of_strangers_without_a_base_fill_no_memory() -> None:
    scene = Scene(DAVE)
    update = changed(full(BOB), BOB, NOW_MS + 1, free_units=1).update
    for n in range(LACKING_MAX + 10):
        scene.take(SignedUpdate(n.to_bytes(32, "big"), update, b""))
    assert len(scene.book.lacking) == LACKING_MAX
    ((_, message),) = scene.tick()
    assert isinstance(message, WantAdverts)
    assert len(message.authors) == WANTED_MAX


def test_the_first_peers_are_asked_for_all_that_there_is() -> None:
    scene = Scene(regions=frozenset({"europe", "asia"}))
    peers = [keypair(10 + n) for n in range(SOURCES + 1)]
    everything = WantAdverts(authors=(), regions=("asia", "europe"), since=0, after=b"")
    for peer in peers[:SOURCES]:
        assert scene.connect(peer) == [(peer.public, everything)]
    assert scene.connect(peers[SOURCES]) == []
    assert (peers[SOURCES].public, asking(peers[SOURCES])) in scene.tick()


def test_who_was_alone_for_a_while_asks_for_what_came_meanwhile() -> None:
    scene = Scene(BOB)
    turn = scene.turn()
    scene.connected.clear()
    scene.book.on_disconnected(turn, BOB.public, scene.connected)
    scene.now_ms += 5_000
    ((_, message),) = scene.connect(CAROL)
    assert isinstance(message, WantAdverts)
    assert message.since == NOW_MS - CLOCK_SKEW_MAX_MS


def test_a_lost_question_is_put_again() -> None:
    scene = Scene()
    first = scene.connect(BOB)
    assert scene.tick(WAIT_TICKS) == first


def test_an_answer_that_nobody_asked_for_is_not_read() -> None:
    scene = Scene(BOB)
    scene.answer(BOB, full(CAROL).raw)
    assert scene.book.adverts == {}
    scene.connect(BOB)
    scene.answer(BOB, full(CAROL).raw)
    scene.answer(BOB, full(DAVE).raw)
    assert scene.book.adverts.keys() == {CAROL.public}, "one answer to one question"


def test_what_is_faulty_stale_or_of_no_interest_in_an_answer_leaves_the_rest() -> None:
    scene = Scene(regions=frozenset({"europe"}))
    scene.connect(BOB)
    spoilt = full(BOB).raw[:-1] + b"\0"
    stale = full(CAROL, NOW_MS - 600_000).raw
    elsewhere = full(keypair(7), offer=offer(place=JAPAN))
    update = changed(elsewhere, keypair(7), NOW_MS + 1, free_units=1)
    scene.answer(BOB, b"", spoilt, stale, elsewhere.raw, update.raw, full(DAVE).raw)
    assert scene.book.adverts.keys() == {DAVE.public}
    assert scene.book.lacking == {}


# --- what is answered -----------------------------------------------------------------------------------------------


def filled(count: int, **changes: Any) -> Scene:
    scene = Scene(**changes)
    scene.take(*(full(keypair(100 + n)) for n in range(count)))
    return scene


def test_a_newcomer_reads_the_whole_book_page_by_page() -> None:
    old, new = filled(3 * WANTED_MAX + 5), Scene()
    pages = new.connect(BOB)
    for _ in range(10):
        if not pages:
            break
        ((_, wanted),) = pages
        assert isinstance(wanted, WantAdverts)
        answer = old.want(ME, **wanted.model_dump())
        assert answer is not None
        new.answer(BOB, *answer.adverts, more=answer.more)
        old.tick()
        pages = new.tick()
    assert new.book.adverts == old.book.adverts


def test_a_peer_that_always_says_more_and_sends_nothing_new_is_not_asked_for_ever() -> None:
    scene = Scene()
    asked = scene.connect(BOB)
    for _ in range(20):
        scene.answer(BOB, full(CAROL).raw, more=True)
        asked += scene.tick()
    assert len(asked) <= TRIES_MAX


def test_our_own_advert_is_told_and_what_has_expired_is_not() -> None:
    scene = filled(1)
    own = full(ME)
    scene.book.parts[ME.public] = Parts(own)
    answer = scene.want(BOB)
    assert answer is not None
    assert own.raw in answer.adverts
    assert len(answer.adverts) == 2
    scene.now_ms += 600_000
    assert scene.want(BOB) == Adverts(adverts=(), more=False)


def test_regions_and_time_narrow_a_page_and_names_do_not() -> None:
    scene = Scene()
    scene.take(full(BOB, offer=offer(place=JAPAN)), full(CAROL, NOW_MS - 9), full(DAVE))

    def told(**changes: Any) -> set[bytes]:
        scene.tick()
        answer = scene.want(keypair(9), **changes)
        assert answer is not None
        return {open_advert(raw, NETWORK).author for raw in answer.adverts}

    assert told() == {CAROL.public, DAVE.public}
    assert told(regions=("asia", "atlantis")) == {BOB.public}
    assert told(since=NOW_MS) == {DAVE.public}
    assert told(authors=(BOB.public, keypair(9).public), regions=()) == {BOB.public}


def test_a_flood_of_questions_is_answered_within_bounds() -> None:
    scene = filled(3)
    answers = [scene.want(BOB) for _ in range(100)]
    assert sum(answer is not None for answer in answers) == ANSWERS_PER_PEER_MAX
    answers = [scene.want(keypair(1000 + n)) for n in range(100)]
    assert sum(answer is not None for answer in answers) == ANSWERS_PER_TICK_MAX - ANSWERS_PER_PEER_MAX
    scene.tick()
    assert scene.want(BOB) is not None


def test_an_answer_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "ANSWER_MAX_BYTES", 3000)
    answer = filled(9).want(BOB)
    assert answer is not None
    assert sum(map(len, answer.adverts)) <= 3000
    assert answer.more
