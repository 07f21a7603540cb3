"""A part of `make bench BENCH=forecast`, where the real traces are at hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.energy.forecast import skill, traces

pytestmark = pytest.mark.skipif(bool(traces.missing()), reason=f"{traces.missing()}: NO SKILL MEASURED ON REAL TRACES")


@pytest.mark.parametrize("name", traces.PV)
def test_real_plants_are_foretold_better_than_by_persistence_and_calibrated(name: str) -> None:
    trace = traces.plant(name)
    judge(skill.rolling(trace, skill.origins(trace, every_days=4)))


@pytest.mark.parametrize("name", traces.GRIDS)
def test_real_grids_are_foretold_better_than_by_persistence_and_calibrated(name: str) -> None:
    trace = traces.grid(name)
    judge(skill.rolling(trace, skill.origins(trace, every_days=8)))


def judge(found: list[skill.Skill]) -> None:
    """The bench holds each day of lead to 5 points; of the few origins here, all leads together are held to 8."""
    assert all(day.error < day.persistence for day in found)
    below = np.sum([day.below for day in found], axis=0) / sum(day.judged for day in found)
    assert np.abs(below - (0.2, 0.5, 0.8)).max() < 0.08
