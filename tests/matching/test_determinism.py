"""The same plan on every machine: whatever vector instructions NumPy uses, in every process, in every run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.matching.digests import INSTANCES, PLANS, digest, extensions

ROOT = Path(__file__).resolve().parents[2]


def elsewhere(**environment: str) -> Any:
    """What `tests.matching.digests` prints in a process of its own."""
    command = [sys.executable, "-m", "tests.matching.digests"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NPY_")}
    finished = subprocess.run(command, cwd=ROOT, env=clean | environment, capture_output=True, text=True, check=True)
    return json.loads(finished.stdout)


@pytest.mark.parametrize("name", INSTANCES)
def test_the_plan_is_the_one_that_was_written_down(name: str) -> None:
    assert digest(name) == PLANS[name]


def test_plans_do_not_depend_on_vector_instructions() -> None:
    """NumPy sorts with other algorithms, which order equal keys otherwise, where the processor has AVX-512 or AVX2."""
    found = elsewhere(NPY_DISABLE_CPU_FEATURES=" ".join(extensions()))
    assert found["extensions"] == []
    assert found["digests"] == PLANS


def test_plans_do_not_depend_on_the_process() -> None:
    """Python orders sets of texts differently in each process: nothing may follow from such an order."""
    assert elsewhere(PYTHONHASHSEED="271828")["digests"] == PLANS
