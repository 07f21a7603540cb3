"""Better plans from a good one: take a few rival jobs out and place them anew in another order, again and again.

Each job by itself is placed exactly, so what a greedy plan loses is lost between jobs: one takes the surplus, or the
last units, that another had more use for. With a few jobs out at once, the first to return has the choice. (Large
neighbourhood search: Shaw, "Using constraint programming and local search methods to solve vehicle routing problems",
1998.) The search goes on from a plan that is a little worse than the best, by less and less as the work is used up.
(Record-to-record travel: Dueck, "New optimization heuristics", 1993.)
"""

from __future__ import annotations

import numpy as np

from node.matching.chance import Chance
from node.matching.contention import Contention
from node.matching.load import Load, Placement
from node.matching.narrow import narrowed
from node.matching.pricing import Priced, cheapest
from node.matching.problem import Problem
from node.matching.work import Budget, pricing_units

# Found by trying, on instances of 100 to 10,000 peers.
_JOBS_OUT = 4  # at most, at once
_TOLERANCE = 3  # at first a plan may be worse than the best by so many average jobs, divided by how many jobs there are
_FRESH = 128  # a job chooses its peers anew after it was taken out so often


def improve(load: Load, budget: Budget, chance: Chance) -> Load:
    """The load, or a better one if one is found before the budget ends.

    Jobs with a cap on carbon stay where they are: what they add depends on those placed before them, and the others
    only ever move behind them.
    """
    capped = {index for index in load.placements if load.problem.jobs[index].carbon_max}
    movable = [index for index in range(len(load.problem.jobs)) if index not in capped]
    if len(movable) < 2 or budget.left <= 0:
        return load
    return _placed(load.problem, _Search(load, movable, budget, chance).run())


def _placed(problem: Problem, placements: dict[int, Placement]) -> Load:
    """The plan with these placements, in this order."""
    load = Load(problem)
    for index, placement in placements.items():
        load.add(index, placement)
    return load


class _Search:
    def __init__(self, load: Load, movable: list[int], budget: Budget, chance: Chance) -> None:
        self.problem = narrowed(load.problem)
        self.load = _placed(self.problem, load.placements)
        self.budget, self.chance = budget, chance
        self.age = dict.fromkeys(movable, 0)
        for index in movable:
            self._narrow(index)
        idle = Load(self.problem)
        alone = {index: priced for index in movable if (priced := self._priced(idle, index))}
        self.movable = list(alone)
        self.contention = Contention(self.problem, alone, load.placements)
        self.objective = self.load.objective

    def run(self) -> dict[int, Placement]:
        """The best placements found."""
        best, lowest, start = dict(self.load.placements), self.objective, self.budget.left
        tolerance = _TOLERANCE * self.load.carbon // max(1, len(self.movable) ** 2)
        while self.budget.left > 0 and len(self.movable) > 1:
            self._try(lowest + self.chance.below(1 + tolerance * self.budget.left // start))
            if self.objective < lowest:
                best, lowest = dict(self.load.placements), self.objective
        return best

    def _try(self, limit: int) -> None:
        """Take some jobs out and place them anew; put them back if that leads above the limit and to a worse plan."""
        declined = [index for index in self.movable if index not in self.load.placements]
        out = self.contention.choose(declined, _JOBS_OUT, self.chance)
        for index in out:
            self.age[index] += 1
            if self.age[index] > _FRESH:
                self._narrow(index)
        before = {index: self.load.remove(index) for index in out if index in self.load.placements}
        if self.chance.below(2):
            self.chance.shuffle(out)
        for index in out:
            priced = self._priced(self.load, index)
            if priced is not None:
                self.load.add(index, priced.placement)
                self.contention.put(index, priced)
        objective = self.load.objective
        if objective <= max(limit, self.objective):
            self.objective = objective
            return
        changed = [index for index in out if self.load.placements.get(index) != before.get(index)]
        for index in changed:
            if index in self.load.placements:
                self.load.remove(index)
        for index in changed:
            if index in before:
                self.load.add(index, before[index])

    def _priced(self, load: Load, index: int) -> Priced | None:
        """The best placement of a job, unless it costs as much as declining it."""
        self.budget.spend(pricing_units(self.problem, index, len(self.problem.suited[index].peers)))
        priced = cheapest(self.problem, index, load.costs(index))
        return None if priced is None or priced.cost >= self.problem.declined(self.problem.jobs[index]) else priced

    def _narrow(self, index: int) -> None:
        """Choose anew which peers a job looks at; those where it is stay among them, so that it can go back."""
        self.age[index] = 0
        wide = self.problem.wide
        self.budget.spend(2 * pricing_units(wide, index, len(wide.suited[index].peers)))
        placement = self.load.placements.get(index)
        self.problem.narrow(index, self.load, np.zeros(0, np.int64) if placement is None else placement.peers)
