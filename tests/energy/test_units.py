"""Facts about units: what a figure may be in, and that a watt never becomes a watt-hour."""

from __future__ import annotations

import pytest

from node.energy.source import Kind, SourceError
from node.energy.units import UNITS, VALUE_MAX, converted


@pytest.mark.parametrize(
    ("value", "unit", "kind", "expected"),
    [
        ("1.5", "kW", Kind.POWER, 1500),
        (0.1, "kWh", Kind.COUNTER, 360_000),
        ("999.9", "lbs_co2_per_mwh", Kind.MARGINAL, 454),
        ("322", "gCO2eq/kWh", Kind.AVG_LIFECYCLE, 322),
        ("61.25", "%", Kind.CARBON_FREE, 612),
        (0, "W", Kind.POWER, 0),
    ],
)
def test_converted(value: str | float, unit: str, kind: Kind, expected: int) -> None:
    assert converted(value, unit, kind) == expected


@pytest.mark.parametrize("unit", [unit for unit, (kinds, _) in UNITS.items() if Kind.POWER not in kinds])
def test_nothing_but_power_becomes_power(unit: str) -> None:
    with pytest.raises(SourceError, match=r"is none of a power \(W, kW, MW\)"):
        converted("1", unit, Kind.POWER)


@pytest.mark.parametrize(
    "value", ["", "1,5", "0x10", "inf", "nan", "-0.1", str(VALUE_MAX + 1), "1e400", "1e999999", None]
)
def test_refuse_what_is_no_bounded_number(value: str) -> None:
    with pytest.raises(SourceError):
        converted(value, "kW", Kind.POWER)


def test_no_share_is_more_than_all() -> None:
    assert converted("100.00000000000001", "%", Kind.CARBON_FREE) == 1000
    with pytest.raises(SourceError, match=r"100\.1 % is out of range"):
        converted("100.1", "%", Kind.CARBON_FREE)


def test_a_strange_unit_is_quoted_and_cut() -> None:
    with pytest.raises(SourceError) as raised:
        converted("1", "\x1b[31m" + "x" * 100, Kind.POWER)
    assert "\x1b" not in raised.value.cause
    assert len(raised.value.cause) < 100
