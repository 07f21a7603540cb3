"""Facts about relaxations: what is proposed places the job, and nothing less does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from node.matching.bids.demand import Candidate, Demand
from node.matching.bids.gang import fits
from node.matching.bids.relax import relaxation

from .builders import candidate, candidate_lists, demand, demands, digest


@given(candidate_lists(), demands())
@settings(max_examples=300, deadline=None)
def test_relaxed_demand_is_placed(peers: list[Candidate], asked: Demand) -> None:
    found = relaxation(peers, asked)
    assert (found is None) == fits(peers, asked)
    if found is None:
        return
    assert found.text
    if found.changes:
        assert fits(peers, replace(asked, **{change.field: change.value for change in found.changes}))
    for change in found.instead:
        assert fits(peers, replace(asked, **{change.field: change.value}))
        assert change.permille >= found.changes[0].permille
    if len(found.changes) == 2:
        assert not any(fits(peers, replace(asked, **{change.field: change.value})) for change in found.changes)


@pytest.mark.parametrize(
    ("offered", "asked", "text"),
    [
        ({}, {"memory_mb": 20_000}, "memory 20000 -> 16384 MB per unit"),
        ({}, {"rate_tps": 1500}, "rate 1500 -> 1000 tokens/s per unit"),
        ({}, {"bandwidth_mbps": 200}, "bandwidth 200 -> 100 Mbit/s"),
        (
            {},
            {"price_max_microcredits_per_unit_hour": 150_000},
            "price cap 0.15 -> 0.2 credits/unit-hour",
        ),
        ({}, {"carbon_max_g_per_kwh": 300}, "carbon cap 300 -> 360 g/kWh"),
        ({}, {"deadline_slot": 101}, "length 2 -> 1 slots; or deadline +1 slots (1 h)"),
        ({"units": 2, "free_units": (2,) * 6}, {"units_per_shard": 3}, "units per shard 3 -> 2 units"),
        ({"tenant": "acme"}, {"tenant": "acme"}, "mode open -> hybrid"),
        ({}, {"mode": "closed", "tenant": "acme"}, "mode closed -> hybrid"),
        (
            {"units": 2, "free_units": (2,) * 6},
            {"shards": (0, 1)},
            "shards 2 -> 1; or shards per peer 1 -> 2",
        ),
        (
            {},
            {"memory_mb": 20_000, "price_max_microcredits_per_unit_hour": 100_000},
            "price cap 0.1 -> 0.2 credits/unit-hour and memory 20000 -> 16384 MB per unit",
        ),
        (
            {},
            {"excluded": ((digest("provider sol"), "lost"),)},
            "no one or two changes place it; of 1 bids: 1 refused (excluded)",
        ),
    ],
)
def test_smallest_relaxation(offered: dict[str, Any], asked: dict[str, Any], text: str) -> None:
    found = relaxation([candidate(**offered)], demand(**asked))
    assert found is not None
    assert found.text == text


def test_smallest_of_several_values_is_taken() -> None:
    peers = [candidate(f"peer {mb}", memory_mb=mb) for mb in (1000, 2000, 3000, 4000)]
    found = relaxation(peers, demand(memory_mb=8000, shards=(0, 1)))
    assert found is not None
    assert found.text == "memory 8000 -> 3000 MB per unit"


def test_no_bids_at_all() -> None:
    found = relaxation([], demand())
    assert found is not None
    assert found.changes == ()


def test_far_future_slots_cost_no_time() -> None:
    peers = [candidate("near"), candidate("far", first_slot=2**53 - 7)]
    found = relaxation(peers, demand(shards=(0, 1)))
    assert found is not None
    assert found.text == "shards 2 -> 1"
