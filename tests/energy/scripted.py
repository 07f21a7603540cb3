"""Sources that answer what a test tells them to."""

from __future__ import annotations

from dataclasses import dataclass, field

from node.energy.source import Kind, Reading
from node.energy.watched import Watched

AT_MS = 1_782_043_200_000  # 2026-06-21 12:00 UTC
STALE_MS = 600_000


def reading(value: int = 100, at_ms: int = AT_MS, kind: Kind = Kind.POWER) -> Reading:
    return Reading(kind, value, at_ms, at_ms, "metered", 20, "test")


@dataclass
class Scripted:
    """Answers or raises `outcome`, which may be replaced at any time, and counts."""

    outcome: Reading | Exception = field(default_factory=reading)
    asked: int = 0
    kind: Kind = Kind.POWER

    def read(self, now_ms: int) -> Reading:
        self.asked += 1
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def watched(source: Scripted, name: str = "energy.generation (test)") -> Watched:
    return Watched(name, source, STALE_MS)
