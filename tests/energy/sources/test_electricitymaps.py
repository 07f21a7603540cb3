"""Facts about reading Electricity Maps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from node.energy.source import ForecastingSource, HistoricSource, Kind, Source, SourceError
from node.energy.watched import Watched
from tests.energy.sources.services import (
    KEY,
    NOON,
    NOON_MS,
    VALENCIA,
    electricity_maps,
    failure,
    hour,
    iso,
    opened,
    share,
)
from tests.energy.standin import Answer, StandIn

HOUR_MS = 3_600_000


def source_of(service: StandIn, key_file: str, **changes: Any) -> Source:
    service.answer = electricity_maps
    return opened(service, {"source": "electricitymaps", "key_file": key_file, **changes}, VALENCIA)


def test_the_question_names_zone_factors_and_step_and_forbids_a_guess_by_address(
    service: StandIn, key_file: str
) -> None:
    reading = source_of(service, key_file).read(NOON_MS)
    (asked,) = service.asked
    assert asked.path == "/carbon-intensity/latest"
    assert asked.params == {
        "zone": "ES",
        "emissionFactorType": "lifecycle",
        "temporalGranularity": "hourly",
        "shouldUseFallbackCallerLookup": "false",
    }
    assert asked.headers["auth-token"] == KEY
    assert (reading.start_ms, reading.end_ms) == (NOON_MS, NOON_MS + HOUR_MS)
    assert reading.provenance == "Electricity Maps ES life-cycle intensity"
    assert (reading.method, reading.uncertainty_permille) == ("grid_mix", 100)


def test_direct_factors_are_asked_for_and_are_another_kind(service: StandIn, key_file: str) -> None:
    source = source_of(service, key_file, kind="avg_direct")
    service.answer = lambda _: Answer(hour(emissionFactorType="direct"))
    assert source.read(NOON_MS).kind is Kind.AVG_DIRECT
    assert service.asked[0].params["emissionFactorType"] == "direct"


def test_the_share_comes_from_the_power_breakdown(service: StandIn, key_file: str) -> None:
    reading = source_of(service, key_file, kind="carbon_free").read(NOON_MS)
    assert service.asked[0].path == "/power-breakdown/latest"
    assert "emissionFactorType" not in service.asked[0].params
    assert (reading.value, reading.unit) == (830, "permille")


@pytest.mark.parametrize(
    ("estimation", "told"),
    [
        ({"isEstimated": True, "estimationMethod": "TIME_SLICER_AVERAGE"}, ", estimated by TIME_SLICER_AVERAGE"),
        ({"isEstimated": True, "estimationMethod": None}, ", estimated"),
        ({"isEstimated": True, "estimationMethod": "\x1b[2J"}, ", estimated"),
        ({"isEstimated": None}, ", estimated"),
    ],
)
def test_an_estimate_says_so_and_is_less_certain(
    service: StandIn, key_file: str, estimation: dict[str, Any], told: str
) -> None:
    source = source_of(service, key_file)
    service.answer = lambda _: Answer(hour(**estimation))
    reading = source.read(NOON_MS)
    assert reading.provenance == "Electricity Maps ES life-cycle intensity" + told
    assert reading.uncertainty_permille == 250


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (hour(zone="FR"), "asked Electricity Maps for zone ES, got 'FR'"),
        (hour(emissionFactorType="direct"), "for emissionFactorType lifecycle, got 'direct'"),
        (hour(temporalGranularity="5_minutes"), "for temporalGranularity hourly, got '5_minutes'"),
        (hour(carbonIntensity=None), "life-cycle intensity is null now"),
        (share(), "life-cycle intensity is null now"),
        (hour(carbonIntensity=-3), "-3.0 gCO2eq/kWh is out of range"),
        (hour(carbonIntensity="112"), "carbonIntensity: Input should be a valid number"),
        (hour(datetime="2026-06-21T12:00:00"), "datetime: Input should have timezone info"),
        (hour(datetime="2026-06-21"), "datetime: "),
    ],
)
def test_refuse_what_is_no_figure_of_this_zone(
    service: StandIn, key_file: str, answer: dict[str, Any], complaint: str
) -> None:
    assert complaint in failure(service, source_of(service, key_file), answer).cause


def test_a_figure_of_three_hours_ago_is_stale(service: StandIn, key_file: str) -> None:
    watched = Watched("energy.grid", source_of(service, key_file), 2 * HOUR_MS)
    service.answer = lambda _: Answer(hour(NOON - timedelta(hours=4)))
    with pytest.raises(SourceError, match="10800 s old, 7200 s are allowed"):
        watched.read(NOON_MS)


def test_an_offset_is_understood(service: StandIn, key_file: str) -> None:
    source = source_of(service, key_file)
    service.answer = lambda _: Answer(hour(datetime="2026-06-21T14:00:00+02:00"))
    assert source.read(NOON_MS).start_ms == NOON_MS


def forecast_of(service: StandIn, key_file: str, hours: list[dict[str, Any]], **changes: Any) -> list[tuple[int, int]]:
    source = source_of(service, key_file)
    assert isinstance(source, ForecastingSource)
    service.answer = lambda _: Answer({"zone": "ES", "forecast": hours, **changes})
    return [((reading.start_ms - NOON_MS) // HOUR_MS, reading.value) for reading in source.forecast(NOON_MS)]


def expected(offset_hours: int, value: float | None = 100) -> dict[str, Any]:
    return {"carbonIntensity": value, "datetime": iso(NOON + timedelta(hours=offset_hours))}


def test_a_forecast_is_put_in_order_and_keeps_its_gaps(service: StandIn, key_file: str) -> None:
    hours = [expected(3, 103), expected(0, 100), expected(-1, 99), expected(1, None), expected(0, 100)]
    assert forecast_of(service, key_file, hours) == [(0, 100), (3, 103)]


@pytest.mark.parametrize(
    ("hours", "changes", "complaint"),
    [
        ([], {}, "says nothing of the time from now on"),
        ([expected(-2)], {}, "says nothing of the time from now on"),
        (
            [expected(0, 100), expected(0, 101)],
            {},
            "two of its figures, 100 and 101 g/kWh, are both for 2026-06-21T12:00Z",
        ),
        ([expected(0)], {"zone": "FR"}, "for zone ES, got 'FR'"),
        ([expected(0) | {"zone": "FR"}], {}, "for zone ES, got 'FR'"),
        ([expected(0)], {"temporalGranularity": "15_minutes"}, "got '15_minutes'"),
    ],
)
def test_refuse_a_forecast(
    service: StandIn, key_file: str, hours: list[dict[str, Any]], changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(SourceError, match=complaint):
        forecast_of(service, key_file, hours, **changes)


def test_a_plan_without_forecasts_says_so(service: StandIn, key_file: str) -> None:
    source = source_of(service, key_file)
    assert isinstance(source, ForecastingSource)
    service.answer = lambda _: Answer({"error": "Endpoint not available"}, 403)
    with pytest.raises(SourceError, match="403: the key is refused") as raised:
        source.forecast(NOON_MS)
    assert "what the plan allows" in raised.value.remedy


@pytest.mark.parametrize(
    ("midnight", "hours"),
    [
        (datetime(2026, 3, 28, 23, tzinfo=UTC), 23),  # both are local midnights in Spain
        (datetime(2026, 10, 24, 22, tzinfo=UTC), 25),
    ],
)
def test_the_days_on_which_clocks_change_have_all_their_hours(
    service: StandIn, key_file: str, midnight: datetime, hours: int
) -> None:
    source = source_of(service, key_file)
    assert isinstance(source, HistoricSource)
    listed = [hour(midnight + timedelta(hours=i), carbonIntensity=i) for i in range(hours)]
    service.answer = lambda _: Answer({"zone": "ES", "history": listed})
    start_ms = int(midnight.timestamp()) * 1000
    readings = source.history(start_ms, start_ms + hours * HOUR_MS)
    assert [(reading.start_ms - start_ms) // HOUR_MS for reading in readings] == list(range(hours))


def test_history_leaves_out_the_hours_without_a_figure_and_keeps_zeros(service: StandIn, key_file: str) -> None:
    source = source_of(service, key_file)
    assert isinstance(source, HistoricSource)
    listed = [hour(NOON - timedelta(hours=i), carbonIntensity=value) for i, value in enumerate([7, None, 0])]
    service.answer = lambda _: Answer({"zone": "ES", "history": listed})
    assert [reading.value for reading in source.history(NOON_MS - 9 * HOUR_MS, NOON_MS + 1)] == [0, 7]


@pytest.mark.parametrize(
    "changes", [{"kind": "marginal"}, {"kind": "power"}, {"key_file": None}, {"zone": "FR"}, {"base_url": "ftp://x"}]
)
def test_refuse_section(service: StandIn, key_file: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        opened(service, {"source": "electricitymaps", "key_file": key_file, **changes}, VALENCIA)
