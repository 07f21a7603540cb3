"""How time and memory of the first plan grow with peers, shards and slots; `make scaling` draws it into scaling.png.

Each size is planned twice in processes of their own: as the engine does, and with every job looking at all its peers.
The plans are the same. An exponent is the slope of a straight line through the logarithms, by least squares: over all
sizes, and over the two largest, since the fixed costs of a small plan hide how a large one grows. Memory is that above
an empty process. Jobs are up to half as long as there are slots, so twice the slots are twice the work too.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression
from typing import Any, NamedTuple

from tests.bench.figures import Figure
from tests.bench.sizes import Measured, measured

PICTURE = Path(__file__).with_name("scaling.png")

PEERS, SHARDS, SLOTS = 10_000, 2_000, 24  # what stays as it is while one of them grows
GROWTH: dict[str, tuple[int, ...]] = {
    "peers": (1_000, 3_000, 10_000, 30_000, 100_000),
    "shards": (250, 500, 1_000, 2_000, 4_000),
    "slots": (6, 12, 24, 48, 96),
}
REPLACE_BOUND_S = 0.010


class Size(NamedTuple):
    peers: int
    shards: int
    slots: int


LARGEST = Size(100_000, 10_000, 24)

# seconds, MiB
BOUNDS = {Size(PEERS, SHARDS, SLOTS): (1.5, 1024), LARGEST: (20.0, 3072)}


@dataclass(frozen=True, slots=True)
class Pair:
    """One size: as the engine does, and looking at all peers."""

    size: Size
    short: Measured
    full: Measured


def pair(size: Size) -> Pair:
    return Pair(size, measured(*size), measured(*size, all_peers=True))


def grown() -> dict[str, list[Pair]]:
    """For each of peers, shards and slots the sizes of GROWTH, the other two as they are."""
    usual = {"peers": PEERS, "shards": SHARDS, "slots": SLOTS}
    once = functools.cache(pair)
    return {name: [once(Size(**usual | {name: value})) for value in values] for name, values in GROWTH.items()}


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    return linear_regression([math.log(size) for size in sizes], [math.log(value) for value in values]).slope


def exponents(name: str, pairs: Sequence[Pair], which: str, what: str) -> tuple[float, float]:
    """Over all sizes, and over the two largest."""
    sizes, values = GROWTH[name], [getattr(getattr(one, which), what) for one in pairs]
    return exponent(sizes, values), exponent(sizes[-2:], values[-2:])


def figures() -> Iterator[Figure]:
    yield from _figures(grown(), pair(LARGEST))


def _figures(series: dict[str, list[Pair]], largest: Pair) -> Iterator[Figure]:
    usual = next(one for one in series["peers"] if one.size in BOUNDS)
    for one in (usual, largest):
        seconds, mib = BOUNDS[one.size]
        at = "{:,} peers, {:,} shards, {} slots".format(*one.size)
        yield _at_most(f"first plan, {at}", one.short.plan_s, "s", "bound", seconds)
        yield _at_most(f"the same, against all peers, {at}", one.short.plan_s, "s", "all peers", one.full.plan_s)
        yield _at_most(f"objective, {at}", one.short.objective, "mg", "all peers", one.full.objective)
        yield _at_most(f"memory, {at}", one.short.memory_mib + one.short.empty_mib, "MiB", "bound", mib)
    yield _at_most(f"one job placed anew, {PEERS:,} peers", usual.short.replace_s, "s", "bound", REPLACE_BOUND_S)
    for name, pairs in series.items():
        for what, noun in (("plan_s", "time"), ("memory_mib", "memory")):
            short, full = exponents(name, pairs, "short", what), exponents(name, pairs, "full", what)
            for part, mine, theirs in zip(("all sizes", "the two largest"), short, full, strict=True):
                figure = f"{noun} grows with {name} to the power of, over {part}"
                yield Figure("scaling", figure, mine, "", "all peers", theirs)


def _at_most(figure: str, value: float, unit: str, against: str, bound: float) -> Figure:
    return Figure("scaling", figure, value, unit, against, bound, 1.0, at_most=True)


def draw(series: dict[str, list[Pair]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(11, 6.4), sharey="row", layout="constrained")
    for column, (name, pairs) in enumerate(series.items()):
        others = {"peers": f"{PEERS:,} peers", "shards": f"{SHARDS:,} shards", "slots": f"{SLOTS} slots"}
        del others[name]
        axes[0, column].set_title(f"{name}, at {' and '.join(others.values())}", fontsize=10)
        for row, (what, label) in enumerate(
            (("plan_s", "CPU seconds"), ("memory_mib", "peak MiB above an empty process"))
        ):
            _panel(axes[row, column], name, pairs, what)
            if not column:
                axes[row, column].set_ylabel(label)
        axes[1, column].set_xlabel(name)
    figure.suptitle("The first plan: all jobs, each where it adds least carbon. Both plans are the same.")
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def _panel(axes: Any, name: str, pairs: Sequence[Pair], what: str) -> None:
    sizes = GROWTH[name]
    for which, label, colour, marker in (("full", "all peers", "#9a9a9a", "s"), ("short", "shortlist", "#1b7f4c", "o")):
        power, last = exponents(name, pairs, which, what)
        values = [getattr(getattr(one, which), what) for one in pairs]
        axes.loglog(
            sizes,
            values,
            color=colour,
            marker=marker,
            label=f"{label}: {name}$^{{{power:.2f}}}$, at the end {last:.2f}",
        )
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=9)


if __name__ == "__main__":
    all_grown = grown()
    draw(all_grown, PICTURE)
    for found in _figures(all_grown, pair(LARGEST)):
        print(found.line(), flush=True)
