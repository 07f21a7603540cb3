"""Facts about the checker: one plan that keeps every limit, and for each limit one change that breaks it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from node.matching.check import violations
from node.matching.load import Placement
from node.matching.problem import Problem

from .builders import job, peer, problem


def plan(*cells: tuple[int, int, int]) -> Placement:
    slots, peers, shards = np.array(cells or np.zeros((0, 3)), np.int64).T
    return Placement(slots, peers, shards)


# Two shards in each of two slots, on two peers in two zones.
GOOD = plan((1, 0, 1), (1, 1, 1), (2, 0, 1), (2, 1, 1))
EMPTY = plan()


def asked(*, of: dict[str, Any] | None = None, tables: dict[str, Any] | None = None, **changes: Any) -> Problem:
    """The job of GOOD; `of` changes the second peer, `tables` the problem."""
    fields: dict[str, Any] = {"at_least": 2, "at_most": 2, "work": 4, "first_slot": 1, "deadline_slot": 5}
    return problem(
        [peer("a", free=[2] * 6), peer("b", zone=1, **(of or {}))], [job(**fields | changes)], **(tables or {})
    )


def test_a_plan_that_keeps_every_limit_is_not_complained_about() -> None:
    limits: dict[str, Any] = {
        "per_zone": 1,
        "budget": 2_000_000,
        "carbon_max": 4 * 36_000,
        "latency_max_ms": 5,
        "link_min_mbps": 9,
    }
    tables = {"latency_ms": np.full((2, 2), 5), "link_mbps": np.full((2, 2), 9), "move_wh_per_gb": 10**6}
    full = asked(tables=tables, checkpoint_gb=1, **limits)
    assert violations(full, {0: GOOD}) == []
    assert violations(full, {}) == []


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"first_slot": 2}, "slot 1 outside 2 to 4"),
        ({"deadline_slot": 2}, "slot 2 outside 1 to 1"),
        ({"at_least": 3, "at_most": 3}, "2 shards in slot 1, 3 to 3 may run"),
        ({"at_least": 1, "at_most": 1}, "2 shards in slot 1, 1 to 1 may run"),
        ({"work": 6}, "4 shard-slots, the job has 6"),
        ({"mode": "closed"}, "a is of the pool 0, the job may use (1,)"),
        ({"of": {"tenant": 2}}, "b is of the pool 2, the job may use (0,)"),
        ({"of": {"tenant": 2}, "mode": "hybrid"}, "b is of the pool 2, the job may use (0, 1)"),
        ({"memory_gb": 25}, "a has 24 GB, the job needs 25"),
        ({"of": {"rate": 9}}, "b has 9 rate, the job needs 10"),
        ({"units": 2}, "b has 1 units, the job needs 2"),
        ({"price_max": 499_999}, "a asks 500000 a unit, the job pays 499999"),
        ({"reputation": 801}, "a has 800 reputation, the job needs 801"),
        ({"bandwidth_mbps": 1001}, "a has 1000 Mbit/s, the job needs 1001"),
        ({"attested": True}, "a has 0 attested, the job needs 1"),
        ({"same_zone": True}, "2 zones, all shards must be in one"),
        ({"latency_max_ms": 5}, "None ms between zone 0 and zone 1 in slot 1, 5 may be"),
        ({"link_min_mbps": 5}, "None Mbit/s between zone 0 and zone 1 in slot 1, the job needs 5"),
        ({"budget": 1_999_999}, "costs 2000000, the budget is 1999999"),
        ({"carbon_max": 143_999}, "adds 144000 of carbon, the cap is 143999"),
    ],
)
def test_each_broken_limit_is_named_with_both_numbers(changes: dict[str, Any], complaint: str) -> None:
    assert f"job: {complaint}" in violations(asked(**changes), {0: GOOD})


@pytest.mark.parametrize(
    ("placement", "changes", "complaint"),
    [
        (plan((1, 0, 2), (2, 0, 2)), {}, "job: 2 shards on a in slot 1, 1 may be"),
        (plan((1, 0, 2), (2, 0, 2)), {"per_peer": 2, "per_zone": 1}, "job: 2 shards in zone 0 in slot 1, 1 may be"),
        (plan((1, 1, 2), (2, 1, 2)), {"per_peer": 2}, "b: 2 units taken in slot 1, 1 are free"),
        (
            plan((1, 0, 2), (2, 0, 1), (2, 1, 1)),
            {"block": True},
            "job: a block that does not keep its peers for slots in a row",
        ),
        (plan((1, 0, 2), (3, 0, 2)), {"block": True}, "job: a block that does not keep its peers for slots in a row"),
        (plan((1, 9, 2)), {}, "job: slot 1 and peer 9 of 6 slots and 2 peers"),
        (plan((-1, 0, 2)), {}, "job: slot -1 and peer 0 of 6 slots and 2 peers"),
        (plan((1, 0, 1), (1, 0, 1)), {}, "job: slot 1 and peer 0 stand after (1, 0)"),
        (plan((2, 0, 2), (1, 0, 2)), {}, "job: slot 1 and peer 0 stand after (2, 0)"),
        (plan((1, 0, 3), (1, 1, -1)), {}, "job: -1 shards on peer 1 in slot 1"),
        (EMPTY, {}, "job: 0 shard-slots, the job has 4"),
        (EMPTY, {"block": True}, "job: 0 shard-slots, the job has 4"),
    ],
)
def test_a_plan_of_another_shape_is_named(placement: Placement, changes: dict[str, Any], complaint: str) -> None:
    assert complaint in violations(asked(**changes), {0: placement})


def test_a_job_that_is_none_is_named() -> None:
    assert violations(asked(), {3: GOOD}) == ["job 3: there are 1 jobs"]


def test_near_zones_are_held_against_each_limit() -> None:
    tables = {"latency_ms": np.array([[0, 7], [7, 0]]), "link_mbps": np.array([[0, 3], [3, 0]])}
    within = asked(tables=tables, latency_max_ms=7, link_min_mbps=3)
    assert violations(within, {0: GOOD}) == []
    beyond = asked(tables=tables, latency_max_ms=6, link_min_mbps=4)
    complaints = violations(beyond, {0: GOOD})
    assert "job: 7 ms between zone 0 and zone 1 in slot 1, 6 may be" in complaints
    assert "job: 3 Mbit/s between zone 0 and zone 1 in slot 2, the job needs 4" in complaints


def test_a_move_counts_towards_the_cap_and_may_take_a_slot_at_most() -> None:
    moved = plan((1, 0, 2), (2, 0, 1), (2, 1, 1))
    # 8,000 Mbit at 1,000 Mbit/s: 8 s at 20 W are a Wh, with the 2 Wh for the GB three.
    cap = 4 * 36_000 + 3 * 360
    of = asked(per_peer=2, checkpoint_gb=1, carbon_max=cap)
    assert violations(dataclasses.replace(of, move_wh_per_gb=2), {0: moved}) == []
    assert violations(dataclasses.replace(of, move_wh_per_gb=3), {0: moved}) == [
        f"job: adds {cap + 360} of carbon, the cap is {cap}"
    ]
    late = dataclasses.replace(of, move_wh_per_gb=2, slot_s=7)
    assert "job: moves to b in slot 2, which takes longer than a slot" in violations(late, {0: moved})


def test_a_job_answers_for_what_it_adds_to_those_before_it() -> None:
    first = job("first", work=1)
    second = job("second", work=1, carbon_max=36_000)
    shared = problem([peer("a", free=[2] * 6, surplus=[100] * 6)], [first, second])
    here = plan((0, 0, 1))
    assert violations(shared, {0: here, 1: here}) == []
    capped = dataclasses.replace(shared, jobs=(first, dataclasses.replace(second, carbon_max=35_999)))
    assert violations(capped, {0: here, 1: here}) == ["second: adds 36000 of carbon, the cap is 35999"]
    assert violations(capped, {1: here, 0: here}) == []
