"""The neutral format: jobs, forecasts and hours to decide, as strangers write them (FORMAT.md). Bounded, then read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Final, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from node.json_lines import QUOTED_MAX_CHARACTERS, Malformed, located, quoted
from node.study.allocate import Floats, Throughput

LINE_MAX_BYTES: Final = 4 * 2**20  # 64 zones with a day-ahead value for each hour of a year take a little more
HISTORY_HOURS: Final = 168
WINDOW_MAX_HOURS: Final = 8_784

Id = Annotated[str, Field(min_length=1, max_length=200)] | Annotated[int, Field(ge=0, lt=2**63)]
ZoneName = Annotated[str, Field(min_length=1, max_length=64)]
Hour = Annotated[int, Field(ge=0, le=2**40)]
Work = Annotated[float, Field(ge=0, le=1e9)]
Intensity = Annotated[float, Field(ge=0, le=100_000)]
Series = dict[ZoneName, Annotated[list[Intensity], Field(max_length=WINDOW_MAX_HOURS)]]


def malformed(line: int, field: str, check: int, complaint: str) -> Malformed:
    """The refusal of one field of one line."""
    return Malformed(
        "HEL-STUDY-001",
        located(line, field, check, complaint),
        "Correct the line; node/study/FORMAT.md says what it may hold.",
    )


class _Line(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)

    id: Id


class Job(_Line):
    """What is to be done, where and by when."""

    zones: Annotated[list[ZoneName], Field(min_length=1, max_length=64)]
    arrival: Hour
    deadline: Hour
    work: Work
    throughput: Annotated[list[Work], Field(min_length=2, max_length=65)]
    move_cost: Work | None = None

    @property
    def window(self) -> int:
        return self.deadline - self.arrival


class Forecast(_Line):
    """All that a planner may see of a job's zones."""

    arrival: Hour
    history: Series
    dayahead: Series | None = None


class JobHour(Job):
    """One hour of a job, to be decided. `left` is work; `at` the zone last run in."""

    hour: Hour
    left: Work
    at: ZoneName | None
    history: Series
    dayahead: Series | None = None


AnyLine = TypeVar("AnyLine", bound=_Line)


def read(lines: Iterable[bytes], model: type[AnyLine]) -> Iterator[tuple[int, AnyLine]]:
    """Each line's number, from 1, and what it says; empty lines are none. Raises Malformed (checks 1 and 2)."""
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_MAX_BYTES:
            raise malformed(number, "", 1, f"longer than {LINE_MAX_BYTES} bytes")
        if not line.strip():
            continue
        try:
            yield number, model.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            if first["type"] in ("json_invalid", "model_type"):
                raise malformed(number, "", 1, f"not a JSON object: {first['msg']}") from None
            field = ".".join(str(part)[:QUOTED_MAX_CHARACTERS] for part in first["loc"])
            raise malformed(number, quoted(field)[1:-1], 2, f"{quoted(first['input'])}: {first['msg']}") from None


def throughput_of(job: Job, line: int) -> Throughput:
    """The job's throughput, its fields having been held against each other. Raises Malformed (check 3)."""
    if not 0 < job.window <= WINDOW_MAX_HOURS:
        raise malformed(
            line, "deadline", 3, f"{job.deadline} is not 1 to {WINDOW_MAX_HOURS} hours after arrival {job.arrival}"
        )
    if len(set(job.zones)) < len(job.zones):
        raise malformed(line, "zones", 3, "a zone is named twice")
    try:
        return Throughput.of(job.throughput)
    except ValueError as error:
        raise malformed(line, "throughput", 3, str(error)) from None


def table(series: Mapping[str, list[float]], zones: Iterable[str], hours: int, line: int, field: str) -> Floats:
    """[zones, hours]. Raises Malformed (check 6)."""
    rows = []
    for zone in zones:
        values = series.get(zone, [])
        if len(values) != hours:
            name = f"{field}.{quoted(zone)[1:-1]}"
            raise malformed(line, name, 6, f"{len(values)} values; {hours} are needed")
        rows.append(values)
    return np.array(rows, dtype=np.float64)
