"""`python -m tests.bench [NAME ...]`: the figures of these benches, or of all; the names are in BENCHES."""

from __future__ import annotations

import importlib
import sys

BENCHES = (
    "ledger",
    "live",
    "start",
    "sync",
    "bids",
    "matching",
    "scaling",
    "rivals",
    "energy",
    "solar",
    "shift",
    "forecast",
    "network",
    "gossip",
    "scale_gossip",
    "data",
    "faults",
    "training",
)

if __name__ == "__main__":
    asked = sys.argv[1:] or list(BENCHES)
    unknown = [name for name in asked if name not in BENCHES]
    if unknown:
        sys.exit(f"no bench {unknown[0]!r}; there are: {', '.join(BENCHES)}")
    for name in asked:
        for figure in importlib.import_module(f"tests.bench.bench_{name}").figures():
            print(figure.line(), flush=True)
