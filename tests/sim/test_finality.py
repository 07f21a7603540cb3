"""Networks with witnesses: what a quorum cosigned is final, no worker starts before, and a fork cannot undo it."""

from __future__ import annotations

import pytest

from ledger.checkpoint import open_note
from ledger.ledger import Ledger
from ledger.proof import build, verify
from node.devnet.sites import DEMO_SITES
from node.events import MessageReceived
from node.sim.network import Faults
from node.sim.world import World, keypair_of
from protocol.direct import Entries, encode_direct
from protocol.envelope import parse, seal
from tests.sim.worlds import (
    LEAD,
    NIGHT,
    SOLAR,
    WIND,
    WITNESSES,
    assert_all_is_well,
    is_closed,
    job,
    placements,
    record_of,
    settle,
    witnessed,
    world,
)


def final_sizes(ledger: Ledger) -> dict[bytes, int]:
    return {author: final.size for author, final in ledger.finals.items()}


def assert_deal_was_final(in_world: World, job_id: bytes) -> None:
    record = record_of(in_world, LEAD, job_id)
    assert record.closure is not None
    assert record.closure.outcome == "done"
    for placement in record.live().values():
        ledger = in_world.node(LEAD).ledger
        assert placement.lease is not None
        assert ledger.is_final(record.owner, placement.award)
        assert ledger.is_final(placement.lease.provider, placement.lease.id)


def test_everything_becomes_final_at_every_peer() -> None:
    demo = witnessed()
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(is_closed(demo, job_id), within_ms=100_000)
    assert_deal_was_final(demo, job_id)
    assert_all_is_well(demo)
    for host in demo.alive():
        ledger = demo.node(host.name).ledger
        assert final_sizes(ledger) == {author: head.seq + 1 for author, head in ledger.heads.items()}


@pytest.mark.parametrize("fault", ["crashed", "lying"])
def test_one_bad_witness_of_four_changes_nothing(fault: str) -> None:
    demo = witnessed()
    if fault == "crashed":
        demo.crash(WITNESSES[0])
    else:
        demo.hosts[WITNESSES[0]].is_lying_witness = True
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(is_closed(demo, job_id), within_ms=100_000)
    assert_deal_was_final(demo, job_id)
    assert_all_is_well(demo)
    assert bool(demo.hosts[LEAD].told("no cosignature")) == (fault == "lying")


def test_with_two_witnesses_down_nothing_becomes_final_and_nothing_starts() -> None:
    demo = witnessed()
    for name in WITNESSES[:2]:
        demo.crash(name)
    demo.run(3_000)
    job_id = demo.submit(LEAD, job(demo, slots=20, deadline_slot=demo.slot + 41))
    before = final_sizes(demo.node(LEAD).ledger)
    demo.run(30_000)
    assert final_sizes(demo.node(LEAD).ledger) == before
    works = {name: demo.node(name).provider.works for name in placements(demo, job_id)}
    assert len(works) == 3
    for of_one in works.values():
        assert [(work.started, bool(work.data)) for work in of_one.values()] == [(False, True)]
    demo.restart(WITNESSES[0])
    demo.run_until(is_closed(demo, job_id), within_ms=200_000)
    assert_deal_was_final(demo, job_id)


def test_in_a_rough_network_deals_become_final_all_the_same() -> None:
    demo = witnessed(faults=Faults(loss_permille=100, duplication_permille=100, delay_max_ms=200))
    job_id = demo.submit(LEAD, job(demo, slots=20, deadline_slot=demo.slot + 41))
    demo.run_until(is_closed(demo, job_id), within_ms=300_000)
    assert_deal_was_final(demo, job_id)


def test_a_restarted_node_remembers_what_is_final_and_goes_on() -> None:
    demo = witnessed()
    settle(demo)
    before = final_sizes(demo.node(WIND).ledger)
    assert len(before) == 5
    demo.crash(WIND)
    demo.restart(WIND)
    assert final_sizes(demo.node(WIND).ledger) == before
    settle(demo)
    demo.run(10_000)
    assert final_sizes(demo.node(WIND).ledger)[demo.hosts[WIND].key] > before[demo.hosts[WIND].key]


def test_a_node_that_does_not_know_its_own_newest_entry_signs_no_checkpoint() -> None:
    """Its ledger may be an old copy: a checkpoint of it would be no lie yet, but what it signs next might."""
    demo = witnessed()
    settle(demo)
    others = [name for name in demo.hosts if name != WIND]
    for name in (*others, WIND):
        demo.crash(name)
    demo.restart(WIND)
    demo.run(10_000)
    assert demo.node(WIND).finality.current is None
    for name in others:
        demo.restart(name)
    settle(demo)
    assert demo.node(WIND).finality.current is not None


def test_a_restarted_witness_keeps_its_promises() -> None:
    demo = witnessed()
    settle(demo)
    for name in WITNESSES:
        demo.crash(name)
        demo.restart(name)
    settle(demo)
    demo.run(10_000)
    ledger = demo.node(LEAD).ledger
    assert final_sizes(ledger) == {author: head.seq + 1 for author, head in ledger.heads.items()}


def test_a_node_may_be_a_witness_itself() -> None:
    demo = world(genesis={"witnesses": (keypair_of(DEMO_SITES[0]).public,)})
    settle(demo)
    for host in demo.alive():
        ledger = demo.node(host.name).ledger
        assert final_sizes(ledger) == {author: head.seq + 1 for author, head in ledger.heads.items()}


def test_without_witnesses_checkpoints_are_signed_and_kept_and_nothing_is_final() -> None:
    demo = world()
    settle(demo)
    for host in demo.alive():
        node = demo.node(host.name)
        assert node.ledger.finals == {}
        assert {a: heard.size for a, heard in node.checkpoints.newest.items()} == {
            author: head.seq + 1 for author, head in node.ledger.heads.items()
        }


def test_a_proof_made_from_a_nodes_store_is_checked_offline() -> None:
    demo = witnessed()
    settle(demo)
    store, genesis = demo.hosts[SOLAR].store, demo.genesis
    author = demo.hosts[WIND].key
    (kept,) = [c for c in store.checkpoints() if c.author == author and c.final]
    note, _ = open_note(kept.note.encode(), genesis.network_id())
    entry = parse(store.feed(author, 0, 1)[0])
    proven = verify(build(entry, store.ids(author, 0, kept.size), note), genesis)
    assert (proven.entry.id, proven.is_final, proven.witnesses) == (entry.id, True, 4)


def test_a_newcomer_agrees_on_deals_that_were_final_before_their_provider_forked() -> None:
    demo = witnessed()
    demo.crash(NIGHT)
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(is_closed(demo, job_id), within_ms=100_000)
    demo.run(10_000)
    wind = demo.hosts[WIND]
    bid = next(e for _, raw in wind.store.replay() if (e := parse(raw)).author == wind.key and e.kind == "bid")
    twin = seal(
        wind.keypair,
        network=bid.network,
        kind="twin",
        seq=bid.seq,
        prev=bid.prev,
        time_ms=bid.time_ms,
        refs=(),
        body={},
    )
    message = Entries(entries=(twin.raw,), more=False)
    demo.handle(SOLAR, MessageReceived(wind.key, encode_direct(message)))
    demo.run(20_000)
    demo.restart(NIGHT)
    demo.run(60_000)
    told = {name: demo.node(name).ledger for name in (LEAD, SOLAR, NIGHT)}
    assert placements(demo, job_id).keys() >= {WIND}
    for name, ledger in told.items():
        assert ledger.forks.keys() == {wind.key}, name
        assert ledger.state.frozen_from == told[LEAD].state.frozen_from, name
        assert ledger.state.voids == told[LEAD].state.voids, name
        assert not ledger.stale, name
        assert placements(demo, job_id, name).keys() == placements(demo, job_id).keys(), name
