"""Facts about reading UK Carbon Intensity."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from node.energy.source import ForecastingSource, HistoricSource, Source, SourceError
from tests.energy.sources.services import (
    NOON,
    NOON_MS,
    READING,
    VALENCIA,
    failure,
    half_hour,
    half_hours,
    opened,
    uk_carbon,
)
from tests.energy.standin import Answer, StandIn

HALF_MS = 1_800_000
DAY_MS = 86_400_000


def source_of(service: StandIn, **changes: Any) -> Source:
    service.answer = uk_carbon
    return opened(service, {"source": "ukcarbon", **changes}, READING)


def test_the_present_half_hour_of_great_britain(service: StandIn) -> None:
    reading = source_of(service).read(NOON_MS)
    assert [asked.path for asked in service.asked] == ["/intensity"]
    assert (reading.value, reading.start_ms, reading.end_ms) == (263, NOON_MS, NOON_MS + HALF_MS)
    assert (reading.method, reading.uncertainty_permille) == ("grid_mix", 100)
    assert reading.provenance == "UK Carbon Intensity GB, estimated"


def test_where_the_actual_is_null_its_forecast_counts_and_says_so(service: StandIn) -> None:
    source = source_of(service)
    service.answer = lambda _: Answer({"data": [half_hour(actual=None)]})
    reading = source.read(NOON_MS)
    assert (reading.value, reading.method, reading.uncertainty_permille) == (266, "modelled", 150)
    assert reading.provenance == "UK Carbon Intensity GB, forecast"


@pytest.mark.parametrize(
    ("region", "path"),
    [({"postcode": "RG10"}, "/regional/postcode/RG10"), ({"regionid": 12}, "/regional/regionid/12")],
)
def test_a_region_has_forecasts_only(service: StandIn, region: dict[str, Any], path: str) -> None:
    reading = source_of(service, **region).read(NOON_MS)
    assert [asked.path for asked in service.asked] == [path]
    assert (reading.value, reading.method) == (266, "modelled")
    assert reading.provenance == f"UK Carbon Intensity {' '.join(path.split('/')[2:])}, forecast"


@pytest.mark.parametrize(
    ("region", "changes"),
    [
        ({"postcode": "RG10"}, {"postcode": "SW1"}),
        ({"postcode": "RG10"}, {"postcode": None}),
        ({"regionid": 12}, {"regionid": 3}),
    ],
)
def test_refuse_another_region(service: StandIn, region: dict[str, Any], changes: dict[str, Any]) -> None:
    answer = {"data": [{"regionid": 12, "postcode": "RG10", "data": [half_hour()]} | changes]}
    assert "asked UK Carbon Intensity" in failure(service, source_of(service, **region), answer).cause


def test_a_region_may_come_alone_instead_of_in_a_list(service: StandIn) -> None:
    source = source_of(service, regionid=12)
    service.answer = lambda asked: Answer({"data": {"regionid": 12, "data": half_hours(asked)}})
    assert isinstance(source, ForecastingSource)
    assert len(source.forecast(NOON_MS)) == 96


@pytest.mark.parametrize(
    ("region", "path"),
    [
        ({}, "/intensity/2026-06-21T12:00Z/fw48h"),
        ({"regionid": 12}, "/regional/intensity/2026-06-21T12:00Z/fw48h/regionid/12"),
    ],
)
def test_the_forecast_is_for_48_hours(service: StandIn, region: dict[str, Any], path: str) -> None:
    source = source_of(service, **region)
    assert isinstance(source, ForecastingSource)
    readings = source.forecast(NOON_MS)
    assert [asked.path for asked in service.asked] == [path]
    assert (readings[0].start_ms, readings[-1].end_ms) == (NOON_MS, NOON_MS + 96 * HALF_MS)


def test_history_is_asked_in_pieces_that_the_service_answers(service: StandIn) -> None:
    source = source_of(service)
    assert isinstance(source, HistoricSource)
    readings = source.history(NOON_MS - 20 * DAY_MS, NOON_MS)
    assert [asked.path for asked in service.asked] == [
        "/intensity/2026-06-01T12:00Z/2026-06-14T12:00Z",
        "/intensity/2026-06-14T12:00Z/2026-06-21T12:00Z",
    ]
    assert {reading.value for reading in readings} == {263}
    assert len(readings) == 48  # the stand-in says them in both answers


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ({"data": []}, "has no figure for now"),
        ({"data": [half_hour(intensity={"forecast": None, "actual": None})]}, "has no figure for now"),
        ({"data": [half_hour(NOON + timedelta(hours=1))]}, "has no figure for now"),
        ({"data": [half_hour(to="2026-06-21T12:00Z")]}, "has no figure for now"),
        ({"data": [half_hour(to="2026-06-21T11:30Z")]}, "has no figure for now"),
        ({"data": [half_hour(actual=-1)]}, "-1.0 g/kWh is out of range"),
        ({"data": [half_hour(), half_hour(actual=270)]}, "two of its figures, 263 and 270 g/kWh"),
        ({"data": [half_hour() | {"from": "2026-06-21T12:00"}]}, "data.0.from: Input should have timezone info"),
        ({"data": [half_hour(intensity={"forecast": "266"})]}, "forecast: Input should be a valid number"),
    ],
)
def test_refuse_what_is_no_figure(service: StandIn, answer: dict[str, Any], complaint: str) -> None:
    assert complaint in failure(service, source_of(service), answer).cause


@pytest.mark.parametrize(
    ("midnight", "halves"), [(datetime(2026, 3, 29, 0, tzinfo=UTC), 46), (datetime(2026, 10, 24, 23, tzinfo=UTC), 50)]
)
def test_the_days_on_which_clocks_change_have_all_their_half_hours(
    service: StandIn, midnight: datetime, halves: int
) -> None:
    source = source_of(service)
    assert isinstance(source, HistoricSource)
    service.answer = lambda _: Answer(
        {"data": [half_hour(midnight + timedelta(minutes=30 * i)) for i in range(-1, 60)]}
    )
    start_ms = int(midnight.timestamp()) * 1000
    readings = source.history(start_ms, start_ms + halves * HALF_MS)
    assert [(reading.start_ms - start_ms) // HALF_MS for reading in readings] == list(range(halves))


def test_a_service_that_slips_into_local_time_is_found_out_when_clocks_go_back(service: StandIn) -> None:
    source = source_of(service)
    assert isinstance(source, HistoricSource)
    one = datetime(2026, 10, 25, 1, tzinfo=UTC)
    service.answer = lambda _: Answer({"data": [half_hour(one, 200), half_hour(one, 210)]})
    with pytest.raises(SourceError, match="both for 2026-10-25T01:00Z") as raised:
        source.history(int(one.timestamp()) * 1000, int(one.timestamp()) * 1000 + DAY_MS)
    assert "local time" in raised.value.remedy


def test_refuse_a_site_elsewhere(service: StandIn) -> None:
    for place in (VALENCIA, READING.model_copy(update={"zone": "GB-NIR"})):
        with pytest.raises(SourceError, match=f"the site is in zone {place.zone}"):
            opened(service, {"source": "ukcarbon"}, place)
    assert service.asked == []


@pytest.mark.parametrize(
    "changes",
    [
        {"postcode": "RG10 9XX"},
        {"postcode": "../x"},
        {"regionid": 18},
        {"postcode": "RG10", "regionid": 12},
        {"key_file": "x"},
        {"kind": "avg_lifecycle"},
    ],
)
def test_refuse_section(service: StandIn, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        source_of(service, **changes)
