"""What a network of five processes lives through: the others hear each other, and all ledgers agree at the end.

How much later the others hear each other meanwhile is measured by `make bench BENCH=faults`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest

from tests.live.faults import OTHER_HOSTS, Five, five, flooded, held_connections, probe, throw_garbage
from tests.live.nodes import eventually, has_peers

VICTIM = 2  # neither of those at which the probes are
PROBES = 40
PROBES_PER_S = 20
PAUSE_S = 30


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Five]:
    with five(tmp_path_factory.mktemp("five")) as running:
        yield running


async def test_a_node_killed_at_once_is_not_missed_and_comes_back(nodes: Five) -> None:
    async with probe(nodes) as probing:
        nodes.kill(VICTIM)
        await probing.publish_many(PROBES, PROBES_PER_S)
        await probing.all_heard()
    await asyncio.to_thread(nodes.start, VICTIM)
    await asyncio.to_thread(nodes.expect_converged)


async def test_a_node_restarted_with_its_key_at_once_is_met_again(nodes: Five) -> None:
    async with probe(nodes) as probing:
        nodes.kill(VICTIM)
        await asyncio.gather(asyncio.to_thread(nodes.start, VICTIM), probing.publish_many(PROBES, PROBES_PER_S))
        await probing.all_heard()
    await asyncio.to_thread(nodes.expect_converged)


async def test_a_node_that_hangs_for_30_seconds_is_let_go_and_taken_back(nodes: Five) -> None:
    async with probe(nodes) as probing:
        with nodes.paused(VICTIM):
            await asyncio.sleep(PAUSE_S)
            await asyncio.to_thread(eventually, partial(has_peers, nodes.client(0), 4))  # three nodes and a probe
            await probing.publish_many(PROBES, PROBES_PER_S)
            await probing.all_heard()
    await asyncio.to_thread(nodes.expect_converged)


def test_two_sides_that_cannot_reach_each_other_go_on_and_agree_once_they_can(nodes: Five) -> None:
    with nodes.partitioned([0, 1]):
        eventually(lambda: has_peers(nodes.client(0), 1) and has_peers(nodes.client(4), 2))
        eventually(lambda: len(nodes.heads()) > 1)  # each side has said what the other has not heard
    nodes.expect_converged()


async def test_garbage_on_every_port_disturbs_nobody(nodes: Five) -> None:
    async with probe(nodes) as probing:
        await asyncio.gather(asyncio.to_thread(throw_garbage, nodes), probing.publish_many(PROBES, PROBES_PER_S))
        await probing.all_heard()
    await asyncio.to_thread(nodes.expect_converged)


async def test_500_connections_from_one_address_take_nobodys_place(nodes: Five) -> None:
    async with probe(nodes) as probing:
        with held_connections(nodes, VICTIM, 500):
            await probing.publish_many(PROBES, PROBES_PER_S)
            await probing.all_heard()
            async with probe(nodes, near=VICTIM, hosts=OTHER_HOSTS):  # a newcomer finds a place all the same
                pass
    await asyncio.to_thread(nodes.expect_converged)


async def test_a_flood_of_valid_gossip_is_held_back_where_it_enters(nodes: Five) -> None:
    async with probe(nodes) as probing:
        with flooded(nodes, VICTIM, rate_per_s=1000):
            await probing.publish_many(5 * PROBES, PROBES_PER_S)
            await probing.all_heard()
        assert len(probing.heard_s) < 1000, "nor is it passed on"
    await asyncio.to_thread(nodes.expect_converged)
