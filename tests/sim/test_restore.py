"""Ledgers that come back from a backup, or not at all, under a key that has signed more."""

from __future__ import annotations

import hashlib

import pytest

from ledger.store.sqlite import SqliteStore
from node.feeds.own_feed import Signing
from node.sim.host import Broken, Host
from node.sim.network import Faults
from node.sim.world import World
from protocol.envelope import parse
from tests.sim.worlds import HYDRO, LEAD, NIGHT, SOLAR, WIND, assert_all_is_well, is_closed, job, record_of, world

ROUGH = Faults(loss_permille=100, duplication_permille=200, delay_max_ms=400)


def backup(in_world: World, host: Host, entries: int | None = None) -> SqliteStore:
    """A copy of a host's store as it is now, or of its first entries. It names the same epoch, as copies do."""
    digest = hashlib.shake_256(host.address.encode()).digest
    copy = SqliteStore(":memory:", in_world.genesis.network_id(), digest)
    raws = [raw for _, raw in host.store.replay()]
    copy.append([parse(raw) for raw in raws[:entries]], durable=True)
    return copy


def newest_seq(in_world: World, of: Host, at: str) -> int:
    """Of a host's feed, as a node knows it."""
    head = in_world.node(at).ledger.heads.get(of.key)
    return -1 if head is None else head.seq


def restore(in_world: World, host: Host, store: SqliteStore) -> None:
    in_world.crash(host.name)
    in_world.run(2_000)
    host.store = store
    in_world.restart(host.name)


@pytest.mark.parametrize(("faults", "seed"), [(Faults(), 1), (ROUGH, 1), (ROUGH, 2), (ROUGH, 3)])
@pytest.mark.parametrize("kept", ["a part", "nothing"])
def test_a_node_gets_its_own_tail_from_peers_and_goes_on_from_there(kept: str, faults: Faults, seed: int) -> None:
    demo = world(seed, faults=faults)
    demo.run(20_000)
    host = demo.hosts[WIND]
    store = backup(demo, host, None if kept == "a part" else 0)
    demo.run(30_000)
    last = newest_seq(demo, host, WIND)
    assert last > len(store.feed(host.key, 0, 1000)) - 1, "it signs on after the backup"
    restore(demo, host, store)
    assert demo.node(WIND).own_feed.signing is Signing.UNCONFIRMED
    demo.run_until(lambda: demo.node(WIND).may_sign, within_ms=60_000)
    assert newest_seq(demo, host, WIND) >= last
    demo.run(30_000)
    assert newest_seq(demo, host, WIND) > last
    demo.network.faults = Faults()
    demo.run(10_000)
    assert_all_is_well(demo)


def test_a_restored_node_takes_part_in_the_market_again() -> None:
    demo = world()
    demo.run(20_000)
    store = backup(demo, demo.hosts[WIND])
    demo.run(20_000)
    restore(demo, demo.hosts[WIND], store)
    demo.run(10_000)
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(is_closed(demo, job_id), within_ms=100_000)
    closure = record_of(demo, LEAD, job_id).closure
    assert closure is not None
    assert closure.outcome == "done"
    assert demo.hosts[WIND].key in record_of(demo, LEAD, job_id).bids
    assert_all_is_well(demo)


def test_who_trusts_an_old_ledger_signs_a_seq_twice() -> None:
    """The promise that this keeps is one that the simulation would see broken."""
    demo = world()
    demo.run(20_000)
    host = demo.hosts[WIND]
    store = backup(demo, host)
    demo.run(30_000)
    demo.crash(WIND)
    demo.run(2_000)
    host.store, host.trusts_ledger = store, True
    demo.restart(WIND)
    with pytest.raises(Broken, match="twice"):
        demo.run(30_000)


def test_without_a_peer_nothing_is_signed_until_one_is_there() -> None:
    demo = world()
    host = demo.hosts[WIND]
    demo.crash(WIND)
    demo.partition([WIND], [LEAD, SOLAR, HYDRO, NIGHT])
    demo.restart(WIND)
    last = newest_seq(demo, host, WIND)
    demo.run(60_000)
    assert newest_seq(demo, host, WIND) == last
    assert not demo.node(WIND).may_sign
    demo.heal()
    demo.run(60_000)
    assert newest_seq(demo, host, WIND) > last
    assert_all_is_well(demo)


def test_alone_and_trusted_a_node_signs_on() -> None:
    demo = world()
    host = demo.hosts[WIND]
    demo.crash(WIND)
    demo.partition([WIND], [LEAD, SOLAR, HYDRO, NIGHT])
    host.trusts_ledger = True
    demo.restart(WIND)
    last = newest_seq(demo, host, WIND)
    demo.run(30_000)
    assert newest_seq(demo, host, WIND) > last


def test_a_node_whose_second_copy_signs_elsewhere_stops_and_says_so() -> None:
    """Its key runs twice: whichever copy hears of the other's entries first stops."""
    demo = world()
    demo.run(20_000)
    host = demo.hosts[WIND]
    store = backup(demo, host)
    demo.run(30_000)
    restore(demo, host, store)
    branch = demo.node(WIND).ledger.append(host.keypair, "note", {}, (), demo.now_ms)[0]
    assert newest_seq(demo, host, LEAD) > branch.seq
    host.store.append([branch], durable=True)
    demo.run(20_000)
    assert demo.node(WIND).own_feed.signing is Signing.FORKED
    assert len(host.told("own feed forked")) == 1
    assert all(host.key in demo.node(each.name).ledger.forks for each in demo.alive())
