"""The numbered checks of limits, IOUs and discharges: each broken, and each just kept."""

from __future__ import annotations

import pytest

from protocol.credit import UNIT, Discharge, Iou
from protocol.envelope import Entry
from tests.builders import History

from .scenes import DUE_MICROCREDITS, OTHER, OWNER, PROVIDER, Settled, assert_valid, assert_void, leased, settled

PAIR = (OWNER.public, PROVIDER.public, UNIT)


def settled_parts(limit: int) -> tuple[History, Entry, list[Entry]]:
    """Three receipts of one lease, each settled at what is due, and a limit."""
    s = leased()
    granted = s.history.credit_limit(PROVIDER, OWNER, limit)
    receipts = [s.history.receipt(s.lease, final=number == 2) for number in range(3)]
    return s.history, granted, [s.history.settlement(receipt) for receipt in receipts]


# --- credit_limit -----------------------------------------------------------------------------------------------------


def test_void_credit_limit_check_1_for_oneself() -> None:
    history = History()
    assert_void(history, history.credit_limit(OWNER, OWNER), 1, "is the author itself")
    assert history.state.accounts == {}


def test_valid_credit_limit_check_1_the_latest_counts() -> None:
    history = History()
    for limit in (5, 0, 7):
        assert_valid(history, history.credit_limit(PROVIDER, OWNER, limit))
    account = history.state.accounts[PAIR]
    assert account.limit is not None
    assert account.limit.limit == 7


# --- iou --------------------------------------------------------------------------------------------------------------


def test_void_iou_check_1_limit_is_not_referred_to() -> None:
    s = settled()
    fields = {"creditor": PROVIDER.public, "unit": UNIT, "total": DUE_MICROCREDITS, "limit": s.limit.id}
    body = Iou.model_validate(fields | {"discharge": None, "settlements": (s.settlement.id,)})
    assert_void(s.history, s.history.append(OWNER, body, s.settlement.id), 1, "limit")


def test_void_iou_check_1_limit_is_for_another_debtor() -> None:
    s = settled()
    foreign = s.history.credit_limit(PROVIDER, OTHER)
    void = s.history.iou(foreign, s.settlement, author=OWNER)
    assert_void(s.history, void, 1, f"is not {PROVIDER.public.hex()[:8]}'s for the author")


def test_void_iou_check_1_limit_is_another_creditors() -> None:
    s = settled()
    foreign = s.history.credit_limit(OTHER, OWNER)
    assert_void(s.history, s.history.iou(foreign, s.settlement, creditor=PROVIDER.public), 1, "for the author")


def test_void_iou_check_1_returns_to_an_older_limit() -> None:
    history, old, settlements = settled_parts(10 * DUE_MICROCREDITS)
    new = history.credit_limit(PROVIDER, OWNER, DUE_MICROCREDITS)
    assert_valid(history, history.iou(new, settlements[0]))
    assert_void(history, history.iou(old, settlements[1]), 1, "is older than the last IOU's")


def test_void_iou_check_2_discharge_is_anothers() -> None:
    s = settled()
    others = leased()
    assert others is not s
    iou = s.history.iou(s.limit, s.settlement)
    paid = s.history.discharge(iou, 1)
    limit = s.history.credit_limit(OTHER, OWNER)
    void = s.history.iou(limit, s.settlement, discharge=paid.id)
    assert_void(s.history, void, 2, "is another account's")


def test_void_iou_check_2_forgets_a_discharge() -> None:
    history, limit, settlements = settled_parts(10 * DUE_MICROCREDITS)
    history.discharge(history.iou(limit, settlements[0]), 5)
    history.iou(limit, settlements[1])
    void = history.iou(limit, settlements[2], discharge=None)
    assert_void(history, void, 2, "discharge of seq -1 is older than the last IOU's")


def test_void_iou_check_2_returns_to_an_older_discharge() -> None:
    history, limit, settlements = settled_parts(10 * DUE_MICROCREDITS)
    first = history.iou(limit, settlements[0])
    old = history.discharge(first, 5)
    history.discharge(first, 6)
    history.iou(limit, settlements[1])
    assert_void(history, history.iou(limit, settlements[2], discharge=old.id), 2, "is older than the last IOU's")


def test_void_iou_check_3_acknowledges_a_settlement_twice() -> None:
    s = settled()
    s.history.iou(s.limit, s.settlement)
    assert_void(s.history, s.history.iou(s.limit, s.settlement), 3, "is none of the 0 that wait for an IOU")


def test_void_iou_check_3_names_a_settlement_twice() -> None:
    s = settled()
    void = s.history.iou(s.limit, s.settlement, s.settlement)
    assert_void(s.history, void, 3, "settlements are 2, of which only 1 differ")


def test_void_iou_check_3_of_a_settlement_that_owes_nothing() -> None:
    s = leased()
    limit = s.history.credit_limit(PROVIDER, OWNER)
    refused = s.history.settlement(s.history.receipt(s.lease), accepted=False)
    assert_void(s.history, s.history.iou(limit, refused, total=1), 3, "that wait for an IOU")


def test_void_iou_check_3_of_another_debtors_settlement() -> None:
    s = settled()
    limit = s.history.credit_limit(PROVIDER, OTHER)
    assert_void(s.history, s.history.iou(limit, s.settlement), 3, "is none of the 0 that wait for an IOU")


@pytest.mark.parametrize("total", [1, DUE_MICROCREDITS - 1])
def test_void_iou_check_4_decreased(total: int) -> None:
    history, limit, settlements = settled_parts(10 * DUE_MICROCREDITS)
    history.iou(limit, settlements[0])
    void = history.iou(limit, settlements[1], total=total)
    assert_void(history, void, 4, f"total {total} is below the last IOU's {DUE_MICROCREDITS}")


@pytest.mark.parametrize("off_by", [-1, 1])
def test_void_iou_check_5_grows_by_something_else_than_was_settled(off_by: int) -> None:
    history, limit, settlements = settled_parts(10 * DUE_MICROCREDITS)
    history.iou(limit, settlements[0])
    void = history.iou(limit, settlements[1], total=2 * DUE_MICROCREDITS + off_by)
    assert_void(history, void, 5, "is not 13334: 6667 and 6667 settled")


def test_void_iou_check_6_above_the_limit() -> None:
    history, limit, settlements = settled_parts(2 * DUE_MICROCREDITS - 1)
    history.iou(limit, settlements[0])
    assert_void(history, history.iou(limit, settlements[1]), 6, "is 13334 and exceeds limit 13333")


def test_void_iou_check_6_above_the_limit_although_something_was_paid() -> None:
    history, limit, settlements = settled_parts(DUE_MICROCREDITS)
    history.discharge(history.iou(limit, settlements[0]), DUE_MICROCREDITS - 1)
    void = history.iou(limit, settlements[1])
    assert_void(history, void, 6, "total 13334, less what was paid, is 6668 and exceeds limit 6667")


def test_valid_iou_check_1_to_6_up_to_the_limit_again_and_again_as_it_is_paid() -> None:
    history, limit, settlements = settled_parts(DUE_MICROCREDITS)
    for number, settlement in enumerate(settlements, start=1):
        iou = history.iou(limit, settlement)
        assert_valid(history, iou)
        assert_valid(history, history.discharge(iou, number * DUE_MICROCREDITS))
    account = history.state.accounts[PAIR]
    assert account.iou is not None
    assert account.discharge is not None
    assert account.iou.total == account.discharge.total == 3 * DUE_MICROCREDITS
    assert account.pending == {}


def test_valid_iou_check_3_and_5_several_settlements_at_once() -> None:
    history, limit, settlements = settled_parts(3 * DUE_MICROCREDITS)
    assert_valid(history, history.iou(limit, *settlements))


def test_a_void_iou_acknowledges_nothing() -> None:
    s = settled()
    s.history.iou(s.limit, s.settlement, total=1)
    assert list(s.history.state.accounts[PAIR].pending) == [s.settlement.id]
    assert_valid(s.history, s.history.iou(s.limit, s.settlement))


# --- discharge --------------------------------------------------------------------------------------------------------


def promised(s: Settled) -> Entry:
    return s.history.iou(s.limit, s.settlement)


def test_void_discharge_check_1_iou_is_not_referred_to() -> None:
    s = settled()
    body = Discharge(debtor=OWNER.public, unit=UNIT, total=1, iou=promised(s).id)
    assert_void(s.history, s.history.append(PROVIDER, body), 1, "iou")


def test_void_discharge_check_1_iou_is_owed_to_another() -> None:
    s = settled()
    assert_void(s.history, s.history.discharge(promised(s), 1, author=OTHER), 1, "'s to the author")


def test_void_discharge_check_1_iou_is_void() -> None:
    s = settled()
    void = s.history.iou(s.limit, s.settlement, total=1)
    assert_void(s.history, s.history.discharge(void, 1), 1, "is void or of another kind")


def test_void_discharge_check_2_takes_back_what_was_paid() -> None:
    s = settled()
    iou = promised(s)
    s.history.discharge(iou, 9)
    assert_void(s.history, s.history.discharge(iou, 8), 2, "total 8 is below the last discharge's 9")


def test_void_discharge_check_3_of_more_than_is_owed() -> None:
    s = settled()
    void = s.history.discharge(promised(s), DUE_MICROCREDITS + 1)
    assert_void(s.history, void, 3, f"total {DUE_MICROCREDITS + 1} exceeds the IOU's {DUE_MICROCREDITS}")


@pytest.mark.parametrize("total", [1, DUE_MICROCREDITS])
def test_valid_discharge_check_1_to_3_of_part_or_all(total: int) -> None:
    s = settled()
    assert_valid(s.history, s.history.discharge(promised(s), total))
