"""A part of `make bench BENCH=forecast`, where the real traces are at hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.energy.forecast import skill, traces

pytestmark = pytest.mark.skipif(bool(traces.missing()), reason=f"{traces.missing()}: NO SKILL MEASURED ON REAL TRACES")


@pytest.mark.parametrize("name", traces.PV)
def test_real_plants_are_foretold_better_than_by_persistence_and_calibrated(name: str) -> None:
    trace = traces.plant(name)
    found = skill.rolling(trace, skill.origins(trace, every_days=4))
    for day in found:
        assert day.error < day.persistence
    judged = sum(day.judged for day in found)
    below = np.sum([day.below for day in found], axis=0) / judged
    assert np.abs(below - (0.2, 0.5, 0.8)).max() < 0.05


@pytest.mark.parametrize("name", traces.GRIDS)
def test_real_grids_are_foretold_better_than_by_persistence(name: str) -> None:
    trace = traces.grid(name)
    for day in skill.rolling(trace, skill.origins(trace, every_days=9)):
        assert day.error < day.persistence
