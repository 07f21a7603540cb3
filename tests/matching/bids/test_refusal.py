"""Facts about the hard filters: who is refused, for which one reason, with which numbers."""

from __future__ import annotations

from typing import Any

import pytest

from node.matching.bids.demand import Candidate
from node.matching.bids.refusal import Reason, refusal, sift

from .builders import FIRST_SLOT, candidate, demand, digest

SOL = digest("provider sol")
HUGE = 2**53 - 1


@pytest.mark.parametrize(
    ("offered", "asked", "reason", "text"),
    [
        ({}, {"excluded": ((SOL, "lost its shard"),)}, Reason.EXCLUDED, "excluded: lost its shard"),
        (
            {"tenant": "acme"},
            {},
            Reason.POOL,
            "private pool of tenant 'acme'; the job's mode is open",
        ),
        (
            {"tenant": "acme"},
            {"mode": "hybrid", "tenant": "umbrella"},
            Reason.POOL,
            "private pool of tenant 'acme'; the job's mode is hybrid of tenant 'umbrella'",
        ),
        ({}, {"mode": "closed"}, Reason.POOL, "open pool; the job's mode is closed"),
        (
            {},
            {"occupied": (SOL,), "shards": (1,)},
            Reason.OCCUPIED,
            "already carries 1 of at most 1 shards of this job per peer",
        ),
        (
            {"newcomer": True},
            {"occupied": (SOL, SOL), "shards": (2, 3, 4, 5, 6, 7), "shards_per_peer": 8},
            Reason.OCCUPIED,
            "already carries 2 of at most 2 shards of this job per newcomer",
        ),
        ({}, {"memory_mb": 20_000}, Reason.MEMORY, "memory: 16384 of 20000 MB per unit needed"),
        ({}, {"rate_tps": 1001}, Reason.RATE, "rate: 1000 of 1001 tokens/s per unit needed"),
        ({}, {"bandwidth_mbps": 101}, Reason.BANDWIDTH, "bandwidth: 100 of 101 Mbit/s needed"),
        ({}, {"units_per_shard": 4}, Reason.UNITS, "units: 1 of 4 per shard needed"),
        (
            {"price_microcredits_per_unit_hour": 900_000},
            {},
            Reason.PRICE,
            "price 0.9 above the cap 0.5 credits/unit-hour",
        ),
        (
            {"free_units": (1, 1, 0, 1, 1, 1)},
            {"slots": 4},
            Reason.WINDOW,
            "no window of 4 consecutive slots free before the deadline (longest 3)",
        ),
        (
            {"units": 2, "free_units": (2, 1, 2, 1, 2, 1)},
            {"units_per_shard": 2},
            Reason.WINDOW,
            "no window of 2 consecutive slots with 2 free units before the deadline (longest 1)",
        ),
        ({}, {"carbon_max_g_per_kwh": 200}, Reason.CARBON, "greenest window 360 g/kWh above the cap 200 g/kWh"),
    ],
    ids=lambda value: str(value) if isinstance(value, Reason) else "",
)
def test_refused_for(offered: dict[str, Any], asked: dict[str, Any], reason: Reason, text: str) -> None:
    refused = refusal(candidate(**offered), demand(**asked))
    assert refused is not None
    assert (refused.reason, refused.text) == (reason, text)


@pytest.mark.parametrize(
    ("offered", "asked"),
    [
        ({}, {}),
        ({}, {"memory_mb": 16_384, "rate_tps": 1000, "bandwidth_mbps": 100}),
        ({"price_microcredits_per_unit_hour": 500_000}, {}),
        ({"tenant": "acme"}, {"mode": "closed", "tenant": "acme"}),
        ({"tenant": "acme"}, {"mode": "hybrid", "tenant": "acme"}),
        ({}, {"mode": "hybrid", "tenant": "acme"}),
        ({}, {"mode": "open", "tenant": "acme"}),
        ({}, {"carbon_max_g_per_kwh": 360}),
        ({}, {"slots": 6}),
        ({"surplus_j": (360_000,) * 6}, {"carbon_max_g_per_kwh": 36}),
        ({}, {"occupied": (SOL,), "shards_per_peer": 2}),
        ({"newcomer": True}, {"occupied": (SOL,), "shards": (1, 2, 3, 4, 5, 6, 7), "shards_per_peer": 8}),
        ({"newcomer": True}, {}),
        ({}, {"excluded": ((digest("provider luna"), "lost"),)}),
    ],
)
def test_admitted_at_the_bound(offered: dict[str, Any], asked: dict[str, Any]) -> None:
    assert refusal(candidate(**offered), demand(**asked)) is None


def test_closed_job_never_runs_on_open_peers_even_without_a_tenant() -> None:
    refused = refusal(candidate(tenant=""), demand(mode="closed", tenant=""))
    assert refused is not None
    assert refused.reason is Reason.POOL


def test_hardware_does_not_count_against_the_carbon_cap() -> None:
    browned = candidate(embodied_ug_per_unit_hour=10**9)
    assert refusal(browned, demand(carbon_max_g_per_kwh=360)) is None


def test_free_units_beyond_the_offer_do_not_count() -> None:
    refused = refusal(candidate(units=2, free_units=(9,) * 6), demand(units_per_shard=4))
    assert refused is not None
    assert (refused.reason, refused.offered, refused.wanted) == (Reason.UNITS, 2, 4)


@pytest.mark.parametrize(
    "offered", [{"peak_w": HUGE}, {"embodied_ug_per_unit_hour": HUGE}, {"grid_g_per_kwh": (HUGE,) * 6}]
)
def test_numbers_that_no_entry_could_carry_are_refused(offered: dict[str, Any]) -> None:
    refused = refusal(candidate(**offered), demand())
    assert refused is not None
    assert refused.reason is Reason.RANGE


def test_bid_for_slots_that_never_come_is_refused_at_once() -> None:
    refused = refusal(candidate(first_slot=HUGE), demand(deadline_slot=FIRST_SLOT + 200))
    assert refused is not None
    assert (refused.reason, refused.offered) == (Reason.WINDOW, 0)


def test_one_bid_per_provider_counts_the_one_with_the_lowest_id() -> None:
    bids = [candidate(bid=digest(f"bid {n}")) for n in range(3)]
    lowest = min(bids, key=lambda bid: bid.bid)
    for order in (bids, bids[::-1]):
        sifted = sift(order, demand())
        assert {each.bid for each in sifted.starts.candidates} == {lowest.bid}
        assert {refused.reason for _, refused in sifted.refused} == {Reason.REPEATED}
        assert len(sifted.refused) == 2


def test_every_candidate_is_either_admitted_or_refused() -> None:
    many: list[Candidate] = [candidate(f"peer {n}", memory_mb=4096 * (1 + n % 4)) for n in range(20)]
    sifted = sift(many, demand())
    admitted = {each.bid for each in sifted.starts.candidates}
    assert admitted | {refused.bid for refused, _ in sifted.refused} == {each.bid for each in many}
    assert not admitted & {refused.bid for refused, _ in sifted.refused}
