"""Hourly intensity to come: right where the future is like the past, honest about its spread, steady on bad days."""

from __future__ import annotations

import numpy as np
import pytest

from node.energy.forecast.intensity import forecast
from tests.study import real

DAY = 300 + 120 * np.sin(np.arange(24) * np.pi / 12)


def test_days_that_are_all_alike_come_again() -> None:
    told = forecast(np.tile(DAY, 7), 0, 72)
    assert told.s50 == pytest.approx(np.tile(DAY, 3), rel=0.02)


@pytest.mark.parametrize("hours", [24, 25, 100, 168, 400])
def test_histories_of_any_length_are_gone_on_from(hours: int) -> None:
    told = forecast(np.resize(DAY, hours), 0, 48)
    assert told.s50[:24] == pytest.approx(np.roll(np.resize(DAY, 24), -hours % 24 if hours % 24 else 0), rel=0.3)


def test_quantiles_are_in_order_and_widen() -> None:
    noisy = np.tile(DAY, 7) * np.random.default_rng(1).uniform(0.7, 1.3, 168)
    told = forecast(noisy, 0, 300)
    assert (told.s20 < told.s50).all()
    assert (told.s50 < told.s80).all()
    assert told.s80[48] / told.s50[48] > told.s80[0] / told.s50[0]


def test_a_scaled_history_gives_a_scaled_forecast() -> None:
    noisy = np.tile(DAY, 7) * np.random.default_rng(2).uniform(0.7, 1.3, 168)
    assert forecast(noisy * 7, 0, 72).s50 == pytest.approx(forecast(noisy, 0, 72).s50 * 7)


def test_a_grid_that_emits_nothing_goes_on_so() -> None:
    assert not forecast(np.zeros(168), 0, 24).s80.any()


def test_a_constant_grid_stays_so_within_two_percent() -> None:
    told = forecast(np.full(168, 30.0), 0, 24)
    assert told.s50 == pytest.approx(np.full(24, 30.0))
    assert (told.s80 > told.s50 * 1.01).all()


def test_hours_of_nothing_are_borne() -> None:
    history = np.tile(DAY, 7)
    history[::5] = 0
    told = forecast(history, 0, 240)
    assert np.isfinite(told.s80).all()


@pytest.mark.parametrize("history", [np.ones(23), np.full(168, np.nan), np.full(168, -1.0)])
def test_refuse_what_is_no_history(history: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    with pytest.raises(ValueError, match="history"):
        forecast(history, 0, 24)


@pytest.mark.skipif(bool(real.missing()), reason=f"{real.missing()}: NOT TRIED ON REAL HOURS")
@pytest.mark.parametrize("name", real.NAMES)
def test_real_hours_are_told_better_than_by_persistence(name: str) -> None:
    g = real.trace(name).g
    told = before = 0.0
    for hour in range(168, len(g) - 72, 97):
        came = g[hour : hour + 72]
        told += np.abs(forecast(g[hour - 168 : hour], 0, 72).s50 - came).sum()
        before += np.abs(np.resize(g[hour - 24 : hour], 72) - came).sum()
    assert told < 0.95 * before
