"""Yearly traces of a zone's hourly intensity, from CSV as Electricity Maps gives it out. Pure: lines in, arrays out."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from node.json_lines import quoted
from node.study.allocate import Floats
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
    values: list[float] = []
    filled = 0
    expected: datetime | None = None
    for number, row in enumerate(_rows(name, lines), 2):
        try:
            hour = _utc(datetime.fromisoformat(row[TIME]))
            following = hour + timedelta(hours=1)
            value = None if row[INTENSITY] == "" else float(row[INTENSITY])
        except (TypeError, ValueError, OverflowError) as error:
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
        expected = following
    return Trace(name, np.array(values), filled)


def _rows(name: str, lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """Each row by its columns. Raises LocalError for what is no CSV of text, or lacks a column."""
    number = 1
    try:
        rows = csv.DictReader(lines)
        if missing := {TIME, INTENSITY} - set(rows.fieldnames or ()):
            raise _fault(name, number, f"there is no column {min(missing)}")
        number += 1
        for row in rows:
            yield row
            number += 1
    except (csv.Error, UnicodeDecodeError) as error:
        raise _fault(name, number, str(error)) from None


def _utc(hour: datetime) -> datetime:
    """Without a zone, as the column's name says; an offset counts."""
    return hour if hour.tzinfo is None else hour.astimezone(UTC).replace(tzinfo=None)


def _fault(name: str, row: int, complaint: str) -> LocalError:
    return LocalError(
        "HEL-STUDY-002",
        f"trace {name}, row {row}: {complaint}",
        f"Give hourly rows in order, with the columns {TIME} (start of the hour, UTC) and {INTENSITY}.",
    )
