"""Answers in the neutral format: a plan for a job and its forecast, and a width for an hour of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from node.energy.forecast import intensity
from node.json_lines import quoted
from node.study.allocate import Floats, Throughput
from node.study.lines import HISTORY_HOURS, Forecast, Job, JobHour, malformed, read, table, throughput_of
from node.study.planner import Plan, plan

JOBS_REMEMBERED: Final = 10_000  # by a replay; the longest unasked is forgotten first

Run = tuple[int, str, float]  # hour, zone, width
Decision = tuple[str | None, float]  # zone and width; (None, 0) is idle


@dataclass(frozen=True, slots=True)
class Asked:
    """A job, and the line that it stands in."""

    line: int
    job: Job
    throughput: Throughput


@dataclass(frozen=True, slots=True)
class Planned:
    """A job's running hours, and the grams expected of them. `is_enough`: they do the work."""

    job: Job
    runs: list[Run]
    expected_g: float
    is_enough: bool


def expected(history: Floats, hour: int, hours: int) -> Floats:
    """The intensities [zones, hours] from `hour` on, after histories [zones, HISTORY_HOURS]."""
    first_hour_utc = (hour - HISTORY_HOURS) % 24
    return np.array([intensity.forecast(zone, first_hour_utc, hours).s50 for zone in history])


def jobs_of(lines: Iterable[bytes]) -> dict[str | int, Asked]:
    """The jobs of a file by id. Raises Malformed (checks 1 to 4)."""
    jobs: dict[str | int, Asked] = {}
    for line, job in read(lines, Job):
        if job.id in jobs:
            raise malformed(line, "id", 4, f"{quoted(job.id)} is already the job of line {jobs[job.id].line}")
        jobs[job.id] = Asked(line, job, throughput_of(job, line))
    return jobs


def plans(jobs: Mapping[str | int, Asked], forecasts: Iterable[bytes]) -> Iterator[Planned]:
    """A plan for each job, in the order of the forecasts. Raises Malformed (checks 1, 2 and 4 to 6)."""
    planned: set[str | int] = set()
    line = 0
    for line, forecast in read(forecasts, Forecast):
        if forecast.id in planned:
            raise malformed(line, "id", 4, f"a second forecast for job {quoted(forecast.id)}")
        if forecast.id not in jobs:
            raise malformed(line, "id", 5, f"there is no job {quoted(forecast.id)}")
        planned.add(forecast.id)
        asked = jobs[forecast.id]
        job = asked.job
        if forecast.arrival != job.arrival:
            raise malformed(line, "arrival", 5, f"{forecast.arrival}, where the job says {job.arrival}")
        prices = _prices(forecast, job, job.arrival, line)
        yield _named(job, plan(prices, asked.throughput, job.work, job.move_cost))
    for name in jobs:
        if name not in planned:
            raise malformed(line, "", 5, f"the last line, and job {quoted(name)} has had no forecast")


class Replay:
    """Decides hour by hour. It remembers what it answered about a job, since `left` may lack what its moves cost."""

    def __init__(self) -> None:
        self._owed: OrderedDict[str | int, tuple[int, float]] = OrderedDict()  # job: next hour, work left then

    def decide(self, job: JobHour, line: int) -> Decision:
        """The zone and width of one hour. Raises Malformed (checks 3, 6 and 7)."""
        throughput = throughput_of(job, line)
        if not job.arrival <= job.hour < job.deadline:
            raise malformed(line, "hour", 7, f"{job.hour} is not within {job.arrival} to {job.deadline}")
        if job.at is not None and job.at not in job.zones:
            raise malformed(line, "at", 7, f"{quoted(job.at)} is none of the job's zones")
        prices = _prices(job, job, job.hour, line)
        at = None if job.at is None else job.zones.index(job.at)
        next_hour, owed = self._owed.pop(job.id, (job.hour, 0.0))
        left = max(job.left, owed) if next_hour == job.hour and at is not None else job.left
        made = plan(prices, throughput, left, job.move_cost, at)
        zone, width = int(made.zones[0]), float(made.widths[0])
        moved = width > 0 and at is not None and zone != at
        left += (job.move_cost or 0.0) * moved - throughput.work(made.widths[:1])
        self._owed[job.id] = job.hour + 1, left
        if len(self._owed) > JOBS_REMEMBERED:
            self._owed.popitem(last=False)
        return (job.zones[zone], width) if width > 0 else (None, 0)


def _prices(seen: Forecast | JobHour, job: Job, hour: int, line: int) -> Floats:
    hours = job.deadline - hour
    history = table(seen.history, job.zones, HISTORY_HOURS, line, "history")
    if seen.dayahead is not None:
        return table(seen.dayahead, job.zones, hours, line, "dayahead")
    return expected(history, hour, hours)


def _named(job: Job, made: Plan) -> Planned:
    runs = [
        (job.arrival + int(hour), job.zones[made.zones[hour]], float(made.widths[hour]))
        for hour in np.flatnonzero(made.widths > 0)
    ]
    return Planned(job, runs, made.grams, made.is_enough)
