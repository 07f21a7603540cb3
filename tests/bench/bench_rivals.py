"""Many requesters at once over stale views: how many are refused, how long it takes, and what it emits, beside one
matcher that sees everything. And one job of a plan in force, placed anew."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean, median

from node.matching.files.instance import read
from node.matching.greedy import greedy
from node.matching.online import InForce
from node.matching.problem import Problem
from tests.bench import instances
from tests.bench.figures import Figure
from tests.bench.rivalry import Hearing, Outcome, Policy, Rivalry, best, drawn, in_turn, kept

PEERS, SHARDS, SEEDS = 5_000, 2_000, (1, 2, 3)
RIVALS = (10, 50)
ONLINE_PEERS, ONLINE_SHARDS, ONLINE_JOBS = 10_000, 2_000, 100
FRESH = Hearing(late_permille=0, unheard_permille=0)
CASES: dict[str, tuple[Policy, Hearing]] = {
    "everyone takes the best": (best, Hearing()),
    "and keeps what was won": (kept, Hearing()),
    "pick among four times as many": (drawn, Hearing()),
    "turns": (in_turn, Hearing()),
    "everyone takes the best, fresh views": (best, FRESH),
    "turns, fresh views": (in_turn, FRESH),
}


def figures() -> Iterator[Figure]:
    if absent := instances.missing():
        print(f"RIVALS ARE NOT MEASURED: {absent}; the instances are not ours to bring", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        problems = [_read(Path(folder), seed, PEERS, SHARDS) for seed in SEEDS]
        for rivals in RIVALS:
            yield from _rivalry(rivals, problems)
        yield from _online(_read(Path(folder), 1, ONLINE_PEERS, ONLINE_SHARDS))


def _rivalry(rivals: int, problems: list[Problem]) -> Iterator[Figure]:
    seen: dict[str, list[Outcome]] = {name: [] for name in CASES}
    alone = []
    for seed, of in zip(SEEDS, problems, strict=True):
        jobs, others = of.jobs[:rivals], of.jobs[rivals : rivals + rivals // 5]
        fitting = sorted(Rivalry(replace(of, jobs=jobs), others, seed).central().placements)
        game = replace(of, jobs=tuple(jobs[index] for index in fitting))
        alone.append(Rivalry(game, others, seed).central().carbon)
        for name, (policy, hearing) in CASES.items():
            seen[name].append(Rivalry(game, others, seed, hearing).play(policy))
    for name, outcomes in seen.items():
        what, is_ours = f"{rivals} rivals, {name}", name.startswith("turns")
        naive = "everyone takes the best" + (", fresh views" if name.endswith("fresh views") else "")
        refused, reference = 100 * _refused(outcomes), 100 * _refused(seen[naive])
        target = 0.7 if is_ours else None
        yield Figure("rivals", f"{what}: shard-slots refused", refused, "%", naive, reference, target, at_most=True)
        rounds, most = (mean(outcome.rounds for outcome in seen[each]) for each in (name, naive))
        yield Figure("rivals", f"{what}: rounds", rounds, "rounds", naive, most, 1.0 if is_ours else None, at_most=True)
        carbon = mean(outcome.carbon / least for outcome, least in zip(outcomes, alone, strict=True))
        unplaced = sum(outcome.unplaced for outcome in outcomes)
        yield Figure(
            "rivals",
            f"{what}: carbon, {unplaced} jobs unplaced",
            carbon,
            "times",
            "one matcher that sees everything",
            1.0,
            1.05 if is_ours else None,
            at_most=True,
        )


def _refused(outcomes: list[Outcome]) -> float:
    return sum(outcome.refused for outcome in outcomes) / max(1, sum(outcome.asked for outcome in outcomes))


def _online(of: Problem) -> Iterator[Figure]:
    plan = InForce(greedy(of, range(len(of.jobs))))
    took_ms = []
    for index in list(plan.placements)[:ONLINE_JOBS]:
        began = time.perf_counter()
        plan.reconsider(plan.jobs[index].id)
        took_ms.append(1000 * (time.perf_counter() - began))
    for name, value in (("median", median(took_ms)), ("largest", max(took_ms))):
        yield Figure(
            "rivals",
            f"one job placed anew, {ONLINE_PEERS} peers, {name} of {len(took_ms)}",
            value,
            "ms",
            "ten milliseconds",
            10.0,
            1.0,
            at_most=True,
        )


def _read(folder: Path, seed: int, peers: int, shards: int) -> Problem:
    with instances.make(folder, seed, peers, shards).path.open("rb") as lines:
        return read(lines)
