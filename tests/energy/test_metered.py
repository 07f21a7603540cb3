"""Facts about a supply of several sources: what is told, what is taken off, and that no fault is covered up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from node.energy.metered import KINDS, MeteredSupply, open_sources, open_supply
from node.energy.profile import Profile
from node.energy.source import DeviceSignature, Kind, Reading, SourceError
from node.energy.supply import EnergyConfig, SupplyReading
from node.energy.zones import GRIDS
from protocol.errors import LocalError
from protocol.genesis import Clock
from tests.energy.scripted import AT_MS, Scripted, reading, watched

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
VALENCIA: dict[str, Any] = {
    "device_id": "roof",
    "zone": "ES",
    "latitude": 39.5,
    "longitude": -0.4,
    "carrier": "solar",
    "capacity_w": 1000,
    "own_g_per_kwh": 41,
}
REAL = Clock(unix_ms=AT_MS, network_ms=AT_MS, speed=1)


def scripted(kind: Kind, value: int) -> Scripted:
    return Scripted(reading(value, AT_MS, kind), kind=kind)


@dataclass
class Foreteller(Scripted):
    """Also foretells 301, 302, … g/kWh for the hours to come, or fails."""

    fault: SourceError | None = None
    asked_ahead: int = 0

    def forecast(self, now_ms: int) -> tuple[Reading, ...]:
        self.asked_ahead += 1
        if self.fault is not None:
            raise self.fault
        first_ms = now_ms - now_ms % HOUR_MS
        hours = range(first_ms, first_ms + 72 * HOUR_MS, HOUR_MS)
        return tuple(
            Reading(self.kind, 301 + n, start_ms, start_ms + HOUR_MS, "grid_mix", 100, "test")
            for n, start_ms in enumerate(hours)
        )


class Site:
    """A supply of scripted sources, and its clock."""

    def __init__(self, base_load_w: int = 0, **values: tuple[Kind, int]) -> None:
        self.sources = {name: scripted(*value) for name, value in values.items()}
        under_watch = {name: watched(source, f"energy.{name} (test)") for name, source in self.sources.items()}
        config = EnergyConfig.model_validate(VALENCIA | {"base_load_w": base_load_w})
        self.supply = MeteredSupply(config, under_watch)
        self.now_ms = AT_MS

    def set(self, **values: int | SourceError) -> None:
        for name, value in values.items():
            source = self.sources[name]
            source.outcome = reading(value, self.now_ms, source.kind) if isinstance(value, int) else value

    def read(self) -> SupplyReading | None:
        return self.supply.read(self.now_ms - MINUTE_MS, self.now_ms)

    def after_a_minute(self, **values: int | SourceError) -> SupplyReading | None:
        """The reading of the minute in which the sources came to these values; all others are as fresh."""
        self.now_ms += MINUTE_MS
        for source in self.sources.values():
            if isinstance(source.outcome, Reading):
                source.outcome = reading(source.outcome.value, self.now_ms, source.kind)
        self.set(**values)
        return self.read()


def test_the_first_reading_of_a_counter_attests_nothing() -> None:
    assert Site(generation=(Kind.COUNTER, 1000)).read() is None


def test_surplus_is_what_the_plant_yields_beyond_the_declared_use() -> None:
    site = Site(base_load_w=100, generation=(Kind.COUNTER, 1_000_000))
    site.read()
    surplus = site.after_a_minute(generation=1_030_000)
    assert surplus is not None
    assert (surplus.meter_start_j, surplus.meter_end_j) == (1_000_000, 1_030_000)
    assert surplus.energy_j == 30_000 - 6_000
    assert (surplus.method, surplus.source) == ("metered", "test")


def test_a_meter_of_the_sites_use_is_taken_off() -> None:
    site = Site(generation=(Kind.COUNTER, 0), use=(Kind.POWER, 200))
    site.read()
    surplus = site.after_a_minute(generation=30_000)
    assert surplus is not None
    assert surplus.energy_j == 30_000 - 12_000
    # 2 % of 30 kJ and 7 % of 12 kJ, of what is left
    assert surplus.uncertainty_permille == (600 + 840) * 1000 // 18_000


def test_the_uncertainty_of_a_few_joules_is_not_rounded_away() -> None:
    site = Site(generation=(Kind.COUNTER, 0))
    site.read()
    surplus = site.after_a_minute(generation=33)
    assert surplus is not None
    assert surplus.uncertainty_permille == 20


def test_what_a_site_used_before_its_meter_fell_silent_says_nothing_of_hours_later() -> None:
    site = Site(generation=(Kind.COUNTER, 0), use=(Kind.POWER, 200))
    site.read()
    assert site.after_a_minute(generation=30_000) is not None
    with pytest.raises(SourceError, match="it sleeps"):
        site.after_a_minute(use=SourceError("it sleeps", "wake it"))
    site.now_ms += 120 * MINUTE_MS
    site.set(use=5, generation=40_000)
    assert site.read() is None, "both meters begin anew"
    site.now_ms += MINUTE_MS
    site.set(generation=70_000)
    assert site.read() is None, "the meter of its use has not reported again"
    surplus = site.after_a_minute(generation=100_000)
    assert surplus is not None
    assert surplus.energy_j == 30_000 - 300


def test_refuse_a_use_that_is_taken_off_nothing() -> None:
    with pytest.raises(ValueError, match="use without generation"):
        EnergyConfig.model_validate(VALENCIA | {"use": section()})


def test_a_site_that_uses_more_than_its_plant_yields_has_no_surplus() -> None:
    site = Site(base_load_w=1000, generation=(Kind.COUNTER, 0))
    site.read()
    surplus = site.after_a_minute(generation=30_000)
    assert surplus is not None
    assert surplus.energy_j == 0


def test_a_silent_plant_attests_nothing() -> None:
    site = Site(generation=(Kind.COUNTER, 0))
    site.read()
    with pytest.raises(SourceError, match="it sleeps"):
        site.after_a_minute(generation=SourceError("it sleeps", "wake it"))
    (health,) = site.supply.health
    assert (health.name, health.fault) == ("energy.generation (test)", "it sleeps")


def test_without_the_meter_of_its_use_nobody_knows_the_surplus() -> None:
    site = Site(generation=(Kind.COUNTER, 0), use=(Kind.POWER, 200))
    site.read()
    with pytest.raises(SourceError, match="it sleeps"):
        site.after_a_minute(generation=30_000, use=SourceError("it sleeps", "wake it"))


def test_the_grids_figures_stand_side_by_side() -> None:
    site = Site(
        generation=(Kind.COUNTER, 0),
        grid=(Kind.AVG_DIRECT, 210),
        marginal=(Kind.MARGINAL, 480),
        carbon_free=(Kind.CARBON_FREE, 615),
    )
    site.read()
    surplus = site.after_a_minute(generation=1000)
    assert surplus is not None
    assert (surplus.grid_g_per_kwh, surplus.intensity_kind, surplus.intensity_source) == (210, "avg_direct", "test")
    assert (surplus.marginal_g_per_kwh, surplus.carbon_free_permille) == (480, 615)


def test_a_silent_grid_source_is_replaced_by_the_table_and_says_so() -> None:
    site = Site(generation=(Kind.COUNTER, 0), grid=(Kind.AVG_LIFECYCLE, 210), marginal=(Kind.MARGINAL, 480))
    site.read()
    failure = SourceError("asked too often", "wait")
    surplus = site.after_a_minute(generation=1000, grid=failure, marginal=failure)
    assert surplus is not None
    declared = Profile(EnergyConfig.model_validate(VALENCIA)).read(site.now_ms - MINUTE_MS, site.now_ms)
    assert surplus.grid_g_per_kwh == declared.grid_g_per_kwh
    assert surplus.intensity_source == f"{GRIDS['ES'].provenance}; energy.grid gave no figure"
    assert surplus.marginal_g_per_kwh is None
    assert [health.is_well for health in site.supply.health] == [True, False, False]


def test_a_declared_plant_may_stand_on_a_measured_grid() -> None:
    site = Site(grid=(Kind.AVG_LIFECYCLE, 210))
    surplus = site.read()
    assert surplus is not None
    assert (surplus.method, surplus.grid_g_per_kwh) == ("modelled", 210)


def test_signatures_of_one_device_go_along() -> None:
    site = Site(generation=(Kind.COUNTER, 0))
    surplus = None
    for minute in range(2):
        site.now_ms = AT_MS + minute * MINUTE_MS
        site.sources["generation"].outcome = Reading(
            Kind.COUNTER, minute, site.now_ms, site.now_ms, "metered", 0, "meter", DeviceSignature(bytes(32), bytes(64))
        )
        surplus = site.read()
    assert surplus is not None
    assert surplus.signatures is not None
    assert surplus.signatures.key == bytes(32)


def grid_site(fault: SourceError | None = None) -> tuple[MeteredSupply, Foreteller]:
    """A site of declared generation on a grid whose source also looks ahead."""
    source = Foreteller(reading(210, AT_MS, Kind.AVG_LIFECYCLE), kind=Kind.AVG_LIFECYCLE, fault=fault)
    config = EnergyConfig.model_validate(VALENCIA)
    return MeteredSupply(config, {"grid": watched(source, "energy.grid (test)")}), source


def test_what_a_source_foretells_is_the_forecast_of_a_site_that_has_seen_nothing() -> None:
    supply, _ = grid_site()
    forecast = supply.forecast(AT_MS // HOUR_MS, 3, HOUR_MS)
    assert forecast.grid_g_per_kwh == (301, 302, 303)


def test_a_source_is_asked_for_its_forecast_once_an_hour() -> None:
    supply, source = grid_site()
    for minutes in (0, 5, 59, 60, 61):
        supply.forecast((AT_MS + minutes * MINUTE_MS) // MINUTE_MS, 3, MINUTE_MS)
    assert source.asked_ahead == 2


def test_a_source_without_a_forecast_is_named_and_the_site_goes_on() -> None:
    supply, _ = grid_site(SourceError("the plan has no forecast", "pay"))
    forecast = supply.forecast(AT_MS // HOUR_MS, 3, HOUR_MS)
    assert len(forecast.grid_g_per_kwh) == 3
    assert "no forecast by energy.grid (test): the plan has no forecast" in forecast.provenance


def test_a_site_learns_from_its_readings() -> None:
    site = Site(grid=(Kind.AVG_LIFECYCLE, 210))
    for hour in range(48):
        at_ms = AT_MS + hour * HOUR_MS
        site.sources["grid"].outcome = reading(500 if hour % 24 < 12 else 100, at_ms, Kind.AVG_LIFECYCLE)
        site.supply.read(at_ms - HOUR_MS, at_ms)
    told = site.supply.forecast(AT_MS // HOUR_MS + 47, 24, HOUR_MS).grid_g_per_kwh
    assert min(told[1:12]) > 2 * max(told[13:23])


def section(**changes: Any) -> dict[str, Any]:
    return {"source": "homeassistant", "entity": "sensor.x", "key_variable": "HA_TOKEN"} | changes


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_section_is_of_a_kind_that_fits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HA_TOKEN", "token")
    wrong = Kind.POWER if Kind.POWER not in KINDS[name] else Kind.MARGINAL
    others = {"generation": section()} if name == "use" else {}
    with pytest.raises(LocalError, match=rf"\[energy.{name}\] gives {wrong.value}; .* is needed there"):
        open_sources(EnergyConfig.model_validate(VALENCIA | others | {name: section(kind=wrong)}))
    for kind in KINDS[name]:
        opened = open_sources(EnergyConfig.model_validate(VALENCIA | others | {name: section(kind=kind)}))
        assert opened[name].name == f"energy.{name} (homeassistant)"


def test_without_sections_a_site_is_declared() -> None:
    assert isinstance(open_supply(EnergyConfig.model_validate(VALENCIA), REAL), Profile)


@pytest.mark.parametrize("clock", [Clock(unix_ms=0, network_ms=0, speed=60), Clock(unix_ms=0, network_ms=1, speed=1)])
def test_refuse_real_figures_on_a_clock_that_is_not_the_worlds(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HA_TOKEN", "token")
    config = EnergyConfig.model_validate(VALENCIA | {"generation": section()})
    assert isinstance(open_supply(config, REAL), MeteredSupply)
    with pytest.raises(LocalError, match="this network's clock is not the world's"):
        open_supply(config, clock)
