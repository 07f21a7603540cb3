"""The whole: a plan for all jobs within a number of units of work.

First the jobs one after the other in several orders; then plans that follow prices, from short climbs and long ones,
since each leads elsewhere; then a search from the best of them. What the work does not suffice for is left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from node.matching.admission import ORDERS
from node.matching.chance import Chance
from node.matching.greedy import greedy
from node.matching.guided import SHARES_PERCENT, guided
from node.matching.improve import improve, refresh
from node.matching.load import Load
from node.matching.narrow import narrowed_at, narrowing_units
from node.matching.problem import Problem
from node.matching.proof.dual import Dual
from node.matching.proof.prices import MEAN_EVERY, climb
from node.matching.work import Budget, greedy_units, pricing_units
from protocol.errors import LocalError

# Parts of what is left of the work. Found by trying, on instances of 100 to 100,000 peers.
_FIRST_ORDERS, _FIRST_PART = 2, 4  # so many orders are tried if each takes no more than one part in so many
_OTHER_PART = 40  # and each of the others
_CLIMB_PERCENT = 80  # the longest climb, and the plan that follows it
_ROUNDS = (32, 16, 8, 4)  # of climbs; the first is shorter if that is all there is work for
_ROUNDS_MIN = 4
_PASSES = sum(len(shares_percent) for shares_percent in SHARES_PERCENT)
_WIDE_PART = 3  # the longest climb, if jobs look at all their peers
_SHORT_PART = 8  # each of the shorter climbs
_LISTED_MAX = 2**25  # suited peers of all jobs, three integers each: 800 MB
_TRIAL_PERCENT = 40  # searches from all plans, before the one from the best


def solve(problem: Problem, work: int, seed: int = 0) -> Load:
    """A plan that is never worse than placing the jobs in the order of their arrival, however little the work; the same
    for the same problem, work and seed."""
    budget, chance = Budget(work), Chance(seed)
    plans = _in_orders(problem, budget)
    best = min(plans, key=_objective)
    listing = sum(narrowing_units(problem, index) for index in range(len(problem.jobs)))
    if listing > budget.left // 4 or sum(map(problem.suited_count, range(len(problem.jobs)))) > _LISTED_MAX:
        refresh(best, budget)  # to list the suited peers of all jobs takes too much of the work, or too much memory
        return best
    if _rounds_within(_round_units(problem), budget.left // _WIDE_PART) >= _ROUNDS[0]:
        return _searched([*_led(best, problem, budget), best], budget, chance)
    budget.spend(listing)
    few = narrowed_at(best)
    return improve(min([*_led(best, few, budget), best], key=_objective), budget, chance, few)


def _objective(load: Load) -> int:
    return load.objective


def _in_orders(problem: Problem, budget: Budget) -> list[Load]:
    """Greedy plans: the first order always, the others if they take a small part of the budget."""
    units = greedy_units(problem)
    plans = []
    for number, order in enumerate(ORDERS):
        if number and units * (_FIRST_PART if number < _FIRST_ORDERS else _OTHER_PART) > budget.left:
            continue
        plans.append(greedy(problem, order(problem)))
        budget.spend(units)
    return plans


def _led(load: Load, problem: Problem, budget: Budget) -> Iterator[Load]:
    """Plans that follow the prices of climbs from this one, the longest first, as far as the budget allows. `problem`
    is that of the load, or the same narrowed."""
    dual: Dual | None = None
    units = _round_units(problem)
    for rounds in _ROUNDS:
        first = dual is None
        most = budget.left * _CLIMB_PERCENT // 100 if first else budget.left // _SHORT_PART
        number = min(rounds, _rounds_within(units, most))
        if number < (_ROUNDS_MIN if first else rounds):
            return
        # The climb, every so many rounds pricing the mean as well, and the plans that follow it.
        budget.spend((number + number // MEAN_EVERY + 1 + _PASSES) * units)
        try:
            dual = dual or Dual(problem)
        except LocalError:
            return  # costs too great to be priced in 64 bits: there are plans without prices
        prices = climb(dual, load, number).last
        for shares_percent in SHARES_PERCENT:
            yield Load.of(load.problem, guided(problem, prices, shares_percent).placements)


def _searched(plans: list[Load], budget: Budget, chance: Chance) -> Load:
    """A short search from each, and a long one from the best of what they find."""
    each = budget.left * _TRIAL_PERCENT // (100 * len(plans))
    found = []
    for load in plans:
        part = Budget(each)
        found.append(improve(load, part, chance))
        budget.spend(each - part.left)
    return improve(min(found, key=_objective), budget, chance)


def _round_units(problem: Problem) -> int:
    """What it takes to price every job once."""
    return sum(pricing_units(problem, index, len(suited.peers)) for index, suited in enumerate(problem.suited))


def _rounds_within(round_units: int, units: int) -> int:
    """The longest climb that takes no more, its plans included."""
    left = units // max(1, round_units) - 1 - _PASSES
    return left * MEAN_EVERY // (MEAN_EVERY + 1)
