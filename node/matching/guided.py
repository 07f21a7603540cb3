"""Plans that follow prices: each job pays for surplus and units what they are worth to the jobs still to come.

What `greedy` places takes the last of a surplus though it saves this job little and another one much. At the prices of
`prices` it is left: what a job takes costs what it adds now plus its price. Who can go nowhere else comes first. Then
the jobs are placed anew, one by one, at lower and lower prices, since whoever is to come has come; in the end at what
they add alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from node.matching.admission import choosiest_first
from node.matching.greedy import place
from node.matching.load import Costs, Load
from node.matching.one.pricing import cheapest
from node.matching.problem import Integers, Problem
from node.matching.proof.dual import FRACTION, Prices

# Of the prices, from pass to pass. The second begins with more than all: prices that still climb are too low. Which of
# the two leads to the better plan differs from problem to problem.
SHARES_PERCENT = ((100, 75, 50, 25, 0), (150, 120, 100, 75, 50, 25, 0))


def guided(problem: Problem, prices: Prices, shares_percent: Sequence[int] = SHARES_PERCENT[0]) -> Load:
    """Place all jobs at these shares of these prices, one pass for each. A job that does not fit any more, or that
    would cost more than its penalty, is declined, as `greedy` does it."""
    load = Load(problem)
    first, *later = shares_percent
    for index in choosiest_first(problem):
        _place(load, index, prices, first)
    for share in later:
        for index in [*load.placements, *load.declined]:
            if index in load.placements:
                if problem.jobs[index].carbon_max:
                    continue  # its cap may not let it come back
                load.remove(index)
            _place(load, index, prices, share)
    return load


def priced_costs(load: Load, index: int, prices: Prices, percent: int) -> Costs:
    """What each shard of this job adds now, and this share of the prices of what it takes: in FRACTIONs of carbon.

    Where a price has the next shard cost less than the one before, both cost as much as the dearer.
    """
    job, suited, of = load.problem.jobs[index], load.problem.suited[index], load.problem.peers
    added = load.costs(index)
    unit, price, surplus, energy = (
        table[job.first_slot : job.deadline_slot].take(suited.peers, axis=1)
        for table in (*prices, of.surplus, load.energy)
    )
    spare = np.maximum(0, surplus - energy)
    carbon = added.carbon * FRACTION + _share(unit * job.units, percent)
    before = np.zeros_like(spare)
    for rank in range(len(carbon)):
        after = np.minimum((rank + 1) * suited.energy, spare)
        carbon[rank] += _share(price * (after - before), percent)
        before = after
    return Costs(np.maximum.accumulate(carbon, axis=0), added.room)


def _share(amounts: Integers, percent: int) -> Integers:
    """Rounded down, without a product that may not fit into 64 bits: `dual` keeps amounts below NEVER alone."""
    whole, rest = np.divmod(amounts, 100)
    share: Integers = whole * percent + rest * percent // 100
    return share


def _place(load: Load, index: int, prices: Prices, percent: int) -> None:
    problem, job = load.problem, load.problem.jobs[index]
    if percent == 0 or job.carbon_max or problem.move_wh_per_gb:
        place(load, index)  # caps and moves are counted in carbon, not in prices
        return
    priced = cheapest(problem, index, priced_costs(load, index, prices, percent))
    if priced is None:
        return
    before = load.carbon
    load.add(index, priced.placement)
    if load.carbon - before >= problem.declined(job):
        load.remove(index)
