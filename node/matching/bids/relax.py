"""What to change so that a declined job would be placed: the smallest relaxation.

Changes of unlike things are compared by how much of the old value they change: memory halved is 500 permille, a price
cap doubled is 1000. Only values at which some bid becomes admissible are tried.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from node.matching.bids.demand import Candidate, Demand
from node.matching.bids.gang import fits
from node.matching.bids.refusal import format_price, sift
from node.matching.bids.windows import cost_max, intensities_g_per_kwh, largest, starts
from protocol.messages import ARRAY_MAX, INTEGER_MAX
from protocol.units import MS_PER_HOUR


@dataclass(frozen=True, slots=True)
class Change:
    """One demand changed just enough: `field` of Demand, how much of the old value changes, and the words for it."""

    field: str
    value: Any
    permille: int
    text: str


@dataclass(frozen=True, slots=True)
class Relaxation:
    """`changes` together place the job, none of them alone. `instead`: other single changes that would do as well.

    Without changes, `text` says why no one or two of them would help.
    """

    changes: tuple[Change, ...]
    instead: tuple[Change, ...]
    text: str


@dataclass(frozen=True, slots=True)
class _Axis:
    """One demand that can give way, as a number: `values` from the smallest change of `old` to the largest."""

    field: str
    old: int
    values: Sequence[int]
    say: Callable[[int], str]
    value_of: Callable[[int], Any] = int  # the field's value for a number


def relaxation(candidates: Sequence[Candidate], demand: Demand) -> Relaxation | None:
    """The smallest single change that places the job, else the smallest pair; None when it needs none.

    A pair is found by relaxing both all the way and then tightening each in turn, so neither can be smaller while the
    other stays.
    """
    if fits(candidates, demand):
        return None
    if not candidates:
        return Relaxation((), (), "no bids at all: no provider answered")
    axes = _axes(candidates, demand)
    for count in (1, 2):
        found = [_tighten(candidates, demand, chosen) for chosen in combinations(axes, count)]
        ways = sorted((changes for changes in found if changes), key=lambda ways: sum(c.permille for c in ways))
        if ways:
            instead = tuple(changes[0] for changes in ways[1:]) if count == 1 else ()
            text = " and ".join(change.text for change in ways[0])
            return Relaxation(ways[0], instead, "; or ".join([text, *(change.text for change in instead)]))
    return Relaxation((), (), _hopeless(candidates, demand))


def _tighten(candidates: Sequence[Candidate], demand: Demand, axes: Iterable[_Axis]) -> tuple[Change, ...]:
    """The least change on each of these axes that together place the job; empty when even the largest do not.

    Bisects, since what fits keeps fitting when more is given. The exceptions, fewer slots under a carbon cap (a shorter
    window may average worse) and fewer shards among newcomers (their part shrinks too), can make the answer larger than
    need be, never wrong.
    """
    relaxed = replace(demand, **{axis.field: axis.value_of(axis.values[-1]) for axis in axes})
    if not fits(candidates, relaxed):
        return ()
    changes = []
    for axis in axes:
        trial = partial(_with, relaxed, axis)
        # The last value is known to fit and is not tried again.
        at = bisect_left(axis.values, True, hi=len(axis.values) - 1, key=lambda number: fits(candidates, trial(number)))
        number = axis.values[at]
        relaxed = trial(number)
        permille = abs(number - axis.old) * 1000 // max(1, axis.old)
        changes.append(Change(axis.field, axis.value_of(number), permille, axis.say(number)))
    return tuple(changes)


def _with(demand: Demand, axis: _Axis, number: int) -> Demand:
    return replace(demand, **{axis.field: axis.value_of(number)})


def _axes(candidates: Sequence[Candidate], demand: Demand) -> list[_Axis]:
    """Every axis that some bid gives a value to. Of equal changes the earlier axis is preferred."""
    cap, price_max = demand.carbon_max_g_per_kwh, demand.price_max_microcredits_per_unit_hour
    small = [c for c in candidates if largest(c, demand) <= cost_max(demand)]
    found = starts(small, demand)
    tables = enumerate(intensities_g_per_kwh(found)) if cap else ()
    intensities = {int(value) for rank, table in tables for value in np.unique(table[found.room > rank])}
    prices = {c.price_microcredits_per_unit_hour for c in candidates}
    ends = {c.first_slot + index + 1 for c in candidates for index in range(len(c.free_units))}
    opens_pool = demand.mode == "closed" or (demand.mode == "open" and demand.tenant != "")

    def lower(field: str, name: str, unit: str, offered: Iterable[int]) -> _Axis:
        old = getattr(demand, field)
        values = sorted({value for value in offered if value < old}, reverse=True)
        return _Axis(field, old, values, lambda value: f"{name} {old} -> {value} {unit}")

    axes = [
        _Axis(
            "deadline_slot",
            demand.deadline_slot - demand.first_slot,
            sorted(end - demand.first_slot for end in ends if demand.deadline_slot < end <= INTEGER_MAX),
            lambda span: _later(span - (demand.deadline_slot - demand.first_slot), demand.slot_ms),
            lambda span: demand.first_slot + span,
        ),
        _Axis(
            "price_max_microcredits_per_unit_hour",
            price_max,
            sorted(price for price in prices if price > price_max),
            lambda price: f"price cap {format_price(price_max)} -> {format_price(price)} credits/unit-hour",
        ),
        _Axis(
            "carbon_max_g_per_kwh",
            cap,
            sorted(intensity for intensity in intensities if cap < intensity <= INTEGER_MAX),
            lambda intensity: f"carbon cap {cap} -> {intensity} g/kWh",
        ),
        _Axis(
            "shards",
            len(demand.shards),
            range(len(demand.shards) - 1, 0, -1),
            lambda count: f"shards {len(demand.shards)} -> {count}",
            lambda count: demand.shards[:count],
        ),
        _Axis(
            "shards_per_peer",
            demand.shards_per_peer,
            range(demand.shards_per_peer + 1, min(len(demand.shards) + len(demand.occupied), ARRAY_MAX) + 1),
            lambda limit: f"shards per peer {demand.shards_per_peer} -> {limit}",
        ),
        lower("slots", "length", "slots", range(1, demand.slots)),
        lower("units_per_shard", "units per shard", "units", range(1, demand.units_per_shard)),
        lower("memory_mb", "memory", "MB per unit", (c.memory_mb for c in candidates)),
        lower("rate_tps", "rate", "tokens/s per unit", (c.rate_tps for c in candidates)),
        lower("bandwidth_mbps", "bandwidth", "Mbit/s", (c.bandwidth_mbps for c in candidates)),
        # Whose machines a job may run on is no matter of degree: counted as a doubling (guess, not measured).
        _Axis("mode", 1, [2] if opens_pool else [], lambda _: f"mode {demand.mode} -> hybrid", lambda _: "hybrid"),
    ]
    return [axis for axis in axes if axis.values]


def _later(slots: int, slot_ms: int) -> str:
    return f"deadline +{slots} slots ({slots * slot_ms / MS_PER_HOUR:.3g} h)"


def _hopeless(candidates: Sequence[Candidate], demand: Demand) -> str:
    """Why no relaxation helps: how the bids fell, by reason."""
    refused = Counter(refusal.reason for _, refusal in sift(candidates, demand).refused)
    counts = [f"{count} refused ({reason})" for reason, count in sorted(refused.items())]
    usable = len(candidates) - refused.total()
    if usable:
        counts.append(f"{usable} could take a shard, {len(demand.shards)} are needed at once")
    return f"no one or two changes place it; of {len(candidates)} bids: {', '.join(counts)}"
