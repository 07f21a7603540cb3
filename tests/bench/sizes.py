"""`python -m tests.bench.sizes PEERS SHARDS SLOTS [all]`: what one plan costs, measured in this process, as JSON.
With `all` every job looks at all its peers, as the engine does where a shortlist is not proved.

From elsewhere: `measured(...)` starts that process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from node.matching.greedy import greedy, place
from node.matching.load import Load
from node.matching.one import shortlist
from tests.bench.problems import drawn

SEED = 1
ROUNDS = 3  # plans, of which the quickest counts: whatever else the machine does only slows it
REPLACED = 50  # jobs that are taken out and placed anew, each alone


@dataclass(frozen=True, slots=True)
class Measured:
    """CPU seconds, which other processes disturb less than they disturb a clock. `memory_mib`: the most that the
    process held at once, with the problem, above the `empty_mib` of one that has only imported the engine."""

    plan_s: float
    replace_s: float
    memory_mib: float
    empty_mib: float
    objective: int


def measured(peers: int, shards: int, slots: int, *, all_peers: bool = False) -> Measured:
    command = [sys.executable, "-m", "tests.bench.sizes", *map(str, (peers, shards, slots)), *["all"] * all_peers]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    return Measured(**json.loads(done.stdout))


def measure(peers: int, shards: int, slots: int) -> Measured:
    empty_mib = _resident_mib("VmRSS")
    plan_s, load = _plan(peers, shards, slots)
    peak_mib, objective = _resident_mib("VmHWM"), load.objective
    replace_s = _replace(load)
    del load
    for _ in range(ROUNDS - 1):
        plan_s = min(plan_s, _plan(peers, shards, slots)[0])
    return Measured(plan_s, replace_s, peak_mib - empty_mib, empty_mib, objective)


def _plan(peers: int, shards: int, slots: int) -> tuple[float, Load]:
    """A problem of its own: whatever it keeps for later is found anew."""
    problem = drawn(SEED, peers, shards, slots)
    began = time.process_time()
    load = greedy(problem, range(len(problem.jobs)))
    return time.process_time() - began, load


def _replace(load: Load) -> float:
    spent_s = []
    for index in list(load.placements)[:REPLACED]:
        load.remove(index)
        began = time.process_time()
        place(load, index)
        spent_s.append(time.process_time() - began)
    return median(spent_s)


def _resident_mib(field: str) -> float:
    """Not getrusage: its peak begins with that of the process that started this one."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


if __name__ == "__main__":
    if "all" in sys.argv:
        shortlist.FEW_PEERS = sys.maxsize
    print(json.dumps(asdict(measure(*map(int, sys.argv[1:4])))))
