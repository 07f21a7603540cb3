"""`heliotrope match`: an instance in, a plan out; no node is asked."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Heliotrope
from tests.matching.instances import Row, generated, instance, job, lines, peer


def written(path: Path, rows: list[Row]) -> Path:
    path.write_bytes(b"\n".join(lines(rows)) + b"\n")
    return path


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return written(tmp_path / "instance.jsonl", generated(1, 60, 25))


def test_a_plan_is_written_and_can_be_recounted(heliotrope: Heliotrope, made: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.jsonl"
    said = heliotrope("match", made, "--out", plan, "--json")
    assert said.code == 0
    assert said.json["plan_sha256"] == hashlib.sha256(plan.read_bytes()).hexdigest()
    assert len(plan.read_text().splitlines()) == said.json["jobs"] - len(said.json["declined"])
    again = heliotrope("match", made, "--check", plan, "--json")
    assert again.code == 0
    same = ("plan_sha256", "carbon_mg", "objective_mg", "energy_wh", "declined")
    assert {name: again.json[name] for name in same} == {name: said.json[name] for name in same}


def test_people_are_told_the_same(heliotrope: Heliotrope, made: Path) -> None:
    said = heliotrope("match", made)
    facts = heliotrope("match", made, "--json").json
    assert said.code == 0
    assert f"plan       SHA-256 {facts['plan_sha256']}" in said.out
    assert f"objective  {facts['objective_mg']:,} mg" in said.out
    assert "peers      60 in 10 zones, 24 slots" in said.out
    assert all(name in said.out for name in facts["declined"][:10])


def test_the_forecast_can_be_chosen(heliotrope: Heliotrope, made: Path) -> None:
    cautious, median = (heliotrope("match", made, f"--surplus={name}", "--json").json for name in ("s20", "s50"))
    assert cautious["carbon_mg"] > median["carbon_mg"]


def test_nothing_placed_ends_with_4_and_an_empty_plan(heliotrope: Heliotrope, tmp_path: Path) -> None:
    plan = tmp_path / "plan.jsonl"
    nobody = written(tmp_path / "instance.jsonl", instance([peer()], [job(vram=1000)]))
    said = heliotrope("match", nobody, "--out", plan)
    assert said.code == 4
    assert "none of the 1 jobs" in said.err
    assert plan.read_bytes() == b""


def test_the_solver_proves_no_less_and_is_named(heliotrope: Heliotrope, tmp_path: Path) -> None:
    match = ("match", written(tmp_path / "instance.jsonl", generated(6, 20, 5, 6)), "--seconds=0.1")
    prices, solver = (heliotrope(*match, flag, "--json").json for flag in ("--bound", "--solver"))
    assert prices["bound_mg"] <= solver["bound_mg"] <= solver["objective_mg"]
    assert (prices["bound_by"], solver["bound_by"]) == ("prices", "prices and solver")
    assert "no plan's objective is, by prices and solver" in heliotrope(*match, "--solver").out


def test_what_the_solver_found_is_checked_without_it(
    heliotrope: Heliotrope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = tmp_path / "proof.jsonl"
    match = ("match", written(tmp_path / "instance.jsonl", generated(6, 20, 5, 6)), "--seconds=0.1", "--json")
    found = heliotrope(*match, "--solver", "--bound-out", proof).json
    monkeypatch.setitem(sys.modules, "highspy", None)
    checked = heliotrope(*match, "--check-bound", proof).json
    assert (checked["bound_mg"], checked["bound_by"]) == (found["bound_mg"], "checked prices")
    refused = heliotrope(*match, "--solver")
    assert refused.code != 0
    assert "pip install 'heliotrope[solver]'" in refused.err


def test_every_job_is_explained_if_asked(heliotrope: Heliotrope, made: Path) -> None:
    facts = heliotrope("match", made, "--explain", "--json").json
    jobs = facts["explanation"]["jobs"]
    assert [row["job"] for row in jobs if row["verdict"] == "declined"] == facts["declined"]
    assert sum(row["carbon_mg"] or 0 for row in jobs) == facts["carbon_mg"]
    said = heliotrope("match", made, "--explain").out
    assert f"of {facts['jobs']} jobs placed" in said
    assert all(f"{name} declined: " in said for name in facts["declined"][:20])


def test_a_job_says_whom_it_refused_and_why(heliotrope: Heliotrope, tmp_path: Path) -> None:
    small = written(tmp_path / "instance.jsonl", instance([peer()], [job(vram=1000)]))
    said = heliotrope("match", small, "--refused-by", job()["id"])
    assert said.code == 4
    assert f"{peer()['id']}  memory: {peer()['vram']} of 1000 GB per unit needed" in said.out
    assert heliotrope("match", small, "--refused-by", "nobody").code == 2
    fitting = written(tmp_path / "fitting.jsonl", instance([peer()], [job()]))
    assert heliotrope("match", fitting, "--refused-by", job()["id"]).out.endswith("\nno peer is refused\n")


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "1e300"])
def test_a_time_that_is_none_is_refused(heliotrope: Heliotrope, made: Path, seconds: str) -> None:
    said = heliotrope("match", made, "--seconds", seconds)
    assert said.code == 2
    assert "for --seconds. Must be " in said.err


def test_recounting_a_plan_of_nothing_is_no_failure(heliotrope: Heliotrope, made: Path, tmp_path: Path) -> None:
    empty = tmp_path / "plan.jsonl"
    empty.touch()
    said = heliotrope("match", made, "--check", empty, "--json")
    assert said.code == 0
    assert said.json["declined_jobs"] == said.json["jobs"]


def test_no_jobs_are_no_failure(heliotrope: Heliotrope, tmp_path: Path) -> None:
    assert heliotrope("match", written(tmp_path / "instance.jsonl", instance([peer()]))).code == 0


def test_a_bad_instance_is_named_with_line_and_field(heliotrope: Heliotrope, tmp_path: Path) -> None:
    bad = written(tmp_path / "instance.jsonl", instance([peer(avail=[1, 2, 3, 2])]))
    said = heliotrope("match", bad, "--out", tmp_path / "plan.jsonl")
    assert said.code == 2
    assert said.err.startswith(f"heliotrope: {bad}: line 3, field avail: check 9: 3 are free of the n of 2")
    assert "remedy: " in said.err
    assert not (tmp_path / "plan.jsonl").exists()


def test_a_plan_that_breaks_a_limit_ends_with_5(heliotrope: Heliotrope, made: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.jsonl"
    plan.write_text('{"job":"j0","slots":{}}\n')
    said = heliotrope("match", made, "--check", plan)
    assert said.code == 5
    assert "check 7: j0: 0 shard-slots" in said.err


def test_a_line_without_end_is_not_read_whole(heliotrope: Heliotrope, tmp_path: Path) -> None:
    endless = tmp_path / "instance.jsonl"
    with endless.open("wb") as file:
        file.truncate(2**30)
    said = heliotrope("match", endless)
    assert said.code == 2
    assert "line 1: check 1: longer than 1048576 bytes" in said.err


def test_no_plan_is_better_than_the_bound(heliotrope: Heliotrope, tmp_path: Path) -> None:
    made = written(tmp_path / "instance.jsonl", generated(6, 20, 5, 6))
    said = heliotrope("match", made, "--bound")
    facts = heliotrope("match", made, "--bound", "--json").json
    assert 0 < facts["bound_mg"] <= facts["objective_mg"]
    assert f"bound      {facts['bound_mg']:,} mg" in said.out
    assert " s bound" in said.out


def test_every_job_is_explained(heliotrope: Heliotrope, made: Path) -> None:
    facts = heliotrope("match", made, "--explain", "--json").json
    assert [row["job"] for row in facts["explanation"]["jobs"] if row["verdict"] == "declined"] == facts["declined"]
    assert facts["explanation"]["plan"]["carbon_mg"] == facts["carbon_mg"]
    said = heliotrope("match", made, "--explain")
    assert f"{facts['declined'][0]} declined: " in said.out


def test_nothing_is_overwritten_or_left_out_without_a_word(heliotrope: Heliotrope, made: Path, tmp_path: Path) -> None:
    before = made.read_bytes()
    for options in (("--out", made), ("--bound-out", made), ("--bound-out", tmp_path / "a", "--check-bound", made)):
        refused = heliotrope("match", made, *options)
        assert refused.code == 2
        assert "HEL-MATCH-011" in refused.err
    assert made.read_bytes() == before
