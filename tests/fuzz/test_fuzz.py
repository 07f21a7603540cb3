"""A bounded run of every fuzz target, the same each time; and that a run which should fail does."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.engines import default_engine, spoilt
from tests.fuzz.targets import TARGETS, WIRE, seeds

RUNS, RUNS_ON_THE_WIRE = 5000, 1000  # which have a loop to start each time
FAULTY = """
import sys
from pathlib import Path
from tests.fuzz.engines import ENGINES, Limits

def faulty(raw: bytes) -> None:
    if raw[:1] == b"\\xff":
        raise TypeError("a byte that nobody thought of")

folder = Path(sys.argv[2])
folder.mkdir()
(folder / "seed").write_bytes(b"good")
ENGINES[sys.argv[1]](lambda: faulty, [folder], Limits(runs=20_000))
"""
AVAILABLE = sorted({default_engine(), "mutations"})


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=100)


@pytest.mark.parametrize("name", TARGETS)
def test_strangers_bytes_are_refused_or_spelled_in_the_one_way(name: str, tmp_path: Path) -> None:
    runs = RUNS_ON_THE_WIRE if name in WIRE else RUNS
    finished = python("-m", "tests.fuzz", name, f"--runs={runs}", f"--out={tmp_path}")
    output = finished.stdout + finished.stderr
    assert finished.returncode == 0, output[-4000:]
    assert f"Done {runs} runs" in output


@pytest.mark.parametrize("name", TARGETS)
def test_good_inputs_and_spoilt_ones(name: str) -> None:
    good = seeds(name)
    for raw in good:
        TARGETS[name](raw)
    chance = random.Random(1)
    for _ in range(500):
        TARGETS[name](spoilt(chance, good))


@pytest.mark.parametrize("engine", AVAILABLE)
def test_a_fault_ends_the_run_and_its_input_is_kept(engine: str, tmp_path: Path) -> None:
    finished = python("-c", FAULTY, engine, str(tmp_path / "found"))
    assert finished.returncode != 0
    assert "a byte that nobody thought of" in finished.stdout + finished.stderr
    (kept,) = tmp_path.glob("crash*")
    assert kept.read_bytes()[:1] == b"\xff"
