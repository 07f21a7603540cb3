"""The rest of a job that has begun: what is left to do of it, where that may go, and what going there costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from node.matching.load import Costs, Load, Placement
from node.matching.moves import moves_carbon
from node.matching.one.pricing import cheapest, preferred
from node.matching.problem import NEVER, Integers, Job, Problem

NOWHERE = Placement(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))


class Option(NamedTuple):
    """A place for the rest of a job: the carbon it adds beside all other jobs, and how much of that is from moves."""

    placement: Placement
    carbon: int
    move: int


@dataclass(frozen=True, slots=True, eq=False)
class Rest:
    """A job cut in two, what is done and the rest, and taken out of the sums of all jobs until it is put back.

    `load` has two jobs beside the sums of all, the whole one and what is left to do of it. `spent`: carbon of what is
    done.
    """

    load: Load
    done: Placement
    before: Placement
    spent: int

    @classmethod
    def taken_out(cls, problem: Problem, sums: Load, job: Job, placement: Placement, slot: int) -> Rest:
        """From `sums`, in which `placement` is counted: its cells from `slot` on are the rest. Only peers and time are
        read from `problem`."""
        done, before = split(placement, slot)
        load = Load(replace(problem, jobs=(job, _left(problem, job, done, slot))))
        load.energy, load.free = sums.energy, sums.free
        load.placements[0] = placement
        load.remove(0)
        return cls(load, done, before, _added(load, done))

    @property
    def left(self) -> Job:
        """What is left to do, as a job."""
        return self.load.problem.jobs[1]

    @property
    def penalty(self) -> int:
        """Carbon that leaving it undone counts as."""
        return self.load.problem.declined(self.left)

    def weighed(self, placement: Placement) -> Option:
        """What a place for the rest costs."""
        problem, whole = self.load.problem, joined(self.done, placement)
        move = moves_carbon(problem, 0, whole) - moves_carbon(problem, 0, self.done)
        return Option(placement, _added(self.load, whole) - self.spent, move)

    def allows(self, option: Option) -> bool:
        """Whether its shards can arrive in time, and the whole job stays below its cap."""
        cap = self.load.problem.jobs[0].carbon_max
        return option.move < NEVER and (not cap or self.spent + option.carbon <= cap)

    def best(self) -> Option | None:
        """The best of the places that were looked at; None if there is none."""
        options = (self.weighed(placement) for placement in self._places())
        return min(filter(self.allows, options), key=lambda option: option.carbon, default=None)

    def put_back(self, placement: Placement) -> None:
        """Count what is done, and the rest here."""
        self.load.add(0, joined(self.done, placement))

    def _places(self) -> Iterator[Placement]:
        """The greenest; the greenest when its moves are shared among the shards that change; and the one that changes
        fewest shards. With the move from where it is none of them need be the best, so all are weighed."""
        if self.left.first_slot >= self.left.deadline_slot:
            return
        problem, costs = self.load.problem, self.load.costs(1)
        if self.left.same_zone and len(self.done.peers):
            zones = problem.peers.zone
            here = zones[problem.suited[1].peers] == zones[self.done.peers[0]]
            costs = replace(costs, room=np.where(here, costs.room, 0))
        anew = cheapest(problem, 1, costs)
        if anew is None:
            return
        yield anew.placement
        move = self.weighed(anew.placement).move
        if not len(self.before.slots) or not move:
            return
        held = shards_at(problem, self.before)
        changed = self.left.work - int(np.minimum(held, shards_at(problem, anew.placement)).sum())
        dearest = 1 + int(costs.carbon.max(initial=0))
        for price in (min(dearest, -(-move // max(1, changed))), dearest):
            found = preferred(problem, 1, reluctant(problem, 1, costs, held, price))
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


def _left(problem: Problem, job: Job, done: Placement, slot: int) -> Job:
    """What is left of a job: to do, and to pay. A budget that is used up leaves 1, since 0 means that there is none. A
    cap on carbon is not in it: the whole job is weighed against that."""
    paid = int((done.shards * problem.peers.price[done.peers]).sum()) * job.units
    return replace(
        job,
        work=job.work - int(done.shards.sum()),
        first_slot=max(job.first_slot, slot),
        carbon_max=0,
        budget=max(1, job.budget - paid) if job.budget else 0,
    )


def _added(load: Load, placement: Placement) -> int:
    """What the first job of a load would add here, beside all others."""
    before = load.carbon
    load.add(0, placement)
    added = load.carbon - before
    load.remove(0)
    return added


def _where(placement: Placement, chosen: NDArray[np.bool_]) -> Placement:
    return Placement(placement.slots[chosen], placement.peers[chosen], placement.shards[chosen])
