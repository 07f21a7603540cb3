"""The live matcher on many bids: carbon against the baselines, time of a plan and of saying what would help."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from node.matching.bids.baselines import at_random, compare
from node.matching.bids.demand import Candidate, Demand
from node.matching.bids.match import match
from tests.bench.figures import Figure

CANDIDATES = 1_000
SLOTS = 24
SHARDS = 16
SEED = 7
DAYS = 10


def figures() -> Iterator[Figure]:
    chance = random.Random(SEED)
    candidates = [bid(number, chance) for number in range(CANDIDATES)]
    demand = Demand(
        job=bytes(32),
        mode="open",
        tenant="",
        shards=tuple(range(SHARDS)),
        slots=3,
        first_slot=0,
        deadline_slot=SLOTS,
        units_per_shard=1,
        memory_mb=8_000,
        rate_tps=0,
        bandwidth_mbps=0,
        price_max_microcredits_per_unit_hour=10**9,
        carbon_max_g_per_kwh=0,
        slot_ms=3_600_000,
    )
    began = time.perf_counter()
    plan = match(candidates, demand)
    seconds = time.perf_counter() - began
    baselines = compare(candidates, plan)
    drawn = at_random(candidates, demand, chance.randrange)
    for name, carbon_ug in (
        ("cheapest-first", baselines.cheapest.carbon_ug),
        ("grid average", baselines.grid_average_ug),
        ("random", drawn.carbon_ug),
    ):
        yield Figure(
            "bids",
            f"carbon, {CANDIDATES} bids",
            plan.carbon_ug / 1e6,
            "g",
            name,
            carbon_ug / 1e6,
            1.0,
            at_most=True,
        )
    yield Figure("bids", f"time, {CANDIDATES} bids x {SLOTS} slots", seconds, "s", "one second", 1.0, 1.0, at_most=True)
    yield _declining(candidates, demand)


def _declining(candidates: Sequence[Candidate], demand: Demand) -> Figure:
    """A job that only two changes together place, over many slots: all single ones are tried first, then pairs."""
    days = [
        replace(
            each,
            free_units=each.free_units * DAYS,
            surplus_j=each.surplus_j * DAYS,
            grid_g_per_kwh=each.grid_g_per_kwh * DAYS,
        )
        for each in candidates
    ]
    asked = replace(demand, deadline_slot=SLOTS * DAYS - 20, memory_mb=90_000, bandwidth_mbps=200)
    began = time.perf_counter()
    plan = match(days, asked)
    seconds = time.perf_counter() - began
    if plan.relaxation is None or len(plan.relaxation.changes) != 2:
        raise ValueError(f"not the job that two changes place: {plan.relaxation}")
    name = f"time to decline a job, {CANDIDATES} bids x {SLOTS * DAYS} slots"
    return Figure("bids", name, seconds, "s", "limit", 0.5, 1.0, at_most=True)


def bid(number: int, chance: random.Random) -> Candidate:
    """A bid with a solar day, at one of ten grids."""
    capacity_j = chance.choice((0, 0, 500, 2_000)) * 3_600
    return Candidate(
        bid=number.to_bytes(32, "big"),
        provider=number.to_bytes(32, "little"),
        label=f"p{number}",
        device="gpu",
        units=chance.choice((1, 4, 8)),
        memory_mb=chance.choice((8_000, 24_000, 80_000)),
        rate_tps=10_000,
        idle_w=50,
        peak_w=400,
        pue_permille=1_200,
        embodied_ug_per_unit_hour=4_000_000,
        bandwidth_mbps=100,
        price_microcredits_per_unit_hour=chance.randrange(100_000, 2_000_000),
        tenant="",
        newcomer=False,
        zone="DE",
        own_g_per_kwh=41,
        first_slot=0,
        free_units=(1,) * SLOTS,
        surplus_j=tuple(capacity_j * max(0, 6 - abs(slot - 12)) // 6 for slot in range(SLOTS)),
        grid_g_per_kwh=(chance.choice((30, 60, 150, 250, 380, 480, 630)),) * SLOTS,
    )
