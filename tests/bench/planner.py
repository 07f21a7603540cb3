"""A process that plans one instance on one core and says what it took: its time on that core, and its peak memory.

    python -m tests.bench.planner INSTANCE PLANS --policy=NAME … [--surplus=s50] [--seconds=5] [--bound-rounds=300]

Prints one JSON object; each plan lies in the folder PLANS under its policy's name. A policy is a baseline, `solve`, the
whole engine within its seconds, or `order-NAME`, greedy in that order.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from node.matching.baselines import BASELINES, arrivals
from node.matching.files.instance import read
from node.matching.files.plan import plan_lines
from node.matching.greedy import greedy, place
from node.matching.load import Load
from node.matching.problem import Job, Problem
from node.matching.proof.bound import bound
from node.matching.solve import solve
from node.matching.work import UNITS_PER_SECOND

SEED = 1
REPLACED = 200  # jobs taken out and placed anew, for the time of one


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("instance", type=Path)
    parser.add_argument("plans", type=Path)
    parser.add_argument("--policy", action="append", required=True)
    parser.add_argument("--surplus", default="s50")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--bound-rounds", type=int, default=0)
    asked = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    began = time.process_time()
    with asked.instance.open("rb") as lines:
        problem = read(lines, asked.surplus)
    said: dict[str, Any] = {"reading_s": time.process_time() - began}
    loads: dict[str, Load] = {}
    for name in asked.policy:
        began = time.process_time()
        # A new problem each time, since a problem remembers what it once worked out.
        loads[name] = _plan(name, replace(problem), asked.seconds)
        said[name] = {"seconds": time.process_time() - began} | _facts(loads[name])
        (asked.plans / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in plan_lines(loads[name])))
    first = loads[asked.policy[0]]
    if asked.bound_rounds:
        began = time.process_time()
        said["bound"] = bound(problem, first, asked.bound_rounds, solver=True).bound
        said["bounding_s"] = time.process_time() - began
    said["replacing_ms"] = _replacing_ms(first)
    print(json.dumps(said))


def orders(problem: Problem) -> dict[str, list[int]]:
    """The orders of admission that a plan under scarcity is measured against."""

    def by(key: Callable[[Job], int]) -> list[int]:
        return sorted(range(len(problem.jobs)), key=lambda index: key(problem.jobs[index]))

    return {
        "arrival": arrivals(problem),
        "line": list(range(len(problem.jobs))),
        "tightest": by(lambda job: job.deadline_slot - job.first_slot - job.work // job.at_most),
        "largest": by(lambda job: -job.work * job.units),
        "smallest": by(lambda job: job.work * job.units),
    }


def _plan(name: str, problem: Problem, seconds: float) -> Load:
    if name == "solve":
        return solve(problem, int(seconds * UNITS_PER_SECOND), SEED)
    if name.startswith("order-"):
        return greedy(problem, orders(problem)[name.removeprefix("order-")])
    return BASELINES[name](problem, SEED)


def _facts(load: Load) -> dict[str, Any]:
    """With the peak of memory so far: that of reading and of the policies up to this one."""
    return {
        "carbon": load.carbon,
        "declined": sum(load.problem.jobs[index].work for index in load.declined),
        "penalties": load.objective - load.carbon,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _replacing_ms(load: Load) -> float:
    """Milliseconds of the median job that is taken out and placed anew."""
    indices = list(load.placements)
    spent_s = []
    for index in indices[:: max(1, len(indices) // REPLACED)]:
        began = time.process_time()
        load.remove(index)
        place(load, index)
        spent_s.append(time.process_time() - began)
    return 1000 * median(spent_s)


if __name__ == "__main__":
    main()
