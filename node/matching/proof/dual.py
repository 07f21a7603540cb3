"""What a problem costs at least, at prices for what the jobs compete for: the Lagrangian dual function, in integers.

Every cell (a peer in a slot) has two prices: `unit`, of one unit of compute, and `surplus`, of one unit of the energy
that the peer has of its own. Each job is priced alone on empty peers, where its shards pay for the units and for the
surplus that they take; what they take from the grid because they do not fit into the surplus even alone, they pay in
full. No plan is cheaper than

    sum over jobs of min(penalty, cheapest placement at these prices)
    - sum over cells of unit x free - sum over cells of surplus price x surplus                       (weak duality)

whatever the prices are, as long as unit >= 0 and 0 <= surplus price <= premium. For take any plan and any cell, with
surplus S, where job j has shards of energy e_j together. Let C = sum of min(e_j, S) and O = sum of max(0, e_j - S), so
that E = C + O. If O > 0, one job alone takes all of S, so C >= S, and what the grid gives is E - S = O + (C - S);
otherwise it is max(0, C - S). In both cases it is O + max(0, C - S), and with 0 <= p <= premium

    own x E + premium x max(0, E - S)
        >= sum over jobs of [own x e_j + premium x max(0, e_j - S) + p x min(e_j, S)] - p x S

The bracket is what the job pays in the cell at these prices, but for its units; they cost unit x (units taken), which
is at most unit x free. Summed over all cells, a job pays at least what its cheapest placement costs, or its penalty.

In a cell, a job's next shard never costs less than the one before, since p <= premium: `pricing.cheapest` is exact. The
limits that it does not price exactly or that only add to the cost (moves, budget, latency, link, carbon cap) are
dropped: a bound of the relaxed problem is one of the problem.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from node.matching.load import Costs, Placement
from node.matching.one.pricing import cheapest
from node.matching.problem import Integers, Job, Problem
from protocol.errors import LocalError

# Prices are counted in this part of the unit of carbon: at 30 g/kWh a whole gram is too coarse a step.
FRACTION = 16

PRICE_MAX = 2**48  # of a unit; leaves room for sums over cells
KEYS_MAX = 2**59  # of cost x shards of a job that might run: half of what `pricing` sorts by


class Prices(NamedTuple):
    """For each cell [slots, peers], in FRACTIONs of the unit of carbon."""

    unit: Integers
    surplus: Integers


class Answer(NamedTuple):
    """The `bound` that prices prove, and what the jobs take at them, if each has its cheapest placement, of each cell
    [slots, peers]: `units`, and of `surplus` each as much as it could have alone (a direction of ascent).
    `placements` are these, by job, without the jobs that would rather be declined."""

    bound: int
    units: Integers
    surplus: Integers
    placements: dict[int, Placement]


class Dual:
    """The dual function of one problem."""

    def __init__(self, problem: Problem) -> None:
        """Raises LocalError if the problem's own costs leave no room for prices in 64 bits."""
        self.problem = relaxed(problem)
        of = self.problem.peers
        # Above these sums might not fit into 64 bits, or the proof fails.
        self.highest = Prices(np.full(of.free.shape, self._highest_unit()), FRACTION * (of.grid - of.own))

    def at(self, prices: Prices) -> Answer:
        """What these prices prove. They are within 0 and `highest`; the caller answers for that."""
        of = self.problem.peers
        units, surplus = np.zeros_like(of.free), np.zeros_like(of.surplus)
        placements: dict[int, Placement] = {}
        discount = self.highest.surplus - prices.surplus  # what surplus saves against the grid
        bound = -_sum(prices.unit, of.free) - _sum(prices.surplus, of.surplus)
        for index, job in enumerate(self.problem.jobs):
            priced = cheapest(self.problem, index, self._costs(index, job, prices.unit, discount))
            penalty = FRACTION * self.problem.declined(job)
            if priced is None or priced.cost >= penalty:
                bound += penalty
                continue
            bound += priced.cost
            placements[index] = placement = priced.placement
            suited = self.problem.suited[index]
            cells = (placement.slots, placement.peers)
            energy = placement.shards * suited.energy[np.searchsorted(suited.peers, placement.peers)]
            units[cells] += placement.shards * job.units
            surplus[cells] += np.minimum(energy, of.surplus[cells])
        return Answer(-(-bound // FRACTION), units, surplus, placements)  # the objective is whole: rounded up

    def _costs(self, index: int, job: Job, unit: Integers, discount: Integers) -> Costs:
        """What each shard costs alone at these prices: all its energy from the grid, less what surplus saves."""
        of, suited = self.problem.peers, self.problem.suited[index]

        def cells(table: Integers) -> Integers:
            return table[job.first_slot : job.deadline_slot].take(suited.peers, axis=1)

        room, surplus, saved = cells(of.free) // job.units, cells(of.surplus), cells(discount)
        floor = FRACTION * (cells(of.grid) * suited.energy + suited.embodied) + cells(unit) * job.units
        ranks = max(1, min(job.per_peer, job.at_most, int(room.max(initial=0))))
        carbon = np.empty((ranks, *room.shape), np.int64)
        before = np.zeros_like(surplus)
        for rank in range(ranks):
            after = np.minimum((rank + 1) * suited.energy, surplus)
            carbon[rank] = floor - saved * (after - before)
            before = after
        return Costs(carbon, room)

    def _highest_unit(self) -> int:
        """No more than the dearest job's penalty, which no job would pay."""
        of, highest = self.problem.peers, 0
        intensity, most = int(of.grid.max(initial=0)), int(of.free.max(initial=0))
        left = KEYS_MAX
        for job, suited in zip(self.problem.jobs, self.problem.suited, strict=True):
            shards = max(1, job.work, len(suited.peers) * min(job.per_peer, job.at_most, most))
            dearest = intensity * int(suited.energy.max(initial=0)) + int(suited.embodied.max(initial=0))
            left = min(left, (KEYS_MAX // shards - FRACTION * dearest) // job.units)
            highest = max(highest, FRACTION * self.problem.declined(job))
        if left < 0:
            raise LocalError(
                "HEL-MATCH-009",
                f"the dearest shards cost too much to be priced in 64 bits: {-left} over what is left for a unit",
                "State the instance in a coarser unit of energy, or with shorter slots; the plan is not concerned.",
            )
        return min(left, highest, PRICE_MAX)


def relaxed(problem: Problem) -> Problem:
    """The same without what is not priced exactly, or only adds to the cost."""
    jobs = tuple(
        dataclasses.replace(job, carbon_max=0, budget=0, latency_max_ms=0, link_min_mbps=0) for job in problem.jobs
    )
    return dataclasses.replace(problem, jobs=jobs, move_wh_per_gb=None, latency_ms=None, link_mbps=None)


def _sum(prices: Integers, amounts: Integers) -> int:
    """In integers without bound: the sum over many cells may not fit into 64 bits."""
    at = np.nonzero(prices)
    return sum(price * amount for price, amount in zip(prices[at].tolist(), amounts[at].tolist(), strict=True))
