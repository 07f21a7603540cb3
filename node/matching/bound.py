"""How far from the best a plan can be: the best bound that `prices` finds, as a certificate that anybody checks."""

from __future__ import annotations

from node.matching.certificate import Certificate
from node.matching.dual import Dual
from node.matching.load import Load
from node.matching.prices import climb
from node.matching.problem import Problem
from node.matching.work import pricing_units

ROUNDS = 300  # more prove less than 0.1 % of carbon more
ROUNDS_MIN = 12
WORK_MAX = 7_200_000_000  # some minutes: beyond, fewer rounds


def bound(problem: Problem, load: Load, rounds: int | None = None) -> Certificate:
    """A bound of every plan's objective, found in so many rounds from this plan; None: as many as are worth it."""
    if rounds is None:
        counts = enumerate(map(problem.suited_count, range(len(problem.jobs))))
        units = sum(pricing_units(problem, index, count) for index, count in counts)
        rounds = max(ROUNDS_MIN, min(ROUNDS, WORK_MAX // max(1, units)))
    return Certificate(*climb(Dual(problem), load, rounds).best)
