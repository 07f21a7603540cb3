"""Plans of fixed instances as hashes. `python -m tests.matching.digests` prints those of the interpreter and the NumPy
that run it; it needs nothing else, so that bare environments can be compared."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from collections.abc import Callable

import numpy as np

from node.matching.files.instance import read
from node.matching.files.plan import plan_lines
from node.matching.solve import solve
from tests.matching.instances import Row, generated, instance, job, lines, peer


def equals() -> list[Row]:
    """Nothing but ties: every peer and slot is as good as another, so that only the rules for ties decide."""
    return instance(
        [peer(number, 8, n=4, s50=[0] * 8, s20=[0] * 8) for number in range(60)],
        [job(number, 8, K=6, kmin=3, kmax=12, H=3, mpp=1 + number % 3) for number in range(12)],
        slots=8,
    )


def beyond() -> list[Row]:
    """Moves that cost something, zones apart, budgets and caps on carbon."""
    rows = generated(7, 150, 24)
    zones = [row for row in rows if row["kind"] == "zone"]
    for row in rows:
        if row["kind"] == "meta":
            row["move_wh_per_gb"] = 10
        elif row["kind"] == "zone":
            row["latency_ms"] = [20 * abs(row["id"] - other["id"]) for other in zones]
        elif row["kind"] == "job" and int(row["id"][1:]) % 2:
            row["latency_max_ms"] = 40
            row["budget_microusd"] = row["K"] * row["H"] * row["g"] * row["price"] // 2
        elif row["kind"] == "job":
            row["carbon_max_mg"] = row["K"] * row["H"] * row["g"] * 60_000
    return rows


INSTANCES: dict[str, Callable[[], list[Row]]] = {
    "small": lambda: generated(1, 40, 20),
    "middling": lambda: generated(2, 300, 60),
    "large": lambda: generated(3, 1200, 90),
    "many peers": lambda: generated(6, 3000, 90),  # most jobs look at a shortlist
    "scarce": lambda: generated(4, 60, 120, 12),
    "one slot": lambda: generated(5, 100, 30, 1),
    "equals": equals,
    "beyond": beyond,
}

UNITS = 40_000_000  # so much that every part of `solve` is run by one of them at least

# What they must be; whoever changes the placing on purpose writes down the new ones.
PLANS = {
    "small": "538bea341b6313b4db730d9c341f96a48e4cf613f814a61caf5d16900fb884a5",
    "middling": "c247c8bc3dff8038ced48e6b73d9ed4a5a74fb05328a1566bf6d674616161ed2",
    "large": "593b62b7415f559bebe8b7a52bf61a9d2761a46deadcae78650d57809c10d8b1",
    "many peers": "38e40436a1521960f8e73a5eda83d735debc0d93c8a645c8a44e95e967ec7b13",
    "scarce": "caa82a1a175d760c085ac4e196234b76c649b04b6c9a29f0eb1683df3c8fd4c1",
    "one slot": "aba1686c3c7ff2ec7fe1fe4523ba612502445a8b837f907ac12c6a066403c4d1",
    "equals": "51fe53d70fd438e27fc5b86ad4737a06cc9de1e849eb725397fc803dd55ce4a5",
    "beyond": "b0821539eaa19cb7b6f1d07ce5e5f001d3f38aadda38a267abd88ebdbdc5a011",
}


def digest(name: str) -> str:
    """The SHA-256 of the plan, as it would be written to a file."""
    problem = read(lines(INSTANCES[name]()))
    load = solve(problem, UNITS)
    return hashlib.sha256("".join(line + "\n" for line in plan_lines(load)).encode()).hexdigest()


def extensions() -> list[str]:
    """The vector instructions that NumPy chooses at run time, and does use here."""
    built = importlib.import_module(f"numpy.{'_core' if hasattr(np, '_core') else 'core'}._multiarray_umath")
    return [name for name in built.__cpu_dispatch__ if built.__cpu_features__[name]]


if __name__ == "__main__":
    found = {"python": sys.version.split()[0], "numpy": np.__version__, "extensions": extensions()}
    print(json.dumps(found | {"digests": {name: digest(name) for name in INSTANCES}}, indent=2))
