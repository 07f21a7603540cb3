"""How a node makes its own feed final, one event at a time; the test plays its store and its witnesses."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from ledger.checkpoint import open_note
from ledger.ledger import Ledger
from ledger.witness import Status, answer, parse_request
from node.actions import Action, Cosign, Notify, PersistCheckpoint, Publish, ReadTree, Send, SetTimeout
from node.core import Node
from node.events import Event, MessageReceived, PeerConnected, Timer, TimerFired, TimerKind
from node.feeds.finality import ASKS_MAX, PATIENCE_TICKS
from node.running.trees import Trees
from node.turn import Identity, Turn
from protocol.direct import AddCheckpoint, Cosignature, encode_direct
from protocol.gossip import Topics
from protocol.identity import KeyPair
from protocol.messages import Body
from tests.builders import NOW_MS, genesis, keypair, offer
from tests.ledger.notes import Memory

ME, STRANGER = keypair(0), keypair(1)
WITNESSES = [keypair(n) for n in range(10, 14)]
TICK = TimerFired(Timer(TimerKind.CHECKPOINT))


class Scene:
    """A node that only buys. What it reads from its store it reads at once; the rest of what it asks for is kept."""

    def __init__(self, witnesses: Sequence[KeyPair] = WITNESSES) -> None:
        network = genesis(witnesses=tuple(w.public for w in witnesses))
        self.ledger = Ledger(network)
        topics = Topics.of(self.ledger.network)
        self.identity = Identity(ME, "me", network, self.ledger.network, topics, random.Random(0))
        self.node = Node(self.identity, self.ledger, None, ())
        self.trees = Trees(lambda author, start, limit: self.ids[start : start + limit])
        self.ids: list[bytes] = []
        self.asked: list[tuple[bytes, int, int]] = []  # witness, old size, size
        self.promises = {w.public: Memory() for w in witnesses}
        for witness in witnesses:
            self.handle(PeerConnected(witness.public))

    def handle(self, event: Event) -> list[Action]:
        actions = self.node.handle(event, NOW_MS)
        for action in list(actions):
            match action:
                case ReadTree() if (tree := self.trees.read(action)) is not None:
                    actions += self.handle(tree)
                case Send(witness, AddCheckpoint(request=raw)):
                    request = parse_request(raw)
                    self.asked.append((witness, request.old_size, request.note.checkpoint.size))
        return actions

    def signs(self, entries: int = 1) -> list[Action]:
        """The node writes so many entries, all in one turn."""
        turn = Turn(self.identity, self.ledger, NOW_MS)
        for n in range(entries):
            entry = turn.record(offer(units=1 + len(self.ids)), ())
            assert entry is not None, n
            self.ids.append(entry.id)
        return self.handle(PeerConnected(STRANGER.public))  # any event: it looks at its feed after each

    def answers(self, witness: bytes, status: int, body: bytes) -> list[Action]:
        return self.handle(MessageReceived(witness, encode_direct(Cosignature(status=status, body=body))))

    def cosigns(self, witness: KeyPair, message: Body) -> list[Action]:
        """An honest witness answers."""
        assert isinstance(message, AddCheckpoint)
        honest = answer(message.request, witness, self.ledger.network, self.promises[witness.public], 1)
        return self.answers(witness.public, honest.status, honest.body)


def requests(actions: Sequence[Action]) -> dict[bytes, Body]:
    return {a.peer: a.message for a in actions if isinstance(a, Send) and isinstance(a.message, AddCheckpoint)}


def published(actions: Sequence[Action]) -> list[Publish]:
    return [a for a in actions if isinstance(a, Publish) and a.topic.endswith("/checkpoints")]


def test_a_feed_that_rested_is_signed_at_once_and_one_that_grows_on_at_the_next_tick() -> None:
    scene = Scene(witnesses=())
    (first,) = published(scene.signs(3))
    assert open_note(first.data, scene.ledger.network)[0].checkpoint.size == 3
    assert published(scene.signs(2)) == []
    assert published(scene.signs(1)) == []
    (second,) = published(scene.handle(TICK))
    assert open_note(second.data, scene.ledger.network)[0].checkpoint.size == 6


def test_all_connected_witnesses_are_asked_and_a_quorum_makes_it_final() -> None:
    scene = Scene()
    asked = requests(scene.signs(3))
    assert set(asked) == {w.public for w in WITNESSES}
    for witness in WITNESSES[:2]:
        assert published(scene.cosigns(witness, asked[witness.public])) == []
    assert scene.ledger.finals == {}
    actions = scene.cosigns(WITNESSES[2], asked[WITNESSES[2].public])
    assert len(published(actions)) == 1
    assert scene.ledger.is_final(ME.public, scene.ids[-1])
    kinds = [type(action) for action in actions]
    assert kinds.index(PersistCheckpoint) < kinds.index(Publish), "kept before it is said"
    assert scene.cosigns(WITNESSES[3], asked[WITNESSES[3].public]) == [], "the fourth comes too late to matter"


def test_the_next_request_starts_from_what_each_witness_has_cosigned() -> None:
    scene = Scene()
    asked = requests(scene.signs(3))
    for witness in WITNESSES[:3]:
        scene.cosigns(witness, asked[witness.public])
    scene.asked.clear()
    scene.signs(2)
    scene.handle(TICK)
    assert sorted(scene.asked) == sorted([(w.public, 3, 5) for w in WITNESSES[:3]] + [(WITNESSES[3].public, 0, 5)])


def test_a_conflict_is_answered_from_the_size_that_the_witness_names() -> None:
    """A restarted author has forgotten what it was cosigned."""
    scene = Scene()
    scene.signs(5)
    scene.asked.clear()
    scene.answers(WITNESSES[0].public, Status.CONFLICT, b"2\n")
    assert scene.asked == [(WITNESSES[0].public, 2, 5)]


def test_a_witness_that_answers_with_conflicts_for_ever_is_left_alone() -> None:
    scene = Scene()
    scene.signs(5)
    for size in range(20):
        scene.answers(WITNESSES[0].public, Status.CONFLICT, b"%d\n" % (size % 5))
    assert len([a for a in scene.asked if a[0] == WITNESSES[0].public]) == ASKS_MAX


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (409, b"9\n", "it has cosigned 9 entries of ours, and we have 5"),
        (409, b"x\n", "the cosigned size must be a decimal"),
        (403, b"who are you\n", "NOT_SIGNED: 'who are you'"),
        (200, b"no line\n", "a signature line is a dash"),
        (299, b"", "299 is not a valid Status"),
    ],
)
def test_an_answer_that_does_not_help_is_told(status: int, body: bytes, reason: str) -> None:
    scene = Scene()
    scene.signs(5)
    scene.asked.clear()
    (notice,) = scene.answers(WITNESSES[0].public, status, body)
    assert isinstance(notice, Notify)
    assert notice.kind == "no cosignature"
    assert reason in notice.data["reason"]
    assert scene.asked == []


def test_the_same_cosignature_four_times_is_one() -> None:
    scene = Scene()
    asked = requests(scene.signs(3))
    for _ in range(4):
        scene.cosigns(WITNESSES[0], asked[WITNESSES[0].public])
    assert scene.ledger.finals == {}


def test_who_is_no_witness_is_not_heard() -> None:
    scene = Scene()
    scene.signs(3)
    assert scene.answers(STRANGER.public, Status.CONFLICT, b"1\n") == []


def test_without_a_quorum_it_is_spread_once_after_a_while_and_asked_for_again() -> None:
    scene = Scene()
    asked = requests(scene.signs(3))
    scene.cosigns(WITNESSES[0], asked[WITNESSES[0].public])
    scene.asked.clear()
    told: list[Publish] = []
    for _ in range(PATIENCE_TICKS * 3):
        told += published(scene.handle(TICK))
    assert len(told) == 1
    assert {witness for witness, _, _ in scene.asked} == {w.public for w in WITNESSES[1:]}
    assert len(scene.asked) == 9


def test_a_tick_is_under_way_whenever_something_is_left_to_do() -> None:
    scene = Scene()
    actions = scene.signs(1)
    for _ in range(5):
        assert [a.timer.kind for a in actions if isinstance(a, SetTimeout)].count(TimerKind.CHECKPOINT) == 1
        actions = scene.handle(TICK)


def test_only_a_witness_of_the_network_cosigns() -> None:
    mine, asked = Scene(witnesses=[ME]), Scene()
    message = encode_direct(AddCheckpoint(request=b"old 0\n"))
    assert asked.handle(MessageReceived(STRANGER.public, message)) == []
    (action,) = mine.handle(MessageReceived(STRANGER.public, message))
    assert action == Cosign(STRANGER.public, b"old 0\n", NOW_MS // 1000)
