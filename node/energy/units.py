"""From the units that services and devices speak to the integers of a Reading: a watt never becomes a watt-hour."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from node.energy.source import Kind, SourceError

_POWER = frozenset({Kind.POWER})
_ENERGY = frozenset({Kind.COUNTER})
_INTENSITY = frozenset({Kind.AVG_LIFECYCLE, Kind.AVG_DIRECT, Kind.MARGINAL})
_SHARE = frozenset({Kind.CARBON_FREE})

# Unit as written → (the kinds it can be of, how many of the kind's own unit it is). One pound is 453.59237 g, by
# definition. Spellings: Home Assistant, UCUM, and what the web services print.
UNITS: Final[dict[str, tuple[frozenset[Kind], Decimal]]] = {
    "W": (_POWER, Decimal(1)),
    "kW": (_POWER, Decimal(1000)),
    "MW": (_POWER, Decimal(1_000_000)),
    "J": (_ENERGY, Decimal(1)),
    "kJ": (_ENERGY, Decimal(1000)),
    "MJ": (_ENERGY, Decimal(1_000_000)),
    "GJ": (_ENERGY, Decimal(1_000_000_000)),
    "Wh": (_ENERGY, Decimal(3600)),
    "kWh": (_ENERGY, Decimal(3_600_000)),
    "MWh": (_ENERGY, Decimal(3_600_000_000)),
    "g/kWh": (_INTENSITY, Decimal(1)),
    "gCO2eq/kWh": (_INTENSITY, Decimal(1)),
    "kg/MWh": (_INTENSITY, Decimal(1)),
    "lbs_co2_per_mwh": (_INTENSITY, Decimal("0.45359237")),
    "%": (_SHARE, Decimal(10)),
    "permille": (_SHARE, Decimal(1)),
}
VALUE_MAX = 2**53 - 1


def converted(value: str | float | Decimal, unit: str, kind: Kind) -> int:
    """`value` in `unit` as an integer in the unit of `kind`, rounded to the nearest.

    Raises SourceError for what is no finite number, is below zero or beyond VALUE_MAX (a share: above all there is),
    or for a unit that the kind cannot have.
    """
    known = UNITS.get(unit)
    if known is None or kind not in known[0]:
        fitting = ", ".join(name for name, (kinds, _) in UNITS.items() if kind in kinds)
        raise SourceError(
            f"unit {unit[:32]!r} is none of a {kind.value} ({fitting})", "Name the right sensor, or set its unit."
        )
    try:
        exact = Decimal(str(value)) * known[1]
    except ArithmeticError:  # no number, or one that no exponent holds
        raise SourceError(f"value {str(value)[:32]!r} is no number", "Look at the source itself.") from None
    in_range = exact.is_finite() and 0 <= exact <= VALUE_MAX
    if not in_range or (kind is Kind.CARBON_FREE and round(exact) > 1000):
        raise SourceError(f"value {str(value)[:32]} {unit} is out of range", "Look at the source itself.")
    return round(exact)
