"""What a cheat can try with energy, capacity and credit: in one feed it is void, in two it is a fork with a proof; and
whatever it tries, no honest author is framed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from ledger.audit import violations
from ledger.ledger import replay
from protocol.envelope import Entry, seal
from tests.builders import History, keypair, slot_energy

from .scenes import DUE_MICROCREDITS, OTHER, OWNER, PROVIDER, attested, awarded, bidding, issued
from .test_credit import settled_parts
from .test_forks import Peer
from .test_order import arrived, shuffled

BUYER = keypair(7)


@dataclass(frozen=True, slots=True)
class Cheat:
    """Two acts that exclude each other, the first of which is honest; both stand in one feed."""

    history: History
    first: Entry
    second: Entry


def double_claim() -> Cheat:
    """The same joules in two receipts."""
    s = attested()
    row = slot_energy(energy_j=9000, surplus_j=9000, attestation=s.attestation.id)
    first = s.history.receipt(s.lease, row, final=False)
    return Cheat(s.history, first, s.history.receipt(s.lease, row))


def claim_and_certificate() -> Cheat:
    """The same joules in a receipt and in a certificate for sale."""
    s = attested()
    row = slot_energy(energy_j=9000, surplus_j=9000, attestation=s.attestation.id)
    first = s.history.receipt(s.lease, row)
    return Cheat(s.history, first, s.history.certificate(s.attestation, energy_j=9000, holder=BUYER.public))


def lot_sold_twice() -> Cheat:
    """The same lot to two buyers."""
    s = issued()
    first = s.history.transfer(s.certificate, BUYER)
    return Cheat(s.history, first, s.history.transfer(s.certificate, OTHER, author=PROVIDER))


def lot_sold_after_it_was_used() -> Cheat:
    """A lot that was cancelled in the cheat's own favour is sold as if it were fresh."""
    s = issued()
    first = s.history.cancellation(s.certificate, PROVIDER)
    return Cheat(s.history, first, s.history.transfer(s.certificate, BUYER, author=PROVIDER))


def oversold_slots() -> Cheat:
    """Two leases of four units each, of four that are offered."""
    s = bidding(units_per_shard=4)
    award = s.history.award(s.job, s.history.placement(s.bid), s.history.placement(s.bid, shard=1))
    first = s.history.lease(award, 0)
    return Cheat(s.history, first, s.history.lease(award, 1))


def shard_placed_twice() -> Cheat:
    """One shard awarded to two providers."""
    s = awarded()
    s.history.offer(OTHER)
    bid = s.history.bid(OTHER, s.job)
    return Cheat(s.history, s.award, s.history.award(s.job, s.history.placement(bid)))


def iou_decreased() -> Cheat:
    """A debtor takes back what it owed."""
    history, limit, settlements = settled_parts(3 * DUE_MICROCREDITS)
    first = history.iou(limit, settlements[0])
    return Cheat(history, first, history.iou(limit, settlements[1], total=DUE_MICROCREDITS - 1))


CHEATS = (
    double_claim,
    claim_and_certificate,
    lot_sold_twice,
    lot_sold_after_it_was_used,
    oversold_slots,
    shard_placed_twice,
    iou_decreased,
)


@pytest.mark.parametrize("attempt", CHEATS)
def test_in_one_feed_the_second_act_is_void_in_whatever_order_it_arrives(attempt: Callable[[], Cheat]) -> None:
    cheat = attempt()
    assert cheat.history.void(cheat.first) is None
    assert cheat.history.void(cheat.second) is not None
    for seed in range(10):
        ledger = arrived(cheat.history, shuffled(cheat.history.entries, random.Random(seed)))
        assert ledger.state.voids == cheat.history.state.voids
        assert ledger.forks == {}


@pytest.mark.parametrize("attempt", CHEATS)
def test_told_to_two_peers_apart_it_is_a_proof_against_the_cheat_alone(attempt: Callable[[], Cheat]) -> None:
    """The cheat tells one peer the first act and another peer the second, in the same place of its feed."""
    cheat = attempt()
    first, second = cheat.first, cheat.second
    author = cheat.history.keys[first.author]
    before = [e for e in cheat.history.entries if e.author != first.author or e.seq < first.seq]
    twin = seal(
        author,
        network=second.network,
        kind=second.kind,
        seq=first.seq,
        prev=first.prev,
        time_ms=second.time_ms,
        refs=second.refs,
        body=second.body,
    )
    for told in ([first, twin], [twin, first]):
        peer = Peer()
        for entry in (*before, *told):
            peer.hear(entry)
        assert peer.ledger.forks.keys() == {first.author}
        ledger = peer.fold()
        assert violations(ledger.state) == []
        assert {first.id, twin.id} & ledger.state.voids.keys()
        assert not ledger.state.forked & {e.id for e in before}


def test_who_bought_from_a_cheat_loses_the_lot_and_keeps_its_name() -> None:
    cheat = lot_sold_twice()
    resold = cheat.history.transfer(cheat.first, OWNER)
    assert cheat.history.void(resold) is None
    peer = Peer()
    for entry in cheat.history.entries:
        peer.hear(entry)
    peer.hear(
        seal(
            PROVIDER,
            network=cheat.second.network,
            kind="note",
            seq=cheat.first.seq,
            prev=cheat.first.prev,
            time_ms=cheat.first.time_ms,
            refs=(),
            body={},
        )
    )
    ledger = peer.fold()
    assert ledger.forks.keys() == {PROVIDER.public}
    assert "does not exist" in ledger.state.voids[resold.id]
    assert ledger.heads[BUYER.public].id == resold.id
    assert violations(ledger.state) == []


def test_a_replay_judges_a_cheat_as_the_first_hearing_did() -> None:
    cheat = iou_decreased()
    again = replay(cheat.history.ledger.genesis, (entry.raw for entry in cheat.history.entries))
    assert again.state.voids == cheat.history.state.voids
