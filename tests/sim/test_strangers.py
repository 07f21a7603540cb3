"""What strangers and cheats can do to a network: nothing but be heard."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from ledger.ledger import replay
from node.actions import Notify
from node.events import (
    EntriesVerified,
    GossipReceived,
    MessageReceived,
    PeerConnected,
)
from node.sim.world import World
from node.turn import Turn
from protocol.direct import (
    Assignment,
    Entries,
    Failure,
    Finish,
    Heads,
    Ready,
    RoundDelta,
    RoundStart,
    Want,
    encode_direct,
)
from protocol.envelope import NO_PREV, Entry, seal
from protocol.identity import KeyPair
from protocol.messages import Blob, Body
from tests.sim.worlds import (
    HYDRO,
    LEAD,
    NIGHT,
    SOLAR,
    TEXT,
    WIND,
    assert_all_is_well,
    is_closed,
    job,
    placements,
    reaches_round,
    record_of,
    run_of,
    settle,
    world,
)

CHEAT = KeyPair(b"cheat".ljust(32, b"\0"))


# --- equivocation -------------------------------------------------------------------------------------------------


def branch(in_world: World, texts: Iterable[str], after: Entry | None = None) -> list[Entry]:
    """A piece of the cheat's feed; the kind is one that no rule judges."""
    entries = []
    for text in texts:
        after = seal(
            CHEAT,
            network=in_world.genesis.network_id(),
            kind="note",
            seq=0 if after is None else after.seq + 1,
            prev=NO_PREV if after is None else after.id,
            time_ms=in_world.now_ms,
            refs=(),
            body={"text": text},
        )
        entries.append(after)
    return entries


def tell(in_world: World, name: str, entries: list[Entry]) -> None:
    message = Entries(entries=tuple(entry.raw for entry in entries), more=False)
    in_world.handle(name, MessageReceived(CHEAT.public, encode_direct(message)))


@pytest.mark.parametrize(
    ("one", "other"),
    [(["to you"], ["to them"]), (["to you", "more", "and more"], ["to them"]), (["to you"], ["to them", "more"])],
    ids=["heads differ", "one ran ahead", "the other ran ahead"],
)
def test_an_equivocating_author_is_frozen_everywhere_and_nobody_else_is(one: list[str], other: list[str]) -> None:
    demo = world()
    (root,) = branch(demo, ["hello"])
    tell(demo, SOLAR, [root, *branch(demo, one, root)])
    tell(demo, WIND, [root, *branch(demo, other, root)])
    settle(demo)
    for host in demo.alive():
        ledger = demo.node(host.name).ledger
        assert set(ledger.forks) == {CHEAT.public}
        assert len(host.told("fork")) == 1
        assert set(replay(demo.genesis, (raw for _, raw in host.store.replay()), host.store.forks()).forks) == {
            CHEAT.public
        }
    more = branch(demo, ["again"], demo.node(SOLAR).ledger.heads[CHEAT.public])
    tell(demo, SOLAR, more)
    demo.run(1_000)
    assert demo.node(SOLAR).ledger.heads[CHEAT.public].id != more[0].id
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(is_closed(demo, job_id), within_ms=100_000)
    closure = record_of(demo, LEAD, job_id).closure
    assert closure is not None
    assert closure.outcome == "done", "the honest are not held up"


def test_a_fork_in_the_past_reaches_those_who_have_read_on() -> None:
    """Two branches of different length: those who hold the longer one learn of it from the proof alone."""
    demo = world()
    (root,) = branch(demo, ["hello"])
    long = [root, *branch(demo, ["one", "two", "three"], root)]
    for name in demo.hosts:
        tell(demo, name, long)
    demo.run(1_000)
    tell(demo, SOLAR, branch(demo, ["three, or not"], long[2]))
    settle(demo)
    assert all(set(demo.node(host.name).ledger.forks) == {CHEAT.public} for host in demo.alive())


def test_a_newcomer_hears_of_an_old_fork() -> None:
    demo = world()
    demo.crash(NIGHT)
    (root,) = branch(demo, ["hello"])
    tell(demo, SOLAR, [root, *branch(demo, ["to you"], root)])
    tell(demo, WIND, [root, *branch(demo, ["to them"], root)])
    settle(demo)
    demo.restart(NIGHT)
    settle(demo)
    demo.run(30_000)
    assert set(demo.node(NIGHT).ledger.forks) == {CHEAT.public}


# --- messages that are not theirs to send -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def training() -> tuple[World, bytes]:
    """A world in the middle of a job. The tests below leave it as it is."""
    demo = world()
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(reaches_round(demo, job_id, 3), within_ms=60_000)
    demo.handle(WIND, PeerConnected(CHEAT.public))
    demo.handle(LEAD, PeerConnected(CHEAT.public))
    return demo, job_id


def messages_about(in_world: World, job_id: bytes, name: str, server: str) -> dict[str, Body]:
    """Everything that lead and provider might say to each other about a site's shard, with blobs that `server` has."""
    record = placements(in_world, job_id)[name]
    award, shard = record.award, record.placement.shard
    node = in_world.node(server)
    turn = Turn(node.identity, node.ledger, in_world.now_ms)
    ticket = node.tickets.issue(turn, Blob(sha256=bytes(32), size_bytes=1), record.placement.provider)
    messages: tuple[Body, ...] = (
        Assignment(award=award, shard=shard, data=(ticket.model_copy(update={"blob": TEXT}),), moments=None),
        RoundStart(award=award, shard=shard, round=9, parameters=ticket),
        Finish(award=award, shard=shard),
        Ready(award=award, shard=shard),
        Failure(award=award, shard=shard, reason="it is all over"),
        RoundDelta(
            award=award,
            shard=shard,
            round=0,
            delta=ticket,
            loss_millinats=1,
            tokens=1,
            duration_ms=1,
            energy_j=1,
            carbon_ug=1,
        ),
    )
    return {type(message).__name__: message for message in messages}


KINDS = ("Assignment", "RoundStart", "Finish", "Ready", "Failure", "RoundDelta")


@pytest.mark.parametrize("receiver", [WIND, LEAD])
@pytest.mark.parametrize("kind", KINDS)
def test_a_message_from_a_peer_that_has_no_say_changes_nothing(
    training: tuple[World, bytes], kind: str, receiver: str
) -> None:
    """A stranger, and another provider of the same job: neither leads it, nor trains this shard."""
    demo, job_id = training
    raw = encode_direct(messages_about(demo, job_id, WIND, WIND)[kind])
    node = demo.node(receiver)
    before = (repr(node.requester.runs), repr(node.provider.works))
    for sender in (CHEAT.public, demo.hosts[HYDRO].key):
        assert node.handle(MessageReceived(sender, raw), demo.now_ms) == []
    assert (repr(node.requester.runs), repr(node.provider.works)) == before


@pytest.mark.parametrize(
    ("kind", "sender", "receiver"),
    [
        ("Assignment", LEAD, WIND),
        ("RoundStart", LEAD, WIND),
        ("Finish", LEAD, WIND),
        ("Ready", WIND, LEAD),
        ("RoundDelta", WIND, LEAD),
        ("Failure", WIND, LEAD),
    ],
)
def test_the_same_message_from_the_peer_that_has_a_say_is_heeded(kind: str, sender: str, receiver: str) -> None:
    """Or the test above would prove nothing."""
    demo = world()
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(reaches_round(demo, job_id, 3), within_ms=60_000)
    raw = encode_direct(messages_about(demo, job_id, WIND, WIND)[kind])
    node = demo.node(receiver)
    shard = placements(demo, job_id)[WIND].placement.shard
    member = run_of(demo, job_id).members[shard]
    member.ready = False
    member.deltas.pop(0)
    before = (repr(member), repr(node.provider.works))
    actions = node.handle(MessageReceived(demo.hosts[sender].key, raw), demo.now_ms)
    assert actions or (repr(member), repr(node.provider.works)) != before


def test_a_delta_that_another_peer_serves_is_not_taken(training: tuple[World, bytes]) -> None:
    """Or a provider could make the lead fetch from whomever it likes."""
    demo, job_id = training
    raw = encode_direct(messages_about(demo, job_id, WIND, SOLAR)["RoundDelta"])
    node = demo.node(LEAD)
    before = repr(node.requester.runs)
    assert node.handle(MessageReceived(demo.hosts[WIND].key, raw), demo.now_ms) == []
    assert repr(node.requester.runs) == before


def test_an_award_by_a_stranger_binds_nobody() -> None:
    """It is a void entry: only the owner of a job awards it."""
    demo = world()
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(reaches_round(demo, job_id, 1), within_ms=60_000)
    record = record_of(demo, WIND, job_id)
    award_id, award = next(iter(record.awards.items()))
    forged = seal(
        CHEAT,
        network=demo.genesis.network_id(),
        kind="award",
        seq=0,
        prev=NO_PREV,
        time_ms=demo.now_ms,
        refs=(job_id, *(p.bid for p in award.placements)),
        body=award.model_dump(),
    )
    tell(demo, WIND, [forged])
    demo.run(2_000)
    node = demo.node(WIND)
    assert node.ledger.state.voids.keys() == {forged.id}
    assert "is not the job's owner" in node.ledger.state.voids[forged.id]
    assert list(node.ledger.state.jobs[job_id].awards) == [award_id]


# --- garbage ------------------------------------------------------------------------------------------------------


def mutations(raw: bytes, chance: random.Random, count: int) -> Iterable[bytes]:
    """The bytes with something wrong: cut off, lengthened, or with a few bits turned."""
    for _ in range(count):
        damaged = bytearray(raw)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        yield bytes(damaged[: chance.randrange(len(damaged) + 1)]) if chance.randrange(2) else bytes(damaged)
    yield raw + b"\0"


def test_garbage_in_messages_and_gossip_changes_nothing(training: tuple[World, bytes]) -> None:
    demo, job_id = training
    chance = random.Random(1)
    node, topics = demo.node(WIND), demo.topics
    heads = Heads(heads=tuple((h.author, h.seq, h.id) for h in node.ledger.head_list()), unknown=bytes(16))
    honest = [heads, Want(ranges=((CHEAT.public, 0),)), *messages_about(demo, job_id, WIND, WIND).values()]
    bad = [chance.randbytes(chance.randrange(200)) for _ in range(200)]
    bad += [raw for message in honest for raw in mutations(encode_direct(message), chance, 60)]
    before = (node.ledger.count, repr(node.provider.works), node.peers.connected.copy(), len(node.peers.adverts))
    for raw in bad:
        node.handle(MessageReceived(CHEAT.public, raw), demo.now_ms)
        for topic in (topics.adverts("europe"), topics.entries, "heliotrope/1/elsewhere"):
            node.handle(GossipReceived(topic, CHEAT.public, raw), demo.now_ms)
    assert (
        node.ledger.count,
        repr(node.provider.works),
        node.peers.connected,
        len(node.peers.adverts),
    ) == before


def test_damaged_entries_are_refused_and_the_rest_of_the_batch_is_taken() -> None:
    demo = world()
    entries = branch(demo, ["one", "two", "three"])
    raws = [entry.raw for entry in entries]
    raws[1:1] = list(mutations(raws[1], random.Random(2), 20))
    message = Entries(entries=tuple(raws), more=False)
    demo.handle(SOLAR, MessageReceived(CHEAT.public, encode_direct(message)))
    demo.run(100)
    assert demo.node(SOLAR).ledger.heads[CHEAT.public].id == entries[2].id
    assert len(demo.hosts[SOLAR].told("entry refused")) == 21
    settle(demo)
    assert_all_is_well(demo)


def test_a_sender_of_nothing_new_does_not_keep_us_asking(training: tuple[World, bytes]) -> None:
    demo, _ = training
    node = demo.node(WIND)
    known = tuple(node.ledger.heads[demo.hosts[name].key] for name in (SOLAR, HYDRO))
    assert node.handle(EntriesVerified(CHEAT.public, known, (), more=True), demo.now_ms) == []


def test_refusals_are_told_to_people(training: tuple[World, bytes]) -> None:
    demo, _ = training
    (notice,) = demo.node(WIND).handle(MessageReceived(CHEAT.public, b"\xff"), demo.now_ms)
    assert isinstance(notice, Notify)
    assert notice.kind == "message refused"
