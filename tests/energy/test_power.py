"""Watts into joules."""

from __future__ import annotations

import pytest

from node.energy.power import Drawn, Measured, measured_energy, shard_energy


def test_a_held_core_draws_its_idle_power() -> None:
    assert shard_energy(cpu_ms=0, wall_ms=10_000, idle_w=6, peak_w=18, units=1, pue_permille=1000) == 60


def test_a_busy_core_draws_its_peak_power() -> None:
    assert shard_energy(cpu_ms=10_000, wall_ms=10_000, idle_w=6, peak_w=18, units=1, pue_permille=1000) == 180


def test_overhead_multiplies_and_every_unit_idles() -> None:
    # (2 x 6 W x 10 s + 12 W x 5 s) x 1.2 = 216 J
    assert shard_energy(cpu_ms=5_000, wall_ms=10_000, idle_w=6, peak_w=18, units=2, pue_permille=1200) == 216


def test_a_part_of_a_joule_counts_as_one() -> None:
    assert shard_energy(cpu_ms=0, wall_ms=1, idle_w=1, peak_w=1, units=1, pue_permille=1000) == 1


@pytest.mark.parametrize(("idle_w", "wall_ms", "complaint"), [(19, 1, "below idle_w 19"), (6, -1, "wall_ms -1")])
def test_reject_watts_and_times_that_cannot_be(idle_w: int, wall_ms: int, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        shard_energy(cpu_ms=0, wall_ms=wall_ms, idle_w=idle_w, peak_w=18, units=1, pue_permille=1000)


def measured(energy_mj: int, duration_ms: int = 10_000) -> Measured:
    return Measured(energy_mj, duration_ms, uncertainty_permille=50, source="a meter")


def test_what_was_measured_counts_with_the_overhead() -> None:
    drawn = measured_energy(measured(100_000), wall_ms=10_000, idle_w=6, units=1, pue_permille=1200)
    assert drawn == Drawn(energy_j=120, measured_j=120)


def test_time_before_the_meter_looked_on_counts_as_idle() -> None:
    # (160 J + 2 units x 6 W x 5 s) x 1.2 = 264 J
    drawn = measured_energy(measured(160_000), wall_ms=15_000, idle_w=6, units=2, pue_permille=1200)
    assert drawn == Drawn(energy_j=264, measured_j=192)


def test_a_figure_below_declared_idle_is_raised_to_it_and_not_called_measured() -> None:
    drawn = measured_energy(measured(59_000), wall_ms=10_000, idle_w=6, units=1, pue_permille=1000)
    assert drawn == Drawn(energy_j=60, measured_j=0)
