"""Better plans from a good one: take a few rival jobs out and place them anew in another order, again and again.

Each job by itself is placed exactly, so what a greedy plan loses is lost between jobs: one takes the surplus that
another had more use for. Few jobs out at once, and the first to return has the choice. (Large neighbourhood search:
Shaw 1998; the neighbourhoods by relatedness are from there.) A plan that is a little worse than the best is gone on
from, by less and less as the work is used up (Dueck's record-to-record travel, 1993).
"""

from __future__ import annotations

import itertools
from bisect import bisect_right

import numpy as np

from node.matching.chance import Chance
from node.matching.greedy import place
from node.matching.load import Load, Placement
from node.matching.narrow import narrowed
from node.matching.pricing import cheapest
from node.matching.problem import Integers, Problem
from node.matching.work import Budget, pricing_units

_JOBS_OUT = 5  # at most, at once
_TOLERANCE = 12  # at first a plan may be worse than the best by one part in so many of an average job's carbon
_FRESH = 64  # a job looks at all peers again after it was placed so often
_NONE = np.zeros(0, np.int64)


def improve(load: Load, budget: Budget, chance: Chance) -> Load:
    """The load, or a better one if one is found before the budget ends. Jobs with a cap on carbon stay where they are:
    what a job adds depends on those placed before it, and the others only ever move behind it."""
    movable = [index for index, placement in load.placements.items() if not load.problem.jobs[index].carbon_max]
    movable = sorted(movable + _possible(load, budget))
    if len(movable) < 2 or budget.left <= 0:
        return load
    search = _Search(load, movable, budget, chance)
    search.run()
    return placed(load.problem, search.best)


def _possible(load: Load, budget: Budget) -> list[int]:
    """The declined jobs that fit where nothing else is placed."""
    idle, possible = Load(load.problem), []
    for index in load.declined:
        budget.spend(pricing_units(load.problem, index, len(load.problem.suited[index].peers)))
        if place(idle, index):
            idle.remove(index)
            possible.append(index)
    return possible


def placed(problem: Problem, placements: dict[int, Placement]) -> Load:
    """The plan with these placements, in this order."""
    load = Load(problem)
    for index, placement in placements.items():
        load.add(index, placement)
    return load


class _Search:
    def __init__(self, load: Load, movable: list[int], budget: Budget, chance: Chance) -> None:
        self.problem = narrowed(load.problem)
        self.load = placed(self.problem, load.placements)
        self.movable, self.budget, self.chance = movable, budget, chance
        self.age = [0] * len(self.problem.jobs)
        for index in movable:
            self._narrow(index)
        self.rivals = _rivals(self.problem, movable)
        self.objective = self.lowest = self.load.objective
        self.best = dict(self.load.placements)

    def run(self) -> None:
        start = self.budget.left
        tolerance = self.load.carbon // (_TOLERANCE * len(self.movable))
        while self.budget.left > 0:
            self._try(self.lowest + self.chance.below(1 + tolerance * self.budget.left // start))

    def _try(self, limit: int) -> None:
        """Take some rivals out and place them anew; go back to where they were if the objective is above both what it
        was and the limit."""
        out = self._choose()
        for index in out:
            self.age[index] += 1
            if self.age[index] > _FRESH:
                self._narrow(index)
        before = {index: self.load.remove(index) for index in out if index in self.load.placements}
        if len(before) == len(out):
            self.chance.shuffle(out)
        for index in out:
            self._place(index)
        objective = self.load.objective
        if objective > max(limit, self.objective):
            for index in out:
                if index in self.load.placements:
                    self.load.remove(index)
            for index, placement in before.items():
                self.load.add(index, placement)
            return
        self.objective = objective
        if objective < self.lowest:
            self.lowest, self.best = objective, dict(self.load.placements)

    def _choose(self) -> list[int]:
        """A job and some of its rivals, the closer the likelier; a declined job first."""
        declined = [index for index in self.movable if index not in self.load.placements]
        among = declined if declined and self.chance.below(2) else self.movable
        first = among[self.chance.below(len(among))]
        out, closeness = [first], self.rivals[first]
        for _ in range(1 + self.chance.below(_JOBS_OUT - 1)):
            if closeness[-1]:
                rival = self.movable[bisect_right(closeness, self.chance.below(closeness[-1]))]
                if rival not in out:
                    out.append(rival)
        return out

    def _place(self, index: int) -> None:
        job = self.problem.jobs[index]
        self.budget.spend(pricing_units(self.problem, index, len(self.problem.suited[index].peers)))
        priced = cheapest(self.problem, index, self.load.costs(index))
        if priced is not None and priced.cost < self.problem.declined(job):
            self.load.add(index, priced.placement)

    def _narrow(self, index: int) -> None:
        """Choose anew which peers a job looks at; those where it is stay among them, so that it can go back."""
        self.age[index] = 0
        wide = self.problem.wide
        self.budget.spend(2 * pricing_units(wide, index, len(wide.suited[index].peers)))
        placement = self.load.placements.get(index)
        self.problem.narrow(index, self.load, _NONE if placement is None else placement.peers)


def _rivals(problem: Problem, movable: list[int]) -> dict[int, list[int]]:
    """For each movable job the running sum, over all movable jobs, of how close a rival each is: how many cells both
    may look at, for the work that it is to place it."""
    looks = np.zeros((len(problem.jobs), len(problem.peers.ids)), np.bool_)
    for index in movable:
        looks[index, problem.suited[index].peers] = True
    first = np.array([problem.jobs[index].first_slot for index in movable])
    deadline = np.array([problem.jobs[index].deadline_slot for index in movable])
    units = np.array([pricing_units(problem, m, len(problem.suited[m].peers)) for m in movable])
    looks = looks[movable]
    rivals = {}
    for at, index in enumerate(movable):
        peers = looks[:, problem.suited[index].peers].sum(axis=1)
        slots = np.maximum(0, np.minimum(deadline, deadline[at]) - np.maximum(first, first[at]))
        closeness = peers * slots * 10**6 // units
        closeness[at] = 0
        rivals[index] = np.cumsum(closeness).tolist()
    return rivals
