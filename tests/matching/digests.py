"""Plans of fixed instances as hashes. `python -m tests.matching.digests` prints those of the interpreter and the NumPy
that run it; it needs nothing else, so that bare environments can be compared."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from collections.abc import Callable

import numpy as np

from node.matching.instance import read
from node.matching.plan import plan_lines
from node.matching.solve import solve
from tests.matching.instances import Row, generated, instance, job, lines, peer


def equals() -> list[Row]:
    """Nothing but ties: every peer and slot is as good as another, so that only the rules for ties decide."""
    return instance(
        [peer(number, 8, n=4, s50=[0] * 8, s20=[0] * 8) for number in range(60)],
        [job(number, 8, K=6, kmin=3, kmax=12, H=3, mpp=1 + number % 3) for number in range(12)],
        slots=8,
    )


INSTANCES: dict[str, Callable[[], list[Row]]] = {
    "small": lambda: generated(1, 40, 20),
    "middling": lambda: generated(2, 300, 60),
    "large": lambda: generated(3, 1200, 90),
    "many peers": lambda: generated(6, 3000, 90),  # most jobs look at a shortlist
    "scarce": lambda: generated(4, 60, 120, 12),
    "one slot": lambda: generated(5, 100, 30, 1),
    "equals": equals,
}

UNITS = 20_000_000

# What they must be; whoever changes the placing on purpose writes down the new ones.
PLANS = {
    "small": "d17a22e84d7b1b81b3c7e800de29bcdab869870e1d7264e664d6b5ffb53d0c09",
    "middling": "f04dccb11adec98b875946bed31cec2fd8b47f1c91302026356cabed5f41064b",
    "large": "b26f1f1da85014ac5186e927bb5c555cdded275a104e11376058cdee1dfacc7b",
    "many peers": "bf2e69c7249e02bedc97feffd4838da6703e0efdc2b15caec731e45277df035f",
    "scarce": "6e451090fc3e5ba1552a633c1f22f2a26690361d82a3aa7ca4057c553e40f48e",
    "one slot": "d31a02eb8824fc3193bc837405693d17163da2a1f2d7151dca8db1cd947714a9",
    "equals": "51fe53d70fd438e27fc5b86ad4737a06cc9de1e849eb725397fc803dd55ce4a5",
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
