"""`heliotrope study`: files in, plans out; a line in, a line out; traces in, tables and a plot out."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.cli.conftest import Heliotrope, Said
from tests.study import referee
from tests.study.jobs import Row, forecast, job, job_hour, lines

TRUTH = {"ES_2022": [100.0 + (hour * 7) % 50 for hour in range(200)]}


def written(path: Path, rows: list[Row]) -> Path:
    path.write_bytes(b"\n".join(lines(rows)) + b"\n")
    return path


def plan(heliotrope: Heliotrope, directory: Path, rows: list[Row]) -> Said:
    jobs = written(directory / "jobs.jsonl", rows)
    known = written(directory / "forecast.jsonl", [forecast(row, TRUTH) for row in rows])
    return heliotrope("study", "plan", "--jobs", jobs, "--forecast", known, "--out", directory / "plan.jsonl")


def test_plans_are_written_a_line_a_job(heliotrope: Heliotrope, tmp_path: Path) -> None:
    rows = [job(), job(id="j2", work=20.0), job(id=3, work=1)]
    said = plan(heliotrope, tmp_path, rows)
    assert said.code == 0
    assert said.out == "3 of 3 jobs planned\n"
    made = [json.loads(line) for line in (tmp_path / "plan.jsonl").read_text().splitlines()]
    assert [line["id"] for line in made] == ["j1", "j2", 3]
    for row, line in zip(rows, made, strict=True):
        referee.grams(row, line["plan"], TRUTH)


def test_a_job_too_long_for_its_window_gets_no_line(heliotrope: Heliotrope, tmp_path: Path) -> None:
    said = plan(heliotrope, tmp_path, [job(), job(id="j2", work=41.0)])
    assert said.code == 0
    assert said.out == "1 of 2 jobs planned; too short: j2\n"
    assert len((tmp_path / "plan.jsonl").read_text().splitlines()) == 1


def test_nothing_planned_ends_with_4(heliotrope: Heliotrope, tmp_path: Path) -> None:
    assert plan(heliotrope, tmp_path, [job(work=41.0)]).code == 4


def test_refuse_a_bad_line_by_file_number_and_field(heliotrope: Heliotrope, tmp_path: Path) -> None:
    said = plan(heliotrope, tmp_path, [job(), job(id="j2", deadline=1)])
    assert said.code == 2
    assert "jobs.jsonl: line 2, field deadline: check 3" in said.err
    assert not (tmp_path / "plan.jsonl").exists()


def replayed(heliotrope: Heliotrope, monkeypatch: pytest.MonkeyPatch, stdin: bytes) -> Said:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(stdin)))
    return heliotrope("study", "replay")


def test_a_replay_answers_each_line_with_a_zone_and_a_width(
    heliotrope: Heliotrope, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [job_hour(job(), TRUTH, 170, 6.0, None), job_hour(job(), TRUTH, 171, 0.0, "ES_2022")]
    said = replayed(heliotrope, monkeypatch, b"\n".join(lines(rows)))
    assert said.code == 0
    first, second = map(json.loads, said.out.splitlines())
    assert first[0] in ("ES_2022", None)
    assert 0 <= first[1] <= 4
    assert second == [None, 0]


def test_a_replay_ends_at_a_bad_line_with_2(heliotrope: Heliotrope, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = job_hour(job(), TRUTH, 170, 6.0, None), job_hour(job(), TRUTH, 170, -6.0, None)
    said = replayed(heliotrope, monkeypatch, b"\n".join(lines([good, bad])))
    assert said.code == 2
    assert len(said.out.splitlines()) == 1
    assert "line 2, field left: check 2" in said.err


def test_a_replay_answers_before_the_next_line_comes() -> None:
    command = [sys.executable, "-m", "node", "study", "replay"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for hour in (170, 171):
            process.stdin.write(lines([job_hour(job(), TRUTH, hour, 6.0, None)])[0] + b"\n")
            process.stdin.flush()
            assert len(json.loads(process.stdout.readline())) == 2
        process.stdin.close()
        assert process.wait(timeout=30) == 0


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    directory = tmp_path / "traces"
    directory.mkdir()
    for zone, shift in (("A", 0), ("B", 12)):
        rows = [
            f"2022-01-{1 + hour // 24:02} {hour % 24:02}:00:00,{zone},{100 + (hour + shift) % 24}"
            for hour in range(24 * 17)
        ]
        (directory / f"ci_{zone}_2022.csv").write_text("\n".join(["ts_utc,zone,gco2e_per_kwh_lca", *rows]) + "\n")
    return directory


def test_a_study_leaves_tables_figures_and_a_plot(heliotrope: Heliotrope, traces: Path, tmp_path: Path) -> None:
    said = heliotrope("study", "shift", "--traces", traces, "--stride", "24", "--out", tmp_path / "out")
    assert said.code == 0
    assert "grams above the oracle" in said.out
    assert "A_2022 B_2022" in said.out
    counted = json.loads((tmp_path / "out/shift.json").read_text())
    assert list(counted["time"]) == ["A_2022", "B_2022"]
    assert (tmp_path / "out/shift.png").read_bytes().startswith(b"\x89PNG")


def test_a_study_of_one_zone_as_json(heliotrope: Heliotrope, traces: Path) -> None:
    said = heliotrope("study", "shift", "--traces", traces, "--zones", "B_2022", "--stride", "24", "--json")
    assert list(said.json["time"]) == ["B_2022"]
    assert said.json["space"] == []


def test_refuse_a_zone_that_has_no_trace(heliotrope: Heliotrope, traces: Path) -> None:
    said = heliotrope("study", "shift", "--traces", traces, "--zones", "C_2022")
    assert said.code == 2
    assert "no ci_C_2022.csv" in said.err
    assert "There are: A_2022, B_2022" in said.err
