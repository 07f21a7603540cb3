"""The reality check: jobs of several lengths and slacks on a year of real hours, by our planner and by its rivals.

Every planner but the oracle sees the hours before the present one alone. What a plan emits is counted on the hours as
they came. Means are over jobs, each job's grams against its own baseline, so that long jobs count no more than short.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from node.study import rivals
from node.study.allocate import Floats, Throughput, allocate
from node.study.answer import expected
from node.study.lines import HISTORY_HOURS
from node.study.planner import plan
from node.study.route import moves
from node.study.traces import Trace
from protocol.errors import LocalError

WORKS_H: Final = (6, 24, 72)
SLACKS: Final = (0.0, 0.5, 1.0, 2.0)
THROUGHPUT: Final = Throughput.of((0.0, 1.0, 1.9, 2.7, 3.4))
MOVE_WORK_H: Final = 0.5

Widths = Callable[["Seen", int, int, float], Floats]  # trace, arrival, window, work → width of each hour


@dataclass(frozen=True, slots=True)
class Score:
    """One planner on one trace: means over the jobs, in shares."""

    planner: str
    saved: float  # of the grams of starting now
    above_oracle: float


@dataclass(frozen=True, slots=True)
class Apart:
    """Several zones: means over the jobs, each against the cleanest zone alone planned by the same planner."""

    zones: tuple[str, ...]
    cleanest: str  # by its mean over the year
    cleanest_hours: float  # share of hours in which it is the cleanest
    saved: float  # of the cleanest zone's grams, with moves; below 0: worse
    saved_by_oracle: float
    moves: float  # a job


class Seen:
    """A trace, and what was expected of it at each of its hours: forecast once, whoever asks."""

    def __init__(self, trace: Trace) -> None:
        self.name, self.g = trace.name, trace.g
        self._expected: dict[int, Floats] = {}

    def ahead(self, hour: int, hours: int) -> Floats:
        if hour not in self._expected:
            history = self.g[None, hour - HISTORY_HOURS : hour]
            self._expected[hour] = expected(history, hour, max(windows()))[0]
        return self._expected[hour][:hours]


def windows() -> tuple[int, ...]:
    return tuple(round(work * (1 + slack)) for work in WORKS_H for slack in SLACKS)


def once(seen: Seen, arrival: int, hours: int, work: float) -> Floats:
    return allocate(seen.ahead(arrival, hours), THROUGHPUT, work)


def hourly(seen: Seen, arrival: int, hours: int, work: float, *, known: int = 0) -> Floats:
    """Planned again each hour; the next `known` hours are told as they will come."""
    widths, left = np.zeros(hours), work
    for hour in range(hours):
        if left <= 0:
            break
        ahead = seen.ahead(arrival + hour, hours - hour)
        if known:
            now = arrival + hour
            told = seen.g[now : min(now + known, arrival + hours)]
            ahead = np.concatenate([told, ahead[len(told) :]])
        widths[hour] = allocate(ahead, THROUGHPUT, left)[0]
        left -= THROUGHPUT.work(widths[hour : hour + 1])
    return widths


PLANNERS: Final[dict[str, Widths]] = {
    "start now": lambda seen, arrival, hours, work: rivals.start_now(hours, work),
    "suspend/resume": lambda seen, arrival, hours, work: rivals.suspend_resume(seen.g, arrival, hours, work),
    "CarbonScaler on yesterday": lambda seen, arrival, hours, work: rivals.persistence(
        seen.g, arrival, hours, THROUGHPUT, work
    ),
    "CarbonScaler on the mean day": lambda seen, arrival, hours, work: rivals.mean_shape(
        seen.g, arrival, hours, THROUGHPUT, work
    ),
    "ours, once": once,
    "ours, hourly": hourly,
    "ours, the next day known": functools.partial(hourly, known=24),
    "oracle": lambda seen, arrival, hours, work: rivals.oracle(seen.g, arrival, hours, THROUGHPUT, work),
}


def in_time(seen: Seen, stride: int, names: Iterable[str] = tuple(PLANNERS)) -> list[Score]:
    """How each planner does on one zone's trace, a job arriving every `stride` hours."""
    grams = {name: _grams(seen, PLANNERS[name], stride) for name in {*names, "start now", "oracle"}}
    return [
        Score(
            name,
            float(np.mean(1 - grams[name] / grams["start now"])),
            float(np.mean(grams[name] / grams["oracle"] - 1)),
        )
        for name in names
    ]


def in_space(traces: Sequence[Trace], stride: int) -> Apart:
    """How much several zones save against the cleanest of them alone, planned each hour, a move costing work."""
    seen = [Seen(trace) for trace in traces]
    hours = min(len(each.g) for each in seen)
    table = np.array([each.g[:hours] for each in seen])
    cleanest = int(table.mean(axis=1).argmin())
    alone = _grams(seen[cleanest], hourly, stride, hours)
    oracle_alone = _grams(seen[cleanest], PLANNERS["oracle"], stride, hours)
    roamed, moved, best = [], [], []
    for work, window, arrival in _jobs(hours, stride):
        zones, widths = _roam(seen, arrival, window, work)
        moved.append(moves(zones[widths > 0], None))
        roamed.append(float(widths @ table[zones, np.arange(arrival, arrival + window)]))
        best.append(plan(table[:, arrival : arrival + window], THROUGHPUT, work, MOVE_WORK_H).grams)
    return Apart(
        tuple(each.name for each in seen),
        seen[cleanest].name,
        float((table.argmin(axis=0) == cleanest).mean()),
        float(np.mean(1 - np.array(roamed) / alone)),
        float(np.mean(1 - np.array(best) / oracle_alone)),
        float(np.mean(moved)),
    )


def together(traces: Sequence[Trace]) -> list[list[Trace]]:
    """Which traces to plan over at once: every two of the same year, and all of it."""
    years: dict[str, list[Trace]] = {}
    for trace in traces:
        years.setdefault(trace.name.rpartition("_")[2], []).append(trace)
    return [
        list(group)
        for year in years.values()
        for count in sorted({2, len(year)} - {1})
        for group in itertools.combinations(year, count)
    ]


def facts(scores: dict[str, list[Score]], apart: Sequence[Apart]) -> dict[str, Any]:
    """All of it, for JSON; `mean` is over the traces."""
    names = [score.planner for score in next(iter(scores.values()))]
    table = np.array([[(score.saved, score.above_oracle) for score in each] for each in scores.values()])
    mean = [Score(name, *map(float, row)) for name, row in zip(names, table.mean(axis=0), strict=True)]
    return {
        "jobs": {"work_h": WORKS_H, "slack": SLACKS, "throughput": THROUGHPUT.at, "move_work_h": MOVE_WORK_H},
        "time": {zone: [asdict(score) for score in each] for zone, each in scores.items()},
        "mean": [asdict(score) for score in mean],
        "space": [asdict(each) for each in apart],
    }


def _jobs(hours: int, stride: int) -> list[tuple[float, int, int]]:
    """Work, window and arrival of each job."""
    works = [float(work) for work in WORKS_H for _ in SLACKS]
    arrivals = range(HISTORY_HOURS, hours - max(windows()) + 1, stride)
    if not arrivals:
        raise LocalError(
            "HEL-STUDY-006",
            f"a trace of {hours} hours; {HISTORY_HOURS} of history and {max(windows())} of the longest job are needed",
            "Give a longer trace, best a whole year.",
        )
    return [(work, window, at) for work, window in zip(works, windows(), strict=True) for at in arrivals]


def _grams(seen: Seen, planner: Widths, stride: int, hours: int | None = None) -> Floats:
    return np.array(
        [
            float(planner(seen, arrival, window, work) @ seen.g[arrival : arrival + window])
            for work, window, arrival in _jobs(hours or len(seen.g), stride)
        ]
    )


def _roam(seen: Sequence[Seen], arrival: int, hours: int, work: float) -> tuple[np.ndarray[Any, Any], Floats]:
    """Planned again each hour over all zones: the zone and width of each hour."""
    zones, widths = np.zeros(hours, dtype=np.intp), np.zeros(hours)
    left, at = work, None
    for hour in range(hours):
        if left <= 0:
            break
        ahead = np.array([each.ahead(arrival + hour, hours - hour) for each in seen])
        made = plan(ahead, THROUGHPUT, left, MOVE_WORK_H, at)
        zone, width = int(made.zones[0]), made.widths[:1]
        if width[0] > 0:
            left += MOVE_WORK_H * (at is not None and zone != at) - THROUGHPUT.work(width)
            at = zone
        zones[hour], widths[hour] = zone, width[0]
    return zones, widths
