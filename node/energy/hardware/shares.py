"""Who drew what of the energy that one meter counted for all: in proportion to processor time. Pure.

Between two readings each worker gets its part by the processor time that it used meanwhile, and where nobody used any,
equal parts: all hold units. Nothing is left to the rest of the machine, so what a system draws for itself is on its
workers, never the other way round. Where a reading fails, what was drawn around it is nobody's: every worker's measure
is broken until it is taken.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from node.energy.power import Measured

# Guess, not measured: processor time says nothing of memory or of how hard an instruction is.
SHARED_UNCERTAINTY_PERMILLE = 100

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class _Part:
    """Of one worker, since it was taken last."""

    cpu_ms: int  # as last told, from the beginning of the worker
    since_ms: int
    energy_uj: int = 0
    is_broken: bool = False
    is_shared: bool = False


class Shares(Generic[Key]):
    """`name`, `uncertainty_permille`: of the meter."""

    def __init__(self, name: str, uncertainty_permille: int) -> None:
        self._name = name
        self._uncertainty_permille = uncertainty_permille
        self._parts: dict[Key, _Part] = {}
        self._last_uj: int | None = None
        self._at_ms = 0

    @property
    def keys(self) -> tuple[Key, ...]:
        return tuple(self._parts)

    def advance(self, at_ms: int, total_uj: int | None, cpu_ms: Mapping[Key, int]) -> None:
        """The meter stands at `total_uj`, or cannot tell; workers have used so much processor time, those that are gone
        nothing more."""
        used_ms = {key: max(0, cpu_ms.get(key, part.cpu_ms) - part.cpu_ms) for key, part in self._parts.items()}
        for key, part in self._parts.items():
            part.cpu_ms += used_ms[key]
            part.is_shared |= len(self._parts) > 1
            part.is_broken |= total_uj is None or self._last_uj is None
        if total_uj is not None and self._last_uj is not None:
            self._divide(total_uj - self._last_uj, used_ms)
        self._last_uj, self._at_ms = total_uj, at_ms

    def add(self, key: Key, cpu_ms: int) -> None:
        """A worker begins, at the last reading."""
        self._parts[key] = _Part(cpu_ms, self._at_ms)

    def remove(self, key: Key) -> None:
        self._parts.pop(key, None)

    def take(self, key: Key) -> Measured | None:
        """What the worker drew up to the last reading since this was asked last; None if nobody can tell."""
        part = self._parts.get(key)
        if part is None:
            return None
        energy_mj, rest_uj = divmod(part.energy_uj, 1000)
        self._parts[key] = _Part(part.cpu_ms, self._at_ms, energy_uj=0 if part.is_broken else rest_uj)
        if part.is_broken:
            return None
        shared = ", shared by processor time" if part.is_shared else ""
        return Measured(
            energy_mj=energy_mj,
            duration_ms=self._at_ms - part.since_ms,
            uncertainty_permille=self._uncertainty_permille + (SHARED_UNCERTAINTY_PERMILLE if shared else 0),
            source=self._name + shared,
        )

    def _divide(self, energy_uj: int, used_ms: Mapping[Key, int]) -> None:
        """Every microjoule goes to somebody: a part ends where the sum so far, rounded down, does."""
        if not any(used_ms.values()):
            used_ms = dict.fromkeys(used_ms, 1)
        used_so_far_ms = given_uj = 0
        for key, used in used_ms.items():
            used_so_far_ms += used
            until_uj = energy_uj * used_so_far_ms // sum(used_ms.values())
            self._parts[key].energy_uj += until_uj - given_uj
            given_uj = until_uj
