"""Facts about explanations of a plan: counts are exact, each refused peer has one reason, each saving one formula."""

from __future__ import annotations

import json
from typing import Any

import pytest

from node.matching.baselines import by_price, start_now
from node.matching.explain import explain, lines, refusals
from node.matching.greedy import greedy
from node.matching.load import Load

from .builders import drawn, job, peer, problem


def planned(offered: list[dict[str, Any]], *jobs: Any, **changes: Any) -> Load:
    return greedy(problem(offered, jobs or [job()], **changes), range(len(jobs) or 1))


@pytest.mark.parametrize(
    ("offered", "asked", "reason", "offers", "wants", "text"),
    [
        ({"tenant": 7}, {}, "pool", None, None, "private pool of tenant 7; the job's mode is open of tenant 1"),
        ({}, {"mode": "closed"}, "pool", None, None, "open pool; the job's mode is closed of tenant 1"),
        ({}, {"memory_gb": 80}, "memory", 24, 80, "memory: 24 of 80 GB per unit needed"),
        ({}, {"rate": 15}, "rate", 10, 15, "rate: 10 of 15 per unit needed"),
        ({}, {"units": 4}, "units", 1, 4, "units: 1 of 4 per shard needed"),
        ({}, {"price_max": 400_000}, "price", 500_000, 400_000, "price 0.5 above the cap 0.4 per unit and slot"),
        ({}, {"reputation": 900}, "reputation", 800, 900, "reputation: 800 of 900 needed"),
        ({}, {"bandwidth_mbps": 2000}, "bandwidth", 1000, 2000, "bandwidth: 1000 of 2000 Mbit/s needed"),
        ({}, {"attested": True}, "attested", 0, 1, "its energy is not attested, which the job asks for"),
        ({"free": [0] * 6}, {}, "room", 0, 1, "room: at most 0 of 1 units free in slots 0 to 5"),
    ],
)
def test_reason_of_a_refused_peer(
    offered: dict[str, Any], asked: dict[str, Any], reason: str, offers: int | None, wants: int | None, text: str
) -> None:
    load = planned([peer(**offered)], job(**asked))
    assert list(refusals(load, 0)) == [
        {"peer": "sol", "reason": reason, "offered": offers, "wanted": wants, "text": text}
    ]


@pytest.mark.parametrize("seed", range(8))
def test_counts_are_those_of_the_full_table(seed: int) -> None:
    load = greedy(asked := drawn(seed), range(len(asked.jobs)))
    for index, row in enumerate(explain(load)["jobs"]):
        table = list(refusals(load, index))
        counts = row["peers"]["refused"]
        assert {reason: sum(each["reason"] == reason for each in table) for reason in counts} == counts
        peers = row["peers"]
        assert peers["chosen"] + peers["outbid"] + peers["incomplete"] + len(table) == len(asked.peers.ids)
        if index in load.placements:
            chosen = {asked.peers.ids[peer] for peer in load.placements[index].peers.tolist()}
            assert chosen.isdisjoint(each["peer"] for each in table)


@pytest.mark.parametrize("seed", range(8))
def test_figures_of_the_jobs_add_up_to_the_plan(seed: int) -> None:
    load = greedy(asked := drawn(seed), range(len(asked.jobs)))
    plan = explain(load)["plan"]
    on_grid = (load.energy - asked.peers.surplus).clip(0)
    assert plan["carbon_mg"] == load.carbon
    assert plan["energy_wh"] == load.energy.sum()
    assert plan["own_wh"] == (load.energy - on_grid).sum()
    assert plan["declined_jobs"] == len(load.declined)
    assert load.carbon + asked.penalty * plan["declined_shard_slots"] == load.objective


def test_savings_are_measured_at_the_load_of_the_job() -> None:
    offered = [
        peer("cheap", price=100_000, grid=[500] * 6),
        peer("green", grid=[400, 400, 100, 100, 400, 400]),
    ]
    first, second = explain(planned(offered, job("first"), job("second")))["jobs"]
    assert first["carbon_mg"] == 2 * 100 * 100
    assert first["baselines"] == {
        "cheapest": {"carbon_mg": 2 * 100 * 500, "saving_mg": 80_000, "saving_permille": 800},
        "grid_average": {"carbon_mg": 2 * 100 * 300, "saving_mg": 40_000, "saving_permille": 666},
        "start_now": {"carbon_mg": 2 * 100 * 400, "saving_mg": 60_000, "saving_permille": 750},
    }
    assert first["slots"] == [2, 3]
    assert first["zones"] == ["zone 0"]
    assert first["price_microusd"] == 1_000_000
    # The green hours are taken: the second saves nothing against starting now.
    assert second["baselines"]["start_now"]["saving_mg"] == 0


def test_grid_average_is_rounded_up_and_counts_the_making() -> None:
    offered = [peer("a", embodied=7, grid=[100] * 6), peer("b", embodied=9, grid=[201] * 6)]
    row = explain(planned(offered, job(work=1)))["jobs"][0]
    assert row["baselines"]["grid_average"]["carbon_mg"] == 15_050 + 7


def test_own_share_is_what_the_jobs_before_left() -> None:
    asked = [job("first", deadline_slot=2), job("second", deadline_slot=2)]
    load = planned([peer(units=2, free=[2] * 6, surplus=[150] * 6)], *asked)
    first, second = explain(load)["jobs"]
    assert (first["own_wh"], second["own_wh"]) == (200, 100)
    assert (first["own_permille"], second["own_permille"]) == (1000, 500)


def test_no_saving_is_negative_against_placements_in_the_order_of_greedy() -> None:
    load = greedy(asked := drawn(4), range(len(asked.jobs)))
    for row in explain(load)["jobs"]:
        if row["baselines"]:
            assert row["baselines"]["cheapest"]["saving_mg"] >= 0
            assert row["baselines"]["start_now"]["saving_mg"] >= 0


@pytest.mark.parametrize("seed", range(3))
def test_explanation_is_json_with_the_same_keys_for_every_job(seed: int) -> None:
    load = greedy(asked := drawn(seed, peers=12), range(len(asked.jobs)))
    explanation = explain(load)
    assert json.loads(json.dumps(explanation)) == explanation
    assert len({tuple(row) for row in explanation["jobs"]}) == 1
    assert {row["verdict"] for row in explanation["jobs"]} == {"placed", "declined"}


def test_only_the_jobs_asked_for_are_explained() -> None:
    load = greedy(asked := drawn(1), range(len(asked.jobs)))
    every, some = explain(load)["jobs"], explain(load, only=(2, 5))["jobs"]
    assert some == [every[2], every[5]]


def test_explaining_leaves_the_plan_as_it_is() -> None:
    load = greedy(asked := drawn(2), range(len(asked.jobs)))
    carbon, energy, order = load.carbon, load.energy.copy(), list(load.placements)
    explain(load)
    assert (load.carbon, list(load.placements)) == (carbon, order)
    assert (load.energy == energy).all()


def test_declined_job_says_what_would_place_it() -> None:
    row = explain(planned([peer()], job(memory_gb=40)))["jobs"][0]
    assert row["relaxation"] == {
        "text": "memory 40 -> 24 GB per unit",
        "changes": [{"field": "memory_gb", "value": 24, "permille": 400, "text": "memory 40 -> 24 GB per unit"}],
        "instead": [],
        "trials": row["relaxation"]["trials"],
    }
    assert row["relaxation"]["trials"] > 0
    assert row["carbon_mg"] is None


def test_trials_of_all_declined_jobs_together_are_bounded() -> None:
    load = planned([peer()], *(job(f"j{number}", memory_gb=40, attested=True) for number in range(9)))
    tried = [row["relaxation"]["trials"] for row in explain(load, cells_max=6 * 35)["jobs"]]
    assert sum(tried) == 35
    assert tried[:4] == [10, 10, 10, 5]


def test_lines_are_bounded_and_say_how_many_are_left_out() -> None:
    offered = [peer(f"p{number}") for number in range(30)]
    said = list(lines(explain(planned(offered, *(job(f"j{number}") for number in range(30)))), shown=5))
    assert len(said) == 5 + 5 * 5 + 1
    assert said[-1] == "… and 25 more placed, which save less"


def test_lines_name_the_declined_first() -> None:
    said = list(lines(explain(planned([peer()], job("fits"), job("large", memory_gb=40)))))
    assert said[5].startswith("large declined: memory 40 -> 24 GB per unit")
    assert said[7].startswith("fits placed: 72 g for 200 Wh, 0 % own surplus, 2 slots from 0 to 1, zone 0")


@pytest.mark.parametrize("load", [planned([], job()), greedy(problem([peer()], []), [])], ids=["no peers", "no jobs"])
def test_nothing_to_explain(load: Load) -> None:
    assert list(lines(explain(load)))


def test_policies_of_the_savings_place_whatever_is_placed() -> None:
    load = greedy(asked := drawn(6), range(len(asked.jobs)))
    at = Load(asked)
    for index, placement in load.placements.items():
        assert by_price(at, index) is not None
        assert start_now(at, index) is not None
        at.add(index, placement)
