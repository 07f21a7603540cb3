"""The rest of a job that has begun: what is left to do of it, where that may go, and what going there costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from node.matching.load import Costs, Load, Placement
from node.matching.pricing import cheapest
from node.matching.problem import Integers, Job, Problem

# Carbon of a job's shards that arrive where they were not in its slot before; None where one cannot arrive in time.
Moves = Callable[[Problem, Job, Placement], int | None]

NOWHERE = Placement(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))


def moving_is_free(problem: Problem, job: Job, placement: Placement) -> int:
    """Nothing."""
    return 0


class Option(NamedTuple):
    """A place for the rest of a job: the carbon it adds beside all other jobs, and that of its moves."""

    placement: Placement
    carbon: int
    move: int

    @property
    def cost(self) -> int:
        return self.carbon + self.move


@dataclass(frozen=True, slots=True, eq=False)
class Rest:
    """A job cut in two: what is done, and the rest, which is taken out of the sums of all jobs until it is put back.

    `load` has one job, the rest, and the sums of all. `carbon` is what the cells `before` added.
    """

    job: Job
    done: Placement
    before: Placement
    carbon: int
    load: Load
    moves: Moves

    @classmethod
    def taken_out(cls, load: Load, placement: Placement, slot: int, moves: Moves) -> Rest:
        """From a load with this one job and the sums of all, in which `placement` is counted: its cells from `slot` on.
        The load's sums change, and the rest goes on with them."""
        (job,) = load.problem.jobs
        done, before = split(placement, slot)
        carbon, spent = _take_out(load, before), _take_out(load, done)
        load.add(0, done)
        rest = Load(replace(load.problem, jobs=(_left(load.problem, job, done, spent, slot),)))
        rest.energy, rest.free = load.energy, load.free
        return cls(job, done, before, carbon, rest, moves)

    @property
    def left(self) -> Job:
        """What is left to do, as a job."""
        return self.load.problem.jobs[0]

    @property
    def penalty(self) -> int:
        """Carbon that leaving it undone counts as."""
        return self.load.problem.declined(self.left)

    def kept(self) -> Option | None:
        """Where it was, if it may stay there: not when a changed forecast has broken its cap."""
        return self._weighed(self.before)

    def best(self) -> Option | None:
        """The best of the places that were looked at; None if there is none."""
        weighed = (self._weighed(placement) for placement in self._places())
        return min((option for option in weighed if option), key=lambda option: option.cost, default=None)

    def put_back(self, placement: Placement) -> int:
        """Count its cells again, here; what they add."""
        before = self.load.carbon
        self.load.add(0, placement)
        return self.load.carbon - before

    def move(self, placement: Placement) -> int | None:
        """Carbon of its moves, the first of them from where it is."""
        problem = self.load.problem
        every = self.moves(problem, self.job, joined(self.done, placement))
        past = self.moves(problem, self.job, self.done)
        return None if every is None or past is None else every - past

    def _weighed(self, placement: Placement) -> Option | None:
        move = self.move(placement)
        if move is None:
            return None
        self.load.add(0, placement)
        option = Option(placement, _take_out(self.load, placement), move)
        return option if not self.left.carbon_max or option.cost <= self.left.carbon_max else None

    def _places(self) -> Iterator[Placement]:
        """The greenest; the greenest when its moves are shared among the shards that change; and the one that changes
        fewest shards. With the moves none of them need be the best, so all are weighed."""
        problem = self.load.problem
        if self.left.first_slot >= self.left.deadline_slot:
            return
        costs = self.load.costs(0)
        if self.job.same_zone and len(self.done.peers):
            zones = problem.peers.zone
            here = zones[problem.suited[0].peers] == zones[self.done.peers[0]]
            costs = replace(costs, room=np.where(here, costs.room, 0))
        anew = cheapest(problem, 0, costs)
        if anew is None:
            return
        yield anew.placement
        move = self.move(anew.placement)
        if move == 0 or not len(self.before.slots):
            return
        held = shards_at(problem, self.before)
        changed = self.left.work - int(np.minimum(held, shards_at(problem, anew.placement)).sum())
        dearest = 1 + int(costs.carbon.max(initial=0))
        for price in (dearest if move is None else min(dearest, -(-move // max(1, changed))), dearest):
            found = cheapest(problem, 0, reluctant(problem, 0, costs, held, price))
            if found is not None:
                yield found.placement


def reluctant(problem: Problem, index: int, costs: Costs, held: Integers, price: int) -> Costs:
    """The costs of a job, with a price on each shard in a cell beyond those it holds there already ([slots, peers]). So
    it stays unless going saves more; a price above all costs makes it change few shards."""
    job, suited = problem.jobs[index], problem.suited[index]
    here = held[job.first_slot : job.deadline_slot, suited.peers]
    beyond = np.arange(len(costs.carbon))[:, None, None] >= here
    return replace(costs, carbon=costs.carbon + price * beyond)


def split(placement: Placement, slot: int) -> tuple[Placement, Placement]:
    """What lies before a slot, and from it on."""
    early = placement.slots < slot
    return _where(placement, early), _where(placement, ~early)


def joined(early: Placement, late: Placement) -> Placement:
    """Two placements, all slots of the first before all of the second."""
    return Placement(
        np.concatenate((early.slots, late.slots)),
        np.concatenate((early.peers, late.peers)),
        np.concatenate((early.shards, late.shards)),
    )


def shards_at(problem: Problem, placement: Placement) -> Integers:
    """Shards of one placement per slot and peer: [slots, peers]."""
    at = np.zeros((problem.slots, len(problem.peers.ids)), np.int64)
    at[placement.slots, placement.peers] = placement.shards
    return at


def _left(problem: Problem, job: Job, done: Placement, spent: int, slot: int) -> Job:
    """What is left of a job: to do, to emit beside what it has spent, and to pay. A cap that is used up leaves 1, since
    0 means that there is none."""
    paid = int((done.shards * problem.peers.price[done.peers]).sum()) * job.units
    return replace(
        job,
        work=job.work - int(done.shards.sum()),
        first_slot=max(job.first_slot, slot),
        carbon_max=max(1, job.carbon_max - spent) if job.carbon_max else 0,
        budget=max(1, job.budget - paid) if job.budget else 0,
    )


def _take_out(load: Load, placement: Placement) -> int:
    """Take cells of the only job of a load out; the carbon that they added beside all others."""
    before = load.carbon
    load.placements[0] = placement
    load.remove(0)
    return before - load.carbon


def _where(placement: Placement, chosen: NDArray[np.bool_]) -> Placement:
    return Placement(placement.slots[chosen], placement.peers[chosen], placement.shards[chosen])
