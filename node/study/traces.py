"""Yearly traces of a zone's hourly intensity, from CSV as Electricity Maps gives it out. Pure: lines in, arrays out."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from node.study.allocate import Floats
from node.study.lines import quoted
from protocol.errors import LocalError

TIME, INTENSITY = "ts_utc", "gco2e_per_kwh_lca"
HOURS_MAX: Final = 100_000  # eleven years
GAP_MAX_HOURS: Final = 48
INTENSITY_MAX: Final = 100_000.0


@dataclass(frozen=True, slots=True)
class Trace:
    """`g`: life-cycle g CO2e per kWh, one value an hour. `filled`: hours that had none, and got the one before."""

    name: str
    g: Floats
    filled: int


def read(name: str, lines: Iterable[str]) -> Trace:
    """A trace of this name. Raises LocalError, with the row, for what is no number, no hour, out of order, or a gap of
    more than two days."""
    rows = csv.DictReader(lines)
    if missing := {TIME, INTENSITY} - set(rows.fieldnames or ()):
        raise _fault(name, 1, f"there is no column {min(missing)}")
    values: list[float] = []
    filled = 0
    expected: datetime | None = None
    for number, row in enumerate(rows, 2):
        try:
            hour = datetime.fromisoformat(row[TIME]).replace(tzinfo=None)
            value = None if row[INTENSITY] == "" else float(row[INTENSITY])
        except (TypeError, ValueError) as error:
            raise _fault(name, number, str(error)) from None
        if value is not None and not 0 <= value <= INTENSITY_MAX:
            raise _fault(name, number, f"{INTENSITY} {value} is not from 0 to {INTENSITY_MAX:.0f}")
        gap = 0 if expected is None else (hour - expected) // timedelta(hours=1)
        if expected is not None and (hour < expected or gap > GAP_MAX_HOURS or (hour - expected) % timedelta(hours=1)):
            raise _fault(name, number, f"{TIME} {quoted(row[TIME])}, where {expected} was to come")
        if value is None and not values:
            raise _fault(name, number, f"{INTENSITY} is empty in the first row")
        filled += gap + (value is None)
        values += values[-1:] * gap
        values.append(values[-1] if value is None else value)
        if len(values) > HOURS_MAX:
            raise _fault(name, number, f"more than {HOURS_MAX} hours")
        expected = hour + timedelta(hours=1)
    return Trace(name, np.array(values), filled)


def _fault(name: str, row: int, complaint: str) -> LocalError:
    return LocalError(
        "HEL-STUDY-002",
        f"trace {name}, row {row}: {complaint}",
        f"Give hourly rows in order, with the columns {TIME} (start of the hour, UTC) and {INTENSITY}.",
    )
