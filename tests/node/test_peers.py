"""Who is there, as adverts say."""

from __future__ import annotations

import random

import pytest

from ledger.ledger import Ledger
from node.actions import (
    Action,
    Dial,
    Notify,
)
from node.core import Node
from node.devnet.sites import DEMO_SITES
from node.events import (
    DialFailed,
    Event,
    GossipReceived,
    PeerConnected,
    PeerDisconnected,
    Started,
    Timer,
    TimerFired,
    TimerKind,
)
from node.market import book
from node.sim.world import offer_of
from node.turn import Identity
from protocol import adverts
from protocol.adverts import Advert
from protocol.gossip import Topics, encode_batch
from protocol.identity import KeyPair, peer_id
from protocol.regions import region_of
from tests.sim.worlds import genesis

NOW_MS = 5_000_000
GENESIS = genesis()
NETWORK = GENESIS.network_id()
TOPICS = Topics.of(NETWORK)
TOPIC = TOPICS.adverts(region_of(DEMO_SITES[0].energy.place.zone))
ALICE, BOB, CAROL = (KeyPair(name.ljust(32, b".")) for name in (b"alice", b"bob", b"carol"))
LIFETIME_MS = 600_000


def address(peer: KeyPair, port: int = 8471) -> str:
    return f"/ip4/192.0.2.1/tcp/{port}/p2p/{peer_id(peer.public)}"


class Scene:
    """A node that only buys."""

    def __init__(self, *bootstrap: str) -> None:
        identity = Identity(ALICE, "alice", GENESIS, NETWORK, TOPICS, random.Random(1))
        self.node = Node(identity, Ledger(GENESIS), None, bootstrap)
        self.now_ms = NOW_MS

    def handle(self, event: Event) -> list[Action]:
        return self.node.handle(event, self.now_ms)

    def advertise(self, peer: KeyPair, *addresses: str, number: int | None = None) -> list[Action]:
        advert = Advert(
            number=self.now_ms if number is None else number,
            expires_at_ms=self.now_ms + LIFETIME_MS,
            label="bob",
            offer=offer_of(DEMO_SITES[0], ""),
            free_units=1,
            first_slot=0,
            surplus_s50_j=(),
            surplus_s20_j=(),
            grid_g_per_kwh=(),
            attestations=(),
            addresses=addresses,
        )
        raw = adverts.seal(peer, NETWORK, advert)
        return self.handle(GossipReceived(TOPIC, peer.public, encode_batch([raw])))

    def leave(self, peer: KeyPair) -> list[Action]:
        base = self.node.peers.adverts[peer.public].advert
        raw = adverts.seal(peer, NETWORK, adverts.goodbye(base, base.number + 1))
        return self.handle(GossipReceived(TOPIC, peer.public, encode_batch([raw])))

    def wait(self, ticks: int) -> list[str]:
        """Addresses dialled meanwhile."""
        return [a for _ in range(ticks) for a in dialled(self.handle(TimerFired(Timer(TimerKind.REDIAL))))]


def dialled(actions: list[Action]) -> list[str]:
    return [action.address for action in actions if isinstance(action, Dial)]


def test_whoever_advertises_is_met() -> None:
    scene = Scene()
    assert dialled(scene.advertise(BOB, address(BOB))) == [address(BOB)]
    assert scene.node.peers.label(BOB.public) == "bob"


def test_the_same_advert_again_changes_nothing() -> None:
    scene = Scene()
    scene.advertise(BOB, address(BOB))
    assert scene.advertise(BOB, address(BOB)) == []
    assert scene.advertise(BOB, address(BOB, 1), number=NOW_MS - 1) == [], "an old one, replayed"


def test_a_newer_advert_with_a_new_address_is_followed() -> None:
    scene = Scene()
    scene.advertise(BOB, address(BOB))
    scene.handle(DialFailed(address(BOB), "connection refused"))
    assert dialled(scene.advertise(BOB, address(BOB, 9000), number=NOW_MS + 1)) == [address(BOB, 9000)]


def test_an_advert_lends_its_signature_to_nobody_elses_address() -> None:
    scene = Scene()
    assert dialled(scene.advertise(BOB, address(CAROL), "/ip4/192.0.2.9/tcp/22", "nonsense")) == []


def test_who_says_goodbye_is_forgotten_and_not_dialled_until_it_is_heard_of_again() -> None:
    scene = Scene()
    scene.handle(Started((address(ALICE),), "https://192.0.2.1:8472", bytes(32)))
    scene.advertise(BOB, address(BOB))
    scene.handle(PeerConnected(BOB.public))
    (notice,) = scene.leave(BOB)
    assert isinstance(notice, Notify)
    assert notice.kind == "peer left"
    assert notice.data["label"] == "bob"
    scene.handle(PeerDisconnected(BOB.public))
    assert scene.node.peers.adverts == {}
    assert scene.wait(1000) == []
    scene.advertise(BOB, address(BOB), number=NOW_MS + 2)
    assert scene.wait(1000) != []


def test_the_operators_own_addresses_are_dialled_though_the_peer_said_goodbye() -> None:
    scene = Scene(address(BOB))
    scene.handle(Started((address(ALICE),), "https://192.0.2.1:8472", bytes(32)))
    scene.advertise(BOB, address(BOB))
    scene.handle(PeerConnected(BOB.public))
    scene.leave(BOB)
    scene.handle(PeerDisconnected(BOB.public))
    assert scene.wait(1000) != []


def test_a_full_book_takes_newcomers_when_others_have_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "ADVERTS_MAX", 2)
    scene = Scene()
    for number in range(3):
        scene.advertise(KeyPair(number.to_bytes(32, "big")))
    assert len(scene.node.peers.adverts) == 2
    scene.now_ms += LIFETIME_MS + 1
    scene.advertise(BOB, address(BOB))
    assert scene.node.peers.adverts.keys() == {BOB.public}


def test_a_peer_without_an_advert_is_called_by_the_end_of_its_id() -> None:
    assert Scene().node.peers.label(BOB.public) == peer_id(BOB.public)[-8:]
