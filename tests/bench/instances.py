"""Instances of the matching made by a generator that is not ours, and the recount beside it: ../shared/bench/matching.

Both run as programs of their own and speak by files alone, so that nothing of ours can make them agree with us.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parents[3] / "shared/bench/matching"


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance's file and its truth, which no planner reads."""

    path: Path
    truth: Path


def missing() -> str:
    """What is not there, or nothing."""
    absent = [name for name in ("instances.py", "recount.py") if not (HOME / name).is_file()]
    return f"no {' and no '.join(absent)} in {HOME.relative_to(HOME.parents[3])}" if absent else ""


def make(directory: Path, seed: int, peers: int, shards: int) -> Instance:
    """The instance of this seed and size, of 24 slots."""
    instance = Instance(directory / "instance.jsonl", directory / "truth.jsonl")
    size = (f"--seed={seed}", f"--peers={peers}", f"--shards={shards}")
    _run(HOME / "instances.py", *size, f"--out={instance.path}", f"--truth={instance.truth}")
    return instance


def recount(instance: Instance, plan: Path, surplus: str) -> dict[str, Any]:
    """What the independent recount says of a plan. Raises ValueError if the plan breaks any limit."""
    said = _run(HOME / "recount.py", instance.path, plan, f"--surplus={surplus}", f"--truth={instance.truth}")
    counted: dict[str, Any] = json.loads(said)
    if counted["violation_count"]:
        raise ValueError(f"{plan.name} breaks {counted['violation_count']} limits: {counted['violations'][:3]}")
    return counted


def _run(program: Path, *arguments: object) -> str:
    command = [sys.executable, str(program), *map(str, arguments)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode and not finished.stdout:
        raise RuntimeError(f"{program.name} ended with {finished.returncode}: {finished.stderr[-500:]}")
    return finished.stdout
