"""When a node announces itself and looks for others: rarely, and only where gossip has told too little."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, cast

from ledger.ledger import Ledger
from node.actions import Action, Dial, Look, Provide, SetTimeout
from node.core import Node
from node.dialling import TICK_MS
from node.discovery import FIRST_AFTER_MS, LOOKS_PER_JOB_MAX, NEIGHBOURS_MIN, OFFERS_PER_SHARD, Discovery
from node.events import (
    Event,
    JobSubmitted,
    LinkRestarted,
    PeerConnected,
    PeersFound,
    ReachabilityChanged,
    Started,
    Timer,
    TimerFired,
    TimerKind,
)
from node.peers import HINT_LASTS_MS, HINTS_MAX
from node.reachability import Reachability
from node.turn import Identity, Turn
from protocol.discovery import PROVIDE_EVERY_S
from protocol.gossip import Topics
from protocol.identity import KeyPair, peer_id
from protocol.messages import Offer
from protocol.regions import REGIONS, region_of
from tests.builders import NOW_MS, genesis, job, keypair, offer

GENESIS = genesis()
NETWORK = GENESIS.network_id()
IDENTITY = Identity(keypair(0), "me", GENESIS, NETWORK, Topics.of(NETWORK), random.Random(1))
OFFER = offer()
HOME = (region_of(OFFER.place.zone), OFFER.device)
HERE, THERE = "/ip4/192.0.2.7/tcp/8471", "/ip4/192.0.2.8/tcp/8471"


def stranger(number: int) -> bytes:
    return KeyPair(number.to_bytes(32)).public


def address(number: int) -> str:
    return f"/ip4/192.0.2.1/tcp/{number}/p2p/{peer_id(stranger(number))}"


class Scene:
    """A node that sells, and has just started."""

    def __init__(self, sells: Offer | None = OFFER) -> None:
        self.node = Node(IDENTITY, Ledger(GENESIS), sells, ())
        self.handle(Started((HERE,), "https://192.0.2.7:8472", bytes(32)))

    def handle(self, event: Event) -> list[Action]:
        return self.node.handle(event, NOW_MS)

    def connect(self, *numbers: int) -> list[Action]:
        return [action for number in numbers for action in self.handle(PeerConnected(stranger(number)))]

    def redial(self, after_ms: int = 0) -> list[Action]:
        return self.node.handle(TimerFired(Timer(TimerKind.REDIAL)), NOW_MS + after_ms)

    def wake(self) -> list[Action]:
        return self.handle(TimerFired(Timer(TimerKind.PROVIDE)))


def dials(actions: list[Action]) -> list[str]:
    return [action.address for action in actions if isinstance(action, Dial)]


def sought(actions: list[Action]) -> list[Action]:
    return [action for action in actions if isinstance(action, Provide | Look)]


def timeouts(actions: list[Action]) -> list[SetTimeout]:
    return [a for a in actions if isinstance(a, SetTimeout) and a.timer.kind is TimerKind.PROVIDE]


def pauses_ms(actions: list[Action]) -> list[int]:
    return [timeout.after_ms for timeout in timeouts(actions)]


def looks(
    known: int, shards: int, devices: tuple[str, ...] = ("cpu",), regions: tuple[str, ...] = REGIONS
) -> list[tuple[str, str]]:
    """What is looked up for a job when so many offers are known."""
    advert = [SimpleNamespace(advert=SimpleNamespace(offer=SimpleNamespace(device=d))) for d in devices]
    book = SimpleNamespace(fresh=lambda now_ms: [advert[i % len(advert)] for i in range(known)])
    turn = Turn(IDENTITY, Ledger(GENESIS), NOW_MS)
    Discovery(cast(Any, SimpleNamespace(book=book)), "europe", "cpu", True, regions).on_job(turn, job(shards=shards))
    return [(action.region, action.device) for action in turn.actions() if isinstance(action, Look)]


def test_nothing_is_announced_before_somebody_is_there() -> None:
    scene = Scene()
    assert pauses_ms(scene.connect(1, 2)) == [FIRST_AFTER_MS]


def test_what_is_offered_is_announced_and_again_before_it_is_forgotten() -> None:
    scene = Scene()
    scene.connect(*range(1, NEIGHBOURS_MIN + 1))
    for _ in range(20):
        actions = scene.wake()
        assert sought(actions) == [Provide(*HOME, (HERE,))]
        assert len(pauses_ms(actions)) == 1
        assert 0.8 * PROVIDE_EVERY_S * 1000 <= pauses_ms(actions)[0] <= PROVIDE_EVERY_S * 1000


def test_a_node_that_is_reached_elsewhere_now_announces_that_at_once_and_again_no_more_often() -> None:
    scene = Scene()
    scene.connect(*range(1, NEIGHBOURS_MIN + 1))
    scene.wake()
    (soon,) = timeouts(scene.handle(ReachabilityChanged(Reachability(), (HERE, THERE))))
    assert soon.after_ms == FIRST_AFTER_MS
    assert timeouts(scene.handle(ReachabilityChanged(Reachability(), (THERE,)))) == []
    actions = scene.handle(TimerFired(soon.timer))
    assert sought(actions) == [Provide(*HOME, (THERE,))]
    assert pauses_ms(actions) == []


def test_a_node_whose_link_is_back_announces_itself_anew() -> None:
    """What others have kept names the addresses that it had, and its own table is empty."""
    scene = Scene()
    scene.connect(*range(1, NEIGHBOURS_MIN + 1))
    scene.wake()
    (soon,) = timeouts(scene.handle(LinkRestarted()))
    assert sought(scene.handle(TimerFired(soon.timer))) == [Provide(*HOME, (HERE,))]


def test_who_has_few_neighbours_looks_for_its_like() -> None:
    scene = Scene()
    scene.connect(*range(1, NEIGHBOURS_MIN))
    assert sought(scene.wake()) == [Provide(*HOME, (HERE,)), Look(*HOME)]


def test_who_offers_nothing_announces_nothing() -> None:
    scene = Scene(None)
    scene.connect(1)
    assert sought(scene.wake()) == [Look("other", "cpu")]


def test_a_job_s_owner_looks_for_offers_near_and_then_far() -> None:
    found = looks(known=0, shards=2)
    assert found[0] == ("europe", "cpu")
    assert len(set(found)) == len(found) == LOOKS_PER_JOB_MAX


def test_a_job_s_owner_looks_for_the_devices_that_it_has_heard_of() -> None:
    assert looks(known=3, shards=2, devices=("cuda", "cpu"))[:2] == [("europe", "cpu"), ("europe", "cuda")]


def test_a_job_s_owner_who_knows_enough_looks_no_further() -> None:
    assert looks(known=2 * OFFERS_PER_SHARD - 1, shards=2)
    assert looks(known=2 * OFFERS_PER_SHARD, shards=2) == []


def test_a_job_s_owner_looks_where_it_listens() -> None:
    assert looks(known=0, shards=2, regions=("europe", "asia")) == [("europe", "cpu"), ("asia", "cpu")]


def test_submitting_a_job_looks_for_offers() -> None:
    assert sought(Scene().handle(JobSubmitted(job())))


def test_whoever_is_found_is_dialled_within_bounds_and_for_a_while() -> None:
    scene = Scene()
    many = tuple(address(number) for number in range(1, 2 * HINTS_MAX))
    scene.connect(1)
    dialled = dials(scene.handle(PeersFound("mdns", many)))
    for _ in range(10):
        dialled += dials(scene.redial())
    assert sorted(dialled) == sorted(many[1:HINTS_MAX]), "who is connected is not dialled"
    assert dials(scene.handle(PeersFound("mdns", many[:HINTS_MAX]))) == []
    scene.redial(after_ms=HINT_LASTS_MS + TICK_MS)
    assert scene.node.dialling.count() == 0


def test_a_hint_at_nobody_or_ourselves_or_a_name_is_left_out() -> None:
    scene = Scene()
    own = f"/ip4/192.0.2.9/tcp/1/p2p/{peer_id(IDENTITY.key)}"
    named = f"/dns4/example.org/tcp/1/p2p/{peer_id(stranger(1))}"
    assert dials(scene.handle(PeersFound("mdns", ("nonsense", own, named)))) == []
