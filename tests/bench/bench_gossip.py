"""What gossip costs: CPU per message and node, and time to delivery, against stock py-libp2p and js-libp2p.

Each contestant runs its nodes in one process of its own, one contestant after the other, round by round; a figure is
the median of the rounds. `gossip_peer.py` says what is counted. Six nodes know each other; of twenty, each knows six.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.figures import Figure

ROUNDS = 3
OFFSETS = {6: (1, 2, 3), 20: (1, 3, 8)}
"""A node dials the nodes this far ahead in the circle: a graph of few hops, the same for every contestant."""
SETTINGS = {
    "messages": 30,
    "rate_per_s": 2.0,
    "size_bytes": 512,
    "warmups": 20,
    "settle_s": 2.0,
    "idle_s": 5.0,
    "tail_s": 1.5,
    "deadline_s": 20.0,
    "wait_s": 0.0,
}
PYTHON = (sys.executable, "-m", "tests.bench.gossip_peer")
CONTESTANTS = {
    "ours": (*PYTHON, "ours"),
    "stock py-libp2p": (*PYTHON, "stock"),
    "js-libp2p": ("node", str(Path(__file__).parents[1] / "interop" / "gossip_peer.mjs")),
}
TARGETS = {(6, "stock py-libp2p"): 0.3, (20, "stock py-libp2p"): 0.25, (6, "js-libp2p"): 1.0, (20, "js-libp2p"): 1.0}

Result = dict[str, float]


def figures() -> Iterator[Figure]:
    for nodes in OFFSETS:
        results = {name: [] for name in CONTESTANTS}  # type: dict[str, list[Result]]
        for _ in range(ROUNDS):
            for name in CONTESTANTS:
                results[name].append(run(name, nodes))
        yield from compare(nodes, results)
    yield from patience()


def compare(nodes: int, results: dict[str, list[Result]]) -> Iterator[Figure]:
    lost = {name: sum(result["lost"] for result in rounds) for name, rounds in results.items()}
    if any(lost.values()):
        raise AssertionError(f"deliveries were lost among {nodes} nodes, so nothing is compared: {lost}")

    def middle(name: str, figure: str) -> float:
        return median(result[figure] for result in results[name])

    for rival in list(CONTESTANTS)[1:]:
        yield Figure(
            "gossip",
            f"CPU per message and node, {nodes} nodes",
            middle("ours", "cpu_ms"),
            "ms",
            rival,
            middle(rival, "cpu_ms"),
            TARGETS[nodes, rival],
            at_most=True,
        )
        yield Figure(
            "gossip",
            f"delivery p95, {nodes} nodes",
            middle("ours", "p95_ms"),
            "ms",
            rival,
            middle(rival, "p95_ms"),
            0.3 if (nodes, rival) == (20, "stock py-libp2p") else None,
            at_most=True,
        )


def patience() -> Iterator[Figure]:
    """What waiting for company saves: ours against ours, where there is company."""
    often = {"rate_per_s": 20.0, "messages": 200}
    waiting, at_once = ([], [])  # type: tuple[list[float], list[float]]
    for _ in range(ROUNDS):
        waiting.append(run("ours", 20, **often, wait_s=1.0)["cpu_ms"])
        at_once.append(run("ours", 20, **often)["cpu_ms"])
    name = "CPU per message and node, 20 nodes, 20 messages a second that may wait 1 s at each hop"
    yield Figure("gossip", name, median(waiting), "ms", "ours at once", median(at_once))


def run(name: str, nodes: int, **changed: float) -> Result:
    """One contestant's run; what its process printed."""
    dials = {tuple(sorted((node, (node + offset) % nodes))) for node in range(nodes) for offset in OFFSETS[nodes]}  # type: set[tuple[int, ...]]
    settings: dict[str, Any] = SETTINGS | changed | {"nodes": nodes, "dials": sorted(dials)}
    process = subprocess.run(
        [*CONTESTANTS[name], json.dumps(settings)], stdout=subprocess.PIPE, check=True, timeout=300
    )
    result: Result = json.loads(process.stdout)
    return result


if __name__ == "__main__":
    for size in map(int, sys.argv[2:] or OFFSETS):
        for contestant in sys.argv[1].split(","):
            print(contestant, size, run(contestant, size), flush=True)
