"""Facts about what people and JSON readers are told."""

from __future__ import annotations

import json

from hypothesis import given, settings

from node.matching.bids.baselines import compare
from node.matching.bids.demand import Candidate, Demand
from node.matching.bids.explain import summary, table
from node.matching.bids.match import match

from .builders import FIRST_SLOT, candidate, candidate_lists, demand, demands

PEERS = [
    candidate("solar", surplus_j=(0, 0, 360_000, 360_000, 0, 0)),
    candidate("gas", grid_g_per_kwh=(500,) * 6, price_microcredits_per_unit_hour=100_000),
    candidate("late", grid_g_per_kwh=(100,) * 6, free_units=(0, 0, 0, 0, 1, 1)),
    candidate("small", memory_mb=4096),
]


def test_every_candidate_has_a_reason_with_numbers() -> None:
    reasons = {row["peer"]: (row["verdict"], row["reason"]) for row in table(match(PEERS, demand()))}
    assert reasons == {
        "solar": ("chosen", "7.2 g for 200 Wh: 100 % own surplus, grid 360 g/kWh"),
        "late": ("outbid", "not free at slot 102 (06:00), when the chosen start; from slot 104 (08:00) 20 g a shard"),
        "gas": ("outbid", "browner: 100 g a shard, the brownest chosen 7.2 g"),
        "small": ("refused", "memory: 4096 of 8192 MB per unit needed"),
    }


def test_row_of_the_chosen() -> None:
    row = table(match(PEERS, demand()))[0]
    assert (row["shards"], row["first_slot"], row["slots"]) == ([0], FIRST_SLOT + 2, 2)
    assert (row["energy_j"], row["carbon_ug"], row["surplus_permille"]) == (720_000, 7_200_000, 1000)
    assert (row["grid_g_per_kwh"], row["price_microcredits"]) == (360, 400_000)


def test_the_chosen_show_what_they_are_paid_and_others_what_they_ask() -> None:
    prices = {"a": 100_000, "b": 300_000, "c": 400_000}
    peers = [candidate(name, price_microcredits_per_unit_hour=price) for name, price in prices.items()]
    rows = {row["peer"]: row for row in table(match(peers, demand(shards=(0, 1))))}
    shown = {name: (row["price_microcredits_per_unit_hour"], row["price_microcredits"]) for name, row in rows.items()}
    assert shown == {"a": (300_000, 600_000), "b": (300_000, 600_000), "c": (400_000, 800_000)}


def test_two_shards_on_one_peer_are_one_row() -> None:
    plan = match([candidate(units=2, free_units=(2,) * 6)], demand(shards=(0, 4), shards_per_peer=2))
    rows = table(plan)
    assert [row["shards"] for row in rows] == [[0, 4]]
    assert rows[0]["carbon_ug"] == plan.carbon_ug


def test_ties_are_named() -> None:
    twins = [candidate("a"), candidate("b"), candidate("c", price_microcredits_per_unit_hour=300_000)]
    outbid = [row["reason"] for row in table(match(twins, demand())) if row["verdict"] == "outbid"]
    assert outbid == [
        "a tie at 72 g a shard and 0.4 credits; the lower bid id was taken",
        "equally green at 72 g a shard, but dearer: 0.6 credits, the dearest of these chosen 0.4 credits",
    ]


def test_incomplete_gang_is_named() -> None:
    (row,) = table(match([candidate()], demand(shards=(0, 1))))
    assert row["reason"] == "could take one at slot 100 (04:00) with 72 g a shard, but 2 shards must start together"


def test_saving_against_every_baseline() -> None:
    plan = match(PEERS, demand())
    total = summary(plan, compare(PEERS, plan))
    assert (total["start_slot"], total["carbon_ug"]) == (FIRST_SLOT + 2, 7_200_000)
    assert total["baselines"] == {
        "cheapest": {"carbon_ug": 100_000_000, "saving_ug": 92_800_000, "saving_permille": 928},
        "grid_average": {"carbon_ug": 64_000_000, "saving_ug": 56_800_000, "saving_permille": 887},
        "start_now": {"carbon_ug": 72_000_000, "saving_ug": 64_800_000, "saving_permille": 900},
    }


def test_declined_job_says_what_would_help() -> None:
    plan = match(PEERS, demand(memory_mb=20_000))
    total = summary(plan, compare(PEERS, plan))
    assert total["relaxation"] == "memory 20000 -> 16384 MB per unit"
    assert total["baselines"] == {}


@given(candidate_lists(), demands())
@settings(max_examples=100, deadline=None)
def test_any_plan_can_be_told_in_json(peers: list[Candidate], asked: Demand) -> None:
    plan = match(peers, asked)
    rows = json.loads(json.dumps(table(plan)))
    assert len(rows) == len(peers)
    assert all(row["reason"] for row in rows)
    assert json.loads(json.dumps(summary(plan, compare(peers, plan))))["carbon_ug"] == plan.carbon_ug
    placed = [shard for row in rows for shard in row["shards"]]
    assert sorted(placed) == sorted(planned.shard for planned in plan.placements)
