"""Plans: written one way, read with every limit checked, and the same sums as an independent recount finds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from node.json_lines import Malformed
from node.matching.files.instance import Surplus
from node.matching.files.plan import plan_lines, read_plan
from node.matching.greedy import greedy
from node.matching.load import Load
from node.matching.problem import Problem
from protocol.errors import VerificationFailed

from .instances import Row, generated, instance, job, lines, peer, problem, zone

BENCH = Path(__file__).resolve().parents[3] / "shared/bench/matching"

WHOLE = {"0": {"p0": 1, "p1": 1}, "1": {"p0": 1, "p1": 1}}  # fits the job of the builder
APART = {"0": {"p0": 1, "p2": 1}, "1": {"p1": 1, "p3": 1}}  # as WHOLE, in two zones


def planned(rows: Sequence[Row]) -> Load:
    asked = problem(rows)
    return greedy(asked, range(len(asked.jobs)))


def plan_line(slots: Any, number: int = 0) -> bytes:
    return json.dumps({"job": f"j{number}", "slots": slots}).encode()


def two_zones(**changes: Any) -> Problem:
    """Two peers in each of two zones, and one job."""
    zones = [zone(0, latency_ms=[0, 40], link_mbps=[0, 100]), zone(1, latency_ms=[40, 0], link_mbps=[100, 0])]
    return problem(instance([peer(number, zone=number // 2) for number in range(4)], [job(**changes)], zones))


def test_lines_keep_the_order_of_placing() -> None:
    asked = problem(instance([peer(0), peer(1)], [job(0), job(1)]))
    assert [json.loads(line)["job"] for line in plan_lines(greedy(asked, [1, 0]))] == ["j1", "j0"]
    assert list(plan_lines(Load(asked))) == []


def test_slots_and_peers_of_a_line_rise() -> None:
    asked = problem(instance([peer(0), peer(1)], [job()]))
    load = Load(asked)
    turned = {"1": {"p1": 1, "p0": 1}, "0": {"p1": 1, "p0": 1}}
    load = read_plan(asked, [plan_line(turned)])
    assert list(plan_lines(load)) == [json.dumps({"job": "j0", "slots": WHOLE}, separators=(",", ":"))]


@pytest.mark.parametrize("seed", range(8))
def test_a_plan_that_was_written_is_read_as_it_was(seed: int) -> None:
    rows = generated(seed, 40, 12)
    load = planned(rows)
    again = read_plan(load.problem, list(plan_lines(load)))
    assert (again.placements, list(again.placements)) == (load.placements, list(load.placements))
    assert (again.carbon, again.objective) == (load.carbon, load.objective)
    assert load.placements


REFUSED: dict[str, tuple[dict[str, Any], Any, int, str]] = {
    "slot before the arrival": ({"arr": 1}, WHOLE, 4, r'slot "0" is not in \[1, 4\)'),
    "slot after the deadline": ({"dl": 3}, {"3": {"p0": 2}}, 4, r'slot "3" is not in \[0, 3\)'),
    "slot written oddly": ({}, {"01": {"p0": 2}}, 4, 'slot "01"'),
    "an empty slot": ({}, WHOLE | {"2": {}}, 4, 'slot "2" .* holds no shards'),
    "unknown peer": ({}, {"0": {"p9": 2}}, 5, 'peer "p9" is unknown'),
    "too many on a peer": ({}, {"0": {"p0": 2}}, 6, '2 shards on "p0", not 1 to 1'),
    "none on a peer": ({}, {"0": {"p0": 0}}, 6, '0 shards on "p0"'),
    "half a shard": ({}, {"0": {"p0": True}}, 6, 'true shards on "p0"'),
    "peer without the memory": ({"vram": 48}, WHOLE, 7, "p0 has 40 GB, the job needs 48"),
    "peer too dear": ({"price": 1}, WHOLE, 7, "p0 asks 900000 a unit, the job pays 1"),
    "too few at once": ({}, {"0": {"p0": 1}}, 7, "1 shards in slot 0, 2 to 2"),
    "too many at once": ({}, {"0": {"p0": 1, "p1": 1, "p2": 1}}, 7, "3 shards in slot 0, 2 to 2"),
    "too many in a zone": ({"mpz": 1}, WHOLE, 7, "2 shards in zone-0 in slot 0, 1 may be"),
    "several zones": ({"same_zone": 1}, {"0": {"p0": 1, "p1": 1}, "1": {"p2": 1, "p3": 1}}, 7, "2 zones"),
    "too little work": ({}, {"0": {"p0": 1, "p1": 1}}, 7, "2 shard-slots, the job has 4"),
    "no work": ({}, {}, 7, "0 shard-slots, the job has 4"),
    "too few units": ({"mpp": 2, "g": 2}, {"0": {"p0": 2}, "1": {"p0": 2}}, 7, "4 units taken in slot 0, 2 are free"),
    "zones too far apart": ({"latency_max_ms": 39}, APART, 7, "40 ms between zone-0 and zone-1"),
    "link too narrow": ({"link_min_mbps": 101}, APART, 7, "100 Mbit/s between zone-0 and zone-1"),
    "over the budget": ({"budget_microusd": 3_599_999}, WHOLE, 7, "costs 3600000, the budget is 3599999"),
    "over the carbon cap": ({"carbon_max_mg": 1}, WHOLE, 7, "the cap is 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuse_a_plan_that_breaks_a_limit(name: str) -> None:
    changes, slots, check, complaint = REFUSED[name]
    with pytest.raises(VerificationFailed, match=rf"check {check}: .*{complaint}"):
        read_plan(two_zones(**changes), [plan_line(slots)])


def test_a_plan_at_its_limits_is_sound() -> None:
    at = {"latency_max_ms": 40, "link_min_mbps": 100, "budget_microusd": 3_600_000, "mpz": 1}
    load = read_plan(two_zones(**at), [plan_line(APART)])
    cap = {"carbon_max_mg": load.carbon}
    assert read_plan(two_zones(**at, **cap), [plan_line(APART)]).carbon == load.carbon
    with pytest.raises(VerificationFailed, match="check 7"):
        read_plan(two_zones(**at, carbon_max_mg=load.carbon - 1), [plan_line(APART)])


def test_a_zone_is_near_itself_whatever_its_table_says() -> None:
    assert read_plan(two_zones(link_min_mbps=10**6), [plan_line(WHOLE)]).placements


def test_refuse_units_that_an_earlier_line_took() -> None:
    asked = problem(instance([peer(0), peer(1)], [job(0, g=2), job(1, g=1)]))
    with pytest.raises(VerificationFailed, match="check 7: p0: 3 units taken in slot 0, 2 are free"):
        read_plan(asked, [plan_line(WHOLE), plan_line(WHOLE, 1)])


@pytest.mark.parametrize(("number", "text"), [(0, "on a line already"), (9, "unknown")])
def test_refuse_a_job_twice_or_unknown(number: int, text: str) -> None:
    with pytest.raises(VerificationFailed, match=f"check 3: line 2: .* {text}"):
        read_plan(two_zones(), [plan_line(WHOLE), plan_line(WHOLE, number)])


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b'{"job":"j0"}',
        b'{"job":"j0","slots":[]}',
        b'{"job":"j0","slots":{"0":7}}',
        b'{"job":"j0","slots":{},"more":1}',
    ],
)
def test_refuse_a_line_that_is_no_plan(raw: bytes) -> None:
    with pytest.raises(Malformed, match=r"line 1.*check 2"):
        read_plan(two_zones(), [raw])


def test_a_peer_named_twice_in_a_slot_is_refused() -> None:
    """A reader that keeps the last would count one shard, another two."""
    with pytest.raises(Malformed, match=r"check 1: .* a name is given twice"):
        read_plan(two_zones(), [b'{"job":"j0","slots":{"0":{"p0":1,"p0":1}}}'])


# --- the corners ----------------------------------------------------------------------------------------------------


def test_zero_peers_decline_every_job() -> None:
    load = planned(instance([], [job(0), job(1)]))
    assert (load.declined, load.carbon, load.objective) == ([0, 1], 0, 8 * 8_640_000)


def test_zero_jobs_and_zero_of_everything_are_empty_plans() -> None:
    for rows in (instance([peer()]), instance(), instance(zones=[])):
        load = planned(rows)
        assert (load.objective, list(plan_lines(load))) == (0, [])


def test_one_slot() -> None:
    load = planned(instance([peer(0, 1), peer(1, 1)], [job(0, 1)], slots=1))
    assert list(plan_lines(load)) == ['{"job":"j0","slots":{"0":{"p0":1,"p1":1}}}']


def test_zero_surplus_runs_on_the_grid() -> None:
    nothing: Row = {"s50": [0] * 4, "s20": [0] * 4}
    load = planned(instance([peer(0, **nothing), peer(1, **nothing)], [job()]))
    # 50 W + 350 W × 60/80, at a PUE of 1.2, for an hour: 375 Wh; at 100 g/kWh, and 5 g for the making.
    assert load.carbon == 4 * (375 * 100 + 5000)


def test_among_equals_the_first_peers_and_slots_win() -> None:
    """Also where all prices are equal: the price decides nothing but who is suited."""
    equals = [peer(number, price=1_000_000, s50=[0] * 4, s20=[0] * 4) for number in range(6)]
    load = planned(instance(equals, [job(0), job(1)]))
    assert [json.loads(line)["slots"] for line in plan_lines(load)] == [
        {"0": {"p0": 1, "p1": 1}, "1": {"p0": 1, "p1": 1}},
        {"0": {"p0": 1, "p1": 1}, "1": {"p0": 1, "p1": 1}},
    ]


def test_infeasible_jobs_are_declined() -> None:
    asked = [job(0, H=9), job(1, K=500, kmin=500, kmax=500), job(2, vram=1000), job(3, mpz=1, same_zone=1), job(4)]
    load = planned(instance([peer(0), peer(1)], asked))
    assert load.declined == [0, 1, 2, 3]


# --- an independent recount -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not BENCH.exists(), reason="no recount.py in ../shared/bench/matching: NOT RECOUNTED BY A REFEREE")
@pytest.mark.parametrize("surplus", ["s50", "s20"])
@pytest.mark.parametrize(
    ("seed", "peers", "shards", "slots"), [(1, 100, 50, 24), (2, 30, 60, 24), (3, 200, 40, 6), (4, 50, 20, 1)]
)
def test_the_referee_counts_the_same_and_finds_nothing(
    seed: int, peers: int, shards: int, slots: int, surplus: Surplus, tmp_path: Path
) -> None:
    """With the benchmark's own instances: more shards than fit, few slots, one slot."""
    made, out = tmp_path / "instance.jsonl", tmp_path / "plan.jsonl"
    sizes = (f"--seed={seed}", f"--peers={peers}", f"--shards={shards}", f"--slots={slots}", f"--out={made}")
    subprocess.run([sys.executable, BENCH / "instances.py", *sizes], check=True)
    asked = problem([json.loads(line) for line in made.read_text().splitlines()], surplus)
    load = greedy(asked, range(len(asked.jobs)))
    out.write_text("".join(line + "\n" for line in plan_lines(load)))
    counted = referee(made, out, surplus)
    assert counted["violations"] == []
    assert counted["planned_mg"] == load.carbon
    assert counted["objective_mg"] == load.objective
    assert counted["energy_wh"] == int(load.energy.sum())
    assert counted["declined_jobs"] == len(load.declined)
    assert load.placements


def test_generated_instances_are_the_referees_format(tmp_path: Path) -> None:
    assert read_plan(problem(generated(1, 10, 0)), []).carbon == 0
    assert lines(generated(3, 30, 10)) == lines(generated(3, 30, 10))


def referee(made: Path, out: Path, surplus: str) -> dict[str, Any]:
    command = [sys.executable, str(BENCH / "recount.py"), str(made), str(out), f"--surplus={surplus}"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    counted: dict[str, Any] = json.loads(finished.stdout)
    return counted
