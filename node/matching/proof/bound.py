"""How far from the best a plan can be: the best bound that `prices` finds, or on request `master` after it, as a
certificate that anybody checks, however it was found."""

from __future__ import annotations

from collections import deque

from node.matching.load import Load, Placement
from node.matching.problem import Problem
from node.matching.proof.certificate import Certificate
from node.matching.proof.dual import Dual
from node.matching.proof.master import polish, require_solver
from node.matching.proof.prices import climb
from node.matching.work import pricing_units

ROUNDS = 300  # more prove less than 0.1 % of carbon more
ROUNDS_MIN = 12
WORK_MAX = 7_200_000_000  # some minutes: beyond, fewer rounds
SOLVER_ROUNDS = 10
RECENT = 20  # rounds of the climb: what jobs took in them is what the solver starts from


def bound(problem: Problem, load: Load, rounds: int | None = None, solver: bool = False) -> Certificate:
    """A bound of every plan's objective, found in so many rounds from this plan; None: as many as are worth it. With
    the solver it is never lower. Raises LocalError where the solver is not installed."""
    if solver:
        require_solver()  # before the climb, which takes a while
    if rounds is None:
        counts = enumerate(map(problem.suited_count, range(len(problem.jobs))))
        units = sum(pricing_units(problem, index, count) for index, count in counts)
        rounds = max(ROUNDS_MIN, min(ROUNDS, WORK_MAX // max(1, units)))
    dual, seen = Dual(problem), deque[dict[int, Placement]](maxlen=RECENT)
    best = climb(dual, load, rounds, seen.append if solver else None).best
    if solver:
        best = polish(dual, best, [load.placements, *seen], SOLVER_ROUNDS)
    return Certificate(*best)
