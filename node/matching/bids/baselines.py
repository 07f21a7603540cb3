"""What a plan is measured against. Each baseline keeps every hard limit of the demand and only prefers something else,
so the difference is due to the preference alone. A baseline's plan comes without choices and relaxation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from node.accounts.carbon import grid_average_ug
from node.matching.bids.demand import Candidate, Demand, price_of_shard
from node.matching.bids.gang import Gang, Pricing, gang
from node.matching.bids.plan import Plan, Verdict, assign
from node.matching.bids.refusal import sift
from node.matching.bids.windows import Starts
from node.matching.problem import Integers


@dataclass(frozen=True, slots=True)
class Baselines:
    """What the same demand would have emitted otherwise. For a plan without placements: empty plans and 0."""

    cheapest: Plan
    start_now: Plan
    grid_average_ug: int


def compare(candidates: Sequence[Candidate], plan: Plan) -> Baselines:
    """The baselines of a plan that `match` made from these candidates."""
    return Baselines(cheapest_first(candidates, plan.demand), start_now(candidates, plan.demand), grid_average(plan))


def cheapest_first(candidates: Sequence[Candidate], demand: Demand) -> Plan:
    """The gang that asks least, as early as it can start: what a market blind to carbon does."""
    found = sift(candidates, demand).starts
    prices = [price_of_shard(candidate.price_microcredits_per_unit_hour, demand) for candidate in found.candidates]
    return _plan(demand, gang(found, found.slots(), _alike(prices)))


def start_now(candidates: Sequence[Candidate], demand: Demand) -> Plan:
    """The greenest gang at the earliest start that has one: green in space, blind in time."""
    found = sift(candidates, demand).starts
    return _plan(demand, gang(found, found.slots()[:1]))


def at_random(candidates: Sequence[Candidate], demand: Demand, below: Callable[[int], int]) -> Plan:
    """Any gang at any start. `below(n)` draws an integer in [0, n), as `random.Random(seed).randrange` does."""
    found = sift(candidates, demand).starts
    lots = {bid: below(2**32) for bid in sorted(candidate.bid for candidate in found.candidates)}
    slots = found.slots()
    if len(slots):
        at = below(len(slots))
        slots = slots[at : at + 1]
    return _plan(demand, gang(found, slots, _alike([lots[candidate.bid] for candidate in found.candidates])))


def grid_average(plan: Plan) -> int:
    """Micrograms if the plan's energy came from the average grid: the mean intensity over all peers that could have
    taken a shard, each counted once, in the plan's slots; no surplus; the same hardware. 0 without placements."""
    if not plan.placements:
        return 0
    windows = [placed.window for placed in plan.placements]
    intensities = [
        grid
        for choice in plan.choices
        if choice.verdict is not Verdict.REFUSED
        for grid in choice.candidate.grid_during(windows[0].first_slot, windows[0].slots)
    ]
    return grid_average_ug(plan.energy_j, intensities, sum(window.embodied_ug for window in windows))


def _alike(costs: Sequence[int]) -> Pricing:
    """Each candidate costs as much whenever it starts, and however many shards it takes."""

    def pricing(found: Starts) -> Iterator[Integers]:
        for _ in range(int(found.room.max(initial=0))):
            yield np.broadcast_to(np.array(costs, np.int64), found.room.shape)

    return pricing


def _plan(demand: Demand, chosen: Gang) -> Plan:
    return Plan(demand, assign(demand, chosen) if chosen else ())
