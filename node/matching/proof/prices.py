"""Prices for what jobs compete for, found as an auctioneer finds them: where more is asked for than there is they rise,
else they fall.

The dual function (`dual`) is concave and piecewise linear, and its slope in a price is by how much the jobs take more
than there is: so the prices climb. Each price has a step of its own, by how great its excess has been of late (AdaGrad:
Duchi, Hazan and Singer, JMLR 12, 2011, here with forgetting), and follows a running mean of the excess, so that jobs
that leap between like peers do not throw the prices about. The mean of the prices proves more than the last ones do:
both are tried.

Integers throughout, since plans follow prices and must be the same on every machine. The one square root is IEEE 754's,
which is rounded correctly everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from node.matching.load import Load, Placement
from node.matching.problem import Integers
from node.matching.proof.dual import FRACTION, Dual, Prices

# Found by trying, on instances of 100 to 10,000 peers: twice or half as much moves a good bound by some 0.1 % of
# carbon, but a UNIT_SCALE of 8 by 3 % where some units are much sought after.
UNIT_SCALE = 32  # of a unit's price, in gaps between the plan and the bound without prices, for each unit of the plan
SURPLUS_START_PERCENT = 90  # of the highest price, where the plan takes all surplus
STEP_PERCENT = 30  # of the scale of a price, at first
SLOWER = 8  # in the end steps are 1 + so many times smaller
INERTIA_PERCENT = 70  # of the running mean of the excess
MEMORY_PERCENT = 98  # of how great the excess has been
WEIGHT_PERCENT = 5  # of the newest prices in their mean
MEAN_EVERY = 10  # rounds: how often the mean is tried

GRAIN = 256  # prices and excess are counted so finely while prices move
STEP_GRAIN = 4096
EXCESS_MAX = 2**19  # its square, a hundred times over, fits into 64 bits
SCALE_MAX = 2**40  # times the finest step and share still fits into 64 bits


class Proved(NamedTuple):
    """Prices and the bound that they prove."""

    bound: int
    prices: Prices


class Climbed(NamedTuple):
    """What proves most, and the last prices: these lead a plan well after some eight rounds, when they prove little."""

    best: Proved
    last: Prices


def climb(dual: Dual, load: Load, rounds: int, seen: Callable[[dict[int, Placement]], object] | None = None) -> Climbed:
    """So many rounds, from nothing. A round prices every job once, each tenth round twice.

    `load` is any plan of the problem: it tells where surplus is sought after, and what a unit is worth. `seen` is told
    what the jobs take in each round.
    """
    nothing = np.zeros_like(dual.highest.unit)
    best = Proved(dual.at(Prices(nothing, nothing)).bound, Prices(nothing, nothing))
    climbing = _starts(dual, load, load.objective - best.bound)
    for number in range(rounds):
        prices = Prices(*(one.prices(one.now) for one in climbing))
        answer = dual.at(prices)
        if seen is not None:
            seen(answer.placements)
        tried = [Proved(answer.bound, prices)]
        if number % MEAN_EVERY == MEAN_EVERY - 1:
            mean = Prices(*(one.prices(one.mean) for one in climbing))
            tried.append(Proved(dual.at(mean).bound, mean))
        best = max(best, *tried, key=lambda proved: proved.bound)
        for one, taken in zip(climbing, (answer.units, answer.surplus), strict=True):
            one.move(taken, number, rounds)
    return Climbed(best, Prices(*(one.prices(one.now) for one in climbing)))


@dataclass(slots=True, eq=False)
class _Climbing:
    """The prices of all cells for one thing, [slots, peers], in GRAINs: `now`, and their `mean` over the last rounds.

    `there` is how much there is of it, `share` about how much one unit of a shard takes, `scale` the range of a price.
    """

    now: Integers
    there: Integers
    highest: Integers
    scale: Integers
    share: int
    mean: Integers = field(init=False)
    _excess: Integers = field(init=False)
    _square: Integers = field(init=False)

    def __post_init__(self) -> None:
        self.mean = self.now.copy()
        self._excess = np.zeros_like(self.now)
        self._square = np.zeros_like(self.now)

    def move(self, taken: Integers, number: int, rounds: int) -> None:
        """One step, in round `number` of `rounds`, when the jobs take so much at the prices of `now`."""
        excess = np.clip((taken - self.there) * GRAIN // self.share, -EXCESS_MAX, EXCESS_MAX)
        stuck = ((self.now <= 0) & (excess < 0)) | ((self.now >= self.highest) & (excess > 0))
        excess[stuck] = 0
        self._excess = (INERTIA_PERCENT * self._excess + (100 - INERTIA_PERCENT) * excess) // 100
        self._square = self._square // 100 * MEMORY_PERCENT + excess * excess
        root = np.sqrt(self._square.astype(np.float64)).astype(np.int64) + GRAIN // 32
        share = self._excess * GRAIN // root  # of a whole step; within +-GRAIN, as the mean is within the root
        step = STEP_PERCENT * STEP_GRAIN * rounds // (100 * (rounds + SLOWER * number))
        self.now = np.clip(self.now + self.scale * share * step // (GRAIN * STEP_GRAIN), 0, self.highest)
        self.mean += (self.now - self.mean) * WEIGHT_PERCENT // 100

    def prices(self, fine: Integers) -> Integers:
        """Rounded to what can be proved with."""
        return (fine + GRAIN // 2) // GRAIN


def _starts(dual: Dual, load: Load, gap: int) -> tuple[_Climbing, _Climbing]:
    """Where prices start, for units and for surplus: nothing costs anything but surplus where the plan takes it all."""
    of, jobs = load.problem.peers, load.problem.jobs
    highest = Prices(*(table * GRAIN for table in dual.highest))
    units = max(1, sum(int(placed.shards.sum()) * jobs[index].units for index, placed in load.placements.items()))
    worth = min(SCALE_MAX, UNIT_SCALE * FRACTION * GRAIN * gap // units)
    energy = max(1, int(load.energy.sum()) // units)
    sought = np.where(load.energy > of.surplus, highest.surplus * SURPLUS_START_PERCENT // 100, 0)
    return (
        _Climbing(np.zeros_like(of.free), of.free, highest.unit, np.full_like(of.free, worth), 1),
        _Climbing(sought, of.surplus, highest.surplus, np.minimum(highest.surplus, SCALE_MAX), energy),
    )
