"""What a node does about entries that others refer to, and about authors who sign two histories."""

from __future__ import annotations

import pytest

from ledger.feed import ForkProof
from node.actions import FindForks, PersistAside, PersistFork, Send, SendEntries, SendIds, SetTimeout
from node.events import ForksFound
from protocol.direct import Entries, Heads, WantIds
from protocol.envelope import Entry, seal
from protocol.identity import KeyPair
from tests.node.peers_scene import BOB, CAROL, NETWORK, NOW_MS, Scene, feed, heads_of, want

DAVE = KeyPair(b"dave".ljust(32, b"."))


@pytest.fixture
def scene() -> Scene:
    return Scene()


# --- by id --------------------------------------------------------------------------------------------------------


def referring_to(author: KeyPair, *refs: bytes) -> Entry:
    return seal(author, network=NETWORK, kind="note", seq=0, prev=bytes(32), time_ms=NOW_MS, refs=refs, body={})


def ids_asked(scene: Scene, ticks: int) -> list[tuple[bytes, tuple[bytes, ...]]]:
    sent = [action for _ in range(ticks) for action in scene.tick() if isinstance(action, Send)]
    return [(each.peer, each.message.ids) for each in sent if isinstance(each.message, WantIds)]


def test_what_an_entry_waits_for_is_asked_of_its_bringer_and_then_of_the_others(scene: Scene) -> None:
    (awaited,) = feed(DAVE, 1)
    scene.take(CAROL, [referring_to(BOB, awaited.id)])
    assert ids_asked(scene, 1) == [], "it may be on its way"
    assert ids_asked(scene, 2) == [(CAROL.public, (awaited.id,)), (BOB.public, (awaited.id,))]
    scene.take(BOB, [awaited])
    assert ids_asked(scene, 3) == []


def test_entries_are_given_by_id(scene: Scene) -> None:
    (entry,) = feed(BOB, 1)
    assert scene.receive(CAROL, WantIds(ids=(entry.id,))) == [SendIds(CAROL.public, (entry.id,))]


# --- forks --------------------------------------------------------------------------------------------------------


def test_a_fork_is_kept_and_told_to_everybody_at_once(scene: Scene) -> None:
    root, one = feed(BOB, 2)
    (other,) = feed(BOB, 1, root, "or not")
    scene.take(BOB, [root, one])
    proof = Entries(entries=(one.raw, other.raw), more=False)
    actions = scene.take(CAROL, [other])
    assert actions[0] == PersistFork(BOB.public)
    assert actions[2:-1] == [Send(peer, proof) for peer in sorted((BOB.public, CAROL.public))]
    assert isinstance(actions[-1], SetTimeout), "what its entries did is folded anew"
    assert scene.take(CAROL, feed(BOB, 1, one)) == [], "a frozen author says nothing any more"


def test_a_proof_is_told_to_whoever_turns_out_not_to_know_it(scene: Scene) -> None:
    root, one = feed(BOB, 2)
    (other,) = feed(BOB, 1, root, "or not")
    scene.take(BOB, [root, one, other])
    proof = Send(CAROL.public, Entries(entries=(one.raw, other.raw), more=False))
    assert scene.receive(CAROL, heads_of(one)) == [proof]


def test_of_a_fork_that_we_do_not_know_the_other_is_asked_for_proof(scene: Scene) -> None:
    entries = feed(BOB, 2)
    scene.take(BOB, entries)
    frozen = Heads(heads=((BOB.public, 1, bytes(32)),), unknown=b"")
    assert scene.receive(CAROL, frozen) == [Send(CAROL.public, heads_of(entries[1]))]


@pytest.mark.parametrize("known", [0, 1, 2, 3], ids=["nothing known", "behind the fork", "at the fork", "ahead of it"])
def test_a_proof_freezes_its_author_wherever_we_stand_in_the_feed(scene: Scene, known: int) -> None:
    root, one, two = feed(BOB, 3)
    (other,) = feed(BOB, 1, root, "or not")
    scene.take(BOB, [root, one, two][:known])
    scene.take(CAROL, [one, other])
    assert scene.node.ledger.forks.keys() == {BOB.public}


def test_an_old_entry_that_is_not_the_one_we_hold_is_a_fork(scene: Scene) -> None:
    root, one, two = feed(BOB, 3)
    (other,) = feed(BOB, 1, root, "or not")
    scene.take(BOB, [root, one, two])
    assert scene.take(CAROL, [root, one]) == [], "they are the ones we hold"
    assert scene.take(CAROL, [other]) == [FindForks(CAROL.public, (other,))]
    actions = scene.handle(ForksFound(CAROL.public, (ForkProof(one, other),)))
    assert actions[0] == PersistFork(BOB.public)
    assert scene.node.ledger.forks == {BOB.public: ForkProof(one, other)}
    assert scene.handle(ForksFound(CAROL.public, (ForkProof(one, other),))) == [], "told once"


def test_a_fork_further_back_replaces_a_later_one(scene: Scene) -> None:
    root, one, two = feed(BOB, 3)
    early, late = feed(BOB, 1, root, "or not"), feed(BOB, 1, one, "or not")
    scene.take(BOB, [root, one, two, *late])
    assert scene.node.ledger.forks[BOB.public].seq == 2
    assert scene.take(CAROL, early) == [FindForks(CAROL.public, tuple(early))]
    scene.handle(ForksFound(CAROL.public, (ForkProof(one, early[0]),)))
    assert scene.node.ledger.forks[BOB.public].seq == 1


def test_the_place_where_two_histories_part_is_looked_for(scene: Scene) -> None:
    """A longer branch proves a fork by its end, which names a predecessor that we do not hold."""
    root, one, two = feed(BOB, 3)
    branch = feed(BOB, 3, root, "or not")
    scene.take(BOB, [root, one, two])
    assert scene.take(CAROL, branch[2:])[0] == PersistFork(BOB.public)
    assert scene.node.ledger.forks[BOB.public].seq == 2
    assert ids_asked(scene, 1) == [(CAROL.public, (branch[1].id,))]
    scene.take(CAROL, branch[1:2])
    assert ids_asked(scene, 1) == [(CAROL.public, (branch[0].id,))]
    assert scene.take(CAROL, branch[:1]) == [FindForks(CAROL.public, (branch[0],))]
    scene.handle(ForksFound(CAROL.public, (ForkProof(one, branch[0]),)))
    assert scene.node.ledger.forks[BOB.public].seq == 1
    assert ids_asked(scene, 3) == []


def test_a_place_that_nobody_knows_is_looked_for_once(scene: Scene) -> None:
    root, one, two = feed(BOB, 3)
    branch = feed(BOB, 3, root, "or not")
    scene.take(BOB, [root, one, two, branch[2]])
    asked = ids_asked(scene, 8)
    assert sorted(peer for peer, _ in asked) == sorted((BOB.public, CAROL.public))


def test_an_entry_of_the_other_branch_is_kept_aside_for_those_who_wait_for_it(scene: Scene) -> None:
    root, one = feed(BOB, 2)
    (other,) = feed(BOB, 1, root, "or not")
    waiting = referring_to(CAROL, other.id)
    scene.take(BOB, [root, one])
    scene.take(CAROL, [waiting])
    scene.take(CAROL, [one, other])
    assert scene.take(CAROL, [other])[0] == PersistAside((other,))
    assert scene.node.ledger.missing_refs() == set()


def test_an_honest_feed_proves_nothing(scene: Scene) -> None:
    entries = feed(BOB, 4)
    scene.take(CAROL, [*entries, *reversed(entries), entries[0], entries[2]])
    assert scene.node.ledger.forks == {}


def test_a_frozen_feed_is_not_asked_for_and_still_given_to_those_who_ask(scene: Scene) -> None:
    root, one = feed(BOB, 2)
    (other,) = feed(BOB, 1, root, "or not")
    scene.take(BOB, [root, one, other])
    (ahead,) = feed(BOB, 1, other)
    assert scene.hear(CAROL, ahead) == []
    assert not any(isinstance(action, SendEntries) for action in scene.receive(CAROL, heads_of(ahead)))
    assert scene.receive(CAROL, want(BOB, 0)) == [SendEntries(CAROL.public, ((BOB.public, 0),))]


def test_a_proof_that_arrives_again_is_not_told_again(scene: Scene) -> None:
    root, one = feed(BOB, 2)
    (other,) = feed(BOB, 1, root, "or not")
    scene.take(BOB, [root, one, other])
    assert scene.node.ledger.forks[BOB.public] == ForkProof(one, other)
    assert scene.take(CAROL, [one, other]) == []


# --- forks of what is final ---------------------------------------------------------------------------------------


def final_then_forked(scene: Scene) -> tuple[list[Entry], list[Entry]]:
    """Bob's feed, all of it final, and another end of it that Carol brings."""
    root, one, two = feed(BOB, 3)
    branch = feed(BOB, 2, root, "or not")
    scene.take(BOB, [root, one, two])
    scene.node.ledger.admit(BOB.public, 3)
    scene.node.ledger.finalize(BOB.public, 3, two.id)
    assert scene.take(CAROL, branch[1:])[0] == PersistFork(BOB.public)
    return [root, one, two], branch


def test_a_fork_of_what_is_final_is_told_once(scene: Scene) -> None:
    """Its author is not frozen at its head: peers that all hold it so must not echo the proof for ever."""
    (_, _, two), branch = final_then_forked(scene)
    assert scene.take(CAROL, branch[1:]) == []
    assert scene.take(BOB, [two, branch[1]]) == [], "nor as a proof"


@pytest.mark.parametrize("place", [0, 1], ids=["below our head", "at our head"])
def test_who_refers_to_the_branch_that_is_not_final_does_not_wait_for_ever(scene: Scene, place: int) -> None:
    (_, one, _), branch = final_then_forked(scene)
    scene.handle(ForksFound(CAROL.public, (ForkProof(one, branch[0]),)))
    honest = referring_to(DAVE, branch[place].id)
    scene.take(CAROL, [honest])
    assert not scene.node.ledger.is_judged(honest.id)
    assert PersistAside((branch[place],)) in scene.take(CAROL, branch)
    assert scene.node.ledger.is_judged(honest.id)
