"""What a plan emits and whether it may, counted by the words of the format alone; and brute force for small jobs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

Run = Sequence[Any]  # hour, zone, width


def work_at(throughput: Sequence[float], width: float) -> float:
    whole = min(int(width), len(throughput) - 2)
    return throughput[whole] + (width - whole) * (throughput[whole + 1] - throughput[whole])


def grams(job: Mapping[str, Any], runs: Sequence[Run], truth: Mapping[str, Sequence[float]]) -> float:
    """Grams of a plan; `truth` is a value per hour from hour 0. Raises AssertionError for an infeasible one."""
    hours = [run[0] for run in runs]
    assert hours == sorted(set(hours)), "an hour twice, or out of order"
    assert all(job["arrival"] <= hour < job["deadline"] for hour in hours), "an hour outside the window"
    assert all(zone in job["zones"] for _, zone, _ in runs), "a zone that is not allowed"
    assert all(0 <= width <= len(job["throughput"]) - 1 for *_, width in runs), "a width that is not"
    moves = sum(a[1] != b[1] for a, b in itertools.pairwise(runs))
    assert job["move_cost"] is not None or not moves, "a move where none is allowed"
    done = sum(work_at(job["throughput"], width) for *_, width in runs)
    assert done >= job["work"] + moves * (job["move_cost"] or 0), "work is left"
    return float(sum(width * truth[zone][hour] for hour, zone, width in runs))


def least_grams(job: Mapping[str, Any], truth: Mapping[str, Sequence[float]]) -> float:
    """The least grams of any plan, over every choice of running hours and zones; only for a few hours."""
    steps = [b - a for a, b in itertools.pairwise(job["throughput"])]
    best = float("inf")
    window = range(job["arrival"], job["deadline"])
    for zones in itertools.product((None, *job["zones"]), repeat=len(window)):
        ran = [(hour, zone) for hour, zone in zip(window, zones, strict=True) if zone is not None]
        moves = sum(a[1] != b[1] for a, b in itertools.pairwise(ran))
        if moves and job["move_cost"] is None:
            continue
        units = sorted((truth[zone][hour] / step, step) for hour, zone in ran for step in steps)
        left, cost = job["work"] + moves * (job["move_cost"] or 0), 0.0
        for price, step in units:
            cost += price * min(step, left)
            left -= min(step, left)
        if left <= 0:
            best = min(best, cost)
    return best
