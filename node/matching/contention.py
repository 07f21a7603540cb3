"""Which jobs are in each other's way: where each would be if it were alone, and who is there instead."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from node.matching.chance import Chance
from node.matching.load import Placement
from node.matching.one.pricing import Priced
from node.matching.problem import Integers, Problem

_CANDIDATES = 8  # of so many jobs drawn the one with most to regret is taken out first
_STRANGERS = 4  # once in so many times the others are drawn from all jobs, whoever is in the way


class Contention:
    """`alone`: the placements that jobs would have with all peers to themselves; they compete for these cells."""

    def __init__(self, problem: Problem, alone: Mapping[int, Priced], placements: Mapping[int, Placement]) -> None:
        self._jobs = sorted(alone)
        self._peers = len(problem.peers.ids)
        self._wishes = {index: self._cells(priced.placement) for index, priced in alone.items()}
        self._least = {index: priced.cost for index, priced in alone.items()}
        self._regret = dict.fromkeys(self._jobs, 0)
        self._holder: Integers = np.full(problem.slots * self._peers, -1, np.int64)  # by cell, who was put there last
        for index, placement in placements.items():
            self._holder[self._cells(placement)] = index

    def put(self, index: int, priced: Priced) -> None:
        """This job was placed so."""
        self._holder[self._cells(priced.placement)] = index
        self._regret[index] = priced.cost - self._least[index]

    def choose(self, declined: list[int], most: int, chance: Chance) -> list[int]:
        """One job with much to regret, every other time a declined one; then at most `most` - 1 of those in its way."""
        among = declined if declined and chance.below(2) else self._jobs
        drawn = [among[chance.below(len(among))] for _ in range(_CANDIDATES)]
        chosen = [max(drawn, key=self._regret.__getitem__)]
        holders = self._holder[self._wishes[chosen[0]]]
        strangers = chance.below(_STRANGERS) == 0
        for _ in range(1 + chance.below(most - 1)):
            other = self._jobs[chance.below(len(self._jobs))] if strangers else int(holders[chance.below(len(holders))])
            if other in self._regret and other not in chosen:
                chosen.append(other)
        return chosen

    def _cells(self, placement: Placement) -> Integers:
        return placement.slots * self._peers + placement.peers
