"""Facts about reading Energy-Charts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from node.energy.source import ForecastingSource, HistoricSource, Kind, Source, SourceError
from node.energy.watched import Watched
from protocol.messages import Place
from tests.energy.sources.services import BERLIN, NOON, NOON_MS, energy_charts, failure, generation, opened, quarters
from tests.energy.standin import Answer, StandIn

HOUR_MS = 3_600_000
QUARTER_MS = 900_000
DAY_MS = 86_400_000


def source_of(service: StandIn, place: Place = BERLIN, **changes: Any) -> Source:
    service.answer = energy_charts
    return opened(service, {"source": "energycharts", **changes}, place)


def test_the_newest_figure_that_is_not_null(service: StandIn) -> None:
    reading = source_of(service).read(NOON_MS)
    (asked,) = service.asked
    assert (asked.path, asked.params["country"]) == ("/co2eq", "de")
    assert int(asked.params["start"]) < NOON_MS // 1000 < int(asked.params["end"])
    assert (reading.value, reading.start_ms, reading.end_ms) == (
        423,
        NOON_MS - 5 * QUARTER_MS,
        NOON_MS - 4 * QUARTER_MS,
    )
    assert (reading.kind, reading.method, reading.uncertainty_permille) == (Kind.AVG_LIFECYCLE, "grid_mix", 100)
    assert reading.provenance == "Energy-Charts de co2eq"


def test_where_figures_are_more_than_an_hour_late_the_forecast_for_now_counts_and_says_so(service: StandIn) -> None:
    source = source_of(service)
    service.answer = lambda _: Answer(quarters(known=23))
    reading = source.read(NOON_MS)
    assert (reading.start_ms, reading.method, reading.uncertainty_permille) == (NOON_MS, "modelled", 200)
    assert reading.provenance == "Energy-Charts de co2eq, forecast"


def test_old_figures_without_a_forecast_are_stale(service: StandIn) -> None:
    watched = Watched("energy.grid", source_of(service), 2 * HOUR_MS)
    service.answer = lambda _: Answer(quarters(known=8, expected=0))
    with pytest.raises(SourceError, match="18000 s old, 7200 s are allowed"):
        watched.read(NOON_MS)


@pytest.mark.parametrize(
    ("zone", "country", "told"),
    [
        ("FR", "fr", "Energy-Charts fr co2eq"),
        ("GB", "uk", "Energy-Charts uk co2eq"),
        ("DK-DK1", "dk", "Energy-Charts dk co2eq, mean of the country"),
        ("IT-NO", "it", "Energy-Charts it co2eq, mean of the country"),
    ],
)
def test_the_country_is_that_of_the_zone(service: StandIn, zone: str, country: str, told: str) -> None:
    reading = source_of(service, BERLIN.model_copy(update={"zone": zone})).read(NOON_MS)
    assert service.asked[0].params["country"] == country
    assert reading.provenance == told
    assert reading.uncertainty_permille == (300 if "-" in zone else 100)


def test_a_country_that_it_does_not_know(service: StandIn) -> None:
    source = source_of(service, BERLIN.model_copy(update={"zone": "SG"}))
    error = failure(service, source, b"'sg' is not the code for an available country.", 400)
    assert "answered 400: it does not accept the question" in error.cause
    assert "zone" in error.remedy


def rows(*seconds: int, **changes: Any) -> dict[str, Any]:
    """One known figure for each time, in seconds from noon."""
    return {
        "unix_seconds": [NOON_MS // 1000 + second for second in seconds],
        "co2eq": [400.0 + i for i in range(len(seconds))],
        "co2eq_forecast": [None] * len(seconds),
    } | changes


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (rows(), "has no figure for now"),
        (rows(0, co2eq=[None]), "has no figure for now"),
        (rows(900), "has no figure for now"),
        (rows(-900, 0, co2eq=[400.0]), "lists of [1, 2] figures"),
        (rows(-900, 0, co2eq_forecast=[None]), "lists of [1, 2] figures"),
        (rows(-7, 0), "in steps of 7 s"),
        (rows(-86_400, 0), "in steps of 86400 s"),
        (rows(0, 0), "two of its figures, 400 and 401 g/kWh, are both for 2026-06-21T12:00Z"),
        (rows(0, co2eq=[-1.0]), "-1.0 gCO2eq/kWh is out of range"),
        (rows(0, co2eq=["400"]), "co2eq.0: Input should be a valid number"),
        (rows(0, unix_seconds=["2026-06-21T12:00:00"]), "unix_seconds.0: Input should be a valid integer"),
        (rows(0, unix_seconds=[1e300]), "unix_seconds.0"),
        (rows(0, unix_seconds=[10**300]), "unix_seconds.0"),
        (rows(0, unix_seconds=None), "unix_seconds: Input should be a valid array"),
    ],
)
def test_refuse_what_is_no_figure(service: StandIn, answer: dict[str, Any], complaint: str) -> None:
    assert complaint in failure(service, source_of(service), answer).cause


def test_figures_out_of_order_are_put_in_order(service: StandIn) -> None:
    source = source_of(service)
    service.answer = lambda _: Answer(rows(-900, -2700, -1800))
    assert source.read(NOON_MS).value == 400


def test_hours_are_understood_where_a_country_has_no_quarters(service: StandIn) -> None:
    source = source_of(service)
    service.answer = lambda _: Answer(rows(-7200, -3600))
    assert source.read(NOON_MS).end_ms == NOON_MS


def test_a_forecast_keeps_its_gaps(service: StandIn) -> None:
    source = source_of(service)
    assert isinstance(source, ForecastingSource)
    gap = rows(-900, 0, 900, 1800, co2eq=[None] * 4, co2eq_forecast=[1.0, 2.0, None, 4.0])
    service.answer = lambda _: Answer(gap)
    readings = source.forecast(NOON_MS)
    assert [((reading.start_ms - NOON_MS) // QUARTER_MS, reading.value) for reading in readings] == [(0, 2), (2, 4)]
    service.answer = lambda _: Answer(rows(0, co2eq=[None], co2eq_forecast=None))
    with pytest.raises(SourceError, match="says nothing of the time from now on"):
        source.forecast(NOON_MS)


@pytest.mark.parametrize(
    ("midnight", "hours"), [(datetime(2026, 3, 28, 23, tzinfo=UTC), 23), (datetime(2026, 10, 24, 22, tzinfo=UTC), 25)]
)
def test_the_days_on_which_clocks_change_have_all_their_quarters(
    service: StandIn, midnight: datetime, hours: int
) -> None:
    source = source_of(service)
    assert isinstance(source, HistoricSource)
    service.answer = lambda _: Answer(quarters(known=120, since=midnight))
    start_ms = int(midnight.timestamp()) * 1000
    readings = source.history(start_ms, start_ms + hours * HOUR_MS)
    assert [(reading.start_ms - start_ms) // QUARTER_MS for reading in readings] == list(range(hours * 4))


def test_history_holds_what_was_and_no_forecast_and_is_asked_in_pieces(service: StandIn) -> None:
    source = source_of(service)
    assert isinstance(source, HistoricSource)
    readings = source.history(NOON_MS - 45 * DAY_MS, NOON_MS + DAY_MS)
    assert len(service.asked) == 2
    assert service.asked[0].params["end"] == service.asked[1].params["start"]
    assert [reading.value for reading in readings] == [400 + i for i in range(24)]


def share_of(service: StandIn, *plants: tuple[str, list[float | None]], **changes: Any) -> int:
    source = source_of(service, kind="carbon_free")
    service.answer = lambda _: Answer(generation(*plants, **changes))
    return source.read(NOON_MS).value


def test_the_share_is_renewable_and_nuclear_power_in_all_that_is_generated(service: StandIn) -> None:
    source = source_of(service, kind="carbon_free")
    reading = source.read(NOON_MS)
    assert service.asked[0].path == "/public_power"
    # 4000 MW of biomass and 31000 MW of sun beside 5000 MW of gas; the newest row waits for the others.
    assert (reading.value, reading.end_ms) == (875, NOON_MS - 2 * QUARTER_MS)
    assert not isinstance(source, ForecastingSource)


def test_what_is_not_known_to_be_carbon_free_counts_as_not(service: StandIn) -> None:
    assert share_of(service, ("Nuclear", [60.0]), ("Dilithium", [30.0]), ("Others", [10.0])) == 600


@pytest.mark.parametrize("name", ["Battery discharge", "Hydro pumped storage", "Load (incl. self-consumption)"])
def test_what_only_passes_through_counts_not_at_all(service: StandIn, name: str) -> None:
    assert share_of(service, ("WIND ONSHORE", [50.0]), ("Fossil gas", [50.0]), (name, [900.0])) == 500


@pytest.mark.parametrize(
    ("plants", "complaint"),
    [
        ([("Solar", [None]), ("Fossil gas", [5.0, 6.0])], "lists of [1, 2] figures"),
        ([("Solar", [0.0]), ("Fossil gas", [0.0])], "has no figure for now"),
        ([("Load", [5.0])], "has no figure for now"),
        ([("Solar", [None])], "has no figure for now"),
    ],
)
def test_refuse_what_is_no_share(
    service: StandIn, plants: list[tuple[str, list[float | None]]], complaint: str
) -> None:
    with pytest.raises(SourceError) as raised:
        share_of(service, *plants)
    assert complaint in raised.value.cause


def test_a_share_of_this_morning_is_stale(service: StandIn) -> None:
    watched = Watched("energy.carbon_free", source_of(service, kind="carbon_free"), 2 * HOUR_MS)
    service.answer = lambda _: Answer(generation(since=NOON - timedelta(hours=5)))
    with pytest.raises(SourceError, match="s old, 7200 s are allowed"):
        watched.read(NOON_MS)


@pytest.mark.parametrize("changes", [{"kind": "marginal"}, {"country": "de"}, {"key_file": "x"}])
def test_refuse_section(service: StandIn, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        source_of(service, **changes)
