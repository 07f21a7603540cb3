"""Better plans from a good one: take a few rival jobs out and place them anew in another order, again and again.

Each job by itself is placed exactly, so what a greedy plan loses is lost between jobs: one takes the surplus, or the
last units, that another had more use for. With a few jobs out at once, the first to return has the choice. (Large
neighbourhood search: Shaw, "Using constraint programming and local search methods to solve vehicle routing problems",
1998.) The search goes on from a plan that is a little worse than the best, by less and less as the work is used up.
(Record-to-record travel: Dueck, "New optimization heuristics", 1993.)
"""

from __future__ import annotations

from node.matching.chance import Chance
from node.matching.contention import Contention
from node.matching.greedy import place
from node.matching.load import Load, Placement
from node.matching.narrow import Narrowed, narrowed, narrowing_units
from node.matching.one.pricing import Priced, cheapest
from node.matching.work import Budget, greedy_units, pricing_units

# Found by trying, on instances of 100 to 10,000 peers.
_JOBS_OUT = 4  # at most, at once
_TOLERANCE = 3  # at first a plan may be worse than the best by so many average jobs, divided by how many jobs there are
_FRESH = 128  # a job chooses its peers anew after it was taken out so often


def improve(load: Load, budget: Budget, chance: Chance, few: Narrowed | None = None) -> Load:
    """The load, or a better one if one is found before the budget ends. `few` is its problem, narrowed already.

    Jobs with a cap on carbon stay where they are, also those that find a place only here: what they add depends on
    those placed before them, and the others only ever move behind them.
    """
    capped = {index for index in load.placements if load.problem.jobs[index].carbon_max}
    movable = [index for index in range(len(load.problem.jobs)) if index not in capped]
    if len(movable) < 2 or budget.left <= 0:
        return load
    return Load.of(load.problem, _Search(load, movable, budget, chance, few).run())


def refresh(load: Load, budget: Budget) -> None:
    """Take each job out and place it anew where it adds least now, round after round while that gains and the budget
    lasts: what is left to do where a search would not come around once."""
    problem = load.problem
    each = greedy_units(problem) // max(1, len(problem.jobs))
    before = load.objective + 1
    while load.objective < before:
        before = load.objective
        for index in list(load.placements):
            if budget.left <= 0:
                return
            if not problem.jobs[index].carbon_max:
                budget.spend(each)
                carbon, placement = load.carbon, load.remove(index)
                priced = place(load, index)
                if priced is None or load.carbon > carbon:  # budgets and moves are not priced exactly
                    if priced is not None:
                        load.remove(index)
                    load.add(index, placement)


class _Search:
    def __init__(self, load: Load, movable: list[int], budget: Budget, chance: Chance, few: Narrowed | None) -> None:
        self.problem = few or narrowed(load.problem)
        self.load = Load.of(self.problem, load.placements)
        self.budget, self.chance = budget, chance
        self.age = dict.fromkeys(movable, 0)
        for index in movable:
            if few is None:
                self._narrow(index)
            else:
                few.keep(index, load.peers_of(index))
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
        chosen = self.contention.choose(declined, _JOBS_OUT, self.chance)
        out = [
            index for index in chosen if index not in self.load.placements or not self.problem.jobs[index].carbon_max
        ]
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
        self.budget.spend(narrowing_units(self.problem.wide, index))
        self.problem.narrow(index, self.load, self.load.peers_of(index))
