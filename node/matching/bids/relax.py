"""What to change so that a declined job would be placed: the smallest relaxation.

Only values at which some bid becomes admissible are tried. Two things may not fit although more is given: fewer slots
under a carbon cap, as a shorter window may average worse, and fewer shards among newcomers, as their part shrinks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from node.matching.bids.demand import Candidate, Demand, shards_left
from node.matching.bids.refusal import format_price, sift, unsuited
from node.matching.bids.windows import cost_max, intensities_g_per_kwh, largest, starts, within_cap
from node.matching.changes import Axis, Relaxation, Trials, relax
from protocol.messages import ARRAY_MAX, INTEGER_MAX
from protocol.units import MS_PER_HOUR

TRIALS_MAX = 200  # some hundredths of a second each at 1,000 bids of 256 slots (measured)


def relaxation(candidates: Sequence[Candidate], demand: Demand) -> Relaxation | None:
    """The smallest single change that places the job, else the smallest pair; None when it needs none."""
    ordered = sorted(candidates, key=lambda bid: (bid.provider, bid.bid), reverse=True)
    bids = list({bid.provider: bid for bid in ordered}.values())  # the lowest id counts
    if fits(bids, demand):
        return None
    if not candidates:
        return Relaxation((), (), "no bids at all: no provider answered")
    axes = _axes(candidates, demand)
    # Whoever is refused when all is given is refused in every trial. Fewer shards admit nobody by themselves, and would
    # leave a newcomer a smaller part.
    given = {name: value for axis in axes for name, value in axis.most.items() if name != "shards"}
    bids = [bid for bid in bids if unsuited(bid, replace(demand, **given)) is None]
    trials = Trials(lambda fields: fits(bids, replace(demand, **fields)), TRIALS_MAX)
    return relax(axes, trials, lambda: _fallen(candidates, demand))


def fits(bids: Sequence[Candidate], demand: Demand) -> bool:
    """Whether any gang can be formed of these bids, one per provider: `gang.fits` without reasons."""
    suited = [bid for bid in bids if unsuited(bid, demand) is None]
    most = sum(min(bid.units // demand.units_per_shard, shards_left(bid, demand)) for bid in suited)
    if most < len(demand.shards):
        return False
    found = starts(suited, demand)
    if not len(found.slots()):
        return False
    bound = cost_max(demand)
    small = [c for c, is_open in enumerate(found.open) if is_open and largest(suited[c], demand) <= bound]
    return len(within_cap(found.only(small)).slots()) > 0


def _axes(candidates: Sequence[Candidate], demand: Demand) -> list[Axis]:
    """Every axis that some bid gives a value to. Of equal changes the earlier axis is preferred."""
    cap, price_max = demand.carbon_max_g_per_kwh, demand.price_max_microcredits_per_unit_hour
    small = [c for c in candidates if largest(c, demand) <= cost_max(demand)]
    found = starts(small, demand)
    tables = enumerate(intensities_g_per_kwh(found)) if cap else ()
    intensities = {int(value) for rank, table in tables for value in np.unique(table[found.room > rank])}
    prices = {c.price_microcredits_per_unit_hour for c in candidates}
    ends = {c.first_slot + index + 1 for c in candidates for index in range(len(c.free_units))}
    opens_pool = demand.mode == "closed" or (demand.mode == "open" and demand.tenant != "")

    def lower(field: str, name: str, unit: str, offered: Iterable[int]) -> Axis:
        old = getattr(demand, field)
        values = sorted({value for value in offered if value < old}, reverse=True)
        return Axis(field, old, values, lambda value: f"{name} {old} -> {value} {unit}", lambda value: {field: value})

    axes = [
        Axis(
            "deadline_slot",
            demand.deadline_slot - demand.first_slot,
            sorted(end - demand.first_slot for end in ends if demand.deadline_slot < end <= INTEGER_MAX),
            lambda span: _later(span - (demand.deadline_slot - demand.first_slot), demand.slot_ms),
            lambda span: {"deadline_slot": demand.first_slot + span},
        ),
        Axis(
            "price_max_microcredits_per_unit_hour",
            price_max,
            sorted(price for price in prices if price > price_max),
            lambda price: f"price cap {format_price(price_max)} -> {format_price(price)} credits/unit-hour",
            lambda price: {"price_max_microcredits_per_unit_hour": price},
        ),
        Axis(
            "carbon_max_g_per_kwh",
            cap,
            sorted(intensity for intensity in intensities if cap < intensity <= INTEGER_MAX),
            lambda intensity: f"carbon cap {cap} -> {intensity} g/kWh",
            lambda intensity: {"carbon_max_g_per_kwh": intensity},
        ),
        Axis(
            "shards",
            len(demand.shards),
            range(len(demand.shards) - 1, 0, -1),
            lambda count: f"shards {len(demand.shards)} -> {count}",
            lambda count: {"shards": demand.shards[:count]},
        ),
        Axis(
            "shards_per_peer",
            demand.shards_per_peer,
            range(demand.shards_per_peer + 1, min(len(demand.shards) + len(demand.occupied), ARRAY_MAX) + 1),
            lambda limit: f"shards per peer {demand.shards_per_peer} -> {limit}",
            lambda limit: {"shards_per_peer": limit},
        ),
        lower("slots", "length", "slots", range(1, demand.slots)),
        lower("units_per_shard", "units per shard", "units", range(1, demand.units_per_shard)),
        lower("memory_mb", "memory", "MB per unit", (c.memory_mb for c in candidates)),
        lower("rate_tps", "rate", "tokens/s per unit", (c.rate_tps for c in candidates)),
        lower("bandwidth_mbps", "bandwidth", "Mbit/s", (c.bandwidth_mbps for c in candidates)),
        # Whose machines a job may run on is no matter of degree: counted as a doubling (guess, not measured).
        Axis(
            "mode",
            1,
            [2] if opens_pool else [],
            lambda _: f"mode {demand.mode} -> hybrid",
            lambda _: {"mode": "hybrid"},
        ),
    ]
    return [axis for axis in axes if axis.values]


def _later(slots: int, slot_ms: int) -> str:
    return f"deadline +{slots} slots ({slots * slot_ms / MS_PER_HOUR:.3g} h)"


def _fallen(candidates: Sequence[Candidate], demand: Demand) -> str:
    """How the bids fell, by reason."""
    refused = Counter(refusal.reason for _, refusal in sift(candidates, demand).refused)
    counts = [f"{count} refused ({reason})" for reason, count in sorted(refused.items())]
    usable = len(candidates) - refused.total()
    if usable:
        counts.append(f"{usable} could take a shard, {len(demand.shards)} are needed at once")
    return f"of {len(candidates)} bids: {', '.join(counts)}"
