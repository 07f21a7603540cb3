"""On what the energy of a receipt rests: measured at the device, or modelled, and never one under the other's name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from node.energy.power import METHOD, SOURCE, UNCERTAINTY_PERMILLE, Measured
from node.energy.source import NAME_MAX
from protocol.messages import Method
from protocol.units import ceil_div


@dataclass(slots=True)
class Basis:
    """Of the energy that was booked for some time."""

    measured_j: int = 0
    modelled_j: int = 0
    error_permille_j: int = 0  # joules x permille, of what was measured
    sources: dict[str, None] = field(default_factory=dict)  # of the meter; in order, each once
    has_modelled_round: bool = False

    def add(self, energy_j: int, measured_j: int, measured: Measured | None, *, is_modelled_round: bool) -> None:
        """Book `energy_j`, of which `measured_j` by `measured`. A part of a round may be too short for a joule, so the
        round as a whole says whether it was measured."""
        self.measured_j += measured_j
        self.modelled_j += energy_j - measured_j
        self.has_modelled_round |= is_modelled_round
        if measured is not None and measured_j:
            self.error_permille_j += measured_j * measured.uncertainty_permille
            self.sources.setdefault(measured.source)


class Told(NamedTuple):
    """What a receipt says of its energy."""

    method: Method
    uncertainty_permille: int
    power_source: str


def told(bases: Iterable[Basis]) -> Told:
    """`metered` only where every round was measured and waits at declared power are the smaller part, which then raise
    the uncertainty by their weight; otherwise the model's, whatever was measured besides."""
    bases = list(bases)
    measured_j, modelled_j = (sum(basis.measured_j for basis in bases), sum(basis.modelled_j for basis in bases))
    sources = ", ".join(dict.fromkeys(source for basis in bases for source in basis.sources))
    if not measured_j:
        return Told(METHOD, UNCERTAINTY_PERMILLE, SOURCE)
    if modelled_j >= measured_j or any(basis.has_modelled_round for basis in bases):
        return Told(METHOD, UNCERTAINTY_PERMILLE, f"{SOURCE}; in part {sources}"[:NAME_MAX])
    error_permille_j = sum(basis.error_permille_j for basis in bases) + modelled_j * UNCERTAINTY_PERMILLE
    waits = "waits at declared watts; " if modelled_j else ""
    return Told("metered", ceil_div(error_permille_j, measured_j + modelled_j), f"{waits}{sources}"[:NAME_MAX])
