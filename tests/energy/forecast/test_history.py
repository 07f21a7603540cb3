"""Hours made from intervals of any length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from node.energy.forecast.history import DAYS_MAX, History, history_of
from protocol.units import MS_PER_HOUR

NOW_HOUR = 480_000


@dataclass(frozen=True)
class Told:
    start_ms: int
    end_ms: int
    energy_j: int
    grid_g_per_kwh: int = 100


def told(start_hours: float, end_hours: float, energy_j: int, grid_g_per_kwh: int = 100) -> Told:
    """An interval that begins and ends so many hours before NOW_HOUR."""
    now_ms = NOW_HOUR * MS_PER_HOUR
    return Told(
        now_ms - round(start_hours * MS_PER_HOUR), now_ms - round(end_hours * MS_PER_HOUR), energy_j, grid_g_per_kwh
    )


def test_an_interval_across_an_hour_is_shared_by_time() -> None:
    history = history_of([told(2, 1.5, 60, 300), told(1.5, 0.5, 100, 100), told(0.5, 0, 20, 200)], NOW_HOUR)
    assert history.energy_j[-2:].tolist() == pytest.approx([110, 70])
    assert history.grid_g_per_kwh[-2:].tolist() == pytest.approx([200, 150])
    assert np.isnan(history.energy_j[:-2]).all()


def test_half_an_hour_speaks_for_the_whole_and_less_is_a_gap() -> None:
    history = history_of([told(3, 2.4, 60), told(1.4, 1, 60)], NOW_HOUR)
    assert history.energy_j[-3] == pytest.approx(100)
    assert np.isnan(history.energy_j[-2:]).all()


def test_seconds_add_up_to_their_hour() -> None:
    seconds = [told(1 - second / 3600, 1 - (second + 2) / 3600, 7) for second in range(0, 3600, 2)]
    assert history_of(seconds, NOW_HOUR).energy_j[-1] == pytest.approx(7 * 1800)


def test_what_is_older_than_the_bound_and_what_lies_ahead_is_left_out() -> None:
    history = history_of([told(24 * DAYS_MAX + 5, 24 * DAYS_MAX + 4, 1), told(1, 0, 2), told(0, -1, 3)], NOW_HOUR)
    assert (history.first_hour, history.until_hour) == (NOW_HOUR - 24 * DAYS_MAX, NOW_HOUR)
    assert np.nansum(history.energy_j) == pytest.approx(2)


def test_before_gives_whole_days_from_the_first_that_knows_anything() -> None:
    history = history_of([told(30, 29, 5), told(2, 1, 6)], NOW_HOUR)
    past = history.before(NOW_HOUR)
    assert (past.first_hour, len(past.energy_j)) == (NOW_HOUR - 48, 48)
    assert past.energy_j[18] == pytest.approx(5)


@pytest.mark.parametrize("hour", [NOW_HOUR - 40, NOW_HOUR + 30])
def test_before_an_hour_that_the_history_does_not_end_with(hour: int) -> None:
    history = History(NOW_HOUR - 48, np.arange(48.0), np.arange(48.0))
    past = history.before(hour)
    assert past.until_hour == hour
    assert len(past.energy_j) % 24 == 0
    held = [int(value) for value in past.energy_j if np.isfinite(value)]
    assert held == [at for at in range(48) if past.first_hour <= NOW_HOUR - 48 + at < hour]


def test_before_an_empty_history_is_empty() -> None:
    past = history_of([], NOW_HOUR).before(NOW_HOUR)
    assert (past.first_hour, len(past.energy_j)) == (NOW_HOUR, 0)
