"""What others foretold, and when: the forecasts of sources, kept so that each is judged by what came of it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from node.energy.forecast.history import Hours, hourly
from node.energy.source import Reading
from protocol.units import MS_PER_HOUR


@dataclass(frozen=True, slots=True)
class Issue:
    """One answer of a ForecastingSource: what it expected at `issued_ms`."""

    issued_ms: int
    readings: tuple[Reading, ...]


def foretold(issues: Sequence[Issue], origins: Sequence[int], hours: int) -> Hours:
    """For each origin (an hour since 1970) what the newest issue before it says of the next `hours`, in the unit of its
    readings: [origins, hours], NaN where it says nothing. Issues are in order of time."""
    table = np.full((len(origins), hours), np.nan)
    for row, origin in enumerate(origins):
        known = bisect_right(issues, origin * MS_PER_HOUR, key=lambda issue: issue.issued_ms)
        if known:
            table[row] = _hours_of(issues[known - 1], origin, hours)
    return table


def _hours_of(issue: Issue, first_hour: int, hours: int) -> Hours:
    figures = [reading for reading in issue.readings if reading.end_ms > reading.start_ms]
    start_ms, end_ms, value = (
        np.array(column, np.float64)
        for column in (
            [reading.start_ms for reading in figures],
            [reading.end_ms for reading in figures],
            [reading.value for reading in figures],
        )
    )
    return hourly(value, start_ms, end_ms, first_hour, hours)
