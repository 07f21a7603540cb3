"""The books of a shard and the receipts that come of them: nothing lost, nothing twice, and always within an entry."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from ledger.receipts import transfer_ug
from ledger.state import LeaseRecord, ReceiptRecord
from node.energy.power import Measured
from node.events import (
    RoundTrained,
    ShardId,
)
from node.market.receipts import ROUNDS_MAX, SLOTS_MAX, Work, write_receipt
from node.market.settling import settlement
from node.sim.world import World
from protocol.messages import Blob, Receipt
from tests.sim.worlds import LEAD, SLOT_MS, WIND, job, placements, world

SLOTS = 50
ROUND_MS = 1_000


@pytest.fixture(scope="module")
def leased() -> tuple[World, LeaseRecord]:
    """A lease of fifty slots that nobody has begun to work under. The tests below leave it as it is."""
    demo = world()
    job_id = demo.submit(LEAD, job(demo, first_slot=demo.slot + 10, deadline_slot=demo.slot + 80, slots=SLOTS))
    demo.run(5_000)
    lease = placements(demo, job_id)[WIND].lease
    assert lease is not None
    return demo, lease


@pytest.fixture
def work(leased: tuple[World, LeaseRecord]) -> Work:
    _, lease = leased
    return Work(lease, SLOT_MS, lease.lease.first_slot * SLOT_MS)


def trained(number: int, end_ms: int, measured: Measured | None = None) -> RoundTrained:
    return RoundTrained(
        shard=ShardId(bytes(32), 0),
        round=number,
        delta=Blob(sha256=number.to_bytes(32, "big"), size_bytes=1),
        loss_millinats=2_000,
        tokens=10,
        inner_steps=5,
        end_ms=end_ms,
        cpu_ms=ROUND_MS,
        measured=measured,
    )


def drawn(energy_mj: int, duration_ms: int = ROUND_MS) -> Measured:
    return Measured(energy_mj, duration_ms, uncertainty_permille=50, source="a meter")


def all_receipts(demo: World, work: Work) -> list[Receipt]:
    state = demo.node(WIND).ledger.state
    receipts = []
    while work.exceeds_a_receipt():
        receipts.append(write_receipt(state, work, final=False))
    return [*receipts, write_receipt(state, work, final=True)]


def test_a_wait_of_many_slots_is_told_in_many_receipts(leased: tuple[World, LeaseRecord], work: Work) -> None:
    demo, lease = leased
    work.close(work.busy_until_ms + 45 * SLOT_MS)
    booked_j = sum(draw.energy_j for draw in work.draws.values())
    receipts = all_receipts(demo, work)
    assert len(receipts) == -(-45 // SLOTS_MAX)
    assert [receipt.final for receipt in receipts] == [False] * 5 + [True]
    slots = [row.slot for receipt in receipts for row in receipt.energy]
    assert slots == list(range(lease.lease.first_slot, lease.lease.first_slot + 45))
    assert sum(row.energy_j for receipt in receipts for row in receipt.energy) == booked_j > 0
    assert sum(receipt.busy_ms for receipt in receipts) == 45 * SLOT_MS


def test_many_rounds_are_told_in_many_receipts_each_once_and_in_order(
    leased: tuple[World, LeaseRecord], work: Work
) -> None:
    demo, _ = leased
    for number in range(100):
        work.book(trained(number, work.busy_until_ms + ROUND_MS))
    receipts = all_receipts(demo, work)
    assert [len(receipt.deltas) for receipt in receipts] == [ROUNDS_MAX] * 3 + [4]
    assert [delta for receipt in receipts for delta in receipt.deltas] == [n.to_bytes(32, "big") for n in range(100)]
    assert sum(receipt.tokens for receipt in receipts) == 1_000
    assert sum(receipt.inner_steps for receipt in receipts) == 500


def test_bytes_are_told_with_the_rounds_that_moved_them_and_the_rest_once(
    leased: tuple[World, LeaseRecord], work: Work
) -> None:
    """Else the second of several receipts would tell less than its deltas weigh, and be void."""
    demo, lease = leased
    work.moved_bytes = 5_000  # the data
    for number in range(ROUNDS_MAX + 1):
        work.book(replace(trained(number, work.busy_until_ms + ROUND_MS), fetched_bytes=40))
    first, last = all_receipts(demo, work)
    assert [first.moved_bytes, last.moved_bytes] == [5_000 + ROUNDS_MAX * (40 + 1), 40 + 1]
    assert last.transfer_ug == transfer_ug(lease, 41, last.energy) > 0


def test_a_receipt_says_what_told_the_draw(leased: tuple[World, LeaseRecord], work: Work) -> None:
    work.book(trained(0, work.busy_until_ms + ROUND_MS))
    (receipt,) = all_receipts(leased[0], work)
    assert (receipt.method, receipt.power_source) == ("modelled", "declared watts x processor time")


def test_a_receipt_follows_the_last_without_a_gap(leased: tuple[World, LeaseRecord], work: Work) -> None:
    demo, lease = leased
    work.book(trained(5, work.busy_until_ms + ROUND_MS))
    first = write_receipt(demo.node(WIND).ledger.state, work, final=False)
    assert (first.first_round, len(first.deltas)) == (5, 1)
    lease.receipts.append(ReceiptRecord(bytes(32), lease, first))
    work.book(trained(6, work.busy_until_ms + ROUND_MS))
    assert write_receipt(demo.node(WIND).ledger.state, work, final=True).first_round == 6
    lease.receipts.clear()


def test_surplus_counts_whatever_older_was_attested_since(
    leased: tuple[World, LeaseRecord], work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo, lease = leased
    state, begins_ms = demo.node(WIND).ledger.state, lease.lease.first_slot * SLOT_MS
    attested = state.attestations_of[lease.provider]
    of_plant = replace(attested[-1], start_ms=begins_ms, end_ms=begins_ms + SLOT_MS, remaining_j=1_000_000)
    of_battery = replace(attested[-1], device_id="battery")
    monkeypatch.setitem(state.attestations_of, lease.provider, [*attested, of_plant, of_battery])
    work.book(trained(1, begins_ms + ROUND_MS))
    (row,) = write_receipt(state, work, final=True).energy
    assert row.surplus_j == row.energy_j > 0


def test_nothing_is_drawn_after_the_leases_end(work: Work) -> None:
    end_ms = work.busy_until_ms + SLOTS * SLOT_MS
    work.close(end_ms + 10 * SLOT_MS)
    assert work.busy_until_ms == end_ms
    assert work.book(trained(0, end_ms + 20 * SLOT_MS)) == 0


def test_a_round_costs_more_than_the_wait_for_it(work: Work) -> None:
    trained_j = work.book(trained(0, work.busy_until_ms + ROUND_MS))
    before_j = sum(draw.energy_j for draw in work.draws.values())
    work.close(work.busy_until_ms + ROUND_MS)
    waited_j = sum(draw.energy_j for draw in work.draws.values()) - before_j
    assert trained_j > waited_j > 0


@pytest.mark.parametrize("seed", range(20))
def test_no_receipt_of_idle_time_tells_less_energy_than_the_ledger_asks_for(
    leased: tuple[World, LeaseRecord], seed: int
) -> None:
    """Wherever a stretch is cut at a slot's end: check 7 of a receipt is exact, and rounding must not break it."""
    demo, lease = leased
    chance = random.Random(seed)
    work = Work(lease, SLOT_MS, lease.lease.first_slot * SLOT_MS)
    for _ in range(30):
        work.close(work.busy_until_ms + chance.randint(1, 3 * SLOT_MS // 2))
    offer = lease.placement.bid.offer.offer
    for receipt in all_receipts(demo, work):
        floor_j = lease.lease.units * offer.idle_w * offer.pue_permille * receipt.busy_ms // 1_000_000
        assert sum(row.energy_j for row in receipt.energy) >= floor_j


def test_measured_rounds_are_receipted_as_metered_with_the_overhead(
    leased: tuple[World, LeaseRecord], work: Work
) -> None:
    demo, lease = leased
    for number in range(3):
        work.book(trained(number, work.busy_until_ms + ROUND_MS, drawn(100_000)))
    (receipt,) = all_receipts(demo, work)
    assert (receipt.method, receipt.uncertainty_permille, receipt.power_source) == ("metered", 50, "a meter")
    pue_permille = lease.placement.bid.offer.offer.pue_permille
    assert sum(row.energy_j for row in receipt.energy) == 3 * -(-100 * pue_permille // 1000)


def test_a_measured_round_that_begins_just_before_a_slot_ends_is_metered_in_both(
    leased: tuple[World, LeaseRecord], work: Work
) -> None:
    demo, _ = leased
    for number, wall_ms in enumerate((SLOT_MS - 1, ROUND_MS)):
        work.book(trained(number, work.busy_until_ms + wall_ms, drawn(40 * wall_ms, wall_ms)))
    assert [receipt.method for receipt in all_receipts(demo, work)] == ["metered"]


def test_a_meter_that_fails_in_the_middle_makes_its_receipt_modelled_and_not_the_next(
    leased: tuple[World, LeaseRecord], work: Work
) -> None:
    demo, _ = leased
    state = demo.node(WIND).ledger.state
    for number, measured in enumerate((drawn(100_000), None, drawn(100_000))):
        work.book(trained(number, work.busy_until_ms + ROUND_MS, measured))
    mixed = write_receipt(state, work, final=False)
    assert (mixed.method, mixed.uncertainty_permille) == ("modelled", 300)
    assert mixed.power_source == "declared watts x processor time; in part a meter"
    work.book(trained(3, work.busy_until_ms + ROUND_MS, drawn(100_000)))
    assert write_receipt(state, work, final=True).method == "metered"


def test_a_meter_that_says_less_than_declared_idle_is_not_believed(
    leased: tuple[World, LeaseRecord], work: Work
) -> None:
    demo, lease = leased
    work.book(trained(0, work.busy_until_ms + ROUND_MS, drawn(1)))
    (receipt,) = all_receipts(demo, work)
    offer = lease.placement.bid.offer.offer
    floor_j = lease.lease.units * offer.idle_w * offer.pue_permille * ROUND_MS // 1_000_000
    assert receipt.method == "modelled"
    assert sum(row.energy_j for row in receipt.energy) >= floor_j


@pytest.mark.parametrize("seed", range(10))
def test_measured_receipts_too_tell_what_was_booked_and_no_less_than_the_ledger_asks_for(
    leased: tuple[World, LeaseRecord], seed: int
) -> None:
    demo, lease = leased
    chance = random.Random(seed)
    work = Work(lease, SLOT_MS, lease.lease.first_slot * SLOT_MS)
    booked_j = 0
    for number in range(20):
        wall_ms = chance.randint(1, 3 * SLOT_MS // 2)
        seen = drawn(chance.randint(0, 40 * wall_ms), chance.randint(0, wall_ms)) if chance.random() < 0.8 else None
        booked_j += work.book(trained(number, work.busy_until_ms + wall_ms, seen))
    offer, receipts = lease.placement.bid.offer.offer, all_receipts(demo, work)
    assert sum(row.energy_j for receipt in receipts for row in receipt.energy) == booked_j
    for receipt in receipts:
        floor_j = lease.lease.units * offer.idle_w * offer.pue_permille * receipt.busy_ms // 1_000_000
        assert sum(row.energy_j for row in receipt.energy) >= floor_j
    assert not work.bases


def test_books_closed_at_once_make_an_empty_receipt(leased: tuple[World, LeaseRecord], work: Work) -> None:
    demo, _ = leased
    work.close(work.busy_until_ms)
    (receipt,) = all_receipts(demo, work)
    assert (receipt.final, receipt.busy_ms, receipt.deltas, receipt.energy) == (True, 0, (), ())


# --- how they are judged ------------------------------------------------------------------------------------------


def record_of_rounds(lease: LeaseRecord, rounds: int, busy_ms: int = 1_000) -> ReceiptRecord:
    receipt = Receipt(
        lease=lease.id,
        first_round=0,
        final=True,
        inner_steps=0,
        tokens=0,
        busy_ms=busy_ms,
        deltas=tuple(number.to_bytes(32, "big") for number in range(rounds)),
        method="modelled",
        power_source="declared",
        uncertainty_permille=0,
        energy=(),
        moved_bytes=0,
        transfer_ug=0,
    )
    return ReceiptRecord(bytes(32), LeaseRecord(lease.id, lease.provider, lease.lease, lease.placement), receipt)


def judge(lease: LeaseRecord, record: ReceiptRecord, arrived: int | None) -> tuple[bool, str]:
    record.lease.receipts.append(record)
    deltas = None if arrived is None else [number.to_bytes(32, "big") for number in range(arrived)]
    judged = settlement(record, deltas)
    assert (judged.amount_microcredits > 0) == judged.accepted
    return judged.accepted, judged.reason


@pytest.mark.parametrize(
    ("arrived", "accepted", "reason"),
    [
        (4, True, ""),
        (3, True, ""),  # the last may have been on its way
        (2, False, "1 of 4 deltas never arrived"),
        (0, False, "3 of 4 deltas never arrived"),
        (None, True, ""),  # we were restarted: the doubt is our fault
    ],
)
def test_a_receipt_is_paid_for_the_deltas_that_arrived(
    leased: tuple[World, LeaseRecord], arrived: int | None, accepted: bool, reason: str
) -> None:
    _, lease = leased
    assert judge(lease, record_of_rounds(lease, 4), arrived) == (accepted, reason)
