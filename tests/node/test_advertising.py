"""When a node says what: rarely, in few bytes, and at once when it matters."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ledger.ledger import Ledger
from node.actions import Action, Publish, SetTimeout
from node.dialling import Dialling
from node.events import Timer, TimerKind
from node.market.advertising import (
    FEW_PEERS,
    FULL_EVERY_HEARTBEATS,
    HEARTBEATS,
    LOOK_EVERY_MS,
    PACE_MS,
    SOON,
    SOON_MS,
    TOKENS_MAX,
    Advertising,
    is_news,
)
from node.market.book import AdvertBook
from node.market.offering import LIFETIME_MS, lifetime_ms
from node.peers import Peers
from node.turn import Identity, Turn
from protocol.adverts import LIFETIME_MAX_MS, Advert, SignedAdvert, SignedUpdate, updated
from protocol.gossip import Topics, judge_adverts
from protocol.regions import region_of
from tests.builders import FIRST_SLOT, NOW_MS, SLOT_MS, digest, genesis, keypair, offer
from tests.protocol.test_adverts import advert as said

ME = keypair(1)
HEARTBEAT_MS = LIFETIME_MS // HEARTBEATS
SERIES = {"surplus_s50_j": (12_000,) * 64, "surplus_s20_j": (9_000,) * 64, "grid_g_per_kwh": (360,) * 64}


class Scene:
    """A provider with as many peers as a gossip mesh has, and what it has said."""

    def __init__(self, speed: int = 1, peers: int = FEW_PEERS + 1) -> None:
        clock = genesis().clock.model_copy(update={"speed": speed})
        self.genesis = genesis(clock=clock)
        network = self.genesis.network_id()
        self.identity = Identity(ME, "me", self.genesis, network, Topics.of(network), random.Random(1))
        self.peers = Peers(ME.public, "me", Dialling(ME.public, ()), AdvertBook(ME.public))
        self.peers.connected = {keypair(10 + n).public for n in range(peers)}
        self.advertising = Advertising(self.peers)
        self.now_ms = NOW_MS
        self.actions: list[Action] = []

    def turn(self) -> Turn:
        return Turn(self.identity, Ledger(self.genesis), self.now_ms)

    def look(self, after_ms: int = 0, number: int = 0, **changes: Any) -> list[SignedAdvert | SignedUpdate]:
        """So much network time later the timer fires; what is published."""
        self.now_ms += after_ms
        turn = self.turn()
        times = {"number": self.now_ms, "expires_at_ms": self.now_ms + lifetime_ms(turn)}
        advert = said(**SERIES | times | changes)
        self.advertising.on_timer(turn, Timer(TimerKind.ADVERTISE, number=number), advert)
        self.actions = turn.actions()
        return self.published(turn)

    def published(self, turn: Turn) -> list[SignedAdvert | SignedUpdate]:
        found: list[SignedAdvert | SignedUpdate] = []
        for action in turn.actions():
            if isinstance(action, Publish):
                region = region_of(offer().place.zone)
                assert action.topic == self.identity.topics.adverts(region)
                found += judge_adverts(action.data, self.identity.network, region, self.now_ms)
        return found

    def connect(self) -> list[int]:
        """A peer comes; after how many ms we will look."""
        turn = self.turn()
        self.advertising.on_connected(turn)
        return [action.after_ms for action in turn.actions() if isinstance(action, SetTimeout)]


def test_the_first_word_is_a_full_advert_and_without_news_no_other_follows() -> None:
    scene = Scene()
    (item,) = scene.look()
    assert isinstance(item, SignedAdvert)
    assert scene.look(LOOK_EVERY_MS) == []


def test_nothing_is_said_while_nobody_knows_what_is_on_offer() -> None:
    turn = Scene().turn()
    Advertising(Scene().peers).on_timer(turn, Timer(TimerKind.ADVERTISE), None)
    assert [type(action) for action in turn.actions()] == [SetTimeout]


def test_news_are_told_by_an_update() -> None:
    scene = Scene()
    (full,) = scene.look()
    (item,) = scene.look(LOOK_EVERY_MS, free_units=1)
    assert isinstance(full, SignedAdvert)
    assert isinstance(item, SignedUpdate)
    assert updated(full.advert, item.update).free_units == 1


def test_an_update_about_as_large_as_the_advert_is_a_full_one() -> None:
    scene = Scene()
    scene.look()
    chance = random.Random(1)
    other: dict[str, Any] = {name: tuple(chance.randrange(10**6) for _ in range(64)) for name in SERIES}
    (item,) = scene.look(LOOK_EVERY_MS, **other, addresses=("/ip4/127.0.0.2/tcp/1",) * 8)
    assert isinstance(item, SignedAdvert)


def test_a_heartbeat_before_it_expires_and_a_full_advert_now_and_then() -> None:
    """So that what a newcomer is handed has not expired, though two heartbeats in a row were lost."""
    scene = Scene()
    scene.look()
    kinds = [type(item) for n in range(6) for item in scene.look(HEARTBEAT_MS)]
    assert kinds == [SignedUpdate, SignedAdvert] * 3
    assert HEARTBEAT_MS * (HEARTBEATS - 1) < LIFETIME_MS
    assert FULL_EVERY_HEARTBEATS * HEARTBEAT_MS < LIFETIME_MS


def test_restless_news_are_paced() -> None:
    scene = Scene()
    scene.look()
    said_in_an_hour = sum(len(scene.look(LOOK_EVERY_MS, free_units=n % 2)) for n in range(3_600_000 // LOOK_EVERY_MS))
    assert said_in_an_hour <= TOKENS_MAX + 3_600_000 // PACE_MS


def test_the_newest_news_are_told_once_there_is_a_token() -> None:
    scene = Scene()
    scene.look()
    for n in range(TOKENS_MAX + 5):
        scene.look(1, free_units=n % 2)
    assert scene.look(1, free_units=3) == []
    (item,) = scene.look(PACE_MS, free_units=3)
    assert isinstance(item, SignedUpdate)
    assert item.update.free_units == 3


def test_the_first_peers_hear_a_full_advert_soon_and_later_ones_ask_for_it() -> None:
    scene = Scene(peers=2)
    scene.look()
    assert scene.connect() == [SOON_MS]
    assert scene.connect() == [], "newcomers who come together hear one advert"
    (item,) = scene.look(SOON_MS, number=SOON)
    assert isinstance(item, SignedAdvert)
    crowded = Scene(peers=FEW_PEERS + 1)
    crowded.look()
    assert crowded.connect() == []


def test_a_peer_that_comes_and_goes_cannot_make_us_speak_without_end() -> None:
    scene = Scene(peers=1)
    scene.look()
    said_times = 0
    for _ in range(200):
        scene.connect()
        said_times += len(scene.look(SOON_MS, number=SOON))
    assert said_times <= TOKENS_MAX + 200 * SOON_MS // PACE_MS


def test_numbers_rise_even_within_a_millisecond() -> None:
    scene = Scene()
    numbers = []
    for n in range(3):
        (item,) = scene.look(free_units=n)
        numbers.append(item.advert.number if isinstance(item, SignedAdvert) else item.update.number)
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("speed", [1, 60, 360])
def test_an_advert_is_kept_alive_however_fast_the_networks_clock_runs(speed: int) -> None:
    scene = Scene(speed=speed)
    scene.look()
    (timeout,) = (action for action in scene.actions if isinstance(action, SetTimeout))
    turn = scene.turn()
    assert lifetime_ms(turn) <= LIFETIME_MAX_MS
    assert SOON_MS <= timeout.after_ms <= LOOK_EVERY_MS
    silent_ms = 0
    for _ in range(50):
        silent_ms = 0 if scene.look(timeout.after_ms * speed) else silent_ms + timeout.after_ms * speed
        assert silent_ms < lifetime_ms(turn)


def test_goodbye_ends_the_advert_and_is_the_last_word() -> None:
    scene = Scene()
    (full,) = scene.look()
    turn = scene.turn()
    scene.advertising.leave(turn)
    (item,) = scene.published(turn)
    assert isinstance(full, SignedAdvert)
    assert isinstance(item, SignedUpdate)
    assert item.update.is_goodbye
    assert item.update.number > full.advert.number
    assert scene.peers.book.parts == {}
    assert scene.look(LOOK_EVERY_MS) == []
    again = scene.turn()
    scene.advertising.leave(again)
    assert again.actions() == []


def test_who_has_said_nothing_says_no_goodbye() -> None:
    scene = Scene()
    turn = scene.turn()
    scene.advertising.leave(turn)
    assert turn.actions() == []


# --- news -----------------------------------------------------------------------------------------------------------


def forecast(**changes: Any) -> Advert:
    return said(**SERIES | changes)


PEAK_J = offer().units * offer().peak_w * offer().pue_permille * SLOT_MS // 10**6


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"number": NOW_MS + 1, "expires_at_ms": NOW_MS + 99}, False),
        ({"attestations": (digest("another"),)}, False),
        ({"attestations": ()}, True),
        ({"free_units": 3}, True),
        ({"addresses": ()}, True),
        ({"label": "moon"}, True),
        ({"offer": offer(units=1)}, True),
        ({"first_slot": FIRST_SLOT + 32}, False),
        ({"first_slot": FIRST_SLOT + 33}, True),
        ({"first_slot": FIRST_SLOT - 1}, True),
        ({"grid_g_per_kwh": (360,) * 63 + (396,)}, False),
        ({"grid_g_per_kwh": (360,) * 63 + (397,)}, True),
        ({"surplus_s20_j": (9000 + PEAK_J // 10,) + (9000,) * 63}, False),
        ({"surplus_s20_j": (9001 + PEAK_J // 10,) + (9000,) * 63}, True),
        ({"surplus_s50_j": (12_000,) * 10 + (0,) * 54}, PEAK_J < 12_000 * 10),
    ],
    ids=lambda part: str(part)[:40],
)
def test_news_is_what_a_buyer_would_decide_by(changes: dict[str, Any], expected: bool) -> None:
    assert is_news(forecast(), forecast(**changes), SLOT_MS) is expected
