"""Chance that anyone can repeat: integers that follow from a seed, the same on every machine and version.

splitmix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
"""

from __future__ import annotations

_MASK = 2**64 - 1


class Chance:
    """A sequence of integers that look random. It is no secret: whoever knows the seed knows all of them."""

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def below(self, bound: int) -> int:
        """An integer in [0, bound); every one as likely as the others to within bound / 2**64."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((mixed ^ (mixed >> 31)) * bound) >> 64

    def shuffle(self, items: list[int]) -> None:
        """Bring the list into any of its orders, each as likely as the others. (Fisher and Yates.)"""
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]
