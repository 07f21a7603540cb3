"""What the settlement drivers answer: from the ledger alone, and the same when asked again."""

from __future__ import annotations

from ledger.settlement import DRIVERS, PAYMENT_DUE_MS, DebitNote, Driver, Standing
from ledger.state import LeaseRecord
from protocol.credit import IOU_SETTLEMENTS_MAX
from protocol.envelope import Entry
from tests.builders import FIRST_SLOT, SLOT_MS, History, digest, slot_energy

from .scenes import DUE_MICROCREDITS, OTHER, OWNER, PROVIDER, leased, settled

NONE, CREDIT = DRIVERS["none"], DRIVERS["mutual-credit"]
END_MS = (FIRST_SLOT + 3) * SLOT_MS
LEASE_MICROCREDITS = 20_000  # 200,000 per unit and hour, two units, three minutes


def reserve(history: History, amount: int, driver: Driver = CREDIT, now_ms: int = END_MS) -> str:
    return driver.reserve(history.state, PROVIDER.public, OWNER.public, amount, now_ms)


def sign_next(history: History, driver: Driver = CREDIT) -> Entry | None:
    """Let the owner sign what the driver says is next."""
    promise = driver.settle(history.state, OWNER.public, PROVIDER.public)
    return None if promise is None else history.append(OWNER, promise.iou, *promise.refs)


def only_lease(history: History) -> LeaseRecord:
    (lease,) = history.state.leases.values()
    return lease


# --- notes ------------------------------------------------------------------------------------------------------------


def test_notes_are_cumulative_and_keyed_by_agreement_and_number() -> None:
    s = leased()
    lease = only_lease(s.history)
    notes = [CREDIT.debit_note(lease, SLOT_MS)]
    for final in (False, True):
        s.history.receipt(s.lease, final=final)
        notes.append(CREDIT.debit_note(lease, SLOT_MS))
    due_at_ms = END_MS + PAYMENT_DUE_MS
    assert notes == [DebitNote(s.lease.id, n, n * DUE_MICROCREDITS, due_at_ms) for n in range(3)]


def test_what_is_due_when_counts_from_the_agreement_and_no_later_note_puts_it_off() -> None:
    s = leased()
    s.history.now_ms += 50 * SLOT_MS
    s.history.receipt(s.lease)
    assert CREDIT.debit_note(only_lease(s.history), SLOT_MS).due_at_ms == END_MS + PAYMENT_DUE_MS


def test_an_invoice_is_the_note_with_the_final_receipt() -> None:
    s = leased()
    lease = only_lease(s.history)
    s.history.receipt(s.lease, final=False)
    assert CREDIT.invoice(lease, SLOT_MS) is None
    s.history.receipt(s.lease)
    assert CREDIT.invoice(lease, SLOT_MS) == CREDIT.debit_note(lease, SLOT_MS)


def test_a_refused_receipt_asks_for_nothing() -> None:
    s = leased()
    s.history.settlement(s.history.receipt(s.lease, final=False), accepted=False)
    s.history.settlement(s.history.receipt(s.lease))
    lease = only_lease(s.history)
    assert CREDIT.debit_note(lease, SLOT_MS).total_microcredits == CREDIT.accept(lease) == DUE_MICROCREDITS


# --- none -------------------------------------------------------------------------------------------------------------


def test_without_settlement_nobody_is_refused_and_nothing_is_promised() -> None:
    s = settled()
    assert NONE.grant(s.history.state, PROVIDER.public, OWNER.public, 5) is None
    assert reserve(s.history, 10**15, NONE) == ""
    assert sign_next(s.history, NONE) is None


def test_without_settlement_an_invoice_that_is_accepted_is_done_with() -> None:
    s = leased()
    lease = only_lease(s.history)
    receipt = s.history.receipt(s.lease)
    assert NONE.verify_receipt(s.history.state, lease, END_MS + 2 * PAYMENT_DUE_MS) is Standing.OPEN
    s.history.settlement(receipt)
    assert NONE.verify_receipt(s.history.state, lease, END_MS) is Standing.ACKNOWLEDGED


# --- mutual credit ----------------------------------------------------------------------------------------------------


def test_a_limit_is_granted_once_and_again_when_it_changes() -> None:
    history = History()
    for limit, is_new in ((5, True), (5, False), (6, True), (0, True), (0, False)):
        granted = CREDIT.grant(history.state, PROVIDER.public, OWNER.public, limit)
        assert (granted is not None) == is_new
        if granted is not None:
            history.append(PROVIDER, granted)


def test_nobody_without_a_limit_may_owe_anything_and_nobody_owes_itself() -> None:
    history = History()
    assert reserve(history, 1) == "may owe 0 microcredits, owes or may come to owe 0, and this may cost 1"
    assert reserve(history, 0) == ""
    assert CREDIT.reserve(history.state, OWNER.public, OWNER.public, 10**9, 0) == ""
    assert CREDIT.grant(history.state, OWNER.public, OWNER.public, 5) is None


def room(history: History) -> int:
    """The most that the owner may come to owe besides what it does."""
    amounts = [amount for amount in range(5 * DUE_MICROCREDITS) if not reserve(history, amount)]
    assert amounts == list(range(len(amounts)))
    return amounts[-1]


def test_a_lease_counts_whole_from_its_beginning_and_as_it_turned_out_at_its_end() -> None:
    s = leased()
    s.history.credit_limit(PROVIDER, OWNER, 4 * DUE_MICROCREDITS)
    assert room(s.history) == 4 * DUE_MICROCREDITS - LEASE_MICROCREDITS
    receipt = s.history.receipt(s.lease)
    assert room(s.history) == 3 * DUE_MICROCREDITS
    settlement = s.history.settlement(receipt)
    assert room(s.history) == 3 * DUE_MICROCREDITS
    iou = sign_next(s.history)
    assert iou is not None
    assert iou.body["settlements"] == (settlement.id,)
    assert room(s.history) == 3 * DUE_MICROCREDITS
    s.history.discharge(iou, DUE_MICROCREDITS)
    assert room(s.history) == 4 * DUE_MICROCREDITS


def test_another_debtors_leases_take_no_room() -> None:
    s = leased()
    s.history.credit_limit(PROVIDER, OTHER, 5)
    assert CREDIT.reserve(s.history.state, PROVIDER.public, OTHER.public, 5, END_MS) == ""


def test_who_is_overdue_gets_nothing_more_until_it_acknowledges() -> None:
    s = settled()
    lease, due_at_ms = only_lease(s.history), END_MS + PAYMENT_DUE_MS
    assert CREDIT.verify_receipt(s.history.state, lease, due_at_ms) is Standing.OPEN
    assert reserve(s.history, 1, now_ms=due_at_ms) == ""
    assert CREDIT.verify_receipt(s.history.state, lease, due_at_ms + 1) is Standing.OVERDUE
    assert f"was to be acknowledged by {due_at_ms} ms" in reserve(s.history, 1, now_ms=due_at_ms + 1)
    sign_next(s.history)
    assert CREDIT.verify_receipt(s.history.state, lease, due_at_ms + 1) is Standing.ACKNOWLEDGED
    assert reserve(s.history, 1, now_ms=due_at_ms + 1) == ""


def test_what_is_promised_once_is_not_promised_again() -> None:
    s = settled()
    assert sign_next(s.history) is not None
    assert sign_next(s.history) is None
    assert s.history.state.voids == {}


def test_nothing_is_promised_without_a_limit() -> None:
    s = leased()
    s.history.settlement(s.history.receipt(s.lease))
    assert sign_next(s.history) is None


def test_promises_stop_at_the_limit_and_go_on_when_something_was_paid() -> None:
    s = leased()
    for number in range(3):
        s.history.settlement(s.history.receipt(s.lease, final=number == 2))
    s.history.credit_limit(PROVIDER, OWNER, 2 * DUE_MICROCREDITS)
    iou = sign_next(s.history)
    assert iou is not None
    assert iou.body["total"] == 2 * DUE_MICROCREDITS
    assert sign_next(s.history) is None
    s.history.discharge(iou, DUE_MICROCREDITS)
    last = sign_next(s.history)
    assert last is not None
    assert last.body["total"] == 3 * DUE_MICROCREDITS
    assert s.history.state.voids == {}


def test_many_settlements_take_several_promises() -> None:
    s = leased()
    s.history.credit_limit(PROVIDER, OWNER)
    for number in range(IOU_SETTLEMENTS_MAX + 1):
        row = slot_energy()
        receipt = s.history.receipt(s.lease, row, busy_ms=1000, deltas=(digest(f"delta {number}"),), final=False)
        s.history.settlement(receipt)
    named = []
    while (iou := sign_next(s.history)) is not None:
        named.append(len(iou.body["settlements"]))
    assert named == [IOU_SETTLEMENTS_MAX, 1]
    assert s.history.state.voids == {}
