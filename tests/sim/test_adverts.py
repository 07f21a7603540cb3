"""Adverts in a whole network: all know what each says now, though gossip is lost, doubled and overtaken."""

from __future__ import annotations

import random

import pytest

from node.devnet.sites import DEMO_SITES
from node.market.advertising import HEARTBEATS, LOOK_EVERY_MS
from node.market.offering import LIFETIME_MS
from node.sim.network import CALM, Faults
from node.sim.world import World
from protocol.adverts import Advert
from tests.sim.worlds import HYDRO, SOLAR, WIND, genesis, world

HEARTBEAT_MS = LIFETIME_MS // HEARTBEATS
LOSSY = Faults(loss_permille=500, duplication_permille=200, delay_min_ms=1, delay_max_ms=3_000)


def said(demo: World) -> dict[str, Advert | None]:
    return {name: demo.node(name).advertising.said for name in demo.hosts if demo.hosts[name].node is not None}


def heard(demo: World, name: str) -> dict[str, Advert | None]:
    """What a node believes of the others that run."""
    book = demo.node(name).peers.book.adverts
    return {
        other: book[demo.hosts[other].key].advert if demo.hosts[other].key in book else None
        for other in said(demo)
        if other != name
    }


def all_agree(demo: World) -> bool:
    told = said(demo)
    return all(
        advert is not None and advert == told[other] for name in told for other, advert in heard(demo, name).items()
    )


def test_all_know_each_other_within_two_seconds() -> None:
    demo = World(DEMO_SITES, genesis(), random.Random(1))
    demo.run_until(lambda: all_agree(demo), within_ms=2_000)


@pytest.mark.parametrize("seed", range(3))
def test_after_losses_all_believe_of_each_what_it_says(seed: int) -> None:
    """News come all the time: each node's address, as others see it, changes again and again."""
    demo = world(faults=LOSSY, seed=seed)
    chance = random.Random(seed)
    for _ in range(30):
        demo.run(LOOK_EVERY_MS)
        host = demo.hosts[chance.choice(sorted(demo.hosts))]
        demo.node(host.name).provider.addresses = (host.address, f"/ip4/192.0.2.1/tcp/{chance.randrange(1, 9)}")
    demo.network.faults = CALM
    demo.run_until(lambda: all_agree(demo), within_ms=HEARTBEAT_MS + 2 * LOOK_EVERY_MS)


def test_who_leaves_in_order_is_forgotten_by_all_at_once_and_may_come_back() -> None:
    demo = world()
    demo.run_until(lambda: all_agree(demo), within_ms=2_000)
    key = demo.hosts[WIND].key
    demo.hosts[WIND].stop()
    demo.run(1_000)
    others = (SOLAR, HYDRO)
    assert all(key not in demo.node(name).peers.adverts for name in others)
    assert all(demo.hosts[name].told("peer left") for name in others)
    demo.hosts[WIND].trusts_ledger = True
    demo.hosts[WIND].start()
    demo.run_until(lambda: all_agree(demo), within_ms=5_000)


def test_a_crash_is_no_goodbye() -> None:
    demo = world()
    demo.run_until(lambda: all_agree(demo), within_ms=2_000)
    demo.hosts[WIND].crash()
    demo.run(1_000)
    assert demo.hosts[WIND].key in demo.node(SOLAR).peers.adverts


def test_a_calm_network_says_little() -> None:
    """Four messages an hour of each node are promised; news of the sun and of the first minute come on top."""
    demo = world()
    demo.run(60_000)
    published: list[str] = []
    publish = demo.publish

    def count(host: object, topic: str, data: bytes) -> None:
        if demo.topics.region(topic) is not None:
            published.append(topic)
        publish(host, topic, data)  # type: ignore[arg-type]

    demo.publish = count  # type: ignore[method-assign]
    demo.run(600_000)
    assert len(published) <= len(demo.hosts) * 10
