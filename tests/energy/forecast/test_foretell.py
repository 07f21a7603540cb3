"""What a site is told of its coming slots, from days that never were."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.state import AttestationRecord
from node.energy.forecast.foretell import HourlyForecast, foretell, foretell_hours
from node.energy.forecast.history import History, Hours, history_of
from node.energy.forecast.issues import Issue
from node.energy.profile import Profile
from node.energy.source import Kind, Reading
from node.energy.supply import EnergyConfig
from protocol.units import MS_PER_HOUR
from tests.energy.forecast import weather
from tests.energy.forecast.skill import rolling
from tests.energy.forecast.traces import Trace, site

FIRST_HOUR = 24 * 20_500  # midnight UTC of a day in February 2026
PLACES = {
    "Golden": ("US-NW-PSCO", 39.7, -105.2),
    "Sydney": ("AU-NSW", -33.9, 151.2),
    "Quito": ("EC", -0.2, -78.5),
    "Oslo": ("NO-NO1", 59.9, 10.7),
}


def at(place: str, **changes: object) -> EnergyConfig:
    zone, latitude, longitude = PLACES[place]
    return site(zone=zone, latitude=latitude, longitude=longitude, **changes)


def told(config: EnergyConfig, energy_j: Hours, hours: int = 72, grid_g: Hours | None = None) -> HourlyForecast:
    """What follows on these hours, which begin at FIRST_HOUR."""
    history = History(FIRST_HOUR, energy_j, np.full(len(energy_j), np.nan) if grid_g is None else grid_g)
    return foretell_hours(config, Profile(config), history, FIRST_HOUR + len(energy_j), hours)


def issue(issued_hour: int, values: Hours, kind: Kind) -> Issue:
    return Issue(
        issued_hour * MS_PER_HOUR,
        tuple(
            Reading(
                kind,
                round(value),
                (issued_hour + hour) * MS_PER_HOUR,
                (issued_hour + hour + 1) * MS_PER_HOUR,
                "modelled",
                200,
                "a service",
            )
            for hour, value in enumerate(values)
        ),
    )


@pytest.mark.parametrize("place", PLACES)
def test_clear_days_are_followed_by_a_clear_day_whatever_the_roof(place: str) -> None:
    config = at(place)
    expected = weather.clear(config, FIRST_HOUR, 24 * 33)
    s50 = told(config, expected[: 24 * 30]).surplus_j.s50
    assert np.abs(s50 - expected[24 * 30 :]).sum() < 0.04 * expected[24 * 30 :].sum()


@pytest.mark.parametrize("place", PLACES)
def test_night_is_dark(place: str) -> None:
    config = at(place)
    seen = weather.cloudy(config, FIRST_HOUR, 24 * 33, seed=1)
    dark = weather.clear(config, FIRST_HOUR, 24 * 33)[24 * 30 :] < 1.0
    surplus_j = told(config, seen[: 24 * 30]).surplus_j
    assert dark.any()
    assert not surplus_j.s80[dark].any()


@pytest.mark.parametrize("place", ["Sydney", "Oslo"])
def test_clouds_are_foretold_better_than_by_persistence_and_calibrated(place: str) -> None:
    config = at(place)
    trace = Trace(place, config, FIRST_HOUR, weather.cloudy(config, FIRST_HOUR, 24 * 150, seed=7))
    origins = [24 * day + hour for day in range(30, 146) for hour in (3, 15)]
    for day, skill in enumerate(rolling(trace, origins)):
        assert skill.error < (0.90 if day else 0.95) * skill.persistence
        assert (
            np.abs(skill.coverage() - (0.2, 0.5, 0.8)).max() < 0.07
        )  # of 116 days, which are alike by twos and threes


@pytest.mark.parametrize("seed", [1, 2])
def test_wind_is_foretold_better_than_by_persistence_and_calibrated(seed: int) -> None:
    config = site(carrier="wind")
    trace = Trace("wind", config, FIRST_HOUR, weather.windy(config, 24 * 200, seed))
    for skill in rolling(trace, range(24 * 30, 24 * 196, 24)):
        assert skill.error < 0.9 * skill.persistence
        assert np.abs(skill.coverage() - (0.2, 0.5, 0.8)).max() < 0.07


def test_missing_days_and_hours_do_little_harm() -> None:
    config = at("Golden")
    whole = weather.cloudy(config, FIRST_HOUR, 24 * 40, seed=3)
    holed = whole.copy()
    holed[24 * 12 : 24 * 19] = np.nan
    holed[::7] = np.nan
    difference = told(config, holed).surplus_j.s50 - told(config, whole).surplus_j.s50
    assert np.abs(difference).sum() < 0.15 * told(config, whole).surplus_j.s50.sum()


@pytest.mark.parametrize("hours", [0, 1, 23])
def test_less_than_a_day_of_history_is_the_declared_profile_and_says_so(hours: int) -> None:
    config = at("Sydney", base_load_w=50)
    declared = Profile(config).forecast(FIRST_HOUR + hours, 72, MS_PER_HOUR)
    said = told(config, np.full(hours, 3e5), grid_g=np.full(hours, 250.0))
    assert said.surplus_j.s50.tolist() == list(declared.surplus_s50_j)
    assert said.surplus_j.s20 == pytest.approx(np.array(declared.surplus_s20_j), abs=1)
    assert said.grid_g_per_kwh.s50.tolist() == list(declared.grid_g_per_kwh)
    assert said.provenance.startswith(f"surplus: declared profile (the last 60 days hold {hours} known hours")


def test_a_source_speaks_for_a_site_that_has_seen_nothing() -> None:
    config = at("Golden", base_load_w=100)
    history, power_w, grid_g = (
        History(FIRST_HOUR, np.empty(0), np.empty(0)),
        np.arange(600.0, 624),
        np.arange(200.0, 224),
    )
    said = foretell(
        config,
        Profile(config),
        history,
        FIRST_HOUR,
        24,
        MS_PER_HOUR,
        generation_issues=[issue(FIRST_HOUR, power_w, Kind.POWER)],
        grid_issues=[issue(FIRST_HOUR, grid_g, Kind.AVG_LIFECYCLE)],
    )
    assert said.surplus_s50_j == tuple(range(500 * 3600, 524 * 3600, 3600))
    assert said.grid_g_per_kwh == tuple(range(200, 224))
    assert said.provenance.count("declared profile and its source's forecast (the last 60 days hold 0 known hours") == 2


def test_a_plant_that_yields_more_from_day_to_day_is_followed() -> None:
    config = at("Sydney")
    expected = weather.clear(config, FIRST_HOUR, 24 * 43) * 1.005 ** (np.arange(24 * 43) // 24)
    s50 = told(config, expected[: 24 * 40]).surplus_j.s50
    assert np.abs(s50 - expected[24 * 40 :]).sum() < 0.015 * expected[24 * 40 :].sum()


def test_what_the_site_uses_itself_is_taken_off_what_a_source_foretells() -> None:
    config = at("Golden", base_load_w=2000)
    history = History(FIRST_HOUR, weather.cloudy(config, FIRST_HOUR, 480, seed=9), np.full(480, np.nan))
    now = FIRST_HOUR + 480

    def said(power_w: float) -> list[float]:
        fresh = [issue(now, np.full(72, power_w), Kind.POWER)]
        s50: list[float] = foretell_hours(
            config, Profile(config), history, now, 72, generation_issues=fresh
        ).surplus_j.s50.tolist()
        return s50

    assert said(2000) == said(0) != said(4000)


def test_a_plant_with_a_battery_keeps_its_nights() -> None:
    config = at("Golden")
    said = told(config, np.full(24 * 20, 1e6))
    assert np.allclose(said.surplus_j.s50, 1e6, rtol=0.02)
    assert "clear sky" not in said.provenance


def test_a_site_without_a_plant_has_no_surplus() -> None:
    said = told(site(carrier="grid", capacity_w=0), np.zeros(24 * 20))
    assert not said.surplus_j.s80.any()


def test_a_source_that_was_right_is_believed_and_one_that_was_wrong_is_not() -> None:
    config = at("Golden", base_load_w=100)
    truth_j = weather.cloudy(config, FIRST_HOUR, 24 * 43, seed=11)
    days = range(10, 41)
    right = [issue(FIRST_HOUR + 24 * day, truth_j[24 * day :][:72] / 3600 + 100, Kind.POWER) for day in days]
    noise = np.random.default_rng(1).permutation(truth_j)
    wrong = [issue(FIRST_HOUR + 24 * day, noise[24 * day :][:72] / 3600 + 100, Kind.POWER) for day in days]
    now = 24 * 40
    history = History(FIRST_HOUR, truth_j[:now], np.full(now, np.nan))

    def error(issues: list[Issue]) -> float:
        said = foretell_hours(
            config, Profile(config), history, FIRST_HOUR + now, 72, generation_issues=issues
        ).surplus_j.s50
        return float(np.abs(said - truth_j[now:]).sum())

    assert error(right) < 0.25 * error([])
    assert error(wrong) < 1.3 * error([])


def test_a_grids_source_that_was_right_is_believed_and_narrows_the_quantiles() -> None:
    config = site(carrier="grid", capacity_w=0)
    truth_g = 300 + 60 * weather.wandering(5, 24 * 43, 20.0)
    now = 24 * 40
    history = History(FIRST_HOUR, np.full(now, np.nan), truth_g[:now])
    issues = [issue(FIRST_HOUR + 24 * day, truth_g[24 * day :][:72], Kind.AVG_LIFECYCLE) for day in range(10, 41)]
    profile = Profile(config)
    alone = foretell_hours(config, profile, history, FIRST_HOUR + now, 72).grid_g_per_kwh
    helped = foretell_hours(config, profile, history, FIRST_HOUR + now, 72, grid_issues=issues).grid_g_per_kwh
    assert np.abs(helped.s50 - truth_g[now:]).max() < 1
    assert (helped.s80 - helped.s20).max() < 0.1 * (alone.s80 - alone.s20).max()


def test_an_unmeasured_source_moves_the_grids_median_and_narrows_nothing() -> None:
    config = site(carrier="grid", capacity_w=0)
    history = History(FIRST_HOUR, np.full(240, np.nan), 300 + 60 * weather.wandering(5, 240, 20.0))
    profile, now = Profile(config), FIRST_HOUR + 240
    alone = foretell_hours(config, profile, history, now, 24).grid_g_per_kwh
    fresh = [issue(now, alone.s50 + 40, Kind.AVG_LIFECYCLE)]
    helped = foretell_hours(config, profile, history, now, 24, grid_issues=fresh).grid_g_per_kwh
    assert (helped.s50 > alone.s50 + 10).all()
    assert np.allclose(helped.s80 / helped.s20, alone.s80 / alone.s20)


def test_a_gap_in_the_grids_history_is_no_zero() -> None:
    config = site(carrier="grid", capacity_w=0)
    grid_g = np.full(24 * 10, 400.0)
    grid_g[24 * 3 : 24 * 5] = np.nan
    grid_g[5:9] = np.nan
    assert np.allclose(told(config, np.full(240, np.nan), grid_g=grid_g).grid_g_per_kwh.s50, 400, atol=1)


def test_a_nodes_own_attestations_are_a_history() -> None:
    config = at("Golden")
    profile = Profile(config)
    records = [
        AttestationRecord(
            id=bytes(32),
            author=bytes(32),
            device_id=said.device_id,
            start_ms=said.start_ms,
            end_ms=said.end_ms,
            energy_j=said.energy_j,
            meter_start_j=said.meter_start_j,
            meter_end_j=said.meter_end_j,
            own_g_per_kwh=41,
            grid_g_per_kwh=said.grid_g_per_kwh,
            zone=config.zone,
            method=said.method,
            auditors=(),
            sealed_by=None,
            ceiling=0,
            assurance=0,
            remaining_j=said.energy_j,
        )
        for start_ms in range(FIRST_HOUR * MS_PER_HOUR, (FIRST_HOUR + 72) * MS_PER_HOUR, 900_000)
        for said in (profile.read(start_ms, start_ms + 900_000),)
    ]
    now = FIRST_HOUR + 72
    foreseen = foretell(config, profile, history_of(records, now), now, 24, MS_PER_HOUR)
    declared = profile.forecast(now, 24, MS_PER_HOUR)
    assert sum(foreseen.surplus_s50_j) == pytest.approx(sum(declared.surplus_s50_j), rel=0.05)
    assert foreseen.grid_g_per_kwh == declared.grid_g_per_kwh
    assert "72 h of its meter" in foreseen.provenance


@pytest.mark.parametrize("slot_ms", [10_000, 300_000, MS_PER_HOUR])
def test_slots_add_up_to_their_hours(slot_ms: int) -> None:
    config = at("Golden")
    history = History(
        FIRST_HOUR, weather.cloudy(config, FIRST_HOUR, 24 * 20, seed=2), 300 + 60 * weather.wandering(5, 480, 20.0)
    )
    now = FIRST_HOUR + 24 * 20 + 18
    per_hour = MS_PER_HOUR // slot_ms
    by_slot = foretell(config, Profile(config), history, now * per_hour, 3 * per_hour, slot_ms)
    by_hour = foretell_hours(config, Profile(config), history, now, 3)
    for hour in range(3):
        part = slice(hour * per_hour, (hour + 1) * per_hour)
        assert sum(by_slot.surplus_s50_j[part]) == pytest.approx(by_hour.surplus_j.s50[hour], abs=per_hour)
        assert sum(by_slot.surplus_s20_j[part]) == pytest.approx(by_hour.surplus_j.s20[hour], abs=per_hour)
        assert set(by_slot.grid_g_per_kwh[part]) == {round(by_hour.grid_g_per_kwh.s50[hour])}


def test_a_slot_in_the_middle_of_an_hour_starts_there() -> None:
    config = at("Golden")
    history = History(FIRST_HOUR, weather.clear(config, FIRST_HOUR, 480), np.full(480, np.nan))
    now = FIRST_HOUR + 24 * 20 + 18
    whole = foretell(config, Profile(config), history, 4 * now, 8, MS_PER_HOUR // 4)
    late = foretell(config, Profile(config), history, 4 * now + 2, 6, MS_PER_HOUR // 4)
    assert late.surplus_s50_j == whole.surplus_s50_j[2:]


def test_ten_days_ahead_are_told_as_the_fourth() -> None:
    config = at("Golden")
    history = History(FIRST_HOUR, weather.cloudy(config, FIRST_HOUR, 480, seed=4), np.full(480, 300.0))
    said = foretell(config, Profile(config), history, FIRST_HOUR + 480, 256, MS_PER_HOUR)
    days = [sum(said.surplus_s50_j[24 * day : 24 * day + 24]) for day in range(3, 10)]
    assert all(abs(later - earlier) < 0.05 * earlier for earlier, later in pairwise(days))
    assert len(said.grid_s80_g_per_kwh) == 256


@settings(max_examples=40)
@given(
    st.lists(st.one_of(st.just(float("nan")), st.floats(0, 4e7)), min_size=1, max_size=120),
    st.sampled_from(["solar", "wind", "hydro"]),
    st.integers(0, 23),
)
def test_any_history_gives_ordered_quantiles_within_capacity(values: list[float], carrier: str, shift: int) -> None:
    config = at("Oslo", carrier=carrier)
    energy_j = np.array(values)
    history = History(FIRST_HOUR + shift, energy_j, energy_j / 1e5)
    said = foretell_hours(config, Profile(config), history, FIRST_HOUR + shift + len(values), 72)
    for parts, ceiling in ((said.surplus_j, config.capacity_w * 3600), (said.grid_g_per_kwh, np.inf)):
        assert np.isfinite(np.stack([parts.s20, parts.s50, parts.s80])).all()
        assert (parts.s20 >= 0).all()
        assert (parts.s20 <= parts.s50 + 1e-6).all()
        assert (parts.s50 <= parts.s80 + 1e-6).all()
        assert (parts.s80 <= ceiling).all()
