"""A run is decided by its seed: on every repetition, and in every process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from node.sim.network import Faults
from tests.sim.worlds import LEAD, WIND, is_closed, job, reaches_round, world

ROOT = Path(__file__).resolve().parent.parent.parent
ROUGH = Faults(loss_permille=100, duplication_permille=100, delay_max_ms=500)


def history(seed: int) -> str:
    """A job with a crash and a return on a rough network, told as one hash."""
    rough = world(seed, faults=ROUGH)
    rough.run(10_000)
    short = job(rough, training={"rounds": 4}, bids_close_at_ms=rough.now_ms + 4_000)
    job_id = rough.submit(LEAD, short)
    rough.run_until(reaches_round(rough, job_id, 1), within_ms=120_000)
    rough.crash(WIND)
    rough.run(5_000)
    rough.restart(WIND)
    rough.run_until(is_closed(rough, job_id), within_ms=400_000)
    return rough.history()


@pytest.fixture(scope="module")
def first() -> str:
    return history(1)


def test_the_same_seed_makes_the_same_history(first: str) -> None:
    assert history(1) == first


def test_another_seed_makes_another_history(first: str) -> None:
    assert len({first, history(2), history(3)}) == 3


def test_the_history_does_not_depend_on_the_process(first: str) -> None:
    """Python orders sets of bytes differently in each process: nothing may follow from such an order."""
    program = "from tests.sim.test_determinism import history; print(history(1))"
    finished = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "271828"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.strip() == first
