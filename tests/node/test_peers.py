"""Who is there and whom to dial: adverts, addresses, and trying again for ever."""

from __future__ import annotations

import random

import pytest

from ledger.ledger import Ledger
from node import peers
from node.actions import (
    Action,
    Dial,
    RememberPeers,
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
from node.sim.world import offer_of
from node.turn import Identity
from protocol import adverts
from protocol.adverts import Advert
from protocol.gossip import Topics
from protocol.identity import KeyPair, peer_id
from tests.sim.worlds import genesis

NOW_MS = 5_000_000
GENESIS = genesis()
NETWORK = GENESIS.network_id()
TOPICS = Topics.of(NETWORK)
ALICE, BOB, CAROL = (KeyPair(name.ljust(32, b".")) for name in (b"alice", b"bob", b"carol"))
LIFETIME_MS = 600_000


def address(peer: KeyPair, port: int = 8471) -> str:
    return f"/ip4/192.0.2.1/tcp/{port}/p2p/{peer_id(peer.public)}"


class Scene:
    """A node that only buys, with bootstrap addresses."""

    def __init__(self, *bootstrap: str) -> None:
        identity = Identity(ALICE, "alice", GENESIS, NETWORK, TOPICS, random.Random(1))
        self.node = Node(identity, Ledger(GENESIS), None, bootstrap)
        self.now_ms = NOW_MS

    def handle(self, event: Event) -> list[Action]:
        return self.node.handle(event, self.now_ms)

    def start(self) -> list[str]:
        return dialled(self.handle(Started((address(ALICE),), "https://192.0.2.1:8472", bytes(32))))

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
        return self.handle(GossipReceived(TOPICS.adverts, peer.public, adverts.seal(peer, NETWORK, advert)))

    def wait(self, pauses: int) -> list[str]:
        """Addresses dialled while so many pauses pass."""
        return [a for _ in range(pauses) for a in dialled(self.handle(TimerFired(Timer(TimerKind.REDIAL))))]


def dialled(actions: list[Action]) -> list[str]:
    return [action.address for action in actions if isinstance(action, Dial)]


def remembered(actions: list[Action]) -> list[tuple[str, ...]]:
    return [action.addresses for action in actions if isinstance(action, RememberPeers)]


def test_bootstrap_addresses_are_dialled_at_the_start_but_never_our_own() -> None:
    assert Scene(address(ALICE), address(BOB), address(CAROL)).start() == [address(BOB), address(CAROL)]


def test_an_address_that_fails_is_dialled_again_after_growing_pauses_and_for_ever() -> None:
    scene = Scene(address(BOB))
    scene.start()
    gaps = []
    for _ in range(12):
        scene.handle(DialFailed(address(BOB), "connection refused"))
        gap = 1
        while not scene.wait(1):
            gap += 1
        gaps.append(gap)
    assert gaps[0] <= 3
    assert gaps[-1] >= peers.REDIAL_PAUSES_MAX
    assert max(gaps) <= 2 * peers.REDIAL_PAUSES_MAX + 1
    assert scene.node.peers.reasons == {address(BOB): "connection refused"}


def test_a_dial_whose_answer_is_lost_is_repeated() -> None:
    scene = Scene(address(BOB))
    scene.start()
    assert scene.wait(peers.REDIAL_PAUSES_MAX + 1) == [address(BOB)]


def test_a_connected_peer_is_not_dialled() -> None:
    scene = Scene(address(BOB))
    scene.start()
    scene.handle(PeerConnected(BOB.public))
    assert scene.wait(200) == []
    assert dialled(scene.advertise(BOB, address(BOB), address(BOB, 9000))) == []


def test_a_lost_peer_is_dialled_soon_however_often_its_connection_breaks() -> None:
    scene = Scene(address(BOB))
    scene.start()
    for _ in range(50):
        scene.handle(PeerConnected(BOB.public))
        scene.handle(PeerDisconnected(BOB.public))
    assert scene.wait(3) == [address(BOB)]


def test_whoever_advertises_is_met_and_remembered() -> None:
    scene = Scene()
    actions = scene.advertise(BOB, address(BOB))
    assert dialled(actions) == [address(BOB)]
    assert remembered(actions) == [(address(BOB),)]
    assert scene.node.peers.label(BOB.public) == "bob"


def test_the_same_advert_again_changes_nothing() -> None:
    scene = Scene()
    scene.advertise(BOB, address(BOB))
    assert scene.advertise(BOB, address(BOB)) == []
    assert scene.advertise(BOB, address(BOB, 1), number=NOW_MS - 1) == [], "an old one, replayed"


def test_a_newer_advert_with_a_new_address_is_followed() -> None:
    scene = Scene()
    scene.advertise(BOB, address(BOB))
    actions = scene.advertise(BOB, address(BOB, 9000), number=NOW_MS + 1)
    assert dialled(actions) == [address(BOB, 9000)]
    assert remembered(actions) == [(address(BOB, 9000), address(BOB))]


def test_an_advert_lends_its_signature_to_nobody_elses_address() -> None:
    scene = Scene()
    assert dialled(scene.advertise(BOB, address(CAROL), "/ip4/192.0.2.9/tcp/22", "nonsense")) == []


def test_an_address_is_given_up_when_its_advert_has_expired() -> None:
    scene = Scene(address(CAROL))
    scene.start()
    scene.advertise(BOB, address(BOB))
    scene.now_ms += LIFETIME_MS + 1
    assert set(scene.wait(200)) == {address(CAROL)}
    assert scene.node.peers.failures.keys() == {address(CAROL)}


def test_not_more_addresses_are_tried_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "ADDRESSES_MAX", 5)
    scene = Scene()
    for number in range(20):
        stranger = KeyPair(number.to_bytes(32, "big"))
        scene.advertise(stranger, address(stranger))
    assert len(scene.node.peers.failures) == 5
    assert len(scene.node.peers.remembered) == 5


def test_a_full_book_takes_newcomers_when_others_have_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "ADVERTS_MAX", 2)
    scene = Scene()
    for number in range(3):
        scene.advertise(KeyPair(number.to_bytes(32, "big")))
    assert len(scene.node.peers.adverts) == 2
    scene.now_ms += LIFETIME_MS + 1
    scene.advertise(BOB, address(BOB))
    assert scene.node.peers.adverts.keys() == {BOB.public}


def test_an_address_through_a_relay_is_dialled_when_nothing_else_has_helped() -> None:
    through = f"{address(CAROL)}/p2p-circuit/p2p/{peer_id(BOB.public)}"
    elsewhere = f"{address(BOB)}/p2p-circuit/p2p/{peer_id(CAROL.public)}"
    scene = Scene()
    scene.start()
    assert dialled(scene.advertise(BOB, through, address(BOB), elsewhere)) == [address(BOB)]
    scene.handle(DialFailed(address(BOB), "no answer"))
    assert through not in scene.wait(peers.RELAYED_PAUSES)
    assert scene.wait(1) == [through]


def test_who_came_by_itself_is_not_dialled_through_a_relay() -> None:
    scene = Scene()
    scene.start()
    scene.advertise(BOB, f"{address(CAROL)}/p2p-circuit/p2p/{peer_id(BOB.public)}")
    scene.handle(PeerConnected(BOB.public))
    assert scene.wait(peers.REDIAL_PAUSES_MAX) == []


def test_a_peer_without_an_advert_is_called_by_the_end_of_its_id() -> None:
    assert Scene().node.peers.label(BOB.public) == peer_id(BOB.public)[-8:]
