"""From what a shard drew, and when, to the rows of its receipt: energy by slot, and by where it came from. Pure.

What the rows must satisfy is judged by every peer in `ledger/transitions.py` (process_receipt); here they are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ledger.energy import carbon_ug, embodied_ug
from protocol.messages import SlotEnergy
from protocol.units import slot_of


class Interval(NamedTuple):
    """A stretch of network time in which a shard drew `energy_j`, evenly as far as anybody knows."""

    start_ms: int
    end_ms: int
    energy_j: int


class Draw(NamedTuple):
    """What a shard drew in one slot, and for how much of it the shard held its units."""

    energy_j: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Surplus:
    """An attestation of the provider's own, at an assurance that the network accepts, and what is left of it."""

    attestation: bytes
    start_ms: int
    end_ms: int
    remaining_j: int
    own_g_per_kwh: int
    grid_g_per_kwh: int


def split_by_slot(intervals: Iterable[Interval], slot_ms: int) -> dict[int, Draw]:
    """Divide each interval over the slots it touches, in proportion to time. No joule and no millisecond is lost: a
    slot gets what had been drawn at its end, rounded down, less what had been drawn at its start.

    The intervals of a shard must not overlap. Raises ValueError for one that does not end after it starts.
    """
    draws: dict[int, Draw] = {}
    for start_ms, end_ms, energy_j in intervals:
        duration_ms = end_ms - start_ms
        if duration_ms <= 0:
            raise ValueError(f"an interval from {start_ms} to {end_ms} ms does not end after it starts")
        drawn_j = 0
        for slot in range(slot_of(start_ms, slot_ms), slot_of(end_ms - 1, slot_ms) + 1):
            from_ms, until_ms = max(start_ms, slot * slot_ms), min(end_ms, (slot + 1) * slot_ms)
            drawn_by_then_j = energy_j * (until_ms - start_ms) // duration_ms
            before = draws.get(slot, Draw(0, 0))
            draws[slot] = Draw(before.energy_j + drawn_by_then_j - drawn_j, before.duration_ms + until_ms - from_ms)
            drawn_j = drawn_by_then_j
    return draws


def settle_slots(
    draws: Mapping[int, Draw],
    surpluses: Sequence[Surplus],
    *,
    slot_ms: int,
    unattested_g_per_kwh: int,
    units: int,
    embodied_ug_per_unit_hour: int,
) -> tuple[tuple[SlotEnergy, ...], dict[bytes, int]]:
    """The energy rows of a receipt, by slot, and what is then left of each attestation, by its id.

    Each joule of an attestation is claimed at most once. Where several overlap a slot, the one that ends first is drawn
    on first, since later slots cannot use it. What none covers counts at the grid: at the dirtiest of the attested
    figures for the slot, or at `unattested_g_per_kwh` where there is none (the ledger accepts no less than the dirtiest
    slot of the bid). Embodied carbon, in proportion to the time held, stands in the first row of a slot.

    A receipt has room for RECEIPT_SLOTS_MAX rows and refers to at most 15 attestations: receipt often enough.
    """
    remaining_j = {surplus.attestation: surplus.remaining_j for surplus in surpluses}
    soonest_gone = sorted(surpluses, key=lambda surplus: (surplus.end_ms, surplus.attestation))
    rows: list[SlotEnergy] = []
    for slot, draw in sorted(draws.items()):
        covering = [s for s in soonest_gone if slot_of(s.start_ms, slot_ms) <= slot <= slot_of(s.end_ms - 1, slot_ms)]
        making_ug = embodied_ug(units, embodied_ug_per_unit_hour, draw.duration_ms)
        for surplus, energy_j, surplus_j in _shares(draw.energy_j, covering, remaining_j):
            own_g_per_kwh = surplus.own_g_per_kwh if surplus else 0
            grid_g_per_kwh = surplus.grid_g_per_kwh if surplus else unattested_g_per_kwh
            rows.append(
                SlotEnergy(
                    slot=slot,
                    energy_j=energy_j,
                    surplus_j=surplus_j,
                    own_g_per_kwh=own_g_per_kwh,
                    grid_g_per_kwh=grid_g_per_kwh,
                    embodied_ug=making_ug,
                    carbon_ug=carbon_ug(energy_j, surplus_j, own_g_per_kwh, grid_g_per_kwh, making_ug),
                    attestation=surplus.attestation if surplus else None,
                )
            )
            making_ug = 0
    return tuple(rows), remaining_j


def _shares(
    energy_j: int, covering: Sequence[Surplus], remaining_j: dict[bytes, int]
) -> list[tuple[Surplus | None, int, int]]:
    """Share the energy of one slot among the attestations that cover it: (whose, energy_j, of it surplus_j), at least
    one. Takes what is claimed out of `remaining_j`."""
    if not covering:
        return [(None, energy_j, 0)]
    claims_j = []
    for surplus in covering:
        claims_j.append(min(energy_j, remaining_j[surplus.attestation]))
        remaining_j[surplus.attestation] -= claims_j[-1]
        energy_j -= claims_j[-1]
    dirtiest = max(covering, key=lambda surplus: surplus.grid_g_per_kwh)
    shares: list[tuple[Surplus | None, int, int]] = [
        (surplus, claim_j + (energy_j if surplus is dirtiest else 0), claim_j)
        for surplus, claim_j in zip(covering, claims_j, strict=True)
    ]
    return [share for share in shares if share[1]] or shares[:1]
