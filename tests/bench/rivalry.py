"""Rivals who place their jobs at the same time, each on its own stale view, until all have what they need.

In each round everyone without a whole placement chooses and asks the providers, who grant what is free in the order in
which they are asked. Adverts are late: of some peers a requester sees the end of the round before the last. What a peer
that it asked had left, and what it holds itself, it knows. Integers and one seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from node.matching.greedy import greedy, place
from node.matching.load import Costs, Load, Placement
from node.matching.one.pricing import cheapest
from node.matching.problem import Integers, Job, Problem
from node.matching.rest import shards_at
from node.matching.rivals import before, choose

ROUNDS_MAX = 60

# (view, own job, the others that are open, what is won, how often refused) -> where to go
Policy = Callable[[Load, int, Sequence[int], Placement, int], Placement | None]


@dataclass(frozen=True, slots=True)
class Hearing:
    """What each requester misses: adverts of the last round, by peer, and rivals."""

    late_permille: int = 500
    unheard_permille: int = 100


@dataclass(frozen=True, slots=True)
class Outcome:
    """`asked` and `refused` count shard-slots, `placed` those of whole placements."""

    asked: int
    refused: int
    rounds: int
    unplaced: int
    carbon: int


class Rivalry:
    """The providers' side, and who holds what. `others`: jobs that were placed just before, which late adverts do not
    show."""

    def __init__(self, problem: Problem, others: Sequence[Job], seed: int, hearing: Hearing = Hearing()) -> None:
        self.problem = problem
        self.hearing = hearing
        self.chance = random.Random(seed)
        earlier = greedy(replace(problem, jobs=tuple(others)), range(len(others)))
        self.energy, self.free = earlier.energy, earlier.free
        nothing = Load(problem)
        self.adverts = [(nothing.energy, nothing.free), (self.energy.copy(), self.free.copy())]
        shape = problem.peers.free.shape
        self.held = [np.zeros(shape, np.int64) for _ in problem.jobs]
        self.told = [np.zeros(shape[1], np.bool_) for _ in problem.jobs]

    def central(self) -> Load:
        """All jobs by one matcher that sees everything: greedily, and each taken out and placed anew, twice."""
        load = self._load(self.problem, self.energy, self.free)
        for index in range(len(self.problem.jobs)):
            place(load, index)
        for index in 2 * list(load.placements):
            load.remove(index)
            place(load, index)
        return load

    def play(self, policy: Policy) -> Outcome:
        """Rounds until all are placed or have given up."""
        open_jobs = list(range(len(self.problem.jobs)))
        asked = refused = rounds = unplaced = 0
        while open_jobs and rounds < ROUNDS_MAX:
            of, choices = self._with_rests(), {}
            for index in open_jobs:
                heard = [other for other in open_jobs if not self._misses(self.hearing.unheard_permille)]
                rests = [other + len(self.held) for other in heard if other != index]
                chosen = policy(self._view(of, index), index, rests, self._won(index), rounds)
                if chosen is not None:
                    choices[index] = chosen
            unplaced += len(open_jobs) - len(choices)
            order = list(choices)
            self.chance.shuffle(order)
            open_jobs = []
            for index in order:
                new, lacking = self._ask(index, choices[index])
                asked, refused = asked + new, refused + lacking
                if lacking:
                    open_jobs.append(index)
            open_jobs.sort()
            self.adverts.append((self.energy.copy(), self.free.copy()))
            rounds += 1
        whole = self._load(self.problem, self.adverts[1][0], self.adverts[1][1])
        for index in range(len(self.held)):
            if (won := self._won(index)).shards.sum() == self.problem.jobs[index].work:
                whole.add(index, won)
        return Outcome(asked, refused, rounds, unplaced + len(open_jobs), whole.carbon)

    def _misses(self, permille: int) -> bool:
        return self.chance.randrange(1000) < permille

    def _with_rests(self) -> Problem:
        """The jobs as they are, and once more what each still lacks: what a requester expects a rival to ask for."""
        jobs = self.problem.jobs
        rests = [
            replace(job, work=job.work - done, at_least=1) if (done := int(held.sum())) and done < job.work else job
            for job, held in zip(jobs, self.held, strict=True)
        ]
        return replace(self.problem, jobs=(*jobs, *rests))

    def _view(self, of: Problem, index: int) -> Load:
        """What one requester believes, without what it holds itself."""
        held, energy = self.held[index], self._energy_of(index)
        (old_energy, old_free), (new_energy, new_free) = self.adverts[-2:]
        late = np.array([self._misses(self.hearing.late_permille) for _ in of.peers.ids]) & ~self.told[index]
        view = self._load(of, np.where(late, old_energy, new_energy), np.where(late, old_free, new_free))
        mine = held > 0
        view.energy[mine] = (new_energy - held * energy)[mine]
        view.free[mine] = (new_free + held * of.jobs[index].units)[mine]
        return view

    def _ask(self, index: int, choice: Placement) -> tuple[int, int]:
        """Give back what is not wanted any more, and ask for the rest: shard-slots asked for, and refused."""
        wanted, held, units = shards_at(self.problem, choice), self.held[index], self.problem.jobs[index].units
        kept = np.minimum(held, wanted)
        new = wanted - kept
        free = self.free + (held - kept) * units
        granted = np.minimum(new, np.maximum(0, free) // units)
        self.energy += (kept + granted - held) * self._energy_of(index)
        self.free[:] = free - granted * units
        self.held[index] = kept + granted
        self.told[index] |= (new > 0).any(axis=0)
        return int(new.sum()), int((new - granted).sum())

    def _energy_of(self, index: int) -> Integers:
        """What one shard draws in a slot on each peer."""
        energy, suited = np.zeros(len(self.problem.peers.ids), np.int64), self.problem.suited[index]
        energy[suited.peers] = suited.energy
        return energy

    def _won(self, index: int) -> Placement:
        slots, peers = np.nonzero(self.held[index])
        return Placement(slots, peers, self.held[index][slots, peers])

    @staticmethod
    def _load(problem: Problem, energy: Integers, free: Integers) -> Load:
        load = Load(problem)
        load.energy, load.free = energy.copy(), free.copy()
        return load


def best(view: Load, index: int, others: Sequence[int], won: Placement, refusals: int) -> Placement | None:
    """Everyone takes the best, and starts anew when refused."""
    return choose(view, index)


def kept(view: Load, index: int, others: Sequence[int], won: Placement, refusals: int) -> Placement | None:
    """Everyone takes the best, and keeps what was won."""
    return choose(view, index, (), won, refusals)


def drawn(view: Load, index: int, others: Sequence[int], won: Placement, refusals: int) -> Placement | None:
    """A seeded pick among four times as many as needed in each slot, keeping what was won."""
    problem, costs, job = view.problem, view.costs(index), view.problem.jobs[index]
    ranks, slots, peers = costs.carbon.shape
    if not peers:
        return None
    rank = np.arange(ranks)[:, None, None]
    each = np.where(rank < costs.room, costs.carbon, 2**50).transpose(1, 0, 2).reshape(slots, -1)
    each = np.sort(each, axis=1)[None, :, [0, min(4 * job.at_most, each.shape[1]) - 1]]
    least, last = each[..., :1], each[..., 1:]
    chance = random.Random(f"{job.id} {refusals}")
    lots = np.array([chance.getrandbits(20) for _ in range(peers)], np.int64)
    carbon = np.where(costs.carbon <= last, least + ((last - least) * lots >> 20), costs.carbon)
    held = shards_at(problem, won)[job.first_slot : job.deadline_slot, problem.suited[index].peers]
    carbon = np.maximum.accumulate(np.where(rank < held, 0, carbon), axis=0)
    found = cheapest(problem, index, Costs(carbon, costs.room))
    return found.placement if found else None


def in_turn(view: Load, index: int, others: Sequence[int], won: Placement, refusals: int) -> Placement | None:
    """Ours: who comes before goes first, and what was won is kept."""
    jobs = view.problem.jobs
    known = {jobs[other].id: other for other in others}
    ahead = before(jobs[index].id, known, epoch=refusals)
    return choose(view, index, [known[name] for name in ahead], won, refusals)
