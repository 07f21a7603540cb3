"""The shift planner on a year of real hours per zone: grams above the oracle, saved in space, and how fast it answers.

Where the target is not met, two figures say why: "the next day known" is the same planner told the next 24 hours as
they came, and "a forecast fitted to the very hours" is what the last week could tell at best (`hindsight`).
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator

from node.study.answer import Replay, jobs_of, plans
from node.study.lines import JobHour, read
from node.study.shift import Score, Seen, facts, in_space, in_time, together
from node.study.traces import Trace
from tests.bench.figures import Figure
from tests.bench.hindsight import Hindsight
from tests.study import real
from tests.study.jobs import Row, forecast, job, job_hour, lines
from tests.study.referee import work_at

STRIDE_H = 151
SPACE_STRIDE_H = 5 * STRIDE_H
TARGET_PERCENT, KNOWN_PERCENT = 2.5, 3.5
PLANNED_JOBS = 1_000
REPLAYED_JOBS = 10


def figures() -> Iterator[Figure]:
    if absent := real.missing():
        print(f"NOT MEASURED: {absent}", file=sys.stderr)
        return
    traces = {name: real.trace(name) for name in real.NAMES}
    scores: dict[str, list[Score]] = {}
    for name, trace in traces.items():
        scores[name] = in_time(Seen(trace), STRIDE_H)
        yield from _above(name, scores[name])
    yield from _floor(traces)
    mean = [Score(**row) for row in facts(scores, [])["mean"]]
    yield from _above("mean", mean)
    by_name = {score.planner: score for score in mean}
    ours, scaler = by_name["ours, hourly"], by_name["CarbonScaler on yesterday"]
    yield Figure("shift", "grams saved", 100 * ours.saved, "%", scaler.planner, 100 * scaler.saved, 1.0)
    for group in together(list(traces.values())):
        apart = in_space(group, SPACE_STRIDE_H)
        name = f"grams of those of {apart.cleanest} alone: {', '.join(apart.zones)}"
        yield Figure("shift", name, 100 * (1 - apart.saved), "%", "the cleanest zone", 100.0, 1.000_01, at_most=True)
    yield from _speed(traces)


def _above(where: str, scores: list[Score]) -> Iterator[Figure]:
    for score in scores:
        if score.planner.startswith("ours"):
            name = f"above the oracle, {where}: {score.planner}"
            value = 100 * score.above_oracle
            yield Figure("shift", name, value, "%", "the target", TARGET_PERCENT, 1.0, at_most=True)
        elif score.planner.startswith("CarbonScaler"):
            name = f"above the oracle, {where}: {score.planner}"
            yield Figure("shift", name, 100 * score.above_oracle, "%", "the best known", KNOWN_PERCENT)


def _floor(traces: dict[str, Trace]) -> Iterator[Figure]:
    above = [in_time(Hindsight(trace), STRIDE_H, ["ours, hourly"])[0].above_oracle for trace in traces.values()]
    name = "above the oracle, mean: a forecast fitted to the very hours"
    yield Figure("shift", name, 100 * sum(above) / len(above), "%", "the target", TARGET_PERCENT)


def _speed(traces: dict[str, Trace]) -> Iterator[Figure]:
    zones = ["ES_2022", "US-CAL-CISO_2022"]
    truth = {zone: traces[zone].g.tolist() for zone in zones}
    chance = random.Random(1)
    rows: list[Row] = []
    for number in range(PLANNED_JOBS):
        work, slack = chance.choice((6, 24, 72)), chance.choice((0.0, 0.5, 1.0, 2.0))
        arrival = chance.randrange(168, 8_500)
        deadline = arrival + round(work * (1 + slack))
        rows.append(job(id=number, zones=zones, arrival=arrival, deadline=deadline, work=work, move_cost=0.5))
    began = time.perf_counter()
    asked = jobs_of(lines(rows))
    made = list(plans(asked, lines(forecast(row, truth) for row in rows)))
    seconds = time.perf_counter() - began
    assert len(made) == PLANNED_JOBS
    yield Figure(
        "shift", f"plan of {PLANNED_JOBS} jobs in two zones", seconds, "s", "a minute", 60.0, 1.0, at_most=True
    )
    replay, count = Replay(), 0
    began = time.perf_counter()
    for row in rows[:REPLAYED_JOBS]:
        left, at = row["work"], None
        for hour in range(row["arrival"], row["deadline"]):
            line = json.dumps(job_hour(row, truth, hour, left, at)).encode()
            ((_, job_at),) = read([line], JobHour)
            zone, width = replay.decide(job_at, 1)
            left, at = max(0.0, left - work_at(row["throughput"], width)), zone or at
            count += 1
    per_line_ms = (time.perf_counter() - began) / count * 1e3
    yield Figure(
        "shift", "a line of replay in two zones", per_line_ms, "ms", "a fiftieth second", 20.0, 1.0, at_most=True
    )
