"""One figure, one JSON line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value beside its reference. `ratio` is figure / reference; `holds` compares it with `target`, which is
    a floor, or a ceiling where `at_most`."""

    bench: str
    figure: str
    value: float
    unit: str
    against: str
    reference: float
    target: float | None = None
    at_most: bool = False

    def line(self) -> str:
        ratio = self.value / self.reference
        holds = None if self.target is None else (ratio <= self.target if self.at_most else ratio >= self.target)
        return json.dumps(
            {
                "bench": self.bench,
                "figure": self.figure,
                "value": round(self.value, 4),
                "unit": self.unit,
                "against": f"{self.against}: {self.reference:.6g} {self.unit}",
                "ratio": round(ratio, 4),
                "target": None if self.target is None else f"{'<=' if self.at_most else '>='} {self.target}",
                "holds": holds,
            }
        )


def rate(work: Callable[[], object], items: int, rounds: int = 3) -> float:
    """Items per second: the best of some rounds, since whatever else the machine does only slows it."""
    best = 0.0
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        best = max(best, items / (time.perf_counter() - began))
    return best
