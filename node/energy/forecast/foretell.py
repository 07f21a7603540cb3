"""A supply's forecast, from what its site has seen: the one entry to this room.

    history = history_of(state.attestations_of.get(own_key, ()), first_slot * slot_ms // MS_PER_HOUR)
    forecast = foretell(config, profile, history, first_slot, slots, slot_ms)

Models work by the hour, since that is what history, sources and weather have in common; shorter slots share their hour
evenly. Who has seen less than a day says what its sources foretell, else what the owner declared, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from node.energy.forecast import grid, surplus
from node.energy.forecast.clear_sky import PEAK_W_PER_M2, clear_sky_w_per_m2
from node.energy.forecast.history import DAYS_MAX, History, Hours
from node.energy.forecast.intensity import Quantiles
from node.energy.forecast.issues import Issue, foretold
from node.energy.supply import EnergyConfig, Forecast, Supply
from protocol.units import MS_PER_HOUR, ceil_div

DECLARED_DAYS_MAX: Final = 14  # after which the meter itself has said more than the owner can
KNOWN_MIN_HOURS: Final = 24  # with fewer there is no day to compare with
NIGHT_SHARE_MAX: Final = 0.05  # of a solar plant's yield may come at night; with more there is a battery behind it
GRID_UNCERTAINTY: Final = 0.28  # of a declared mean and shape; see node/energy/profile.py


@dataclass(frozen=True, slots=True)
class HourlyForecast:
    """From `first_hour` (since 1970, UTC) on: joules of surplus per hour, and g/kWh of the grid."""

    first_hour: int
    surplus_j: Quantiles
    grid_g_per_kwh: Quantiles
    provenance: str


def foretell(
    config: EnergyConfig,
    declared: Supply,
    history: History,
    first_slot: int,
    slots: int,
    slot_ms: int,
    *,
    generation_issues: Sequence[Issue] = (),
    grid_issues: Sequence[Issue] = (),
) -> Forecast:
    """The coming slots of a site, each with its median and quantiles. Pure: equal arguments, equal answer.

    `declared`: the site's profile, by the same configuration. `history`: what is later than `first_slot` is not looked
    at. The issues are what the site's sources foretold, the earlier ones too, in order of time: each is weighed by what
    came of it. Those of generation are of Kind.POWER, before the site's own use; those of the grid are of the kind that
    the history holds.
    """
    first_hour = first_slot * slot_ms // MS_PER_HOUR
    hours = ceil_div((first_slot + slots) * slot_ms, MS_PER_HOUR) - first_hour
    hourly = foretell_hours(
        config, declared, history, first_hour, hours, generation_issues=generation_issues, grid_issues=grid_issues
    )
    edges_h = np.arange(first_slot, first_slot + slots + 1, dtype=np.float64) * slot_ms / MS_PER_HOUR - first_hour

    def joules(by_hour: Hours) -> tuple[int, ...]:
        return tuple(int(value) for value in np.diff(_until(by_hour, edges_h)))

    def mean(by_hour: Hours) -> tuple[int, ...]:
        return tuple(round(value) for value in np.diff(_until(by_hour, edges_h)) / np.diff(edges_h))

    return Forecast(
        first_slot=first_slot,
        slot_ms=slot_ms,
        surplus_s50_j=joules(hourly.surplus_j.s50),
        surplus_s20_j=joules(hourly.surplus_j.s20),
        grid_g_per_kwh=mean(hourly.grid_g_per_kwh.s50),
        grid_s20_g_per_kwh=mean(hourly.grid_g_per_kwh.s20),
        grid_s80_g_per_kwh=mean(hourly.grid_g_per_kwh.s80),
        provenance=hourly.provenance,
    )


def foretell_hours(
    config: EnergyConfig,
    declared: Supply,
    history: History,
    first_hour: int,
    hours: int,
    *,
    generation_issues: Sequence[Issue] = (),
    grid_issues: Sequence[Issue] = (),
) -> HourlyForecast:
    """The same by the hour, with both quantiles of the surplus."""
    past = history.before(first_hour)
    origins = range(past.first_hour, first_hour + 1, 24)
    declared_hours = len(past.energy_j) if len(past.energy_j) <= 24 * DECLARED_DAYS_MAX else 0
    profile = declared.forecast(first_hour - declared_hours, declared_hours + hours, MS_PER_HOUR)
    told_w, told_g = (
        foretold(issues, origins, hours) if issues else None for issues in (generation_issues, grid_issues)
    )
    energy, energy_said = _surplus(config, profile, past, told_w, hours)
    intensity, intensity_said = _grid(profile, past, told_g, hours)
    return HourlyForecast(first_hour, energy, intensity, f"surplus: {energy_said}; grid: {intensity_said}")


def _surplus(
    config: EnergyConfig, profile: Forecast, past: History, told_w: Hours | None, hours: int
) -> tuple[Quantiles, str]:
    """The hours to come, and what they were made from."""
    declared_j, declared_s20_j = np.array(profile.surplus_s50_j, float), np.array(profile.surplus_s20_j, float)
    capacity_j = config.capacity_w * MS_PER_HOUR / 1000
    known = int(np.isfinite(past.energy_j).sum())
    if not capacity_j:
        return Quantiles(*np.zeros((3, hours))), "no source of its own"
    told_j = None if told_w is None else np.maximum(told_w - config.base_load_w, 0.0) * (MS_PER_HOUR / 1000)
    declared_s20 = float(declared_s20_j.sum() / max(declared_j.sum(), 1.0))
    if known < KNOWN_MIN_HOURS:
        s50 = np.minimum(_told_first(told_j, declared_j[-hours:]), capacity_j)
        s80 = np.minimum(s50 * (1 + (1 - declared_s20) / 2), capacity_j)
        return Quantiles(s50 * declared_s20, s50, s80), _unlearned(known, told_w)
    span = len(past.energy_j) + hours
    scale_j, follows_sun = np.full(span, capacity_j), False
    if config.carrier == "solar":
        clear_j = capacity_j * clear_sky_w_per_m2(config.place, past.first_hour, span) / PEAK_W_PER_M2
        if follows_sun := _sleeps_at_night(past.energy_j, clear_j[:-hours]):
            scale_j = clear_j
    foreseen = surplus.forecast(
        past.energy_j,
        scale_j,
        declared_j if len(declared_j) == span else None,
        told_j,
        declared_s20=declared_s20,
        follows_sun=follows_sun,
    )
    capped = Quantiles(*(np.minimum(part, capacity_j) for part in (foreseen.s20, foreseen.s50, foreseen.s80)))
    sky = " under a clear sky's scale" if follows_sun else ""
    return capped, f"{known} h of its meter{sky}{_and_sources(told_w)}"


def _grid(profile: Forecast, past: History, told_g: Hours | None, hours: int) -> tuple[Quantiles, str]:
    known = int(np.isfinite(past.grid_g_per_kwh).sum())
    if known < KNOWN_MIN_HOURS:
        s50 = _told_first(told_g, np.array(profile.grid_g_per_kwh, float)[-hours:])
        half = GRID_UNCERTAINTY * s50
        return Quantiles(s50 - half, s50, s50 + half), _unlearned(known, told_g)
    return grid.forecast(past.grid_g_per_kwh, past.first_hour, told_g, hours), f"{known} h{_and_sources(told_g)}"


def _sleeps_at_night(energy_j: Hours, clear_j: Hours) -> bool:
    dark = clear_j <= surplus.LIT * clear_j.max()
    return bool(np.nansum(energy_j[dark]) <= NIGHT_SHARE_MAX * np.nansum(energy_j))


def _told_first(told: Hours | None, declared: Hours) -> Hours:
    """What a source says of the hours to come; what was declared of the others."""
    return declared if told is None else np.where(np.isfinite(told[-1]), told[-1], declared)


def _unlearned(known: int, told: Hours | None) -> str:
    return (
        f"declared profile{_and_sources(told)}"
        f" (the last {DAYS_MAX} days hold {known} known hours; {KNOWN_MIN_HOURS} are needed)"
    )


def _and_sources(told: Hours | None) -> str:
    return " and its source's forecast" if told is not None and np.isfinite(told[-1]).any() else ""


def _until(by_hour: Hours, at_hour: Hours) -> Hours:
    """The sum of the hours up to each time, within an hour in proportion."""
    summed: Hours = np.interp(at_hour, np.arange(len(by_hour) + 1.0), np.append(0.0, np.cumsum(by_hour)))
    return summed
