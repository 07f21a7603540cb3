"""All windows of many bids in arrays: where shards of a job may start, and what each of them would emit there.

Arrays are [starts, candidates]; row i of a column is the candidate's own i-th start, since bids may begin anywhere in
time. Carbon is in whole micrograms, by the ledger's own formula and rounding, so that what is minimised is what an
award says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from node.matching.bids.demand import (
    Candidate,
    Demand,
    Window,
    price_of_shard,
    shard_embodied_ug,
    shard_energy,
    shards_left,
    windows,
)
from node.matching.problem import NEVER, Integers
from protocol.messages import INTEGER_MAX
from protocol.units import J_PER_KWH, UG_PER_G, ceil_div

# 1 g/kWh is 10/36 micrograms a joule; in lowest terms a product stays within 64 bits that fits into an entry.
_UG_PER_J_NUMERATOR, _UG_PER_J_DENOMINATOR = 5, 18


def cost_max(demand: Demand) -> int:
    """The largest carbon or price of one window that the engine sums exactly over all shards, and an entry carries: an
    entry has 2^53, the sum 2^60, and a demand at most 256 = 2^8 shards, so that up to 128 of them lose nothing.

    No number in between leaves 64 bits then: a slot's joules times g/kWh are below 18/5 of its micrograms, and five
    times that below 2^58; sums over a bid's 256 slots are below 2^61.
    """
    return min(INTEGER_MAX, (NEVER - 1) // len(demand.shards))


def largest(candidate: Candidate, demand: Demand) -> int:
    """What its energy, carbon or price for one shard comes to at most, without any surplus, in the demand's time."""
    low, high = _rows(candidate, demand)
    energy_j, grid = shard_energy(candidate, demand), max(candidate.grid_g_per_kwh[low:high], default=0)
    price = candidate.price_microcredits_per_unit_hour
    carbon_ug = ceil_div(energy_j * grid * UG_PER_G, J_PER_KWH) + shard_embodied_ug(candidate, demand)
    return max(energy_j * demand.slots, carbon_ug * demand.slots, price_of_shard(price, demand))


@dataclass(frozen=True, slots=True, eq=False)
class Starts:
    """How many shards may start together, where. `first_slots` [candidates] are those of row 0; `room` [starts,
    candidates] is 0 where none may start, and past a bid's last start."""

    candidates: tuple[Candidate, ...]
    demand: Demand
    first_slots: Integers
    room: Integers

    def only(self, keep: Sequence[int]) -> Starts:
        """These candidates alone."""
        chosen = tuple(self.candidates[column] for column in keep)
        longest = max(
            (high - low - self.demand.slots + 1 for low, high in (_rows(c, self.demand) for c in chosen)), default=0
        )
        return Starts(chosen, self.demand, self.first_slots[list(keep)], self.room[: max(0, longest), list(keep)])

    @property
    def open(self) -> list[bool]:
        """Which candidates have room for a shard anywhere."""
        return [bool(most) for most in self.room.max(axis=0, initial=0).tolist()]

    def slots(self) -> Integers:
        """The slots in which all shards of the demand can start together, in order."""
        rows, columns = np.nonzero(self.room)
        slots, at = np.unique(rows + self.first_slots[columns], return_inverse=True)
        rooms = np.zeros(len(slots), np.int64)
        np.add.at(rooms, at, self.room[rows, columns])
        together: Integers = slots[rooms >= len(self.demand.shards)]
        return together

    def at(self, slots: Integers, table: Integers) -> Integers:
        """The rows of a table [starts, candidates] that belong to these slots, 0 where a bid has none: [slots,
        candidates]."""
        rows = slots[:, None] - self.first_slots
        inside = (rows >= 0) & (rows < len(table))
        if not len(table):
            return np.zeros(rows.shape, np.int64)
        return np.where(inside, table[np.where(inside, rows, 0), np.arange(len(self.candidates))], 0)


def starts(candidates: Sequence[Candidate], demand: Demand) -> Starts:
    """Where these candidates have free units for as long as a shard takes, whatever that emits."""
    free = _per_slot([candidate.free_units for candidate in candidates], candidates, demand)
    units = np.array([candidate.units for candidate in candidates], np.int64)
    left = np.array([shards_left(candidate, demand) for candidate in candidates], np.int64)
    room = np.zeros((0, len(candidates)), np.int64)
    if len(free) >= demand.slots:
        rooms = np.minimum(free, units) // demand.units_per_shard
        room = np.minimum(np.lib.stride_tricks.sliding_window_view(rooms, demand.slots, axis=0).min(axis=2), left)
    first_slots = np.array([max(each.first_slot, demand.first_slot) for each in candidates], np.int64)
    return Starts(tuple(candidates), demand, first_slots, room)


def carbon_ug(found: Starts) -> Iterator[Integers]:
    """Micrograms of the first, second, … shard that starts there, as many as any candidate has room for. A later one
    finds less surplus, so it never emits less. No candidate's `largest` may exceed `cost_max`."""
    candidates, demand = found.candidates, found.demand
    surplus = _per_slot([candidate.surplus_j for candidate in candidates], candidates, demand)
    grid = _per_slot([candidate.grid_g_per_kwh for candidate in candidates], candidates, demand)
    energy = np.array([shard_energy(candidate, demand) for candidate in candidates], np.int64)
    making = np.array([shard_embodied_ug(candidate, demand) for candidate in candidates], np.int64)
    own = np.minimum(np.array([candidate.own_g_per_kwh for candidate in candidates], np.int64), grid)
    for rank in range(int(found.room.max(initial=0))):
        covered = np.minimum(energy, np.maximum(0, surplus - rank * energy))
        emitted = covered * own + (energy - covered) * grid
        each = -(-emitted * _UG_PER_J_NUMERATOR // _UG_PER_J_DENOMINATOR) + making
        sums = np.concatenate((np.zeros((1, len(candidates)), np.int64), np.cumsum(each, axis=0)))
        yield sums[demand.slots :] - sums[: -demand.slots]


def intensities_g_per_kwh(found: Starts) -> Iterator[Integers]:
    """`Window.intensity_g_per_kwh` of the first, second, … shard that starts there."""
    candidates, demand = found.candidates, found.demand
    energy = np.array([shard_energy(candidate, demand) for candidate in candidates], np.int64)
    making = np.array([shard_embodied_ug(candidate, demand) for candidate in candidates], np.int64)
    for carbon in carbon_ug(found):
        electric = carbon - making * demand.slots
        yield electric * _UG_PER_J_DENOMINATOR // (energy * demand.slots * _UG_PER_J_NUMERATOR)


def within_cap(found: Starts) -> Starts:
    """The same without the windows whose mean intensity is above the demand's cap."""
    cap = found.demand.carbon_max_g_per_kwh
    if not cap:
        return found
    green = sum((intensity <= cap for intensity in intensities_g_per_kwh(found)), start=np.zeros_like(found.room))
    return Starts(found.candidates, found.demand, found.first_slots, np.minimum(found.room, green))


def greenest(found: Starts, first_slot: int | None = None) -> list[Window]:
    """One window of each candidate, as if it took one shard: that in `first_slot` where it may start then, else the one
    that emits least, of equals the earliest. Every candidate has one."""
    if not found.candidates:
        return []
    carbon = np.where(found.room > 0, next(carbon_ug(found)), INTEGER_MAX)
    rows = carbon.argmin(axis=0)
    if first_slot is not None:
        wanted = first_slot - found.first_slots
        inside = (wanted >= 0) & (wanted < len(found.room))
        there = np.where(inside, wanted, 0)
        rows = np.where(inside & (found.room[there, np.arange(len(rows))] > 0), there, rows)
    slots = (found.first_slots + rows).tolist()
    return [windows(c, found.demand, slot, 1)[0] for c, slot in zip(found.candidates, slots, strict=True)]


def _per_slot(values: Sequence[tuple[int, ...]], candidates: Sequence[Candidate], demand: Demand) -> Integers:
    """[slots, candidates] of the demand's time, from each candidate's first slot in it on; 0 past a bid's end."""
    rows = []
    for value, candidate in zip(values, candidates, strict=True):
        low, high = _rows(candidate, demand)
        rows.append(value[low:high])
    length = max(map(len, rows), default=0)
    return np.array(list(zip_longest(*rows, fillvalue=0)), np.int64).reshape(length, len(rows))


def _rows(candidate: Candidate, demand: Demand) -> tuple[int, int]:
    """The candidate's slots within the demand's time, counted from its first."""
    low = max(0, demand.first_slot - candidate.first_slot)
    return low, max(low, min(len(candidate.free_units), demand.deadline_slot - candidate.first_slot))
