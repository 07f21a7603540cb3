"""What a node pays for the network as that grows: the lines of protocol/SCALING.md, and a mesh of each size.

`python -m tests.bench.bench_scale_gossip` prints the lines of the page.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.figures import Figure
from tests.bench.scaling_model import ASSUMED, NODES, adverts, day_of_adverts, spread, tables

MESSAGES = {1_000: 20, 10_000: 5, 100_000: 1}


def figures() -> Iterator[Figure]:
    said = day_of_adverts()
    for nodes in NODES:
        found = spread(nodes, MESSAGES[nodes])
        yield Figure("scale_gossip", f"copies at a node of {nodes}", found.copies, "copies", "assumed", ASSUMED.copies)
        name = f"a message has reached 95 % of {nodes}"
        yield Figure("scale_gossip", name, found.reached_p95_ms, "ms", "half of them", found.reached_p50_ms)
        first, *others = adverts(nodes, said)
        for load in others:
            name = f"CPU for adverts at a node of {nodes}, {load.what}"
            yield Figure("scale_gossip", name, 100 * load.cpu_share, "%", first.what, 100 * first.cpu_share)


def page() -> Iterator[str]:
    """The figures of the page."""
    yield repr(ASSUMED)
    said = day_of_adverts()
    yield repr(said)
    yield from tables(said)
    for nodes in NODES:
        found = spread(nodes, MESSAGES[nodes])
        yield (
            f"| {nodes:,} | {found.copies:.2f} | {found.hops_p95} | {found.reached_p50_ms:.0f} |"
            f" {found.reached_p95_ms:.0f} |"
        )


if __name__ == "__main__":
    for line in page():
        print(line, flush=True)
