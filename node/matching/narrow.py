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

_SPARE = 16  # peers of each slot beyond those that the job needs at most
_HIGH = 2**40  # so that the keys fit into 64 bits for eight million peers


@dataclasses.dataclass(frozen=True, eq=False)
class Narrowed(Problem):
    """`wide` with other peers suited to its jobs."""

    wide: Problem = dataclasses.field(kw_only=True)

    @functools.cached_property
    def suited(self) -> Sequence[Suited]:
        """At first all; `narrow` replaces them one by one."""
        return self._shortlists

    @functools.cached_property
    def _shortlists(self) -> list[Suited]:
        return list(self.wide.suited)

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
            self._shortlists[index] = suited
            kept[_cheapest(load.costs(index), most)] = True
        at = np.flatnonzero(kept)
        self._shortlists[index] = Suited(suited.peers[at], suited.energy[at], suited.embodied[at])


def narrowed(problem: Problem) -> Narrowed:
    fields = {field.name: getattr(problem, field.name) for field in dataclasses.fields(problem)}
    return Narrowed(**fields, wide=problem)


def _cheapest(costs: Costs, most: int) -> Integers:
    """The rows of the `most` peers of each slot whose first shard costs least; of very high costs any."""
    peers = costs.room.shape[1]
    keys = np.where(costs.room > 0, np.minimum(costs.carbon[0], _HIGH), _HIGH) * peers + np.arange(peers)
    return np.unique(np.argpartition(keys, most - 1, axis=1)[:, :most])
