"""How ledgers grow level in the simulated world: what a reconnection costs, and what liars can hold up."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from node.devnet.sites import DEMO_SITES
from node.events import GossipReceived, MessageReceived, PeerConnected
from node.feeds.exchange import COMPARE_EVERY_TICKS, TICK_MS, Cursor
from node.sim.host import Host
from node.sim.network import Faults
from node.sim.world import World
from protocol.direct import (
    Adverts,
    Entries,
    Heads,
    News,
    Since,
    Summary,
    Want,
    WantAdverts,
    WantIds,
    decode_direct,
    encode_direct,
)
from protocol.envelope import NO_PREV, Entry, Head, seal
from protocol.gossip import encode_announcement
from protocol.identity import KeyPair
from protocol.messages import Body
from tests.sim.worlds import HYDRO, LEAD, NIGHT, SOLAR, WIND, genesis

CHEAT = KeyPair(b"cheat".ljust(32, b"\0"))
WRITERS = [KeyPair(f"writer {number}".encode().ljust(32, b".")) for number in range(300)]
NAMES = tuple(site.name for site in DEMO_SITES)
HUB = NAMES[0]  # whose address all know: who sells nothing is met by nobody else
ADVERTS = {WantAdverts, Adverts}  # newcomers ask for them too
COMPARED_MS = 30_000  # ample for every two to have compared their heads


@dataclass
class Wire:
    """What passes between the nodes of a world, and to strangers: (sender, receiver's key, message)."""

    world: World
    said: list[tuple[str, bytes, Body]] = field(default_factory=list)
    sent_bytes: int = 0

    def __post_init__(self) -> None:
        send = self.world.send

        def listen(host: Host, peer: bytes, data: bytes) -> None:
            self.said.append((host.name, peer, decode_direct(data)))
            self.sent_bytes += len(data)
            send(host, peer, data)

        self.world.send = listen  # type: ignore[method-assign]

    def count(self, *kinds: type[Body]) -> int:
        return sum(isinstance(message, kinds) for _, _, message in self.said)


def quiet(seed: int = 1, names: Sequence[str] = NAMES, faults: Faults | None = None) -> World:
    """Nodes that neither sell nor buy: only strangers write."""
    sites = [site for site in DEMO_SITES if site.name in names]
    made = World(sites, genesis(), random.Random(seed), faults=faults or Faults(), buyers=NAMES)
    made.run(3_000)
    return made


def notes(in_world: World, writer: KeyPair, count: int, after: Entry | None = None) -> list[Entry]:
    entries: list[Entry] = []
    for _ in range(count):
        after = seal(
            writer,
            network=in_world.genesis.network_id(),
            kind="note",
            seq=0 if after is None else after.seq + 1,
            prev=NO_PREV if after is None else after.id,
            time_ms=in_world.now_ms,
            refs=(),
            body={},
        )
        entries.append(after)
    return entries


def tell(in_world: World, name: str, entries: Sequence[Entry]) -> None:
    for start in range(0, len(entries), 256):
        part = tuple(entry.raw for entry in entries[start : start + 256])
        in_world.handle(name, MessageReceived(CHEAT.public, encode_direct(Entries(entries=part, more=False))))
        in_world.run(10)


def levels(in_world: World) -> set[int]:
    """How many entries the nodes hold: one number if all hold the same."""
    return {in_world.node(host.name).ledger.count for host in in_world.alive()}


def cursor_of(in_world: World, name: str, peer: str) -> Cursor | None:
    return in_world.node(name).exchange.cursors.get(in_world.hosts[peer].key)


# --- costs --------------------------------------------------------------------------------------------------------


def test_a_quiet_network_says_little_and_learns_its_cursors() -> None:
    calm = quiet()
    tell(calm, LEAD, notes(calm, WRITERS[0], 3))
    calm.run(2 * COMPARED_MS)
    assert levels(calm) == {3}
    wire = Wire(calm)
    calm.run(COMPARED_MS)
    assert {type(message) for _, _, message in wire.said} <= {Summary, Since}
    assert wire.sent_bytes < 300 * len(NAMES) * COMPARED_MS / (COMPARE_EVERY_TICKS * TICK_MS)
    assert cursor_of(calm, WIND, HUB) == Cursor(calm.hosts[HUB].store.epoch, 3)


def test_a_node_that_returns_is_told_what_is_new_and_nothing_else() -> None:
    calm = quiet()
    tell(calm, LEAD, [entry for writer in WRITERS for entry in notes(calm, writer, 2)])
    calm.run(COMPARED_MS)
    assert levels(calm) == {600}
    calm.run_until(lambda: cursor_of(calm, WIND, HUB) is not None, within_ms=200_000)
    heads = calm.node(LEAD).ledger.heads
    calm.crash(WIND)
    fresh = [notes(calm, writer, 1, heads[writer.public])[0] for writer in WRITERS[:40]]
    tell(calm, LEAD, fresh)
    calm.run(COMPARED_MS)
    wire = Wire(calm)
    calm.restart(WIND)
    calm.run(TICK_MS)
    assert levels(calm) == {640}
    asked = [message for name, _, message in wire.said if name == WIND]
    assert {type(message) for message in asked} - ADVERTS <= {Since, Want}
    answers = [message for _, peer, message in wire.said if peer == calm.hosts[WIND].key]
    assert {type(message) for message in answers} - ADVERTS <= {News, Entries, Since}
    brought = Counter(raw for each in answers if isinstance(each, Entries) for raw in each.entries)
    assert brought.keys() == {entry.raw for entry in fresh}
    assert max(brought.values()) == 1, "each was asked of one peer only"


def test_a_newcomer_gets_hundreds_of_feeds_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.feeds.asking.CLAIMS_PER_PEER_MAX", 50)
    monkeypatch.setattr("node.feeds.asking.ASKS_PER_PEER_MAX", 20)
    monkeypatch.setattr("node.running.serving.ENTRIES_PER_REQUEST_MAX", 30)
    calm = quiet(names=(LEAD, WIND))
    calm.crash(WIND)
    tell(calm, LEAD, [entry for writer in WRITERS for entry in notes(calm, writer, 3)])
    calm.restart(WIND)
    calm.run(COMPARED_MS)
    assert levels(calm) == {900}


# --- crashes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actions", range(0, 40, 4))
def test_no_crash_leaves_a_cursor_ahead_of_the_entries(actions: int) -> None:
    calm = quiet()
    tell(calm, LEAD, notes(calm, WRITERS[0], 3))
    calm.run(COMPARED_MS)
    calm.hosts[WIND].actions_left = 150 + actions
    for number, writer in enumerate(WRITERS[1:60]):
        if calm.hosts[WIND].node is not None:
            tell(calm, NAMES[number % len(NAMES)], notes(calm, writer, 2))
            calm.run(700)
    calm.run_until(lambda: calm.hosts[WIND].node is None, within_ms=600_000)
    store = calm.hosts[WIND].store
    held = {raw for _, raw in store.replay()}
    cursors = {peer: Cursor.decode(cursor) for peer, cursor in store.cursors().items()}
    assert cursors
    for host in calm.alive():
        cursor = cursors.get(host.key)
        covered = [] if cursor is None else host.store.page(0, cursor.position)
        assert {raw for _, raw in covered} <= held
    calm.restart(WIND)
    calm.run(COMPARED_MS)
    assert len(levels(calm)) == 1


# --- liars --------------------------------------------------------------------------------------------------------


def lie(in_world: World, name: str, message: Body) -> None:
    in_world.handle(name, MessageReceived(CHEAT.public, encode_direct(message)))


def test_who_claims_what_it_has_not_holds_nobodys_feed_up_and_is_asked_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger says of every feed that it has a million entries more, again and again."""
    monkeypatch.setattr("node.feeds.asking.ASKS_PER_PEER_MAX", 32)
    calm = quiet()
    tell(calm, LEAD, [notes(calm, writer, 1)[0] for writer in WRITERS[:50]])
    calm.run(COMPARED_MS)
    wire = Wire(calm)
    calm.handle(WIND, PeerConnected(CHEAT.public))
    claims = tuple((writer.public, 10**6, bytes(range(32))) for writer in WRITERS[:50])
    grown: list[Entry] = []
    for turn in range(30):
        lie(calm, WIND, Heads(heads=claims, unknown=b""))
        lie(calm, WIND, News(epoch=bytes(16), position=turn, feeds=tuple((a, s) for a, s, _ in claims), more=True))
        heads = [Head(author, seq, entry_id) for author, seq, entry_id in claims]
        topic = calm.topics.entries
        calm.handle(WIND, GossipReceived(topic, CHEAT.public, encode_announcement(heads)))
        grown = notes(calm, WRITERS[turn], 1, calm.node(LEAD).ledger.heads[WRITERS[turn].public])
        tell(calm, SOLAR, grown)
        calm.run(1_000)
    calm.run(10_000)
    assert levels(calm) == {80}
    assert calm.node(WIND).exchange.cursors.get(CHEAT.public) is None, "nothing of its news has come"
    asks = [message for _, peer, message in wire.said if peer == CHEAT.public and isinstance(message, Want)]
    assert sum(len(ask.ranges) for ask in asks) <= 32 + 16 + 8 + 4 + 2 + 40, "ever fewer at once"


def test_who_refers_to_entries_that_do_not_exist_keeps_only_its_own_waiting() -> None:
    calm = quiet()
    invented = [
        seal(
            WRITERS[number],
            network=calm.genesis.network_id(),
            kind="note",
            seq=0,
            prev=NO_PREV,
            time_ms=calm.now_ms,
            refs=[bytes([number, ref]) * 16 for ref in range(16)],
            body={},
        )
        for number in range(40)
    ]
    tell(calm, WIND, invented)
    calm.run(5_000)
    (awaited,) = notes(calm, WRITERS[100], 1)
    waiting = seal(
        WRITERS[101],
        network=calm.genesis.network_id(),
        kind="note",
        seq=0,
        prev=NO_PREV,
        time_ms=calm.now_ms,
        refs=[awaited.id],
        body={},
    )
    tell(calm, HYDRO, [waiting])
    calm.run(3_000)
    assert not calm.node(NIGHT).ledger.is_judged(waiting.id)
    tell(calm, LEAD, [awaited])
    calm.run(5_000)
    assert all(calm.node(name).ledger.is_judged(waiting.id) for name in NAMES)
    wire = Wire(calm)
    calm.run(10_000)
    assert wire.count(WantIds) <= 10 * len(NAMES) * (len(NAMES) - 1)


@pytest.mark.parametrize("seed", range(3))
def test_all_is_found_though_much_is_lost(seed: int) -> None:
    rough = quiet(seed, faults=Faults(loss_permille=300, duplication_permille=300, delay_max_ms=2_000))
    for number, writer in enumerate(WRITERS[:60]):
        tell(rough, NAMES[number % len(NAMES)], notes(rough, writer, 3))
    rough.run(60_000)
    assert levels(rough) == {180}
