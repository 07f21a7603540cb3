"""Records of matchings between nodes: everybody is answered, and only what was asked for is taken."""

from __future__ import annotations

import random

import pytest

from ledger.ledger import replay
from node.actions import KeepMatching, Send, SendMatching
from node.core import Node
from node.events import MatchingsWanted, MessageReceived, Timer, TimerFired, TimerKind
from node.feeds.records import ASKED_MAX, Records, keep_record, read_record
from node.turn import Identity
from protocol.direct import Matching, WantMatching, encode_direct
from protocol.errors import Reject
from protocol.gossip import Topics
from protocol.identity import KeyPair
from protocol.messages import Blob
from tests.builders import digest, keypair
from tests.matched import OWNER, Matched, matched

AUDITOR, STRANGER = keypair(8), keypair(9)


@pytest.fixture(scope="module")
def scene() -> Matched:
    return matched()


def node_of(key: KeyPair, scene: Matched) -> Node:
    genesis = scene.history.ledger.genesis
    network = genesis.network_id()
    identity = Identity(key, "label", genesis, network, Topics.of(network), random.Random(0))
    ledger = replay(genesis, [entry.raw for entry in scene.history.entries])
    node = Node(identity, ledger, None, ())
    node.handle(TimerFired(Timer(TimerKind.SYNC)), scene.history.now_ms)  # it signs a checkpoint of its feed first
    return node


def awards(scene: Matched) -> list[bytes]:
    return [entry.id for entry in scene.history.entries if entry.kind == "award"]


def wants(scene: Matched, award: bytes) -> WantMatching:
    return WantMatching(job=scene.job.id, award=award)


def heard(peer: bytes, message: Matching | WantMatching) -> MessageReceived:
    return MessageReceived(peer, encode_direct(message))


def test_an_auditor_asks_the_owner_for_the_record_of_every_award(scene: Matched) -> None:
    asked = node_of(AUDITOR, scene).handle(MatchingsWanted(scene.job.id), scene.history.now_ms)
    assert asked == [Send(OWNER.public, wants(scene, award)) for award in awards(scene)]


def test_the_owner_answers_anybody(scene: Matched) -> None:
    owner = node_of(OWNER, scene)
    first = awards(scene)[0]
    instance = scene.history.state.jobs[scene.job.id].awards[first].instance_sha256
    assert owner.handle(heard(STRANGER.public, wants(scene, first)), 0) == [
        SendMatching(STRANGER.public, first, instance)
    ]


@pytest.mark.parametrize("key", [OWNER, AUDITOR], ids=["the owner", "another"])
def test_what_is_no_own_award_is_not_answered(scene: Matched, key: KeyPair) -> None:
    node = node_of(key, scene)
    assert node.handle(heard(STRANGER.public, wants(scene, digest("no award"))), 0) == []
    assert node.handle(heard(STRANGER.public, WantMatching(job=digest("no job"), award=awards(scene)[0])), 0) == []
    if key is AUDITOR:
        assert node.handle(heard(STRANGER.public, wants(scene, awards(scene)[0])), 0) == []


def test_an_answer_is_taken_once_and_under_the_hash_that_the_award_names(scene: Matched) -> None:
    auditor, first = node_of(AUDITOR, scene), awards(scene)[0]
    auditor.handle(MatchingsWanted(scene.job.id), scene.history.now_ms)
    instance = scene.history.state.jobs[scene.job.id].awards[first].instance_sha256
    answer = heard(OWNER.public, Matching(award=first, record=b"record"))
    assert auditor.handle(answer, 0) == [KeepMatching(instance, b"record")]
    assert auditor.handle(answer, 0) == []


def test_what_was_not_asked_for_is_not_taken(scene: Matched) -> None:
    auditor, first = node_of(AUDITOR, scene), awards(scene)[0]
    assert auditor.handle(heard(OWNER.public, Matching(award=first, record=b"record")), 0) == []
    auditor.handle(MatchingsWanted(scene.job.id), scene.history.now_ms)
    assert auditor.handle(heard(STRANGER.public, Matching(award=first, record=b"record")), 0) == []
    assert auditor.handle(heard(OWNER.public, Matching(award=digest("other"), record=b"record")), 0) == []


def test_an_owner_asks_nobody(scene: Matched) -> None:
    assert node_of(OWNER, scene).handle(MatchingsWanted(scene.job.id), scene.history.now_ms) == []
    assert node_of(AUDITOR, scene).handle(MatchingsWanted(digest("no job")), 0) == []


def test_what_was_asked_for_is_remembered_within_a_bound(scene: Matched) -> None:
    auditor = node_of(AUDITOR, scene)
    auditor.records = Records({(STRANGER.public, digest(str(n))): digest("x") for n in range(ASKED_MAX)})
    auditor.handle(MatchingsWanted(scene.job.id), scene.history.now_ms)
    assert len(auditor.records.asked) == ASKED_MAX
    assert (OWNER.public, awards(scene)[-1]) in auditor.records.asked


def test_the_shell_sends_a_record_that_is_here_and_nothing_else() -> None:
    action = SendMatching(STRANGER.public, digest("award"), digest("record"))
    assert list(read_record(action, lambda sha256, size: b"record")) == [
        Matching(award=digest("award"), record=b"record")
    ]
    assert list(read_record(action, lambda sha256, size: None)) == []


def test_the_shell_keeps_a_record_only_under_its_hash() -> None:
    kept: list[tuple[Blob, bytes]] = []
    keep_record(KeepMatching(digest("record"), b"record"), lambda blob, content: kept.append((blob, content)))
    assert kept == [(Blob(sha256=digest("record"), size_bytes=6), b"record")]

    def refuse(blob: Blob, content: bytes) -> None:
        raise Reject("another hash")

    keep_record(KeepMatching(digest("other"), b"record"), refuse)
