"""Bounds: never above the optimum, found by looking at every plan; near it; and certificates that prove them."""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from node.json_lines import Malformed
from node.matching.files.lines import LINE_MAX_BYTES
from node.matching.greedy import greedy
from node.matching.load import Load, Placement
from node.matching.problem import Problem
from node.matching.proof.bound import bound
from node.matching.proof.certificate import (
    Certificate,
    certificate_lines,
    gap_permyriad,
    read_certificate,
    verify,
)
from node.matching.proof.dual import FRACTION, Dual, Prices
from node.matching.proof.master import polish
from node.matching.proof.prices import Proved
from protocol.errors import LocalError, VerificationFailed

from .builders import drawn, job, peer, problem, recounted_carbon


def tiny(seed: int) -> Problem:
    """Three jobs that want the same surplus of two peers in two slots."""
    below = random.Random(seed).randrange
    rows = [
        peer(
            f"p{number}",
            zone=number,
            units=3,
            peak_w=60 + 40 * below(3),
            embodied=below(300),
            free=[below(4) for _ in range(2)],
            surplus=[below(300) for _ in range(2)],
            own=[below(40) for _ in range(2)],
            grid=[40 + below(600) for _ in range(2)],
        )
        for number in range(2)
    ]
    jobs = [
        job(
            f"j{number}",
            at_least=1,
            at_most=1 + below(3),
            work=1 + below(3),
            units=1 + below(2),
            rate=3 + below(8),
            deadline_slot=2,
            per_peer=1 + below(3),
            per_zone=below(3),
            same_zone=below(3) == 0,
        )
        for number in range(3)
    ]
    return problem(rows, jobs, penalty=20_000 + below(60_000))


def placements(asked: Problem, index: int) -> Iterator[Placement | None]:
    """Every placement of a job that keeps its own limits, and None for declining it."""
    yield None
    wanted, peers = asked.jobs[index], len(asked.peers.ids)
    slots = range(wanted.first_slot, wanted.deadline_slot)
    counts = range(min(wanted.per_peer, wanted.at_most) + 1)
    gangs = [gang for gang in itertools.product(counts, repeat=peers) if keeps_limits(asked, index, gang)]
    for choice in itertools.product(gangs, repeat=len(slots)):
        zones = {int(asked.peers.zone[row]) for gang in choice for row in range(peers) if gang[row]}
        if sum(map(sum, choice)) == wanted.work and not (wanted.same_zone and len(zones) > 1):
            cells = np.array(choice)
            at, on = np.nonzero(cells)
            yield Placement(at + wanted.first_slot, on, cells[at, on])


def keeps_limits(asked: Problem, index: int, gang: tuple[int, ...]) -> bool:
    wanted, zones = asked.jobs[index], asked.peers.zone.tolist()
    on = [row for row, shards in enumerate(gang) if shards]
    in_zone = max((sum(gang[row] for row in on if zones[row] == zone) for zone in zones), default=0)
    return (
        set(on) <= set(asked.suited[index].peers.tolist())
        and (not on or wanted.at_least <= sum(gang) <= wanted.at_most)
        and (not wanted.per_zone or in_zone <= wanted.per_zone)
    )


def optimum(asked: Problem) -> int:
    """The least objective of all plans that there are."""
    best = sum(asked.declined(one) for one in asked.jobs)
    for choice in itertools.product(*(list(placements(asked, index)) for index in range(len(asked.jobs)))):
        load = Load(asked)
        for index, placement in enumerate(choice):
            if placement is not None:
                load.add(index, placement)
        if (load.free >= 0).all():
            penalties = sum(asked.declined(asked.jobs[index]) for index in load.declined)
            best = min(best, recounted_carbon(load) + penalties)
    return best


def planned(asked: Problem) -> Load:
    return greedy(asked, range(len(asked.jobs)))


def drawn_prices(dual: Dual, seed: int) -> Prices:
    chance = np.array([random.Random(seed).random() for _ in range(2 * dual.highest.unit.size)])
    unit, surplus = chance.reshape(2, *dual.highest.unit.shape)
    return Prices(
        (unit**8 * np.minimum(dual.highest.unit, 2**40)).astype(np.int64),
        (surplus * dual.highest.surplus).astype(np.int64),
    )


@pytest.mark.parametrize("seed", range(12))
def test_no_prices_prove_more_than_the_optimum(seed: int) -> None:
    asked = tiny(seed)
    dual, least = Dual(asked), optimum(asked)
    assert max(dual.at(drawn_prices(dual, number)).bound for number in range(40)) <= least
    assert bound(asked, planned(asked), 60).bound <= least
    assert dual.at(dual.highest).bound <= least


def test_bound_is_the_optimum_where_nobody_competes() -> None:
    asked = problem([peer("sol", surplus=[0, 150, 0, 0, 0, 0], embodied=7)], [job(work=3, deadline_slot=4)])
    load = planned(asked)
    assert bound(asked, load, 1).bound == load.objective == optimum(asked)


def test_bound_knows_that_two_jobs_cannot_have_the_same_surplus() -> None:
    rows = [peer("sol", units=2, free=[2] * 6, surplus=[100] + [0] * 5)]
    asked = problem(rows, [job("a", work=1, deadline_slot=1), job("b", work=1, deadline_slot=1)])
    load = planned(asked)
    assert load.objective == 100 * 20 + 100 * 360
    assert bound(asked, load, 40).bound == load.objective


def test_bound_knows_that_two_jobs_cannot_have_the_same_unit() -> None:
    asked = problem([peer("sol", free=[1] + [0] * 5)], [job("a", work=1), job("b", work=1)], penalty=50_000)
    load = planned(asked)
    assert load.objective == 36_000 + 50_000
    assert load.objective - bound(asked, load, 200).bound <= 200


@pytest.mark.parametrize("seed", range(4))
def test_bound_of_jobs_in_blocks_is_never_above_a_plan(seed: int) -> None:
    asked = drawn(seed)
    blocks = tuple(dataclasses.replace(one, block=one.rigid) for one in asked.jobs)
    asked = dataclasses.replace(asked, jobs=blocks)
    load = planned(asked)
    assert load.placements
    assert bound(asked, load, 30).bound <= load.objective


def test_bound_is_the_optimum_of_a_block_that_is_alone() -> None:
    rows = [peer("sol", surplus=[0, 150, 0, 0, 150, 90]), peer("luna", grid=[300] * 6)]
    asked = problem(rows, [job(at_least=1, at_most=1, work=2, block=True)])
    assert bound(asked, planned(asked), 1).bound == 100 * 20 + 90 * 20 + 10 * 360


@pytest.mark.parametrize("seed", [1, 2, 4, 5])
def test_bound_comes_near_a_plan_and_is_never_above_it(seed: int) -> None:
    asked = drawn(seed)
    load = planned(asked)
    proved = bound(asked, load, 60).bound
    assert 0.998 * load.objective < proved <= load.objective


def test_the_search_proves_more_than_prices_of_nothing() -> None:
    asked = drawn(7)
    nothing = np.zeros_like(asked.peers.free)
    without = Dual(asked).at(Prices(nothing, nothing)).bound
    assert bound(asked, planned(asked), 0).bound == without < bound(asked, planned(asked), 60).bound


def test_limits_that_only_add_to_the_cost_leave_the_bound_alone() -> None:
    asked = tiny(3)
    harder = dataclasses.replace(
        asked,
        jobs=tuple(
            dataclasses.replace(one, carbon_max=1, budget=1, latency_max_ms=1, link_min_mbps=10**6)
            for one in asked.jobs
        ),
        move_wh_per_gb=10**6,
        latency_ms=np.full((2, 2), 99),
        link_mbps=np.ones((2, 2), np.int64),
    )
    prices = drawn_prices(Dual(asked), 1)
    assert Dual(harder).at(prices).bound == Dual(asked).at(prices).bound


@pytest.mark.parametrize(
    ("rows", "jobs"),
    [([], [job()]), ([peer()], []), ([peer(free=[0] * 6)], [job()]), ([peer(own=[0] * 6, grid=[0] * 6)], [job()])],
)
def test_bound_of_a_problem_with_nothing_in_it(rows: list[dict[str, object]], jobs: list[object]) -> None:
    asked = problem(rows, jobs)  # type: ignore[arg-type]
    load = planned(asked)
    certificate = bound(asked, load, 20)
    assert certificate.bound == load.objective == verify(asked, certificate)


def test_penalties_however_great_do_not_wrap() -> None:
    rows = [peer("sol", grid=[10_000] * 6, free=[1] * 6), peer("luna", surplus=[40] * 6)]
    asked = problem(rows, [job(f"j{number}", work=4) for number in range(5)], penalty=2**55)
    load = planned(asked)
    certificate = bound(asked, load, 200)
    assert 0 < certificate.bound <= load.objective
    assert verify(asked, certificate) == certificate.bound
    assert certificate.prices.unit.max() > 2**30


def test_refuse_costs_that_leave_no_room_for_prices() -> None:
    asked = problem([peer(peak_w=10**6, grid=[10**12] * 6)], [job(work=6)])
    with pytest.raises(LocalError, match="HEL-MATCH-009"):
        Dual(asked)


# With the solver


@pytest.mark.parametrize("seed", range(12))
def test_solver_proves_no_less_than_without_and_no_more_than_the_optimum(seed: int) -> None:
    asked = tiny(seed)
    load = planned(asked)
    certificate = bound(asked, load, 20, solver=True)
    assert bound(asked, load, 20).bound <= certificate.bound <= optimum(asked)
    assert verify(asked, certificate) == certificate.bound


@pytest.mark.parametrize("blocks", [False, True])
def test_solver_proves_more_where_many_compete(blocks: bool) -> None:
    asked = drawn(5, peers=30, jobs=40)
    jobs = tuple(dataclasses.replace(one, block=blocks and one.rigid) for one in asked.jobs)
    asked = dataclasses.replace(asked, jobs=jobs)
    load = planned(asked)
    assert bound(asked, load, 30).bound < bound(asked, load, 30, solver=True).bound <= load.objective


def test_solver_finds_from_prices_of_nothing_that_a_unit_is_worth_a_penalty() -> None:
    asked = problem([peer("sol", free=[1] + [0] * 5)], [job("a", work=1), job("b", work=1)], penalty=50_000)
    dual, nothing = Dual(asked), np.zeros_like(asked.peers.free)
    start = Proved(dual.at(Prices(nothing, nothing)).bound, Prices(nothing, nothing))
    proved = polish(dual, start, [], 40)
    assert start.bound == 2 * 36_000
    assert proved.bound == planned(asked).objective == 36_000 + 50_000
    assert dual.at(proved.prices).bound == proved.bound


def test_no_rounds_of_the_solver_change_nothing() -> None:
    asked = drawn(5)
    certificate = certified(asked)
    assert polish(Dual(asked), Proved(certificate.bound, certificate.prices), [], 0).prices is certificate.prices


@pytest.mark.parametrize(("rows", "jobs"), [([], [job()]), ([peer()], []), ([peer(free=[0] * 6)], [job()])])
def test_solver_takes_a_problem_with_nothing_in_it(rows: list[dict[str, object]], jobs: list[object]) -> None:
    asked = problem(rows, jobs)  # type: ignore[arg-type]
    load = planned(asked)
    assert bound(asked, load, 5, solver=True).bound == load.objective


def test_solver_takes_penalties_however_great() -> None:
    rows = [peer("sol", grid=[10_000] * 6, free=[1] * 6), peer("luna", surplus=[40] * 6)]
    asked = problem(rows, [job(f"j{number}", work=4) for number in range(5)], penalty=2**55)
    load = planned(asked)
    assert bound(asked, load, 20).bound <= bound(asked, load, 20, solver=True).bound <= load.objective


def test_solver_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    asked = drawn(5)
    bound(asked, planned(asked), 10, solver=True)
    assert capfd.readouterr() == ("", "")


def test_refuse_the_solver_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highspy", None)
    asked = drawn(5)
    with pytest.raises(LocalError, match="HEL-MATCH-010") as refused:
        bound(asked, planned(asked), 10, solver=True)
    assert "pip install 'heliotrope[solver]'" in refused.value.remedy
    assert bound(asked, planned(asked), 10).bound > 0


# Certificates


def certified(asked: Problem) -> Certificate:
    return bound(asked, planned(asked), 30)


def test_verify_recomputes_the_bound() -> None:
    asked = drawn(2)
    certificate = certified(asked)
    assert verify(asked, certificate) == certificate.bound > 0


def test_certificate_is_the_same_after_writing_and_reading() -> None:
    asked = drawn(2)
    certificate = certified(asked)
    again = read_certificate(asked, certificate_lines(asked, certificate))
    assert again.bound == certificate.bound
    assert all(np.array_equal(*pair) for pair in zip(again.prices, certificate.prices, strict=True))
    assert certificate.prices.surplus.any()


def test_searching_twice_finds_the_same_certificate() -> None:
    asked = drawn(5)
    assert list(certificate_lines(asked, certified(asked))) == list(certificate_lines(asked, certified(asked)))


@pytest.mark.parametrize("claim", [-1, 1])
def test_refuse_a_bound_that_its_prices_do_not_prove(claim: int) -> None:
    asked = drawn(2)
    certificate = certified(asked)
    with pytest.raises(VerificationFailed, match="check 6: bound"):
        verify(asked, dataclasses.replace(certificate, bound=certificate.bound + claim))


@pytest.mark.parametrize("name", Prices._fields)
@pytest.mark.parametrize("beyond", ["below", "above"])
def test_refuse_prices_out_of_range(name: str, beyond: str) -> None:
    asked = drawn(2)
    certificate, highest = certified(asked), getattr(Dual(asked).highest, name)
    prices = getattr(certificate.prices, name).copy()
    prices[3, 5] = -1 if beyond == "below" else highest[3, 5] + 1
    broken = Certificate(certificate.bound, certificate.prices._replace(**{name: prices}))
    with pytest.raises(VerificationFailed, match=f"check 5: {name} price {prices[3, 5]} of p5 in slot 3 "):
        verify(asked, broken)


HEAD = json.dumps({"kind": "certificate", "version": 1, "fraction": FRACTION, "bound": 5})
LINE = json.dumps({"peer": "sol", "cells": [[0, 1, 2], [4, 0, 3]]})


def test_read_a_certificate() -> None:
    certificate = read_certificate(problem([peer()], [job()]), [HEAD, LINE.encode()])
    assert certificate.bound == 5
    assert certificate.prices.unit[:, 0].tolist() == [1, 0, 0, 0, 0, 0]
    assert certificate.prices.surplus[:, 0].tolist() == [2, 0, 0, 0, 3, 0]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "check 2: the file is empty"),
        ([LINE], 'line 1, field "kind": check 2'),
        ([HEAD.replace('"version": 1', '"version": 2')], 'line 1, field "version": check 2'),
        ([HEAD.replace('"bound": 5', '"bound": -5')], 'line 1, field "bound": check 2'),
        ([HEAD, HEAD], 'line 2, field "peer": check 2'),
        ([HEAD, "{"], "line 2: check 1"),
        ([HEAD, b"\xff\xfe"], "line 2: check 1"),
        ([HEAD, LINE + " " * LINE_MAX_BYTES], "line 2: check 1: longer"),
        ([HEAD, LINE.replace("[0, 1, 2]", "[0, 1.0, 2]")], "line 2: check 1"),
        ([HEAD, LINE.replace("[0, 1, 2]", "[0, 1]")], 'line 2, field "cells.0": check 2'),
        ([HEAD, LINE.replace("[0, 1, 2]", "[0, true, 2]")], 'line 2, field "cells.0.1": check 2'),
        ([HEAD, LINE.replace("[0, 1, 2]", f"[0, {2**63}, 2]")], 'line 2, field "cells.0.1": check 2'),
        ([HEAD, LINE[:-1] + ',"x": 1}'], 'line 2, field "x": check 2'),
        ([HEAD, LINE.replace("sol", "luna")], 'check 3: line 2: peer "luna" is unknown'),
        ([HEAD, LINE, LINE], 'check 3: line 3: peer "sol" is unknown, or has a line already'),
        ([HEAD, LINE.replace("[4,", "[6,")], "check 4: line 2: slot 6 is not in 1..5"),
        ([HEAD, LINE.replace("[4,", "[0,")], "check 4: line 2: slot 0 is not in 1..5"),
    ],
)
def test_refuse_a_certificate_that_is_not_one(lines: list[bytes | str], complaint: str) -> None:
    with pytest.raises((Malformed, VerificationFailed)) as refused:
        read_certificate(problem([peer()], [job()]), lines)
    assert complaint in refused.value.cause


@pytest.mark.parametrize(("bound", "gap"), [(1_000_000, 0), (990_100, 100), (990_099, 101), (0, None)])
def test_gap_is_that_of_the_carbon_at_equal_declined_work(bound: int, gap: int | None) -> None:
    asked = problem([peer(own=[1] * 6, grid=[5000] * 6)], [job("a", work=2), job("b", work=7)], penalty=10**6)
    load = planned(asked)
    assert (load.carbon, load.objective) == (1_000_000, 8_000_000)
    penalties = 7_000_000 if bound else 0
    assert gap_permyriad(load, bound + penalties) == gap
