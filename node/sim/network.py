"""The simulated network: who is connected, who can be reached, and what becomes of a message on its way.

It is harsher than the real one: every message travels by itself, so messages overtake each other, and under faults any
of them may be lost or arrive twice, those on a stream as well.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from node.turn import Chance


@dataclass(frozen=True, slots=True)
class Faults:
    """What happens to each message, and to each copy of gossip: probabilities in permille, delays drawn evenly."""

    loss_permille: int = 0
    duplication_permille: int = 0
    delay_min_ms: int = 1
    delay_max_ms: int = 20


CALM = Faults()


class Network:
    """Connections between peers, named by their public keys."""

    def __init__(self, chance: Chance, faults: Faults) -> None:
        self.faults = faults
        self._chance = chance
        self._neighbours: dict[bytes, set[bytes]] = {}
        self._sides: tuple[frozenset[bytes], ...] = ()

    def connect(self, a: bytes, b: bytes) -> bool:
        """Whether this made a connection that was not there."""
        is_new = a != b and not self.are_connected(a, b)
        if is_new:
            self._neighbours.setdefault(a, set()).add(b)
            self._neighbours.setdefault(b, set()).add(a)
        return is_new

    def disconnect(self, a: bytes, b: bytes) -> bool:
        """Whether there was a connection to end."""
        was_there = self.are_connected(a, b)
        if was_there:
            self._neighbours[a].discard(b)
            self._neighbours[b].discard(a)
        return was_there

    def are_connected(self, a: bytes, b: bytes) -> bool:
        return b in self._neighbours.get(a, ())

    def neighbours(self, peer: bytes) -> list[bytes]:
        """Connected peers, in order: a set's own order would differ between processes."""
        return sorted(self._neighbours.get(peer, ()))

    def partition(self, *sides: Collection[bytes]) -> None:
        """From now on nothing passes between peers of different sides. Connections look intact until somebody asks."""
        self._sides = tuple(frozenset(side) for side in sides)

    def heal(self) -> None:
        self._sides = ()

    def can_reach(self, a: bytes, b: bytes) -> bool:
        return not any((a in side) != (b in side) for side in self._sides)

    def travel_times_ms(self) -> list[int]:
        """One for each copy of a message that will arrive: usually one, none if it is lost."""
        faults = self.faults
        if self._chance.randrange(1000) < faults.loss_permille:
            return []
        copies = 1 + (self._chance.randrange(1000) < faults.duplication_permille)
        spread_ms = faults.delay_max_ms - faults.delay_min_ms + 1
        return [faults.delay_min_ms + self._chance.randrange(spread_ms) for _ in range(copies)]
