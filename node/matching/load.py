"""What is placed: units and energy taken on every peer in every slot, the carbon of it, and what one more shard costs.
The carbon of moves is in it; `costs` leaves it to the pricing, since it depends on the job's other slots.

A peer's surplus is shared by all shards on it, so a shard costs what it adds: the cost of a cell (a peer in a slot)
rises piecewise linearly with its energy, and the next shard never costs less than the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from node.matching.footprint import marginal
from node.matching.moves import moves_carbon
from node.matching.problem import Integers, Problem


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where the shards of one job are: `shards` of it on each of `peers` in each of `slots`; a cell stands there once,
    cells are in the order of slot and peer."""

    slots: Integers
    peers: Integers
    shards: Integers

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Placement) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in ("slots", "peers", "shards")
        )

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def of_shards(cls, slots: Integers, peers: Integers, every: int) -> Placement:
        """The placement of single shards, in any order, each in a slot and on one of `every` peers."""
        cells, shards = np.unique(slots * every + peers, return_counts=True)
        return cls(*np.divmod(cells, every), shards)


@dataclass(frozen=True, slots=True, eq=False)
class Costs:
    """What one job's shards cost in its own slots on its own peers: `carbon` [ranks, slots, suited] of the first,
    second, … shard in a cell, never falling with rank; `room` [slots, suited], how many fit."""

    carbon: Integers
    room: Integers


class Load:
    """A plan under construction: the placement of each job that has one, and the sums over all of them."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        shape = problem.peers.free.shape
        self.energy: Integers = np.zeros(shape, np.int64)
        self.free: Integers = problem.peers.free.copy()
        self.placements: dict[int, Placement] = {}
        self.carbon = 0
        self.depths: dict[tuple[int, int], Integers] = {}  # how far `shortlist` looks first, by class: time only

    @classmethod
    def of(cls, problem: Problem, placements: Mapping[int, Placement]) -> Load:
        """The plan with these placements, in this order."""
        load = cls(problem)
        for index, placement in placements.items():
            load.add(index, placement)
        return load

    @property
    def declined(self) -> list[int]:
        """The jobs without a placement."""
        return [index for index in range(len(self.problem.jobs)) if index not in self.placements]

    def peers_of(self, index: int) -> Integers:
        """Where the shards of this job are, once for each slot; nowhere if it is declined."""
        placement = self.placements.get(index)
        return np.zeros(0, np.int64) if placement is None else placement.peers

    @property
    def objective(self) -> int:
        """Carbon, and the penalty of every declined job."""
        jobs = self.problem.jobs
        return self.carbon + sum(self.problem.declined(jobs[index]) for index in self.declined)

    def add(self, index: int, placement: Placement) -> None:
        """Place a job that is not placed. The caller answers for its limits: the placement came from `pricing`."""
        self.placements[index] = placement
        self._change(index, placement, 1)

    def remove(self, index: int) -> Placement:
        """Take a job's placement away and return it."""
        placement = self.placements.pop(index)
        self._change(index, placement, -1)
        return placement

    def costs(self, index: int) -> Costs:
        """What each shard of this job would add now."""
        job, suited = self.problem.jobs[index], self.problem.suited[index]

        def cells(table: Integers) -> Integers:
            return table[job.first_slot : job.deadline_slot].take(suited.peers, axis=1)

        peers = self.problem.peers
        room = cells(self.free) // job.units
        ranks = max(1, min(job.per_peer, job.at_most, int(room.max(initial=0))))
        carbon = marginal(
            ranks,
            suited.energy,
            suited.embodied,
            cells(peers.own),
            cells(peers.grid),
            cells(peers.surplus) - cells(self.energy),
        )
        return Costs(carbon, room)

    def _change(self, index: int, placement: Placement, sign: int) -> None:
        job, peers = self.problem.jobs[index], self.problem.peers
        footprint = self.problem.footprint(job)
        cells = (placement.slots, placement.peers)
        energy = placement.shards * footprint.energy[placement.peers]
        surplus, own = peers.surplus[cells], peers.own[cells]
        grid_before = np.maximum(0, self.energy[cells] - surplus)
        self.energy[cells] += sign * energy
        grid_after = np.maximum(0, self.energy[cells] - surplus)
        self.free[cells] -= sign * placement.shards * job.units
        fixed = own * energy + placement.shards * footprint.embodied[placement.peers]
        self.carbon += int((sign * fixed + (peers.grid[cells] - own) * (grid_after - grid_before)).sum())
        self.carbon += sign * moves_carbon(self.problem, index, placement)
