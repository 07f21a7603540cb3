"""`heliotrope credit`: accounts as a table, payments in credits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.test_credit import DEBTOR, DUE, lender

from .conftest import Heliotrope, Running, running


@pytest.fixture
def creditor(tmp_path: Path) -> Iterator[Running]:
    """A node to which somebody owes 0.006667 credits, in the default home."""
    with running(lender(tmp_path), tmp_path / "home") as up:
        yield up


def test_accounts_are_listed(heliotrope: Heliotrope, creditor: Running) -> None:
    said = heliotrope("credit", "list")
    assert said.code == 0
    assert "0.02 credits" in said.out
    assert "0.006667 credits" in said.out
    assert heliotrope("credit", "list", "--json").json["accounts"][0]["acknowledged_microcredits"] == DUE


def test_a_payment_is_given_in_credits_over_all_time(heliotrope: Heliotrope, creditor: Running) -> None:
    said = heliotrope("credit", "paid", DEBTOR.public.hex(), "0.005", "--json")
    assert said.json["paid_microcredits"] == 5000
    assert heliotrope("credit", "paid", DEBTOR.public.hex(), "0.006").code == 0
    assert heliotrope("credit", "paid", DEBTOR.public.hex(), "0.001").code == 2


@pytest.mark.parametrize("total", ["nan", "inf", "-inf", "1e300", "0.0000001"])
def test_a_sum_that_cannot_be_booked_is_refused(heliotrope: Heliotrope, creditor: Running, total: str) -> None:
    said = heliotrope("credit", "paid", DEBTOR.public.hex(), "--", total)
    assert said.code == 2
    assert "HEL-CREDIT-003" in said.err


def test_without_accounts_it_says_so(heliotrope: Heliotrope, node: Running) -> None:
    assert "no accounts" in heliotrope("credit", "list").out
