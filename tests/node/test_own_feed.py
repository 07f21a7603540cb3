"""A node signs nothing before it knows its own newest entry."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ledger.checkpoint import sign
from ledger.feed import ForkProof
from ledger.ledger import Ledger
from ledger.merkle import root_of
from node.actions import Notify, Persist, PersistFork, Publish, Send
from node.events import JobCancelled, JobSubmitted, PeerConnected, Started, TreeRead
from node.feeds.own_feed import ANSWERED_TICKS, Signing
from protocol.direct import Checkpoint, Entries, HeadIs, WantHead
from protocol.envelope import Entry, seal
from tests.builders import digest, job
from tests.node.peers_scene import ALICE, BOB, CAROL, GENESIS, NETWORK, NOW_MS, Scene, feed, want

OURS = feed(ALICE, 6)


def restored(*own: Entry) -> Scene:
    """A node whose key has signed before, with what it has of its own feed."""
    ledger = Ledger(GENESIS)
    for entry in own:
        ledger.extend(entry, NOW_MS)
    scene = Scene(ledger, may_sign=False)
    scene.handle(Started(("/ip4/10.0.0.1/tcp/8471",), "https://10.0.0.1:8472", digest("certificate")))
    return scene


def shows(entry: Entry | None) -> HeadIs:
    return HeadIs(entry=None if entry is None else entry.raw)


def questions(actions: Sequence[object]) -> list[bytes]:
    return [each.peer for each in actions if isinstance(each, Send) and isinstance(each.message, WantHead)]


def records(scene: Scene) -> bool:
    """Whether our user's job is recorded."""
    actions = scene.handle(JobSubmitted(job(bids_close_at_ms=NOW_MS + 1000)))
    return any(isinstance(action, Persist | Publish) for action in actions)


def test_a_fresh_key_asks_nobody_and_signs_at_once() -> None:
    scene = Scene()
    assert questions(scene.tick()) == []
    assert records(scene)


def test_who_has_signed_before_asks_each_peer_and_signs_nothing() -> None:
    scene = restored(*OURS[:2])
    assert questions(scene.handle(PeerConnected(BOB.public))) == [BOB.public]
    assert sorted(questions(scene.tick())) == sorted((BOB.public, CAROL.public))
    assert not records(scene)
    assert scene.handle(JobCancelled(digest("job"))) == []
    scene.tick(20)
    assert not records(scene), "nobody has answered"


@pytest.mark.parametrize("answer", [None, OURS[0], OURS[1]], ids=["nothing", "an older one", "the same"])
def test_it_signs_again_when_peers_have_had_time_to_show_more_and_did_not(answer: Entry | None) -> None:
    scene = restored(*OURS[:2])
    scene.receive(BOB, shows(answer))
    assert not records(scene)
    scene.tick(ANSWERED_TICKS)
    assert records(scene)
    assert questions(scene.tick()) == []


def test_it_takes_its_own_newer_entries_from_peers_and_goes_on_from_there() -> None:
    scene = restored(*OURS[:2])
    assert scene.receive(BOB, shows(OURS[4])) == [Send(BOB.public, want(ALICE, 2))]
    assert Send(CAROL.public, want(ALICE, 2)) in scene.tick(), "another peer may have it, too"
    scene.tick(ANSWERED_TICKS + 5)
    assert not records(scene), "its newest entry is not here yet"
    scene.take(BOB, OURS[2:4])
    assert not records(scene)
    scene.take(CAROL, OURS[4:5])
    assert records(scene)
    assert scene.node.ledger.heads[ALICE.public].seq == 5


def test_a_lost_ledger_is_fetched_from_the_first_entry_on() -> None:
    scene = restored()
    assert scene.receive(BOB, shows(OURS[4])) == [Send(BOB.public, want(ALICE, 0))]
    scene.tick(ANSWERED_TICKS)
    scene.take(BOB, OURS[:5])
    assert records(scene)
    assert scene.node.ledger.heads[ALICE.public].prev == OURS[4].id


def test_the_latest_of_what_peers_show_counts() -> None:
    scene = restored(*OURS[:2])
    scene.receive(BOB, shows(OURS[5]))
    scene.receive(CAROL, shows(OURS[3]))
    scene.tick(ANSWERED_TICKS)
    scene.take(CAROL, OURS[2:4])
    assert not records(scene)
    scene.take(BOB, OURS[4:])
    assert records(scene)


@pytest.mark.parametrize(
    "shown",
    [
        feed(BOB, 9)[-1].raw,
        OURS[5].raw[:-1] + bytes([OURS[5].raw[-1] ^ 1]),
        b"nonsense",
    ],
    ids=["somebody else's", "forged", "no entry"],
)
def test_a_liar_cannot_invent_an_entry_to_wait_for(shown: bytes) -> None:
    scene = restored(*OURS[:2])
    (notice,) = scene.receive(BOB, HeadIs(entry=shown))
    assert isinstance(notice, Notify)
    assert notice.kind == "entry refused"
    scene.tick(ANSWERED_TICKS + 3)
    assert not records(scene), "it is no answer either"
    scene.receive(CAROL, shows(OURS[1]))
    scene.tick(ANSWERED_TICKS)
    assert records(scene)


def test_an_answer_that_nobody_asked_for_changes_nothing() -> None:
    scene = Scene()
    assert scene.receive(BOB, shows(OURS[4])) == []
    assert records(scene)


def test_a_peer_is_told_what_we_hold_of_its_feed() -> None:
    scene = Scene()
    assert scene.receive(BOB, WantHead()) == [Send(BOB.public, HeadIs(entry=None))]
    bobs = feed(BOB, 2)
    scene.take(CAROL, bobs)
    assert scene.receive(BOB, WantHead()) == [Send(BOB.public, shows(bobs[1]))]


def test_a_peer_whose_fork_we_know_is_told() -> None:
    root, one = feed(BOB, 2)
    (other,) = feed(BOB, 1, root, "or not")
    scene = Scene()
    scene.take(CAROL, [root, one, other])
    _, told = scene.receive(BOB, WantHead())
    assert told == Send(BOB.public, Entries(entries=(one.raw, other.raw), more=False))


# --- its own feed has forked --------------------------------------------------------------------------------------


def stops(scene: Scene, actions: Sequence[object]) -> bool:
    """Whether the operator was told, with a remedy, and nothing is signed any more."""
    (notice,) = [each for each in actions if isinstance(each, Notify) and each.kind == "own feed forked"]
    assert "heliotrope init" in notice.data["remedy"]
    return scene.node.own_feed.signing is Signing.FORKED and not records(scene)


def test_a_peer_that_shows_another_entry_in_the_place_of_ours_stops_us_for_good() -> None:
    scene = restored(*OURS[:2])
    (other,) = feed(ALICE, 1, OURS[0], "or not")
    (proof,) = scene.receive(BOB, shows(other))
    assert isinstance(proof, Send)
    assert proof.peer == ALICE.public, "it takes the way that every proof takes"
    actions = scene.take(ALICE, [OURS[1], other])
    assert actions[0] == PersistFork(ALICE.public)
    assert stops(scene, actions)
    scene.tick(ANSWERED_TICKS + 3)
    assert not records(scene)


def test_a_proof_against_us_stops_a_node_that_was_signing() -> None:
    scene = Scene()
    assert records(scene)
    mine = scene.node.ledger.heads[ALICE.public]
    assert stops(scene, scene.take(BOB, [mine, feed(ALICE, 1)[0]]))


def test_another_node_with_our_key_is_found_out() -> None:
    """Its branch runs ahead of ours: the first of its entries that we see does not follow our head."""
    scene = Scene()
    assert records(scene)
    twin = feed(ALICE, 3)
    assert stops(scene, scene.take(BOB, twin))


def test_it_waits_until_all_that_it_has_signed_is_judged() -> None:
    """Else its own leases and debts might be signed once more."""
    (awaited,) = feed(BOB, 1)
    later = seal(
        ALICE,
        network=NETWORK,
        kind="note",
        seq=2,
        prev=OURS[1].id,
        time_ms=NOW_MS,
        refs=(awaited.id,),
        body={},
    )
    scene = restored(*OURS[:2])
    scene.receive(BOB, shows(later))
    scene.take(BOB, [later])
    scene.tick(ANSWERED_TICKS + 5)
    assert not records(scene)
    scene.take(CAROL, [awaited])
    assert records(scene)


def test_it_signs_no_checkpoint_either_though_one_of_its_own_is_brought() -> None:
    scene = restored(*OURS[:2])
    ids = [each.id for each in OURS[:2]]
    scene.receive(CAROL, Checkpoint(note=sign(ALICE, NETWORK, 2, root_of(ids)).encoded()))
    actions = scene.handle(TreeRead(ALICE.public, 2, root_of(ids), ids[-1], {0: ()}))
    assert not any(isinstance(action, Publish) for action in actions)
    assert scene.node.finality.current is None


def test_who_hears_of_its_own_fork_signs_nothing_in_that_very_turn() -> None:
    scene = Scene()
    assert records(scene)
    ours = scene.node.ledger.heads[ALICE.public]
    (other,) = feed(ALICE, 1, text="or not")
    scene.node.ledger.freeze(ForkProof(ours, other))
    assert not scene.node.may_sign


def test_a_clock_that_was_set_back_does_not_stop_it_at_its_own_head() -> None:
    scene = Scene()
    ahead_ms = NOW_MS + 3_600_000
    scene.node.handle(JobSubmitted(job(bids_close_at_ms=ahead_ms + 1000)), ahead_ms)
    assert records(scene)
    assert scene.node.ledger.heads[ALICE.public].time_ms == ahead_ms
