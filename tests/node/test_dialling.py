"""Whom to dial, at which address, and trying again for ever."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from ledger.ledger import Ledger
from node import dialling
from node.actions import Dial, RememberPeers
from node.dialling import ANSWER_TICKS, CONNECTIONS_MAX, REACHED_MIN, REST_MAX_TICKS, Dialling, Remembered
from node.events import DialFailed
from node.turn import Identity, Turn
from protocol.gossip import Topics
from protocol.identity import KeyPair, peer_id
from tests.sim.worlds import genesis

NOW_MS = 3_000_000_000_000
GENESIS = genesis()
NETWORK = GENESIS.network_id()
ALICE, BOB, CAROL = (KeyPair(name.ljust(32, b".")) for name in (b"alice", b"bob", b"carol"))
LIFETIME_MS = 600_000 * GENESIS.clock.speed


def address(peer: KeyPair, port: int = 8471) -> str:
    return f"/ip4/192.0.2.1/tcp/{port}/p2p/{peer_id(peer.public)}"


def stranger(number: int) -> KeyPair:
    return KeyPair(number.to_bytes(32, "big"))


class Scene:
    """Alice's book, and whoever is connected to her. Every method returns the addresses that were dialled."""

    def __init__(self, *bootstrap: str, remembered: tuple[Remembered, ...] = ()) -> None:
        self.identity = Identity(ALICE, "alice", GENESIS, NETWORK, Topics.of(NETWORK), random.Random(1))
        self.book = Dialling(ALICE.public, bootstrap, remembered)
        self.now_ms = NOW_MS
        self.connected: set[bytes] = set()
        self.remembered: list[tuple[Remembered, ...]] = []

    def turn(self, happening: Callable[[Turn], None]) -> list[str]:
        turn = Turn(self.identity, Ledger(GENESIS), self.now_ms)
        happening(turn)
        self.remembered += [a.addresses for a in turn.actions() if isinstance(a, RememberPeers)]
        return [action.address for action in turn.actions() if isinstance(action, Dial)]

    def start(self) -> list[str]:
        return self.turn(self.book.on_started)

    def fails(self, where: str, *, is_refusal: bool = False) -> list[str]:
        return self.turn(lambda turn: self.book.on_dial_failed(turn, DialFailed(where, "why", "remedy", is_refusal)))

    def connects(self, peer: KeyPair) -> list[str]:
        self.connected.add(peer.public)
        return self.turn(lambda turn: self.book.on_connected(turn, peer.public))

    def leaves(self, peer: KeyPair) -> list[str]:
        self.connected.discard(peer.public)
        return self.turn(lambda turn: self.book.on_disconnected(turn, peer.public))

    def advertises(self, peer: KeyPair, *addresses: str) -> list[str]:
        until_ms = self.now_ms + LIFETIME_MS
        return self.turn(lambda turn: self.book.on_addresses(turn, peer.public, addresses, until_ms, self.connected))

    def wait(self, ticks: int) -> list[str]:
        found = []
        for _ in range(ticks):
            self.now_ms += dialling.TICK_MS * GENESIS.clock.speed
            found += self.turn(lambda turn: self.book.on_tick(turn, self.connected))
        return found

    def gap(self) -> int:
        """Ticks until somebody is dialled."""
        ticks = 1
        while not self.wait(1):
            ticks += 1
        return ticks

    def known(self) -> set[str]:
        """Whatever the next start would know."""
        self.book._is_changed = True
        self.wait(dialling.REMEMBER_EVERY_TICKS + 1)
        return {where for where, _ in self.remembered[-1]}


# Again and again.


def test_bootstrap_addresses_are_dialled_at_the_start_but_never_our_own() -> None:
    assert set(Scene(address(ALICE), address(BOB), address(CAROL)).start()) == {address(BOB), address(CAROL)}


def test_a_peer_that_fails_is_dialled_again_after_growing_rests_and_for_ever() -> None:
    scene = Scene(address(BOB))
    scene.start()
    gaps = []
    for _ in range(12):
        scene.fails(address(BOB))
        gaps.append(scene.gap())
    assert gaps[0] <= 3
    assert gaps[-1] >= REST_MAX_TICKS
    assert max(gaps) <= 2 * REST_MAX_TICKS + 1
    assert len(set(gaps[-4:])) > 1, "jitter"


def test_whoever_refuses_us_is_dialled_about_once_an_hour() -> None:
    scene = Scene(address(BOB))
    scene.start()
    scene.fails(address(BOB), is_refusal=True)
    assert 3_600_000 <= scene.gap() * dialling.TICK_MS <= 2 * 3_600_000 + dialling.TICK_MS


def test_a_dial_whose_answer_is_lost_is_repeated() -> None:
    scene = Scene(address(BOB))
    scene.start()
    assert scene.wait(ANSWER_TICKS + 1) == [address(BOB)]


def test_a_connected_peer_is_not_dialled() -> None:
    scene = Scene(address(BOB))
    scene.start()
    scene.connects(BOB)
    assert scene.wait(200) == []
    assert scene.advertises(BOB, address(BOB), address(BOB, 9000)) == []


def test_a_lost_peer_is_dialled_soon_however_often_its_connection_breaks() -> None:
    scene = Scene(address(BOB))
    scene.start()
    for _ in range(50):
        scene.connects(BOB)
        scene.leaves(BOB)
    assert scene.wait(3) == [address(BOB)]


def test_after_the_link_has_restarted_everybody_is_dialled_soon() -> None:
    scene = Scene(address(BOB), address(CAROL))
    scene.start()
    scene.connects(CAROL)
    for _ in range(10):
        scene.fails(address(BOB))
        scene.gap()
    scene.leaves(CAROL)
    scene.turn(scene.book.on_link_restarted)
    assert set(scene.wait(5)) == {address(BOB), address(CAROL)}


def test_after_the_machine_has_slept_everybody_is_dialled_soon() -> None:
    scene = Scene(address(BOB))
    scene.start()
    scene.fails(address(BOB), is_refusal=True)
    scene.now_ms += 3_600_000 * GENESIS.clock.speed
    assert scene.wait(5) == [address(BOB)]


# Several addresses of one peer.


def test_addresses_of_one_peer_are_tried_one_after_the_other() -> None:
    scene = Scene(address(BOB))
    scene.start()
    scene.advertises(BOB, address(BOB, 1), address(BOB, 2))
    assert scene.fails(address(BOB)) == [address(BOB, 1)]
    assert scene.fails(address(BOB, 1)) == [address(BOB, 2)]
    assert scene.fails(address(BOB, 2)) == []
    assert scene.wait(3) == [address(BOB)]


def test_the_address_that_answered_last_is_tried_first() -> None:
    scene = Scene(remembered=((address(BOB, 1), NOW_MS - 2), (address(BOB, 2), NOW_MS - 1), (address(BOB, 3), 0)))
    assert scene.start() == [address(BOB, 2)]
    assert scene.fails(address(BOB, 2)) == [address(BOB, 1)]
    scene.connects(BOB)
    scene.leaves(BOB)
    assert scene.wait(3) == [address(BOB, 1)]


def test_the_operators_address_comes_before_what_is_remembered() -> None:
    scene = Scene(address(BOB), remembered=((address(BOB, 1), NOW_MS), (address(CAROL), NOW_MS)))
    assert scene.start() == [address(BOB), address(CAROL)]


def test_one_refusal_among_other_failures_does_not_slow_a_peer_down() -> None:
    scene = Scene(address(BOB), address(BOB, 1))
    scene.start()
    scene.fails(address(BOB), is_refusal=True)
    scene.fails(address(BOB, 1))
    assert scene.gap() <= 3


def test_a_peers_new_address_is_tried_at_once() -> None:
    scene = Scene()
    scene.advertises(BOB, address(BOB))
    scene.fails(address(BOB))
    assert scene.advertises(BOB, address(BOB, 9000)) == [address(BOB, 9000)]


def test_nobody_lends_its_word_to_anothers_address_nor_has_a_name_looked_up() -> None:
    scene = Scene()
    name = f"/dns4/bob.example/tcp/1/p2p/{peer_id(BOB.public)}"
    assert scene.advertises(BOB, address(CAROL), "/ip4/192.0.2.9/tcp/22", "nonsense", name) == []


# What is remembered, and what is forgotten.


def test_what_was_advertised_is_remembered_and_so_is_when_it_answered() -> None:
    scene = Scene()
    scene.advertises(BOB, address(BOB))
    scene.wait(1)
    assert scene.remembered == [((address(BOB), 0),)]
    answered_at_ms = scene.now_ms
    scene.connects(BOB)
    scene.leaves(BOB)
    scene.wait(dialling.REMEMBER_EVERY_TICKS)
    assert scene.remembered[1:] == [((address(BOB), answered_at_ms),)]


def test_an_address_that_never_answered_is_given_up_when_its_advert_has_expired() -> None:
    scene = Scene(address(CAROL))
    scene.start()
    scene.advertises(BOB, address(BOB))
    scene.now_ms += LIFETIME_MS + 1
    assert set(scene.wait(200)) == {address(CAROL)}
    assert scene.known() == {address(CAROL)}


def test_an_address_that_answered_is_tried_for_two_weeks() -> None:
    scene = Scene(address(CAROL), remembered=((address(BOB), NOW_MS),))
    scene.start()
    scene.now_ms += (dialling.FORGET_AFTER_MS - 100_000) * GENESIS.clock.speed
    assert address(BOB) in scene.known()
    scene.now_ms += 200_000 * GENESIS.clock.speed
    assert scene.known() == {address(CAROL)}


def test_an_address_that_never_answered_is_tried_for_a_while_after_a_restart() -> None:
    scene = Scene(address(CAROL), remembered=((address(BOB), 0),))
    assert set(scene.start()) == {address(BOB), address(CAROL)}
    scene.now_ms += (dialling.REMEMBERED_FOR_MS + 1) * GENESIS.clock.speed
    assert scene.known() == {address(CAROL)}


@pytest.mark.parametrize("remembered", [(address(ALICE), 1), ("nonsense", 1)])
def test_what_leads_nowhere_is_not_dialled_from_a_book_of_addresses(remembered: Remembered) -> None:
    assert Scene(remembered=(remembered,)).start() == []


# Against an eclipse.


def test_strangers_push_out_neither_the_operators_addresses_nor_those_that_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dialling, "ADDRESSES_MAX", 5)
    scene = Scene(address(BOB), remembered=((address(CAROL), NOW_MS),))
    scene.start()
    scene.fails(address(BOB))
    scene.fails(address(CAROL))
    for number in range(20):
        scene.advertises(stranger(number), address(stranger(number)))
        scene.fails(address(stranger(number)))
    assert len(scene.known()) == 5
    assert scene.known() >= {address(BOB), address(CAROL)}


def test_a_newcomer_takes_the_place_of_a_stranger_that_failed_and_of_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dialling, "ADDRESSES_MAX", 2)
    scene = Scene()
    scene.advertises(stranger(1), address(stranger(1)))
    scene.advertises(stranger(2), address(stranger(2)))
    assert scene.advertises(stranger(3), address(stranger(3))) == []
    scene.fails(address(stranger(1)))
    assert scene.advertises(stranger(3), address(stranger(3))) == [address(stranger(3))]
    assert scene.known() == {address(stranger(2)), address(stranger(3))}


def test_one_peer_fills_no_more_of_the_book_than_an_advert_has_room_for() -> None:
    scene = Scene()
    for port in range(1, 20):
        scene.advertises(BOB, address(BOB, port))
    assert len(scene.known()) <= dialling.ADDRESSES_PER_PEER_MAX


def test_whoever_connects_to_us_does_not_keep_us_from_dialling_others() -> None:
    scene = Scene(address(BOB))
    for number in range(CONNECTIONS_MAX):
        scene.connects(stranger(1000 + number))
    assert scene.start() == [address(BOB)]
    for number in range(REACHED_MIN):
        assert scene.advertises(stranger(number), address(stranger(number))) == [address(stranger(number))]
        scene.connects(stranger(number))
    assert scene.advertises(CAROL, address(CAROL)) == [], "enough"
    scene.fails(address(BOB))
    assert scene.wait(3) == [address(BOB)], "the operator's, however many there are"
