"""How far from the best a plan can be: the best bound that `prices` finds, as a certificate that anybody checks."""

from __future__ import annotations

from node.matching.certificate import Certificate
from node.matching.dual import Dual
from node.matching.load import Load
from node.matching.prices import climb
from node.matching.problem import Problem

ROUNDS = 150  # more, twice as many too, prove some 0.1 % of carbon more


def bound(problem: Problem, load: Load, rounds: int = ROUNDS) -> Certificate:
    """A bound of every plan's objective, found in so many rounds from this plan."""
    return Certificate(*climb(Dual(problem), load, rounds).best)
