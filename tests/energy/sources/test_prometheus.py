"""Facts about reading Prometheus."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from pydantic import ValidationError

from node.energy.source import ForecastingSource, Kind, Source, SourceError
from node.energy.watched import Watched
from tests.energy.sources.services import KEY, NOON_MS, VALENCIA, failure, opened, prometheus, vector
from tests.energy.standin import Answer, StandIn


def source_of(service: StandIn, **changes: Any) -> Source:
    service.answer = prometheus
    given = {"source": "prometheus", "query": 'power{site="roof"}', "unit": "W"}
    return opened(service, given | changes, VALENCIA)


def test_the_figure_and_when_its_sample_was_taken(service: StandIn) -> None:
    reading = source_of(service).read(NOON_MS + 250)
    assert [asked.path for asked in service.asked] == ["/api/v1/query"] * 2
    assert [asked.params for asked in service.asked] == [
        {"query": 'power{site="roof"}', "time": "1782043200.250"},
        {"query": 'timestamp(power{site="roof"})', "time": "1782043200.250"},
    ]
    assert (reading.value, reading.unit) == (1520, "W")
    assert reading.start_ms == reading.end_ms == NOON_MS - 14_750
    assert (reading.method, reading.uncertainty_permille) == ("metered", 20)
    assert reading.provenance == 'Prometheus power{site="roof"}'


def test_a_counter_in_kilowatt_hours_becomes_joules(service: StandIn) -> None:
    assert source_of(service, kind="counter", unit="kWh").read(NOON_MS).value == 1520.4 * 3_600_000


def test_a_share_in_percent_becomes_permille(service: StandIn) -> None:
    source = source_of(service, kind="carbon_free", unit="%", method="modelled")
    service.answer = lambda asked: Answer(vector("1782043200" if "timestamp" in asked.params["query"] else "61.25"))
    reading = source.read(NOON_MS)
    assert (reading.kind, reading.value, reading.method) == (Kind.CARBON_FREE, 612, "modelled")


def test_a_scalar_is_of_the_moment_of_the_question(service: StandIn) -> None:
    source = source_of(service)
    scalar = {"status": "success", "data": {"resultType": "scalar", "result": [NOON_MS / 1000, "7"]}}
    service.answer = lambda _: Answer(scalar)
    reading = source.read(NOON_MS)
    assert (reading.value, reading.start_ms) == (7, NOON_MS)
    assert len(service.asked) == 1


def test_a_sample_that_only_the_look_back_keeps_alive_is_stale(service: StandIn) -> None:
    watched = Watched("energy.generation", source_of(service), 120_000)
    service.answer = lambda asked: Answer(vector("1782042960" if "timestamp" in asked.params["query"] else "1520"))
    with pytest.raises(SourceError, match="240 s old, 120 s are allowed"):
        watched.read(NOON_MS)


def data(**changes: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "vector", "result": []} | changes}


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (vector(), "gives 0 series, exactly 1 is wanted"),
        (vector("1", "2", "3"), "gives 3 series, exactly 1 is wanted"),
        (vector("NaN"), "NaN W is out of range"),
        (vector("+Inf"), "+Inf W is out of range"),
        (vector("-5"), "-5 W is out of range"),
        (vector("many"), "'many' is no number"),
        (vector("5") | {"warnings": ["PromQL: a store did not answer"]}, "with 1 warnings: data may be missing"),
        ({"status": "error", "errorType": "timeout", "error": "too long"}, "an error instead of data"),
        ({"status": "success"}, "gives nothing, not an instant vector or scalar"),
        (data(resultType="matrix", result=[{"values": []}]), "gives a matrix, not an instant vector or scalar"),
        (data(resultType="string", result=[0, "text"]), "gives a string, not an instant vector or scalar"),
        (data(resultType="cube"), "documents do not say: data"),
        (data(result=[{"metric": {}, "histogram": [0, {}]}]), "documents do not say: data"),
        (data(result=[{"value": [0, 5]}]), "documents do not say: data"),
        ({"status": "fine"}, "documents do not say: status"),
    ],
)
def test_refuse_what_is_not_one_figure(service: StandIn, answer: dict[str, Any], complaint: str) -> None:
    assert complaint in failure(service, source_of(service), answer).cause


@pytest.mark.parametrize("when", ["NaN", "soon", "-Inf", "1e999999"])
def test_refuse_a_time_that_is_none(service: StandIn, when: str) -> None:
    source = source_of(service)
    service.answer = lambda asked: Answer(vector(when if "timestamp" in asked.params["query"] else "1520"))
    with pytest.raises(SourceError, match=f"time '{when}' is none"):
        source.read(NOON_MS)


def test_a_bad_query_is_told_as_such(service: StandIn) -> None:
    error = failure(service, source_of(service), {"status": "error", "errorType": "bad_data"}, 400)
    assert "answered 400: it does not accept the question" in error.cause
    assert "query" in error.remedy


def test_without_a_key_none_is_sent(service: StandIn) -> None:
    source_of(service).read(NOON_MS)
    assert all("authorization" not in asked.headers for asked in service.asked)


def test_a_key_goes_as_a_token_or_with_a_name_as_a_password(service: StandIn, key_file: str) -> None:
    source_of(service, key_file=key_file).read(NOON_MS)
    source_of(service, key_file=key_file, username="sun").read(NOON_MS)
    basic = "Basic " + base64.b64encode(f"sun:{KEY}".encode()).decode()
    assert [asked.headers["authorization"] for asked in service.asked] == [f"Bearer {KEY}"] * 2 + [basic] * 2


def test_a_long_query_is_shown_in_part_and_on_one_line(service: StandIn) -> None:
    provenance = source_of(service, query="sum(\n\t" + "a" * 900 + ")").read(NOON_MS).provenance
    assert provenance.startswith("Prometheus sum( aaa")
    assert len(provenance) <= 128


def test_it_forecasts_nothing(service: StandIn) -> None:
    assert not isinstance(source_of(service), ForecastingSource)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"unit": "kWh"}, "unit 'kWh' is none of a power"),
        ({"unit": "W", "kind": "counter"}, "unit 'W' is none of a counter"),
        ({"unit": "furlong"}, "unit 'furlong' is none of a power"),
        ({"query": ""}, "query"),
        ({"username": "sun"}, "username without a password"),
        ({"key_file": "a", "key_variable": "B"}, "say where the key is"),
        ({"method": "grid_mix"}, "method"),
        ({"base_url": "http://sun:secret@localhost"}, "base_url"),
        ({"base_url": "http://localhost/?token=secret"}, "base_url"),
    ],
)
def test_refuse_section(service: StandIn, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        source_of(service, **changes)
