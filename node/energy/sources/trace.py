"""A trace: figures that somebody wrote down, in a CSV file with a column of times and one of values.

For replaying a recorded year, and for what has an export but no interface. The file is read once, when it is opened,
and wholly judged then: a trace with a hole in it, or in another clock than it says, would be believed for months. A row
holds from its time until one step later; the step is that between the first two rows. A counter's row speaks of its
moment, and a power is told as that of the present one. A trace foretells nothing: what stands in later rows is not told
before its time. It is the one source that serves a network whose clock is not the world's.
"""

from __future__ import annotations

import csv
import os
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from node.energy.source import Kind, Reading, SourceError, SourceSection
from node.energy.units import converted
from protocol.messages import Method, Place

FILE_BYTES_MAX = 32 * 2**20
ROWS_MAX = 600_000  # a year of minutes has 527,040
FIELD_CHARACTERS_MAX = 256
# Guess, not measured: who wrote it down, and how well, is unknown here.
UNCERTAINTY_PERMILLE = 100
METHODS: dict[Kind, Method] = {Kind.COUNTER: "modelled", Kind.POWER: "modelled"}  # it was metered, but not now


class Trace(SourceSection):
    """`unit` is that of `value_column`. `repeat`: a time outside the trace is looked up in the trace's year."""

    reads_the_world: ClassVar = False

    source: Literal["trace"]
    path: Annotated[str, Field(min_length=1)]
    kind: Kind
    value_column: Annotated[str, Field(min_length=1, max_length=FIELD_CHARACTERS_MAX)]
    unit: Annotated[str, Field(min_length=1, max_length=32)]
    time_column: Annotated[str, Field(min_length=1, max_length=FIELD_CHARACTERS_MAX)] = "time"
    time_zone: Literal["UTC"] | None = None  # of times that name none
    repeat: bool = False
    allow_gaps: bool = False  # there is no figure within one
    negative_is_zero: bool = False  # of a power: what an inverter itself draws at night

    @model_validator(mode="after")
    def _only_what_can_be(self) -> Trace:
        if self.repeat and self.kind is Kind.COUNTER:
            raise ValueError("repeat with kind counter: a counter that begins again goes back; use its power")
        if self.negative_is_zero and self.kind is not Kind.POWER:
            raise ValueError(f"negative_is_zero with kind {self.kind.value}: only a power may be below zero")
        return self

    def open(self, place: Place) -> TraceSource:
        return TraceSource(self)


class TraceSource:
    """One column of a file."""

    def __init__(self, section: Trace) -> None:
        """Raises SourceError, naming the line, for a file that is no whole trace."""
        self.kind = section.kind
        self._section = section
        path = Path(section.path).expanduser()
        self._name = path.name[:64]
        self._starts_ms, self._values = array("q"), array("q")
        self._step_ms = 0
        try:
            if (size := path.stat().st_size) > FILE_BYTES_MAX:
                raise SourceError(f"{path} has {size} bytes, {FILE_BYTES_MAX} are allowed", "Cut it into shorter ones.")
            with path.open(encoding="utf-8-sig", newline="") as file:
                self._load(_rows(file, path, (section.time_column, section.value_column)))
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {os.strerror(error.errno or 0)}", "Check path.") from None
        except UnicodeDecodeError:
            raise SourceError(f"{path} is not UTF-8 text", "Save it as CSV in UTF-8.") from None
        if len(self._starts_ms) < 2:
            raise SourceError(f"{path} has {len(self._starts_ms)} rows, at least 2 are needed", "See what wrote it.")

    def read(self, now_ms: int) -> Reading:
        """The row that holds now; of a counter, the newest. Raises SourceError outside the trace and in its gaps."""
        shifted_ms = self._in_trace(now_ms)
        index = bisect_right(self._starts_ms, shifted_ms) - 1
        if index < 0 or shifted_ms >= self._starts_ms[index] + self._step_ms:
            raise SourceError(
                f"{self._name} has no figure for {_shown(shifted_ms)}; it lasts from {_shown(self._starts_ms[0])}"
                f" to {_shown(self._starts_ms[-1] + self._step_ms)}",
                "Take a trace of this time; or set repeat = true.",
            )
        section = self._section
        start_ms = now_ms - shifted_ms + self._starts_ms[index]
        if self.kind is Kind.POWER:
            start_ms = end_ms = now_ms
        else:
            end_ms = start_ms + (0 if self.kind is Kind.COUNTER else self._step_ms)
        year = f", of {datetime.fromtimestamp(shifted_ms // 1000, UTC).year}" if shifted_ms != now_ms else ""
        return Reading(
            kind=self.kind,
            value=self._values[index],
            start_ms=start_ms,
            end_ms=end_ms,
            method=METHODS.get(self.kind, "grid_mix"),
            uncertainty_permille=section.uncertainty_or(UNCERTAINTY_PERMILLE),
            provenance=f"trace {self._name} {section.value_column[:40]}{year}",
        )

    def _in_trace(self, now_ms: int) -> int:
        """The same time, or with `repeat` the same day and hour of a year that the trace has, the first that does."""
        first_ms, end_ms = self._starts_ms[0], self._starts_ms[-1] + self._step_ms
        if not self._section.repeat or first_ms <= now_ms < end_ms:
            return now_ms
        first_year, last_year = (datetime.fromtimestamp(ms // 1000, UTC).year for ms in (first_ms, end_ms))
        shifted = (_moved_to(year, now_ms) for year in range(first_year, last_year + 1))
        return next((ms for ms in shifted if first_ms <= ms < end_ms), now_ms)

    def _load(self, rows: Iterable[tuple[int, str, str]]) -> None:
        before_ms = before = 0
        for line, time, written in rows:
            if len(self._starts_ms) == ROWS_MAX:
                raise _at(line, f"one row more than the {ROWS_MAX} that are allowed", "Cut it into shorter ones.")
            at_ms = self._time_ms(line, time)
            value = self._value(line, written)
            if self._starts_ms:
                self._check_step(line, at_ms - before_ms)
                if self.kind is Kind.COUNTER and value < before:
                    raise _at(line, f"the counter falls from {before} to {value} J", "Cut the file where it was reset.")
            self._starts_ms.append(at_ms)
            self._values.append(value)
            before_ms, before = at_ms, value

    def _time_ms(self, line: int, written: str) -> int:
        try:
            time = datetime.fromisoformat(written.strip())
        except ValueError:
            raise _at(line, f"{written[:40]!r} is no time", "Write times as 2026-06-21T12:00:00Z.") from None
        if time.tzinfo is None:
            if self._section.time_zone is None:
                raise _at(
                    line,
                    f"time {written[:40]!r} names no zone: with daylight saving an hour of it would be there twice",
                    'Write UTC or an offset; if the file is in UTC, set time_zone = "UTC".',
                )
            time = time.replace(tzinfo=UTC)
        return round(time.timestamp() * 1000)

    def _value(self, line: int, written: str) -> int:
        section = self._section
        try:
            value = Decimal(written.strip())
        except InvalidOperation:
            raise _at(line, f"value {written[:40]!r} is no number", "Fill or cut what is missing.") from None
        if section.negative_is_zero and value.is_finite() and value < 0:
            value = Decimal(0)
        try:
            return converted(value, section.unit, self.kind)
        except SourceError as error:
            remedy = " Or set negative_is_zero = true." if value.is_finite() and value < 0 else ""
            raise _at(line, error.cause, error.remedy + remedy) from None

    def _check_step(self, line: int, passed_ms: int) -> None:
        """Raises SourceError for a row that does not follow the one before it."""
        if passed_ms <= 0:
            what = "the time of the row before it again" if passed_ms == 0 else "an earlier time than the row before it"
            raise _at(line, what, "Sort it, and drop what is there twice. Local times do that in autumn: use UTC.")
        if not self._step_ms:
            self._step_ms = passed_ms
        if passed_ms < self._step_ms:
            raise _at(line, f"{passed_ms} ms after the row before it, the step is {self._step_ms} ms", "Resample it.")
        if passed_ms > self._step_ms and not self._section.allow_gaps:
            raise _at(
                line,
                f"a gap: {passed_ms} ms after the row before it, the step is {self._step_ms} ms",
                "Fill it; or set allow_gaps = true, then there is no figure within it.",
            )


def _rows(lines: Iterable[str], path: Path, columns: tuple[str, str]) -> Iterator[tuple[int, str, str]]:
    """Number of the line, time and value, as written."""
    reader = csv.reader(lines, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in columns if header.count(name) != 1]
        if missing:
            raise SourceError(
                f"{path} has no column {missing[0]!r}, or has it twice; it has {', '.join(header)[:200]!r}",
                "Set time_column and value_column.",
            )
        time_index, value_index = (header.index(name) for name in columns)
        for row in reader:
            if len(row) != len(header):
                raise _at(reader.line_num, f"{len(row)} fields, the header has {len(header)}", "See what wrote it.")
            yield reader.line_num, row[time_index], row[value_index]
    except csv.Error as error:
        raise _at(reader.line_num, f"no CSV: {error}", "See what wrote it.") from None


def _at(line: int, what: str, remedy: str) -> SourceError:
    return SourceError(f"line {line} of the trace: {what}", remedy)


def _moved_to(year: int, at_ms: int) -> int:
    """The same month, day and time in another year; of 29 February, the 28th where there is none."""
    seconds, ms = divmod(at_ms, 1000)
    moment = datetime.fromtimestamp(seconds, UTC)
    try:
        moment = moment.replace(year=year)
    except ValueError:
        moment = moment.replace(year=year, day=28)
    return round(moment.timestamp()) * 1000 + ms


def _shown(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
