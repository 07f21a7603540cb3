"""How far from the best a plan can be: prices that prove a bound, searched for.

The dual function (`dual`) is concave and piecewise linear, and its slope in a price is by how much the jobs take more
than there is. So prices climb as an auctioneer's do: where more is asked for than there is they rise, else they fall.
Each price has a step of its own, by how great its excess has been of late (AdaGrad: Duchi, Hazan and Singer, JMLR 12,
2011, here with forgetting), and follows a running mean of the excess, so that jobs that leap between like peers do not
throw the prices about. The mean of the prices proves more than the last ones do: both are tried.

Floats only suggest prices, and integers prove the bound: whatever the search finds is valid.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from node.matching.certificate import Certificate
from node.matching.dual import FRACTION, Dual, Prices
from node.matching.load import Load
from node.matching.problem import Integers, Problem

Reals = NDArray[np.float64]

# Found by trying, on instances of 100 to 10,000 peers; twice or half as much moves the bound by some 0.1 % of carbon.
STEP = 0.3  # of the scale of a price, at first
UNIT_SCALE = 8  # of a unit's price, in gaps between the plan and the bound without prices, for each unit of the plan
SLOWER = 8  # in the end steps are 1 + so many times smaller
INERTIA = 0.7  # of the running mean of the excess
MEMORY = 0.98  # of how great the excess has been
LEAST = 1e-3  # excess squared that counts as none
WEIGHT = 0.05  # of the newest prices in their mean
MEAN_EVERY = 10  # rounds: how often the mean is tried


def bound(problem: Problem, load: Load, rounds: int) -> Certificate:
    """The best bound that so many rounds find, of at least one. A round prices every job once, each tenth twice.

    `load` is any plan of the problem: it tells where surplus is sought after, and what a unit is worth.
    """
    dual = Dual(problem)
    nothing = np.zeros_like(problem.peers.free)
    proof = Prices(nothing, nothing)
    best = dual.at(proof).bound
    unit, surplus = _starts(dual, load, load.objective - best)
    for number in range(rounds):
        tried = [Prices(unit.whole(unit.now), surplus.whole(surplus.now))]
        if number % MEAN_EVERY == MEAN_EVERY - 1:
            tried.append(Prices(unit.whole(unit.mean), surplus.whole(surplus.mean)))
        answers = [dual.at(prices) for prices in tried]
        for prices, answer in zip(tried, answers, strict=True):
            if answer.bound > best:
                best, proof = answer.bound, prices
        step = STEP / (1 + SLOWER * number / rounds)
        unit.climb(answers[0].units, step)
        surplus.climb(answers[0].surplus, step)
    return Certificate(best, proof)


@dataclass(slots=True, eq=False)
class _Climbing:
    """The prices of all cells for one thing, [slots, peers]: `now`, and their `mean` over the last rounds.

    `there` is how much there is of it, `share` about how much one unit of a shard takes, `scale` the range of a price.
    """

    now: Reals
    there: Integers
    highest: Integers
    scale: Reals | float
    share: float
    mean: Reals = field(init=False)
    _excess: Reals = field(init=False)
    _square: Reals = field(init=False)

    def __post_init__(self) -> None:
        self.mean = self.now.copy()
        self._excess = np.zeros_like(self.now)
        self._square = np.zeros_like(self.now)

    def climb(self, taken: Integers, step: float) -> None:
        """Move the prices, where the jobs take so much at those of `now`."""
        excess = (taken - self.there) / self.share
        stuck = ((self.now <= 0) & (excess < 0)) | ((self.now >= self.highest) & (excess > 0))
        excess[stuck] = 0
        self._excess = INERTIA * self._excess + (1 - INERTIA) * excess
        self._square = MEMORY * self._square + excess**2
        change = step * np.maximum(self.scale, self.now) * self._excess / np.sqrt(self._square + LEAST)
        self.now = np.clip(self.now + change, 0, self.highest)
        self.mean += WEIGHT * (self.now - self.mean)

    def whole(self, prices: Reals) -> Integers:
        """Prices as they can be proved with."""
        return np.clip(np.rint(prices).astype(np.int64), 0, self.highest)


def _starts(dual: Dual, load: Load, gap: int) -> tuple[_Climbing, _Climbing]:
    """Where prices start, for units and for surplus: nothing costs anything but surplus where the plan takes it all."""
    of, highest = load.problem.peers, dual.highest
    jobs = load.problem.jobs
    units = max(1, sum(int(placed.shards.sum()) * jobs[index].units for index, placed in load.placements.items()))
    worth = UNIT_SCALE * FRACTION * gap / units
    energy = max(1.0, int(load.energy.sum()) / units)
    sought = np.where(load.energy > of.surplus, 0.9 * highest.surplus, 0.0)
    return (
        _Climbing(np.zeros(of.free.shape), of.free, highest.unit, scale=worth, share=1.0),
        _Climbing(sought, of.surplus, highest.surplus, highest.surplus.astype(np.float64), energy),
    )
