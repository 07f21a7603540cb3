"""Facts about the formulas that matching, receipts and audit share."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.energy import carbon_ug, embodied_ug, intensity_g_per_kwh, shard_energy_j

HOUR_MS = 3_600_000
amount = st.integers(0, 10**9)


def energy_j(**changes: Any) -> int:
    fields = {
        "units": 1,
        "idle_w": 20,
        "peak_w": 100,
        "unit_rate_tps": 1000,
        "job_rate_tps": 0,
        "pue_permille": 1000,
        "duration_ms": HOUR_MS,
    }
    return shard_energy_j(**fields | changes)


@pytest.mark.parametrize(
    ("changes", "expected_j"),
    [
        ({}, 360_000),  # 100 W for an hour
        ({"job_rate_tps": 1000}, 360_000),
        ({"job_rate_tps": 500}, 216_000),  # halfway between 20 and 100 W
        ({"job_rate_tps": 5000}, 360_000),  # nothing runs faster than it can
        ({"units": 4}, 1_440_000),
        ({"pue_permille": 1500}, 540_000),
        ({"duration_ms": 1}, 1),  # 0.1 J, rounded up
        ({"duration_ms": 0}, 0),
        ({"job_rate_tps": 333, "duration_ms": 10_000}, 467),  # 466.4 J
    ],
)
def test_energy_of_a_shard(changes: dict[str, int], expected_j: int) -> None:
    assert energy_j(**changes) == expected_j


@pytest.mark.parametrize(
    ("energy", "surplus", "own", "grid", "expected_ug"),
    [
        (3_600_000, 0, 20, 400, 400_000_000),  # a kilowatt-hour from the grid
        (3_600_000, 3_600_000, 20, 400, 20_000_000),  # all of it own
        (3_600_000, 9_000_000, 20, 400, 20_000_000),  # more surplus than needed changes nothing
        (3_600_000, 1_800_000, 20, 400, 210_000_000),  # half and half
        (3_600_000, 3_600_000, 500, 30, 30_000_000),  # own source browner than the grid counts as grid
        (1, 0, 20, 1, 1),  # 0.28 µg, rounded up
        (0, 0, 20, 400, 0),
    ],
)
def test_carbon_of_a_slot(energy: int, surplus: int, own: int, grid: int, expected_ug: int) -> None:
    assert carbon_ug(energy, surplus, own, grid, 0) == expected_ug
    assert carbon_ug(energy, surplus, own, grid, 7) == expected_ug + 7


@given(amount, amount, amount, amount, amount)
def test_carbon_is_the_formula_rounded_up(energy: int, surplus: int, own: int, grid: int, making: int) -> None:
    covered = min(energy, surplus)
    exact = Fraction(covered * min(own, grid) + (energy - covered) * grid, 3_600_000) * 10**6 + making
    assert carbon_ug(energy, surplus, own, grid, making) == ceil(exact)


@given(amount, amount, amount, amount)
def test_marginal_carbon_never_falls(energy: int, surplus: int, own: int, grid: int) -> None:
    first = carbon_ug(energy, surplus, own, grid, 0)
    second = carbon_ug(energy, max(0, surplus - energy), own, grid, 0)
    assert second >= first


def test_embodied_in_proportion_to_time_and_units() -> None:
    assert embodied_ug(2, 3_000_000, HOUR_MS // 2) == 3_000_000
    assert embodied_ug(1, 1, 1) == 1
    assert embodied_ug(8, 0, HOUR_MS) == 0


@given(st.integers(1, 10**9), st.integers(0, 5000))
def test_energy_at_the_cap_has_the_intensity_of_the_cap(energy: int, cap: int) -> None:
    rounded_up = carbon_ug(energy * 4, 0, 0, cap, 0)
    assert intensity_g_per_kwh(rounded_up, energy * 4) == cap
