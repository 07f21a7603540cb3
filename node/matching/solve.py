"""The whole: a plan for all jobs within a number of units of work."""

from __future__ import annotations

from node.matching.admission import ORDERS
from node.matching.chance import Chance
from node.matching.greedy import greedy
from node.matching.improve import improve
from node.matching.load import Load
from node.matching.problem import Problem
from node.matching.work import Budget, greedy_units

_SHARE = 40  # another order is tried as long as it takes no more than one part in so many of what is left


def solve(problem: Problem, work: int, seed: int = 0) -> Load:
    """A plan that is never worse than placing the jobs in the order of their arrival, however little the work; the same
    for the same problem, work and seed."""
    budget = Budget(work)
    first, *others = ORDERS
    best = greedy(problem, first(problem))
    units = greedy_units(problem)
    budget.spend(units)
    for order in others:
        if units * _SHARE > budget.left:
            break
        load = greedy(problem, order(problem))
        budget.spend(units)
        if load.objective < best.objective:
            best = load
    return improve(best, budget, Chance(seed))
