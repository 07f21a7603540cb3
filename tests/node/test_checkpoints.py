"""What a node does with the checkpoints it hears, one event at a time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ledger.checkpoint import Note, SignatureLine, cosign, parse_note, sign
from ledger.feed import ForkProof
from ledger.merkle import root_of
from node.actions import Action, Notify, PersistCheckpoint, Publish, ReadTree, Send
from node.events import (
    EntriesVerified,
    GossipReceived,
    MessageReceived,
    PeerConnected,
    Timer,
    TimerFired,
    TimerKind,
    TreeRead,
)
from node.feeds.checkpoints import AHEAD_MAX, ASKS_MAX
from node.feeds.exchange import COMPARE_EVERY_TICKS
from node.sim.world import World, keypair_of
from protocol.direct import Checkpoint, Want, WantCheckpoint, encode_direct
from protocol.envelope import Entry
from protocol.identity import KeyPair
from tests.builders import entry, keypair
from tests.sim.worlds import LEAD, WITNESS_SITES, WITNESSES, witnessed

AUTHOR = keypair(0)
STRANGER = keypair(1).public


class Scene:
    """The lead's node in a network whose witnesses are down; the test plays an author with a feed of five entries."""

    def __init__(self) -> None:
        self.world: World = witnessed()
        for name in WITNESSES:
            self.world.crash(name)
        self.node = self.world.node(LEAD)
        self.network = self.node.identity.network
        self.feed: list[Entry] = []
        for seq in range(5):
            prev = self.feed[-1].id if self.feed else bytes(32)
            time_ms = self.world.now_ms
            self.feed.append(entry(AUTHOR, network=self.network, seq=seq, prev=prev, time_ms=time_ms))

    def note(self, size: int, ids: Sequence[bytes] | None = None, witnesses: int = 0, key: KeyPair = AUTHOR) -> Note:
        signed = sign(key, self.network, size, root_of((ids or [e.id for e in self.feed])[:size]))
        signers = [keypair_of(site) for site in WITNESS_SITES[:witnesses]]
        return signed.with_lines(*(cosign(w, self.network, signed.checkpoint, 1) for w in signers))

    def has(self, length: int) -> list[Action]:
        """The node learns so much of the feed."""
        known = self.node.ledger.heads.get(AUTHOR.public)
        news = self.feed[known.seq + 1 if known else 0 : length]
        return self.world.hosts[LEAD].handle(EntriesVerified(STRANGER, tuple(news), (), False))

    def hears(self, raw: bytes) -> list[Action]:
        """By gossip; what it reads from its store for that, it has read at once."""
        actions = self.node.handle(GossipReceived(self.world.topics.checkpoints, STRANGER, raw), self.world.now_ms)
        return actions + self.after(actions)

    def after(self, actions: Sequence[Action]) -> list[Action]:
        found: list[Action] = []
        for action in actions:
            if isinstance(action, ReadTree):
                ids = [e.id for e in self.feed][: action.size]
                event = TreeRead(action.author, action.size, root_of(ids), ids[-1], {})
                found += self.node.handle(event, self.world.now_ms)
        return found

    @property
    def final_size(self) -> int:
        final = self.node.ledger.finals.get(AUTHOR.public)
        return final.size if final else 0


def of(kind: type, actions: Sequence[Action]) -> list[Action]:
    return [action for action in actions if isinstance(action, kind)]


def test_a_checkpoint_of_the_feed_we_have_is_kept_and_not_final_without_a_quorum() -> None:
    scene = Scene()
    scene.has(5)
    note = scene.note(4, witnesses=2)
    assert of(PersistCheckpoint, scene.hears(note.encoded())) == [
        PersistCheckpoint(AUTHOR.public, 4, note.encoded(), is_final=False)
    ]
    assert scene.final_size == 0


def test_a_quorum_makes_the_feed_final_up_to_there() -> None:
    scene = Scene()
    scene.has(5)
    scene.hears(scene.note(4, witnesses=3).encoded())
    ledger = scene.node.ledger
    assert [ledger.is_final(AUTHOR.public, e.id) for e in scene.feed] == [True, True, True, True, False]
    assert scene.final_size == 4


def test_the_same_again_an_older_one_or_fewer_cosignatures_do_nothing() -> None:
    scene = Scene()
    scene.has(5)
    scene.hears(scene.note(4, witnesses=3).encoded())
    for note in (scene.note(4, witnesses=3), scene.note(4), scene.note(3, witnesses=4)):
        assert scene.hears(note.encoded()) == []
    assert scene.final_size == 4


def test_a_checkpoint_ahead_of_the_feed_asks_for_it_and_counts_once_it_is_there() -> None:
    scene = Scene()
    scene.has(2)
    actions = scene.hears(scene.note(5, witnesses=3).encoded())
    assert actions == [Send(STRANGER, Want(ranges=((AUTHOR.public, 2),)))]
    assert of(ReadTree, scene.has(4)) == []
    scene.after(scene.has(5))
    assert scene.final_size == 5


def test_a_final_checkpoint_counts_though_a_larger_one_was_heard_before() -> None:
    scene = Scene()
    scene.has(5)
    scene.hears(scene.note(5).encoded())
    scene.hears(scene.note(4, witnesses=3).encoded())
    assert scene.final_size == 4
    ask = MessageReceived(STRANGER, encode_direct(WantCheckpoint(author=AUTHOR.public)))
    (told,) = scene.node.handle(ask, scene.world.now_ms)
    assert told == Send(STRANGER, Checkpoint(note=scene.note(4, witnesses=3).encoded())), "who asks waits for finality"


def test_two_roots_for_one_size_are_told_without_reading_the_feed() -> None:
    scene = Scene()
    scene.has(5)
    scene.hears(scene.note(4).encoded())
    other = [e.id for e in scene.feed[:3]] + [entry(kind="lie").id]
    actions = scene.hears(scene.note(4, other).encoded())
    assert [type(a) for a in actions] == [Notify, Send, Send]
    assert of(Notify, actions)[0].kind == "checkpoint contradicts feed"  # type: ignore[union-attr]


def test_lines_of_unknown_keys_are_not_kept() -> None:
    scene = Scene()
    scene.has(5)
    stuffed = scene.note(4).with_lines(*(SignatureLine(f"w{n}", bytes(4), bytes(64)) for n in range(50)))
    (kept,) = of(PersistCheckpoint, scene.hears(stuffed.encoded()))
    assert isinstance(kept, PersistCheckpoint)
    assert parse_note(kept.note) == scene.note(4)


def frozen_with_final_ahead() -> Scene:
    """The author has forked at 2, and a quorum cosigned five entries, of which we have two."""
    scene = Scene()
    scene.has(2)
    twin = entry(AUTHOR, network=scene.network, seq=2, prev=scene.feed[1].id, time_ms=scene.world.now_ms, kind="twin")
    scene.node.ledger.freeze(ForkProof(scene.feed[2], twin))
    scene.hears(scene.note(5, witnesses=3).encoded())
    scene.node.handle(PeerConnected(STRANGER), scene.world.now_ms)
    return scene


def asked_at_ticks(scene: Scene, ticks: int) -> list[object]:
    """What is asked for meanwhile of the author's feed, and for its checkpoints."""
    tick = TimerFired(Timer(TimerKind.SYNC))
    actions = [action for _ in range(ticks) for action in scene.node.handle(tick, scene.world.now_ms)]
    return [a.message for a in actions if isinstance(a, Send) and isinstance(a.message, Want | WantCheckpoint)]


def test_what_is_final_of_a_frozen_author_is_asked_for_again_until_it_is_here() -> None:
    scene = frozen_with_final_ahead()
    lost = WantCheckpoint(author=AUTHOR.public)
    assert asked_at_ticks(scene, COMPARE_EVERY_TICKS) == [lost, Want(ranges=((AUTHOR.public, 2),))]
    scene.has(4)
    assert asked_at_ticks(scene, COMPARE_EVERY_TICKS) == [lost, Want(ranges=((AUTHOR.public, 4),))]
    scene.after(scene.has(5))
    assert scene.final_size == 5
    assert asked_at_ticks(scene, COMPARE_EVERY_TICKS) == [lost], "a larger one may be final"


def test_what_nobody_has_for_our_branch_is_not_asked_for_without_end() -> None:
    scene = frozen_with_final_ahead()
    wants = [a for a in asked_at_ticks(scene, COMPARE_EVERY_TICKS * 3 * ASKS_MAX) if isinstance(a, Want)]
    assert len(wants) <= ASKS_MAX


@pytest.mark.parametrize("witnesses", [0, 3])
def test_another_root_than_our_feeds_is_told_and_its_last_entry_asked_for(witnesses: int) -> None:
    scene = Scene()
    scene.has(5)
    other = [e.id for e in scene.feed[:2]] + [entry(kind=f"lie{n}").id for n in range(3)]
    actions = scene.hears(scene.note(4, other, witnesses).encoded())
    (notice,) = of(Notify, actions)
    assert isinstance(notice, Notify)
    assert (notice.kind, notice.data["size"]) == ("checkpoint contradicts feed", 4)
    wants = [a for a in actions if isinstance(a, Send)]
    assert wants == [Send(peer, Want(ranges=((AUTHOR.public, 3),))) for peer in (STRANGER, AUTHOR.public)]
    assert scene.final_size == 0
    assert of(PersistCheckpoint, actions) == []
    assert scene.hears(scene.note(4, other, witnesses).encoded())[1:] == [], "asked for once"


@pytest.mark.parametrize("fault", ["not signed by its author", "a false cosignature", "no note"])
def test_refuse_what_is_not_genuine(fault: str) -> None:
    scene = Scene()
    scene.has(5)
    good = scene.note(4, witnesses=3)
    raw = {
        "not signed by its author": Note(good.checkpoint, scene.note(4, key=keypair(2)).lines).encoded(),
        "a false cosignature": good.with_lines(
            cosign(keypair_of(WITNESS_SITES[3]), scene.network, scene.note(3).checkpoint, 1)
        ).encoded(),
        "no note": b"no note\n",
    }[fault]
    actions = scene.hears(raw)
    assert [type(action) for action in actions] == [Notify]
    assert scene.final_size == 0


def test_feeds_that_never_come_do_not_keep_others_out() -> None:
    """Keys are free: somebody signs checkpoints of feeds that do not exist."""
    scene = Scene()
    for n in range(1000, 1000 + AHEAD_MAX + 3):
        scene.hears(scene.note(5, witnesses=0, key=keypair(n)).encoded())
    assert len(scene.node.checkpoints.ahead) == AHEAD_MAX
    scene.hears(scene.note(5, witnesses=3).encoded())
    scene.after(scene.has(5))
    assert scene.final_size == 5


def test_whoever_asks_is_told_the_newest() -> None:
    scene = Scene()
    scene.has(5)
    scene.hears(scene.note(4, witnesses=3).encoded())
    ask = MessageReceived(STRANGER, encode_direct(WantCheckpoint(author=AUTHOR.public)))
    answers = scene.node.handle(ask, scene.world.now_ms)
    assert answers == [Send(STRANGER, Checkpoint(note=scene.note(4, witnesses=3).encoded()))]
    unknown = MessageReceived(STRANGER, encode_direct(WantCheckpoint(author=STRANGER)))
    assert scene.node.handle(unknown, scene.world.now_ms) == []


def test_what_we_forward_by_gossip_is_ours_only() -> None:
    """The network layer forwards what the judge accepts; the core publishes nobody else's."""
    scene = Scene()
    scene.has(5)
    assert of(Publish, scene.hears(scene.note(4, witnesses=3).encoded())) == []
