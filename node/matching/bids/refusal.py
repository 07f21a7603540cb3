"""Hard filters: why a candidate cannot take a shard at all, one reason each, with the numbers that decided.

The order is fixed, and the first reason that applies is the one given: first whether the peer may, then whether its
machine can, then price, time and carbon.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from node.matching.bids.demand import Candidate, Demand, Window, shards_left, shards_max
from node.matching.bids.windows import Starts, cost_max, greenest, largest, starts, within_cap
from protocol.units import MICROCREDITS_PER_CREDIT


class Reason(enum.StrEnum):
    """What stood in the way. Members are in the order in which they are checked."""

    REPEATED = "repeated"
    EXCLUDED = "excluded"
    POOL = "pool"
    OCCUPIED = "occupied"
    MEMORY = "memory"
    RATE = "rate"
    BANDWIDTH = "bandwidth"
    UNITS = "units"
    PRICE = "price"
    WINDOW = "window"
    RANGE = "range"
    CARBON = "carbon"
    RIVALS = "rivals"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason. `offered` and `wanted` are its two numbers in the unit that `text` names, 0 where it has none."""

    reason: Reason
    text: str
    offered: int = 0
    wanted: int = 0


@dataclass(frozen=True, slots=True)
class Sifted:
    """What the filters left: where the admitted may start, they in the order of price and bid, and every other
    candidate with its refusal."""

    starts: Starts
    refused: tuple[tuple[Candidate, Refusal], ...]


def refusal(candidate: Candidate, demand: Demand) -> Refusal | None:
    """Why this candidate can take no shard of this demand, or None when it can."""
    return next((refused for _, refused in sift([candidate], demand).refused), None)


def sift(candidates: Iterable[Candidate], demand: Demand) -> Sifted:
    """Who may take shards of the demand and where, whatever the order of the input.

    One bid per provider counts, the one with the lowest id: two bids would offer the same units and surplus twice.
    """
    suited: list[Candidate] = []
    refused: list[tuple[Candidate, Refusal]] = []
    ordered = sorted(candidates, key=lambda candidate: (candidate.provider, candidate.bid))
    for _, bids in groupby(ordered, key=lambda candidate: candidate.provider):
        first, *others = bids
        why = unsuited(first, demand)
        if why:
            refused.append((first, why))
        else:
            suited.append(first)
        text = f"one bid per provider counts; this one also sent {first.bid.hex()[:12]}"
        refused += [(other, Refusal(Reason.REPEATED, text)) for other in others]
    suited.sort(key=lambda candidate: (candidate.price_microcredits_per_unit_hour, candidate.bid))
    free, unfree = _part(starts(suited, demand), lambda found: found.open)
    refused += [(each, _no_window(each, demand)) for each in unfree.candidates]
    small, large = _part(free, lambda found: [largest(each, demand) <= cost_max(demand) for each in found.candidates])
    refused += [(each, _too_large(each, demand)) for each in large.candidates]
    green, brown = _part(small, lambda found: within_cap(found).open)
    refused += [(window.candidate, _too_brown(window, demand)) for window in greenest(brown)]
    return Sifted(within_cap(green), tuple(refused))


def unsuited(candidate: Candidate, demand: Demand) -> Refusal | None:
    """The filters that do not depend on time: pool, machine and price."""
    for provider, why in demand.excluded:
        if provider == candidate.provider:
            return Refusal(Reason.EXCLUDED, f"excluded: {why}")
    if candidate.tenant not in _pools(demand):
        pool = f"private pool of tenant {candidate.tenant!r}" if candidate.tenant else "open pool"
        asker = f" of tenant {demand.tenant!r}" if demand.mode != "open" and demand.tenant else ""
        return Refusal(Reason.POOL, f"{pool}; the job's mode is {demand.mode}{asker}")
    if shards_left(candidate, demand) == 0:
        carried, limit = demand.occupied.count(candidate.provider), shards_max(candidate, demand)
        whom = "newcomer" if limit < demand.shards_per_peer else "peer"
        text = f"already carries {carried} of at most {limit} shards of this job per {whom}"
        return Refusal(Reason.OCCUPIED, text, carried, limit)
    for reason, name, offered, wanted, unit in (
        (Reason.MEMORY, "memory", candidate.memory_mb, demand.memory_mb, "MB per unit"),
        (Reason.RATE, "rate", candidate.rate_tps, demand.rate_tps, "tokens/s per unit"),
        (Reason.BANDWIDTH, "bandwidth", candidate.bandwidth_mbps, demand.bandwidth_mbps, "Mbit/s"),
        (Reason.UNITS, "units", candidate.units, demand.units_per_shard, "per shard"),
    ):
        if offered < wanted:
            return Refusal(reason, f"{name}: {offered} of {wanted} {unit} needed", offered, wanted)
    price, cap = candidate.price_microcredits_per_unit_hour, demand.price_max_microcredits_per_unit_hour
    if price > cap:
        text = f"price {format_price(price)} above the cap {format_price(cap)} credits/unit-hour"
        return Refusal(Reason.PRICE, text, price, cap)
    return None


def format_price(microcredits: int) -> str:
    """Microcredits as credits, without the word: `0.45`."""
    return f"{microcredits / MICROCREDITS_PER_CREDIT:.6g}"


def _part(found: Starts, passes: Callable[[Starts], Sequence[bool]]) -> tuple[Starts, Starts]:
    """The candidates that pass, and the others."""
    passed = passes(found)
    return found.only([c for c, ok in enumerate(passed) if ok]), found.only(
        [c for c, ok in enumerate(passed) if not ok]
    )


def _no_window(candidate: Candidate, demand: Demand) -> Refusal:
    longest = _longest_run(candidate, demand)
    units = f" with {demand.units_per_shard} free units" if demand.units_per_shard > 1 else " free"
    text = f"no window of {demand.slots} consecutive slots{units} before the deadline (longest {longest})"
    return Refusal(Reason.WINDOW, text, longest, demand.slots)


def _too_large(candidate: Candidate, demand: Demand) -> Refusal:
    """A bid may hold any integers; one that no award could carry must not stop the requester who asked."""
    most, bound = largest(candidate, demand), cost_max(demand)
    text = f"its energy, carbon or price per shard may come to {most:.3g}, beyond the {bound:.3g} that can be compared"
    return Refusal(Reason.RANGE, text, most, bound)


def _too_brown(window: Window, demand: Demand) -> Refusal:
    best, cap = window.intensity_g_per_kwh, demand.carbon_max_g_per_kwh
    return Refusal(Reason.CARBON, f"greenest window {best} g/kWh above the cap {cap} g/kWh", best, cap)


def _pools(demand: Demand) -> set[str]:
    """Tenants whose peers the mode allows; "" is the open pool. A closed job without a tenant has no pool at all."""
    own = {demand.tenant} - {""}
    return {"open": {""}, "closed": own, "hybrid": own | {""}}[demand.mode]


def _longest_run(candidate: Candidate, demand: Demand) -> int:
    """Most consecutive slots within the demand's time in which one shard fits."""
    low = demand.first_slot - candidate.first_slot
    high = demand.deadline_slot - candidate.first_slot
    fits = (
        low <= index < high and min(free, candidate.units) >= demand.units_per_shard
        for index, free in enumerate(candidate.free_units)
    )
    return max((sum(run) for _, run in groupby(fits)), default=0)
