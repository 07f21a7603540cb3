"""Facts about reading WattTime."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from node.energy.source import ForecastingSource, HistoricSource, Kind, Source, SourceError
from node.energy.sources.watttime import WattTimeSource
from tests.energy.sources.services import KEY, NOON, NOON_MS, OAKLAND, TOKEN, failure, moer, opened, watt_time
from tests.energy.standin import Answer, Asked, StandIn

MINUTE_MS = 60_000
DAY_MS = 86_400_000


def source_of(service: StandIn, key_file: str, **changes: Any) -> Source:
    service.answer = watt_time
    return opened(service, {"source": "watttime", "username": "sun", "key_file": key_file, **changes}, OAKLAND)


def paths(service: StandIn) -> list[str]:
    return [asked.path for asked in service.asked]


def with_figures(series: dict[str, Any]) -> Any:
    """A service that is well, and gives these figures."""
    return lambda asked: Answer(series) if asked.path in ("/v3/forecast", "/v3/historical") else watt_time(asked)


def test_pounds_per_megawatt_hour_become_grams_and_stay_marginal(service: StandIn, key_file: str) -> None:
    reading = source_of(service, key_file).read(NOON_MS)
    assert (reading.kind, reading.value) == (Kind.MARGINAL, 408)  # 900.5 lb/MWh × 0.45359237
    assert (reading.start_ms, reading.end_ms) == (NOON_MS, NOON_MS + 5 * MINUTE_MS)
    assert (reading.method, reading.uncertainty_permille) == ("modelled", 300)
    assert reading.provenance == "WattTime CAISO_NORTH co2_moer, model 2026-03-01"


def test_the_login_gives_a_token_and_the_place_its_region(service: StandIn, key_file: str) -> None:
    source_of(service, key_file).read(NOON_MS)
    assert paths(service) == ["/login", "/v3/region-from-loc", "/v3/forecast"]
    login, located, forecast = service.asked
    assert login.headers["authorization"] == "Basic " + base64.b64encode(f"sun:{KEY}".encode()).decode()
    assert located.params == {"latitude": "37.8", "longitude": "-122.3", "signal_type": "co2_moer"}
    assert forecast.params == {"region": "CAISO_NORTH", "signal_type": "co2_moer", "horizon_hours": "0"}
    assert located.headers["authorization"] == forecast.headers["authorization"] == f"Bearer {TOKEN}"


def test_token_and_region_are_kept_for_as_long_as_the_token_lasts(service: StandIn, key_file: str) -> None:
    source = source_of(service, key_file)
    for minutes in (0, 5, 28, 31):
        service.answer = lambda asked, at=minutes: with_figures(moer(since=NOON + timedelta(minutes=at)))(asked)  # type: ignore[misc]
        source.read(NOON_MS + minutes * MINUTE_MS)
    assert paths(service) == ["/login", "/v3/region-from-loc", *["/v3/forecast"] * 3, "/login", "/v3/forecast"]


def test_a_token_that_expired_early_is_replaced_once(service: StandIn, key_file: str) -> None:
    source = source_of(service, key_file, region="CAISO_NORTH")
    source.read(NOON_MS)
    tokens = iter(["second", "third"])
    fresh = ["none"]

    def forgetful(asked: Asked) -> Answer:
        if asked.path == "/login":
            fresh[0] = next(tokens)
            return Answer({"token": fresh[0]})
        return Answer(moer(1)) if asked.headers["authorization"] == f"Bearer {fresh[0]}" else Answer("", 401)

    service.answer = forgetful
    assert source.read(NOON_MS + 1).value == 408
    assert paths(service) == ["/login", "/v3/forecast", "/v3/forecast", "/login", "/v3/forecast"]


def test_a_service_that_takes_no_token_is_not_asked_for_ever(service: StandIn, key_file: str) -> None:
    source = source_of(service, key_file, region="CAISO_NORTH")
    service.answer = lambda asked: Answer({"token": TOKEN}) if asked.path == "/login" else Answer("", 401)
    with pytest.raises(SourceError, match="answered 401: the key is refused"):
        source.read(NOON_MS)
    assert paths(service) == ["/login", "/v3/forecast"]


def test_a_plan_that_forbids_the_region_does_not_log_in_again(service: StandIn, key_file: str) -> None:
    source = source_of(service, key_file)
    source.read(NOON_MS)
    assert "answered 403" in failure(service, source, {"error": "Forbidden"}, 403).cause
    assert paths(service).count("/login") == 1


def test_a_region_of_the_section_is_not_looked_up(service: StandIn, key_file: str) -> None:
    source_of(service, key_file, region="CAISO_NORTH").read(NOON_MS)
    assert paths(service) == ["/login", "/v3/forecast"]


@pytest.mark.parametrize(
    ("series", "complaint"),
    [
        (moer(meta={"region": "PJM_DC"}), "asked WattTime for region CAISO_NORTH, got 'PJM_DC'"),
        (moer(meta={"signal_type": "co2_aoer"}), "for signal_type co2_moer, got 'co2_aoer'"),
        (moer(meta={"units": "percentile"}), "for units lbs_co2_per_mwh, got 'percentile'"),
        (moer(meta={"units": "g/kWh"}), "for units lbs_co2_per_mwh, got 'g/kWh'"),
        (moer(0), "has no figure for now"),
        (moer(since=NOON + timedelta(minutes=5)), "has no figure for now"),
        (moer() | {"data": [{"point_time": NOON.isoformat(), "value": None}]}, "data.0.value"),
        (
            moer() | {"data": [{"point_time": "2026-06-21T12:00:00", "value": 1.0}]},
            "point_time: Input should have timez",
        ),
        (moer() | {"data": [{"point_time": NOON.isoformat(), "value": -5.0}]}, "-5.0 lbs_co2_per_mwh is out of range"),
        (moer(meta={"data_point_period_seconds": 0}), "data_point_period_seconds"),
        (moer(meta={"data_point_period_seconds": 86_400}), "data_point_period_seconds"),
    ],
)
def test_refuse_what_is_no_marginal_figure_of_this_region(
    service: StandIn, key_file: str, series: dict[str, Any], complaint: str
) -> None:
    source = source_of(service, key_file)
    service.answer = with_figures(series)
    with pytest.raises(SourceError) as raised:
        source.read(NOON_MS)
    assert complaint in raised.value.cause


def test_refuse_the_region_of_another_signal(service: StandIn, key_file: str) -> None:
    source = source_of(service, key_file)
    other = {"region": "CAISO_NORTH", "signal_type": "health_damage"}
    service.answer = lambda asked: Answer(other) if asked.path == "/v3/region-from-loc" else watt_time(asked)
    with pytest.raises(SourceError, match="got that of 'health_damage'"):
        source.read(NOON_MS)


def test_refuse_a_login_without_a_token(service: StandIn, key_file: str) -> None:
    complaint = failure(service, source_of(service, key_file), {"tokens": TOKEN}).cause
    assert "documents do not say: token" in complaint
    assert TOKEN not in complaint


def test_the_forecast_reaches_as_far_as_the_service_looks(service: StandIn, key_file: str) -> None:
    source = source_of(service, key_file)
    assert isinstance(source, ForecastingSource)
    readings = source.forecast(NOON_MS)
    assert service.asked[-1].params["horizon_hours"] == "72"
    assert (readings[0].start_ms, readings[-1].end_ms) == (NOON_MS, NOON_MS + DAY_MS)


def test_a_forecast_is_put_in_order_and_keeps_its_gaps(service: StandIn, key_file: str) -> None:
    source = source_of(service, key_file)
    assert isinstance(source, ForecastingSource)
    series = moer(4)
    series["data"] = [series["data"][at] for at in (3, 0, 1)]
    service.answer = with_figures(series)
    starts = [(reading.start_ms - NOON_MS) // MINUTE_MS for reading in source.forecast(NOON_MS)]
    assert starts == [0, 5, 15]


def test_history_is_asked_in_pieces(service: StandIn, key_file: str) -> None:
    source = source_of(service, key_file)
    assert isinstance(source, HistoricSource)
    assert len(source.history(NOON_MS - 40 * DAY_MS, NOON_MS + 1)) == 1
    pieces = [asked.params for asked in service.asked if asked.path == "/v3/historical"]
    assert [(piece["start"], piece["end"]) for piece in pieces] == [
        ("2026-05-12T12:00Z", "2026-06-11T12:00Z"),
        ("2026-06-11T12:00Z", "2026-06-21T12:00Z"),
    ]


def test_history_replaces_a_token_that_expired_without_knowing_the_time(service: StandIn, key_file: str) -> None:
    source = source_of(service, key_file, region="CAISO_NORTH")
    assert isinstance(source, HistoricSource)
    source.history(NOON_MS - DAY_MS, NOON_MS + 1)
    source.history(NOON_MS - DAY_MS, NOON_MS + 1)
    assert paths(service) == ["/login", "/v3/historical", "/v3/historical"]
    source.read(NOON_MS)  # nobody knows how old that token is by now
    assert paths(service)[3:] == ["/login", "/v3/forecast"]


def test_it_is_never_an_average(service: StandIn, key_file: str) -> None:
    assert WattTimeSource.kind is Kind.MARGINAL


@pytest.mark.parametrize(
    "changes", [{"kind": "avg_direct"}, {"username": "a:b"}, {"username": ""}, {"region": "../x"}, {"key_file": None}]
)
def test_refuse_section(service: StandIn, key_file: str, changes: dict[str, Any]) -> None:
    given = {"source": "watttime", "username": "sun", "key_file": key_file, **changes}
    with pytest.raises(ValidationError):
        opened(service, given, OAKLAND)
