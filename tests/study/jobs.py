"""Jobs and forecasts as rows of the format, valid by default."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

HISTORY = 168

Row = dict[str, Any]
Truth = Mapping[str, Sequence[float]]


def job(**changes: Any) -> Row:
    row: Row = {
        "id": "j1",
        "home": "ES_2022",
        "zones": ["ES_2022"],
        "arrival": HISTORY,
        "deadline": HISTORY + 12,
        "work": 6.0,
        "throughput": [0, 1, 1.9, 2.7, 3.4],
        "move_cost": None,
    }
    return row | changes


def forecast(of: Row, truth: Truth, *, dayahead: bool = False) -> Row:
    row = {"id": of["id"], "arrival": of["arrival"], "history": _history(of, truth, of["arrival"])}
    return row | ({"dayahead": _coming(of, truth, of["arrival"])} if dayahead else {})


def job_hour(of: Row, truth: Truth, hour: int, left: float, at: str | None, *, dayahead: bool = False) -> Row:
    row = of | {"hour": hour, "left": left, "at": at, "history": _history(of, truth, hour)}
    return row | ({"dayahead": _coming(of, truth, hour)} if dayahead else {})


def lines(rows: Iterable[Row]) -> list[bytes]:
    return [json.dumps(row).encode() for row in rows]


def random_job(chance: random.Random, zones: int, hours: int, **changes: Any) -> Row:
    """A job that its window is long enough for, whatever it moves."""
    most = 3.4 * hours
    return (
        job(
            zones=[f"Z{zone}_2022" for zone in range(zones)],
            deadline=HISTORY + hours,
            work=chance.uniform(0.05, 0.95) * most,
            move_cost=chance.choice([None, 0.0, 0.2, 0.5, 2.0]),
        )
        | changes
    )


def random_truth(chance: random.Random, of: Row) -> dict[str, list[float]]:
    """Zones of any level, with days in them, spikes, and hours of nothing."""
    truth = {}
    for zone in of["zones"]:
        level, swing = chance.choice([0.0, 5.0, 50.0, 400.0]), chance.uniform(0, 300)
        shape = [chance.uniform(0, swing) for _ in range(24)]
        truth[zone] = [level + shape[hour % 24] * chance.uniform(0.5, 1.5) for hour in range(of["deadline"])]
    return truth


def _history(of: Row, truth: Truth, hour: int) -> dict[str, list[float]]:
    return {zone: list(truth[zone][hour - HISTORY : hour]) for zone in of["zones"]}


def _coming(of: Row, truth: Truth, hour: int) -> dict[str, list[float]]:
    return {zone: list(truth[zone][hour : of["deadline"]]) for zone in of["zones"]}
