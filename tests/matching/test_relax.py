"""Facts about relaxations of a job in a plan: what is proposed places it beside the others, and nothing less does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from node.matching.greedy import greedy, place
from node.matching.load import Load
from node.matching.relax import axes, fits, price, relaxation

from .builders import broken_limits, drawn, job, peer, problem


def declined(offered: list[dict[str, Any]], **asked: Any) -> Load:
    """A load that could not take this job."""
    load = greedy(problem(offered, [job(**asked)]), [0])
    assert load.declined == [0]
    return load


@pytest.mark.parametrize(
    ("offered", "asked", "text"),
    [
        ({}, {"memory_gb": 40}, "memory 40 -> 24 GB per unit"),
        ({}, {"rate": 15}, "rate 15 -> 10 per unit"),
        ({}, {"reputation": 900}, "reputation 900 -> 800"),
        ({}, {"bandwidth_mbps": 1500}, "bandwidth 1500 -> 1000 Mbit/s"),
        ({}, {"price_max": 400_000}, "price cap 0.4 -> 0.5 per unit and slot"),
        ({}, {"attested": True}, "attested no longer required"),
        ({"tenant": 1}, {}, "mode open -> hybrid"),
        ({}, {"mode": "closed"}, "mode closed -> hybrid"),
        ({"units": 2, "free": [2] * 6}, {"units": 3}, "units per shard 3 -> 2"),
        ({}, {"deadline_slot": 1}, "work 2 -> 1 shard-slots; or deadline +1 slots (1 h)"),
        (
            {"units": 2, "free": [2] * 6},
            {"at_least": 2, "at_most": 2, "work": 4},
            "shards 2 -> 1; or at least 2 -> 1 shards at once; or shards per peer 1 -> 2",
        ),
        ({}, {"memory_gb": 40, "attested": True}, "memory 40 -> 24 GB per unit and attested no longer required"),
        (
            {},
            {"memory_gb": 40, "attested": True, "price_max": 1},
            "no one or two changes place it; of 1 peers: 1 refused (memory)",
        ),
    ],
)
def test_smallest_relaxation(offered: dict[str, Any], asked: dict[str, Any], text: str) -> None:
    found = relaxation(declined([peer(**offered)], **asked), 0)
    assert found is not None
    assert found.text == text


def test_smallest_of_several_values_is_taken() -> None:
    offered = [peer(f"p{memory}", memory_gb=memory) for memory in (10, 20, 30, 40)]
    found = relaxation(declined(offered, memory_gb=80, at_least=2, at_most=2, work=4), 0)
    assert found is not None
    assert found.changes[0].value == 30


def test_zone_cap_and_one_zone_give_way() -> None:
    offered = [peer("a", zone=0), peer("b", zone=1), peer("c", zone=1)]
    three = {"at_least": 3, "at_most": 3, "work": 3}
    capped = relaxation(declined(offered, per_zone=1, **three), 0)
    alone = relaxation(declined(offered, same_zone=True, **three), 0)
    assert capped is not None
    assert "shards per zone 1 -> 2" in capped.text
    assert alone is not None
    assert "several zones instead of one" in alone.text


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"carbon_max": 50_000}, "carbon cap 50,000 -> 72,000 mg"),
        ({"carbon_max": 71_999}, "carbon cap 71,999 -> 72,000 mg"),
        ({"budget": 700_000}, "budget 0.7 -> 1"),
        ({"budget": 999_999}, "budget 0.999999 -> 1"),
        ({"at_least": 2, "at_most": 2, "latency_max_ms": 20}, "latency between zones 20 -> 35 ms"),
        ({"at_least": 2, "at_most": 2, "link_min_mbps": 900}, "link between zones 900 -> 400 Mbit/s"),
    ],
)
def test_caps_on_the_whole_job_give_way_just_enough(asked: dict[str, Any], text: str) -> None:
    offered = [peer("a", zone=0), peer("b", zone=1)]
    zones = {"latency_ms": np.array([[1, 35], [35, 1]]), "link_mbps": np.array([[1000, 400], [400, 1000]])}
    load = greedy(problem(offered, [job(**asked)], **zones), [0])
    assert load.declined == [0]
    found = relaxation(load, 0)
    assert found is not None
    assert text in found.text.split("; or ")


def test_what_others_took_is_taken_into_account() -> None:
    load = greedy(
        problem([peer(free=[1, 1, 0, 0, 1, 1])], [job("first", deadline_slot=2), job(deadline_slot=2)]), [0, 1]
    )
    found = relaxation(load, 1)
    assert found is not None
    assert found.text == "deadline +4 slots (4 h)"


def test_job_dearer_than_its_penalty_is_relaxed_until_it_is_not() -> None:
    dear = [peer("brown", grid=[900] * 6), peer("green", grid=[10] * 6, price=600_000)]
    load = greedy(problem(dear, [job(price_max=500_000)], penalty=20_000), [0])
    assert load.declined == [0]
    found = relaxation(load, 0)
    assert found is not None
    assert found.text == "price cap 0.5 -> 0.6 per unit and slot"


def test_job_that_fits_needs_none() -> None:
    load = Load(problem([peer()], [job()]))
    assert relaxation(load, 0) is None


def test_no_peers_at_all() -> None:
    found = relaxation(declined([]), 0)
    assert found is not None
    assert found.text == "no peers at all"


@pytest.mark.parametrize("trials", [0, 1, 3, 5])
def test_trials_are_bounded_and_said(trials: int) -> None:
    load = declined([peer()], memory_gb=40, attested=True)
    energy = load.energy.copy()
    found = relaxation(load, 0, trials)
    assert found is not None
    assert found.text == f"nothing was found in {trials} trials; of 1 peers: 1 refused (memory)"
    assert found.trials == trials
    assert (load.energy == energy).all()


@pytest.mark.parametrize("seed", range(25))
def test_what_is_proposed_places_the_job_and_no_single_step_less_does(seed: int) -> None:
    asked = drawn(seed, peers=12, jobs=14)
    load = greedy(asked, range(len(asked.jobs)))
    for index in load.declined:
        found = relaxation(load, index)
        assert found is not None
        for changes in [found.changes, *((change,) for change in found.instead)]:
            relaxed = asked.jobs[index]
            for change in changes:
                relaxed = replace(relaxed, **change.fields)
            if changes:
                assert_placed_beside_the_others(load, index, relaxed)
        if len(found.changes) == 2:
            assert not any(fits(load, replace(asked.jobs[index], **change.fields)) for change in found.changes)
        if len(found.changes) == 1:
            for axis in axes(asked, asked.jobs[index]):
                assert_none_smaller(load, index, axis.field, found.changes[0].permille, axis)


def assert_placed_beside_the_others(load: Load, index: int, relaxed: Any) -> None:
    jobs = list(load.problem.jobs)
    jobs[index] = relaxed
    again = Load(replace(load.problem, jobs=tuple(jobs)))
    for other, placement in load.placements.items():
        again.add(other, placement)
    assert place(again, index) is not None
    assert broken_limits(again) == []


def assert_none_smaller(load: Load, index: int, field: str, permille: int, axis: Any) -> None:
    smaller = [number for number in axis.values if axis.change(number).permille < permille]
    for number in smaller:
        assert not fits(load, replace(load.problem.jobs[index], **axis.fields_of(number))), (field, number)


def test_price_leaves_the_load_as_it_is() -> None:
    load = Load(problem([peer()], [job()]))
    assert price(load, replace(load.problem.jobs[0], work=3)) is not None
    assert load.placements == {}
    assert load.carbon == 0
    assert not load.energy.any()
