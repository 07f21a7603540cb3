"""How soon a peer answers, and what that says of the place that it declares."""

from __future__ import annotations

import random

from ledger.ledger import Ledger
from node.actions import Action, Send, SetTimeout
from node.energy.supply import EnergyConfig
from node.events import TimerKind
from node.round_trips import PEERS_MAX, RESOLUTION_MS, SHORTEST, RoundTrips, own_place
from node.turn import Identity, Turn
from protocol.direct import Ping, Pong
from protocol.genesis import Clock
from protocol.gossip import Topics
from protocol.messages import Place
from tests.builders import NOW_MS, digest, genesis, keypair

MADRID = Place(zone="ES", latitude_decidegrees=404, longitude_decidegrees=-37)
LISBON = Place(zone="PT", latitude_decidegrees=387, longitude_decidegrees=-91)
SYDNEY = Place(zone="AU-NSW", latitude_decidegrees=-339, longitude_decidegrees=1512)
PEER = keypair(1).public


class Scene:
    """A node in Madrid, or elsewhere, and its clock."""

    def __init__(self, place: Place | None = MADRID, speed: int = 1) -> None:
        self.part = RoundTrips(place)
        self.genesis = genesis(clock=Clock(unix_ms=0, network_ms=0, speed=speed))
        self.now_ms = NOW_MS
        self.chance = random.Random(3)

    def turn(self) -> Turn:
        network = self.genesis.network_id()
        identity = Identity(keypair(0), "we", self.genesis, network, Topics.of(network), self.chance)
        return Turn(identity, Ledger(self.genesis), self.now_ms)

    def pinged(self, peer: bytes = PEER) -> int:
        turn = self.turn()
        self.part.on_connected(turn, peer)
        (nonce,) = [message.nonce for message in messages(turn.actions()) if isinstance(message, Ping)]
        return nonce

    def answer(self, *round_trips_ms: int, peer: bytes = PEER) -> None:
        for round_trip_ms in round_trips_ms:
            nonce = self.pinged(peer)
            self.now_ms += round_trip_ms
            self.part.on_pong(self.turn(), peer, Pong(nonce=nonce))


def messages(actions: list[Action]) -> list[object]:
    return [action.message for action in actions if isinstance(action, Send)]


def test_who_answers_at_once_is_not_on_the_other_side_of_the_world() -> None:
    scene = Scene()
    scene.answer(3, 3, 3)
    finding = scene.part.finding(PEER, SYDNEY)
    assert finding is not None
    assert finding.bound < 1000
    assert finding.value > 15_000


def test_a_neighbour_may_answer_as_soon_as_light_allows() -> None:
    scene = Scene()
    scene.answer(5, 5, 5)
    assert scene.part.finding(PEER, LISBON) is None


def test_a_slow_answer_says_nothing() -> None:
    scene = Scene()
    scene.answer(300, 250, 280)
    assert scene.part.finding(PEER, SYDNEY) is None


def test_a_clock_that_was_set_in_between_accuses_nobody() -> None:
    scene = Scene()
    scene.answer(250, 250, -100, 0)
    assert scene.part.round_trip_ms(PEER) == 250 + RESOLUTION_MS
    assert scene.part.finding(PEER, SYDNEY) is None


def test_before_there_are_enough_answers_nothing_is_said() -> None:
    scene = Scene()
    scene.answer(*(1,) * (SHORTEST - 1))
    assert scene.part.round_trip_ms(PEER) is None
    assert scene.part.finding(PEER, SYDNEY) is None


def test_an_answer_counts_once_and_only_to_its_own_question() -> None:
    scene = Scene()
    nonce = scene.pinged()
    for wrong in (nonce + 1, nonce - 1):
        scene.part.on_pong(scene.turn(), PEER, Pong(nonce=wrong))
    scene.part.on_pong(scene.turn(), keypair(2).public, Pong(nonce=nonce))
    assert scene.part.shortest_ms == {}
    for _ in range(SHORTEST):
        scene.part.on_pong(scene.turn(), PEER, Pong(nonce=nonce))
    assert len(scene.part.shortest_ms[PEER]) == 1


def test_a_fast_network_clock_is_told_in_the_worlds_time() -> None:
    scene = Scene(speed=60)
    scene.answer(6000, 6000, 6000)
    assert scene.part.round_trip_ms(PEER) == 100 + RESOLUTION_MS


def test_a_ping_is_answered_with_its_number() -> None:
    scene = Scene(place=None)
    turn = scene.turn()
    scene.part.on_ping(turn, PEER, Ping(nonce=9))
    assert messages(turn.actions()) == [Pong(nonce=9)]


def test_a_node_that_does_not_say_where_it_stands_asks_nobody() -> None:
    scene = Scene(place=None)
    turn = scene.turn()
    scene.part.on_started(turn)
    scene.part.on_connected(turn, PEER)
    assert turn.actions() == []


def test_all_who_are_connected_are_asked_again_and_again() -> None:
    scene = Scene()
    turn = scene.turn()
    scene.pinged(keypair(2).public)
    scene.part.on_timer(turn, {PEER})
    actions = turn.actions()
    assert [action.peer for action in actions if isinstance(action, Send)] == [PEER]
    assert [action.timer.kind for action in actions if isinstance(action, SetTimeout)] == [TimerKind.PING]
    assert scene.part.asked.keys() == {PEER}


def test_what_is_remembered_of_peers_is_bounded() -> None:
    scene = Scene()
    for number in range(PEERS_MAX + 3):
        scene.answer(1, peer=digest(f"peer {number}"))
    assert len(scene.part.shortest_ms) == PEERS_MAX


def test_places_of_a_devnet_are_made_up_and_nobody_is_held_to_them() -> None:
    site = EnergyConfig(
        device_id="m", zone="ES", latitude=40.4, longitude=-3.7, carrier="grid", capacity_w=0, own_g_per_kwh=1
    )
    assert own_place(site, genesis()) == MADRID
    assert own_place(site, genesis(admission="devnet")) is None
    nowhere = site.model_copy(update={"zone": "ZZ"})
    assert own_place(nowhere, genesis()) is None
