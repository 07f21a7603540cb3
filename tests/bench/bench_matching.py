"""The matching engine on instances of many jobs: gap to the certified bound, time, memory, and the baselines beside it.

Each instance is planned by a process of its own on one core, and every plan is recounted by a program that is not ours;
a plan that breaks a limit ends the bench. Times are those of the core, so that whatever else the machine does is not in
them. Figures are those of the median seed, by their ratio. Carbon is compared with the penalties of declined jobs taken
off both sides. SEEDS=5 in the environment takes as many seeds for every row, the largest too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from node.matching.baselines import BASELINES
from tests.bench import instances
from tests.bench.figures import Figure

ORDERS = ("arrival", "line", "tightest", "largest", "smallest")
KG = 1e6  # milligrams
TIMEOUT_S = 900

Seen = dict[str, Any]  # what the planner said of one seed, with each policy's recount under "recount"


@dataclass(frozen=True, slots=True)
class Row:
    """One size of instance and what must hold there; None: not bounded."""

    peers: int
    shards: int
    seconds: int  # the engine's time limit, and the bound on it
    seeds: int = 5
    policies: tuple[str, ...] = ()  # beside `solve`
    bound_rounds: int = 0
    gap_median: float | None = None
    gap_worst: float | None = None
    first_plan_s: float | None = None
    memory_mib: int | None = None
    replacing_ms: float | None = None

    @property
    def name(self) -> str:
        return f"{self.peers:,} peers, {self.shards:,} shards"


SMALL = Row(100, 50, 1, bound_rounds=300, gap_median=0.03, policies=tuple(BASELINES))
MEDIUM = Row(1_000, 500, 5, bound_rounds=300, gap_median=0.05, gap_worst=0.12, policies=tuple(BASELINES))
LARGE = Row(
    *(10_000, 2_000, 5),
    bound_rounds=150,
    gap_median=0.02,
    first_plan_s=1.5,
    memory_mib=1024,
    replacing_ms=10,
    policies=("greedy",),
)
HUGE = Row(100_000, 10_000, 20, seeds=1, memory_mib=3072, policies=("greedy",))
SCARCE = Row(1_000, 2_000, 10, policies=tuple(f"order-{name}" for name in ORDERS))


def figures() -> Iterator[Figure]:
    if absent := instances.missing():
        print(f"MATCHING IS NOT MEASURED: {absent}; the instances are not ours to bring", file=sys.stderr)
        return
    for row in (SMALL, MEDIUM, LARGE, HUGE, SCARCE):
        seen = [_plan(row, seed) for seed in range(1, int(os.environ.get("SEEDS", row.seeds)) + 1)]
        yield from _gaps(row, seen)
        yield from _costs(row, seen)
        if row is SCARCE:
            yield from _declined(row, seen)
        else:
            yield from _against_baselines(row, seen)
        if row is MEDIUM:
            yield from _realised(row, seen)


def _plan(row: Row, seed: int, surplus: str = "s50", policies: tuple[str, ...] | None = None) -> Seen:
    """One seed's plans, made and recounted."""
    names = ("solve", *(row.policies if policies is None else policies))
    with tempfile.TemporaryDirectory() as folder:
        instance = instances.make(Path(folder), seed, row.peers, row.shards)
        arguments = [
            f"--surplus={surplus}",
            f"--seconds={row.seconds}",
            *(f"--policy={name}" for name in names),
        ]
        if policies is None:
            arguments.append(f"--bound-rounds={row.bound_rounds}")
        command = [sys.executable, "-m", "tests.bench.planner", str(instance.path), folder, *arguments]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        finished = subprocess.run(
            command, stdout=subprocess.PIPE, check=True, timeout=TIMEOUT_S, env=os.environ | threads
        )
        seen: Seen = json.loads(finished.stdout)
        for name in names:
            seen[name]["recount"] = instances.recount(instance, Path(folder) / f"{name}.jsonl", surplus)
            if seen[name]["recount"]["planned_mg"] != seen[name]["carbon"]:
                raise ValueError(f"{row.name}, seed {seed}: {name} counts its own carbon otherwise than the recount")
        return seen


def _gaps(row: Row, seen: Sequence[Seen]) -> Iterator[Figure]:
    """Carbon against the bound at equal declined work: the bound less the penalties of what the plan declines."""
    if not row.bound_rounds:
        return
    pairs = [(one["solve"]["carbon"] / KG, (one["bound"] - one["solve"]["penalties"]) / KG) for one in seen]
    against = f"certified bound, found in {median(one['bounding_s'] for one in seen):.1f} s"
    if row.gap_median is not None:
        value, bound = _median(pairs)
        yield _at_most(f"median carbon, {row.name}", value, "kg", against, bound, 1 + row.gap_median)
    if row.gap_worst is not None:
        value, bound = max(pairs, key=_ratio)
        yield _at_most(f"worst carbon, {row.name}", value, "kg", against, bound, 1 + row.gap_worst)


def _costs(row: Row, seen: Sequence[Seen]) -> Iterator[Figure]:
    """Time and memory against their limits."""
    read_s = median(one["reading_s"] for one in seen)
    measured: list[tuple[str, float | None, str, Callable[[Seen], float]]] = [
        (f"time (reading: {read_s:.2f} s more)", row.seconds, "s", lambda one: one["solve"]["seconds"]),
        ("time of the first plan", row.first_plan_s, "s", lambda one: one["greedy"]["seconds"]),
        ("peak memory", row.memory_mib, "MiB", lambda one: one["solve"]["peak_mib"]),
        ("time of placing one job anew", row.replacing_ms, "ms", lambda one: one["replacing_ms"]),
    ]
    for name, limit, unit, of in measured:
        if limit is not None:
            value = median(of(one) for one in seen)
            yield _at_most(f"{name}, {row.name}", value, unit, f"limit, {len(seen)} seeds", limit, 1.0)


def _against_baselines(row: Row, seen: Sequence[Seen]) -> Iterator[Figure]:
    for name in row.policies:
        value, other = _median([(one["solve"]["carbon"] / KG, one[name]["carbon"] / KG) for one in seen])
        ours, theirs = (median(one[policy]["declined"] for one in seen) for policy in ("solve", name))
        against = f"{name}, which declines {theirs:g} shard-slots to our {ours:g}"
        yield _at_most(f"carbon, {row.name}", value, "kg", against, other, 1.0)


def _realised(row: Row, medians: Sequence[Seen]) -> Iterator[Figure]:
    """What the plan emits when the sun and wind turn out otherwise: planned with the 20 % quantile of surplus against
    planned with the median forecast."""
    careful = [_plan(row, seed, "s20", ()) for seed in range(1, len(medians) + 1)]
    pairs = [
        tuple(each["solve"]["recount"]["realised_mg"] / KG for each in both)
        for both in zip(careful, medians, strict=True)
    ]
    value, other = _median(pairs)
    yield Figure("matching", f"realised carbon planned with s20, {row.name}", value, "kg", "planned with s50", other)
    value, other = _median(
        [(one["solve"]["recount"]["realised_mg"] / KG, one["solve"]["recount"]["planned_mg"] / KG) for one in medians]
    )
    yield Figure("matching", f"realised carbon, {row.name}", value, "kg", "as planned with s50", other)


def _declined(row: Row, seen: Sequence[Seen]) -> Iterator[Figure]:
    for name in row.policies:
        value, other = max(((one["solve"]["declined"], one[name]["declined"]) for one in seen), key=_ratio)
        yield _at_most(f"declined at worst, {row.name}", value, "shard-slots", f"greedy in {name}", max(1, other), 1.0)


def _median(pairs: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    """The pair whose ratio is in the middle."""
    return sorted(pairs, key=lambda pair: (_ratio(pair), pair))[len(pairs) // 2]


def _ratio(pair: tuple[float, ...]) -> float:
    return pair[0] / max(pair[1], 1e-9)


def _at_most(name: str, value: float, unit: str, against: str, reference: float, target: float) -> Figure:
    return Figure("matching", name, value, unit, against, reference, target, at_most=True)
