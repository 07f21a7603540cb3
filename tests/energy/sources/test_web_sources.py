"""Facts that hold for every source that is a web service, against stand-ins that answer as their documents say."""

from __future__ import annotations

import base64
import tomllib
import traceback
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from node.energy.source import ForecastingSource, HistoricSource, Source, SourceError
from node.energy.web import ANSWER_MAX_BYTES, TIMEOUT_S
from tests.energy.sources.services import BERLIN, CASES, KEY, NOON_MS, READING, TOKEN, Case, failure, opened
from tests.energy.standin import Answer, StandIn, stand_in

HOUR_MS = 3_600_000
EXAMPLE = Path(__file__).resolve().parents[3] / "deploy" / "energy.toml.example"
PASSWORD_SENT = base64.b64encode(f"sun:{KEY}".encode()).decode()


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def source(service: StandIn, case: Case, key_file: str) -> Source:
    service.answer = case.answer
    return opened(service, {**case.section, **({"key_file": key_file} if case.wants_key else {})}, case.place)


def test_a_good_answer_becomes_a_reading(source: Source, case: Case) -> None:
    reading = source.read(NOON_MS)
    assert (reading.kind, reading.value) == (case.kind, case.value)
    assert reading.kind is source.kind
    assert reading.start_ms <= NOON_MS
    assert reading.age_ms(NOON_MS) <= HOUR_MS
    assert reading.provenance.isprintable()
    assert len(reading.provenance) <= 128


def test_the_section_may_say_how_sure_it_is(service: StandIn, source: Source, case: Case, key_file: str) -> None:
    given = {**case.section, "uncertainty_permille": 7, **({"key_file": key_file} if case.wants_key else {})}
    assert opened(service, given, case.place).read(NOON_MS).uncertainty_permille == 7
    assert source.read(NOON_MS).uncertainty_permille >= 20


@pytest.mark.parametrize(
    ("status", "complaint"),
    [
        (400, "answered 400: it does not accept the question"),
        (401, "answered 401: the key is refused"),
        (403, "answered 403: the key is refused"),
        (404, "answered 404: nothing there"),
        (429, "answered 429: asked too often"),
        (500, "answered 500"),
        (503, "answered 503"),
    ],
)
def test_another_status_is_no_figure(service: StandIn, source: Source, status: int, complaint: str) -> None:
    assert complaint in failure(service, source, {"error": "in their words"}, status).cause


@pytest.mark.parametrize("status", [429, 503])
def test_a_service_that_asks_for_a_pause_gets_it(service: StandIn, source: Source, status: int) -> None:
    assert failure(service, source, "", status, **{"Retry-After": "120"}).retry_after_ms == 120_000


def test_a_redirect_is_not_followed(service: StandIn, source: Source) -> None:
    with stand_in(lambda _: Answer({})) as elsewhere:
        complaint = failure(service, source, "", 302, Location=elsewhere.base_url).cause
        assert "answered 302: it sends us elsewhere" in complaint
        assert elsewhere.asked == []


@pytest.mark.parametrize("answer", [{}, [], None, {"data": None}, {"zone": "ES"}, b"<html>", b"", b"\xff"])
def test_an_answer_of_another_shape_is_no_figure(service: StandIn, source: Source, answer: Any) -> None:
    assert "answered what its documents do not say" in failure(service, source, answer).cause


def test_an_answer_without_end_is_cut_off(service: StandIn, source: Source) -> None:
    answer = b" " * (ANSWER_MAX_BYTES + 1)
    assert f"answered more than {ANSWER_MAX_BYTES} bytes" in failure(service, source, answer).cause


def test_nobody_there(case: Case, key_file: str) -> None:
    with stand_in(case.answer) as gone:
        pass
    source = opened(gone, {**case.section, **({"key_file": key_file} if case.wants_key else {})}, case.place)
    with pytest.raises(SourceError, match="cannot be reached"):
        source.read(NOON_MS)


def test_a_source_that_failed_is_asked_again_and_answers(service: StandIn, source: Source, case: Case) -> None:
    failure(service, source, "", 500)
    service.answer = case.answer
    assert source.read(NOON_MS).value == case.value


def test_a_forecast_is_in_order_without_overlap_from_now_on(source: Source) -> None:
    if not isinstance(source, ForecastingSource):
        assert "forecast" not in dir(source)
        return
    readings = source.forecast(NOON_MS + 10 * 60_000)
    assert len(readings) >= 24
    assert readings[0].start_ms <= NOON_MS + 10 * 60_000 < readings[0].end_ms
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(readings))
    assert {reading.kind for reading in readings} == {source.kind}
    assert readings[-1].method == "modelled"


def test_history_is_in_order_within_its_time(source: Source) -> None:
    if not isinstance(source, HistoricSource):
        assert "history" not in dir(source)
        return
    start_ms, end_ms = NOON_MS - 3 * HOUR_MS, NOON_MS + HOUR_MS // 4
    readings = source.history(start_ms, end_ms)
    assert readings
    assert all(start_ms <= reading.start_ms < end_ms for reading in readings)
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(readings))


def test_the_key_stands_in_no_message_and_no_name(service: StandIn, source: Source, case: Case) -> None:
    source.read(NOON_MS)
    told = [repr(source), str(source), *(repr(held) for held in vars(source).values())]
    for status in (200, 400, 401, 403, 404, 429, 500, 302):
        error = failure(service, source, {"message": f"{KEY} and {TOKEN} are wrong"}, status)
        told += [str(error), repr(error), *traceback.format_exception(error)]
        hidden: BaseException | None = error
        while hidden is not None:
            told.append(repr(hidden))
            hidden = hidden.__context__
    for secret in (KEY, TOKEN, PASSWORD_SENT):
        assert not any(secret in text for text in told)


def test_the_key_stands_in_a_header_alone(service: StandIn, source: Source, case: Case) -> None:
    source.read(NOON_MS)
    sent = [
        value for asked in service.asked for value in asked.headers.values() if KEY in value or PASSWORD_SENT in value
    ]
    assert bool(sent) is case.wants_key
    assert not any(KEY in asked.path or KEY in str(asked.params) for asked in service.asked)


def test_a_service_that_keeps_silent_is_given_up(
    service: StandIn, source: Source, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx

    def silent(*_: Any, **__: Any) -> Any:
        raise httpx.ReadTimeout("the address would stand here")

    monkeypatch.setattr(httpx.Client, "stream", silent)
    with pytest.raises(SourceError, match=f"did not answer within {TIMEOUT_S:.0f} s"):
        source.read(NOON_MS)


def test_every_section_of_the_example_opens(service: StandIn, key_file: str) -> None:
    web = {case.section["source"] for case in CASES.values()}
    for name, section in tomllib.loads(EXAMPLE.read_text()).items():
        if section["source"] not in web:
            continue  # what speaks another protocol would look for its device
        given = {**section, **({"key_file": key_file} if "key_file" in section else {})}
        place = READING if section["source"] == "ukcarbon" else BERLIN
        assert opened(service, given, place).kind, name
