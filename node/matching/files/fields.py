"""What each field of an instance's lines may hold, one by one; how they must agree is `instance`'s.

The bounds are far beyond what exists, and low enough that a row of nonsense is named where it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from node.json_lines import quoted

COUNT_MAX = 2**21  # peers or jobs
ZONES_MAX = 2**10
SLOTS_MAX = 10_000  # a year of hours, and some
INTENSITY_MAX = 10_000  # gCO2e/kWh, several times that of the worst lignite
WATTS_MAX = 2**20  # of one unit
PRICE_MAX = 2**40  # microUSD
ENERGY_MAX = 2**40  # Wh in a slot: the output of a continent
ID_MAX_CHARACTERS = 64

Complaint = tuple[int, str]  # the number of the check, and what is wrong


class Field(Protocol):
    """What a value must be."""

    @property
    def required(self) -> bool: ...

    def complaint(self, value: Any, slots: int) -> Complaint | None: ...


@dataclass(frozen=True, slots=True)
class Whole:
    """An integer from `low` to `high`. True and false are none."""

    low: int
    high: int
    required: bool = True

    def complaint(self, value: Any, slots: int) -> Complaint | None:
        if type(value) is int and self.low <= value <= self.high:
            return None
        return 4, f"{quoted(value)} is not an integer from {self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class Series:
    """Integers from 0 to `high`, one for each slot; or one for each zone, how many is known at the file's end."""

    high: int
    per_zone: bool = False
    required: bool = True

    def complaint(self, value: Any, slots: int) -> Complaint | None:
        if type(value) is not list or (value and set(map(type, value)) != {int}):
            return 4, f"{quoted(value)} is not an array of integers"
        if not self.per_zone and len(value) != slots:
            return 5, f"{len(value)} numbers, where the meta line's slots say {slots}"
        if value and (min(value) < 0 or max(value) > self.high):
            at, wrong = next((at, each) for at, each in enumerate(value) if not 0 <= each <= self.high)
            return 4, f"{quoted(wrong)} at index {at} is not from 0 to {self.high}"
        return None


@dataclass(frozen=True, slots=True)
class Name:
    """A short text that can be printed."""

    required: bool = True

    def complaint(self, value: Any, slots: int) -> Complaint | None:
        if type(value) is str and 0 < len(value) <= ID_MAX_CHARACTERS and value.isprintable():
            return None
        return 4, f"{quoted(value)} is not a text of 1 to {ID_MAX_CHARACTERS} printable characters"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few texts."""

    of: tuple[str, ...]
    required: bool = True

    def complaint(self, value: Any, slots: int) -> Complaint | None:
        return None if value in self.of else (4, f"{quoted(value)} is none of {', '.join(self.of)}")


_FLAG = Whole(0, 1)
_TENANT = Whole(0, 2**31)
_MEMORY = Whole(0, 2**20)
_BANDWIDTH = Whole(0, 2**31)
_REPUTATION = Whole(0, 1000)
_SHARDS = Whole(1, 2**20)

FIELDS: Mapping[str, Mapping[str, Field]] = {
    "meta": {
        "version": Whole(1, 1),
        "seed": Whole(0, 2**63 - 1),
        "slots": Whole(1, SLOTS_MAX),
        "slot_s": Whole(1, 86_400),
        "penalty_mg": Whole(0, 2**53),
        "n_peers": Whole(0, COUNT_MAX),
        "n_jobs": Whole(0, COUNT_MAX),
        "n_shards": Whole(0, 2**40),
        "move_wh_per_gb": Whole(0, 2**20, required=False),
    },
    "zone": {
        "id": Whole(0, 2**31),
        "name": Name(),
        "utc": Whole(-12, 14),
        "ci": Series(INTENSITY_MAX),
        "latency_ms": Series(2**31, per_zone=True, required=False),
        "link_mbps": Series(2**31, per_zone=True, required=False),
    },
    "peer": {
        "id": Name(),
        "op": Whole(0, 2**31),
        "zone": Whole(0, 2**31),
        "gpu": Name(),
        "n": Whole(0, 2**16),
        "vram": _MEMORY,
        "rate": Whole(1, 2**31),
        "idle_w": Whole(0, WATTS_MAX),
        "peak_w": Whole(0, WATTS_MAX),
        "pue_m": Whole(1000, 100_000),
        "price": Whole(0, PRICE_MAX),
        "rep": _REPUTATION,
        "bw": _BANDWIDTH,
        "att": _FLAG,
        "pool": _TENANT,
        "emb": Whole(0, 2**40),
        "cig": Whole(0, INTENSITY_MAX),
        "avail": Series(2**16),
        "s50": Series(ENERGY_MAX),
        "s20": Series(ENERGY_MAX),
    },
    "job": {
        "id": Name(),
        "tenant": _TENANT,
        "pool": Choice(("open", "closed", "hybrid")),
        "K": _SHARDS,
        "kmin": _SHARDS,
        "kmax": _SHARDS,
        "H": Whole(1, SLOTS_MAX),
        "g": Whole(1, 2**16),
        "vram": _MEMORY,
        "rate": Whole(0, 2**31),
        "arr": Whole(0, SLOTS_MAX),
        "dl": Whole(0, SLOTS_MAX),
        "price": Whole(0, PRICE_MAX),
        "rep": _REPUTATION,
        "bw": _BANDWIDTH,
        "att": _FLAG,
        "mpp": _SHARDS,
        "same_zone": _FLAG,
        "mpz": Whole(0, 2**20),
        "red": Whole(1, 2),
        "ckpt_gb": Whole(0, 2**20),
        "carbon_max_mg": Whole(0, 2**53, required=False),
        "budget_microusd": Whole(0, 2**62, required=False),
        "latency_max_ms": Whole(0, 2**31, required=False),
        "link_min_mbps": Whole(0, 2**31, required=False),
    },
}


def complaint(kind: str, row: Mapping[str, Any], slots: int) -> tuple[str, Complaint] | None:
    """The first field of a line that is missing, unknown or out of its bounds, and what is wrong with it."""
    fields = FIELDS[kind]
    if unknown := row.keys() - fields.keys() - {"kind"}:
        return quoted(min(unknown))[1:-1], (3, f"a {kind} line has no such field")
    for name, field in fields.items():
        if name in row:
            if found := field.complaint(row[name], slots):
                return name, found
        elif field.required:
            return name, (3, "is required and missing")
    return None
