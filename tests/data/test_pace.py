"""Facts about the pace of connections: each address has its own, and a flood of addresses costs no memory."""

from __future__ import annotations

import pytest

from node.data import pace as p
from node.data.pace import Pace, group_of


def begun(pace: Pace, group: str, tries: int, now_s: float) -> int:
    return sum(pace.allows(group, now_s) for _ in range(tries))


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    pace = Pace()
    assert begun(pace, "a", 1000, 0) == p.BURST
    assert begun(pace, "a", 1000, 2) == 2 * p.RATE_PER_S
    assert begun(pace, "b", 1000, 2) == p.BURST


def test_who_has_rested_has_no_more_than_a_burst() -> None:
    pace = Pace()
    begun(pace, "a", 1, 0)
    assert begun(pace, "a", 1000, 10**6) == p.BURST


def test_addresses_without_end_take_no_more_than_a_bound_and_the_latest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(p, "ADDRESSES_MAX", 10)
    pace = Pace()
    for number in range(100):
        pace.allows(str(number), number)
    assert list(pace.tokens) == [str(number) for number in range(90, 100)]


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
    ],
)
def test_addresses_that_one_customer_has_are_one(address: str, group: str) -> None:
    assert group_of(address) == group
