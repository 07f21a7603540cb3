"""The same problem with few peers for each job: those that it may well want, so that a search takes many short looks.

Nothing is lost for good: a placement found here is one of the whole problem, and each job looks at all peers again now
and then.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from node.matching.load import Costs, Load
from node.matching.problem import Integers, Problem, Suited
from node.matching.work import pricing_units

_SPARE = 16  # peers of each slot beyond those that the job needs at most
_HIGH = 2**40  # so that the keys fit into 64 bits for eight million peers


@dataclasses.dataclass(frozen=True, eq=False)
class Narrowed(Problem):
    """`wide` with other peers suited to its jobs: the `shortlists`, one for each, which `narrow` replaces."""

    wide: Problem = dataclasses.field(kw_only=True)
    shortlists: list[Suited] = dataclasses.field(kw_only=True)

    @functools.cached_property
    def suited(self) -> Sequence[Suited]:
        return self.shortlists

    @functools.cached_property
    def _idle(self) -> Load:
        return Load(self.wide)

    @functools.cached_property
    def _cheapest_idle(self) -> dict[int, Integers]:
        """By job, in rows of `wide.suited`, once they were asked for."""
        return {}

    def narrow(self, index: int, load: Load, keep: Integers) -> None:
        """Leave this job the peers that are among the cheapest in some slot, at the present load or while nothing is
        placed, and those to `keep`."""
        suited, job = self.wide.suited[index], self.jobs[index]
        most = min(len(suited.peers), job.at_most + _SPARE)
        kept = np.isin(suited.peers, keep)
        if most:
            if index not in self._cheapest_idle:
                self._cheapest_idle[index] = _cheapest(self._idle.costs(index), most)
            kept[self._cheapest_idle[index]] = True
            self.shortlists[index] = suited  # which `load` looks at, if it is one of this problem
            kept[_cheapest(load.costs(index), most)] = True
        at = np.flatnonzero(kept)
        self.shortlists[index] = Suited(suited.peers[at], suited.energy[at], suited.embodied[at])

    def keep(self, index: int, peers: Integers) -> None:
        """Add these peers, all suited, to those that this job looks at."""
        wide = self.wide.suited[index]
        at = np.searchsorted(wide.peers, np.union1d(self.shortlists[index].peers, peers))
        self.shortlists[index] = Suited(wide.peers[at], wide.energy[at], wide.embodied[at])


def narrowed(problem: Problem) -> Narrowed:
    """At first as wide as before."""
    fields = {field.name: getattr(problem, field.name) for field in dataclasses.fields(problem)}
    return Narrowed(**fields, wide=problem, shortlists=list(problem.suited))


def narrowed_at(load: Load) -> Narrowed:
    """Narrowed for every job, at this load; the peers where a job is stay among its own."""
    problem = narrowed(load.problem)
    for index in range(len(problem.jobs)):
        problem.narrow(index, load, load.peers_of(index))
    return problem


def narrowing_units(problem: Problem, index: int) -> int:
    """What it takes to narrow one job: its costs at all suited peers, without choosing among them."""
    return pricing_units(problem, index, problem.suited_count(index))


def _cheapest(costs: Costs, most: int) -> Integers:
    """The rows of the `most` peers of each slot whose first shard costs least; of very high costs any."""
    peers = costs.room.shape[1]
    keys = np.where(costs.room > 0, np.minimum(costs.carbon[0], _HIGH), _HIGH) * peers + np.arange(peers)
    return np.unique(np.argpartition(keys, most - 1, axis=1)[:, :most])
