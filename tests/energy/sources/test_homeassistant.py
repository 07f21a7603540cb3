"""Facts about reading Home Assistant, against a stand-in that answers as its documents say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from node.energy.source import Kind, Source, SourceError
from node.energy.sources.homeassistant import HomeAssistant
from node.home.secret import write_private
from protocol.errors import LocalError, Refused
from protocol.messages import Place
from tests.energy.standin import Answer, Asked, StandIn, stand_in

VALENCIA = Place(zone="ES", latitude_decidegrees=395, longitude_decidegrees=-4)
AT_MS = 1_782_043_200_000  # 2026-06-21 12:00 UTC
TOKEN = "long-lived-token"


def state(value: str = "16.57", unit: str | None = "kWh", **changes: Any) -> dict[str, Any]:
    return {
        "entity_id": "sensor.pv",
        "state": value,
        "attributes": {"unit_of_measurement": unit, "device_class": "energy", "state_class": "total_increasing"},
        "last_changed": "2026-06-21T12:00:00+00:00",
        "last_updated": "2026-06-21T12:00:00+00:00",
    } | changes


@pytest.fixture
def service() -> Iterator[StandIn]:
    with stand_in(lambda _: Answer(state())) as running:
        yield running


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    write_private(tmp_path / "token", TOKEN)
    return str(tmp_path / "token")


def opened(service: StandIn, key: str, **changes: Any) -> Source:
    given = {"source": "homeassistant", "base_url": service.base_url, "entity": "sensor.pv", "key_file": key}
    return HomeAssistant.model_validate(given | changes).open(VALENCIA)


def failure(service: StandIn, key_file: str, answer: Answer, **changes: Any) -> SourceError:
    service.answer = lambda _: answer
    with pytest.raises(SourceError) as raised:
        opened(service, key_file, **changes).read(AT_MS)
    assert TOKEN not in str(raised.value)
    return raised.value


def test_a_counter_in_kilowatt_hours_becomes_joules(service: StandIn, key_file: str) -> None:
    reading = opened(service, key_file).read(AT_MS)
    assert (reading.kind, reading.value, reading.unit) == (Kind.COUNTER, 59_652_000, "J")
    assert (reading.start_ms, reading.end_ms, reading.method) == (AT_MS, AT_MS, "metered")
    assert service.asked == [Asked("/api/states/sensor.pv", {}, service.asked[0].headers)]
    assert service.asked[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_a_power_sensor_gives_watts(service: StandIn, key_file: str) -> None:
    service.answer = lambda _: Answer(state("1.25", "kW"))
    assert opened(service, key_file, kind=Kind.POWER).read(AT_MS).value == 1250


def test_the_time_of_the_last_report_counts_where_a_value_stands_still(service: StandIn, key_file: str) -> None:
    service.answer = lambda _: Answer(state(last_reported="2026-06-21T14:30:00+02:00"))
    assert opened(service, key_file).read(AT_MS).end_ms == AT_MS + 1_800_000


@pytest.mark.parametrize("away", ["unavailable", "unknown", ""])
def test_a_device_that_is_away_is_no_zero(service: StandIn, key_file: str, away: str) -> None:
    assert "sensor.pv is" in failure(service, key_file, Answer(state(away))).cause


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (Answer(state(unit="W")), "unit 'W' is none of a counter"),
        (Answer(state(unit=None)), "unit 'none' is none of a counter"),
        (Answer(state("sixteen")), "'sixteen' is no number"),
        (Answer(state("-3")), "-3 kWh is out of range"),
        (Answer(state("nan")), "out of range"),
        (Answer(state(entity_id="sensor.other")), "asked for sensor.pv, got 'sensor.other'"),
        (Answer(state(state=None)), "answered what its documents do not say: state"),
        (Answer(state(last_updated="2026-06-21T12:00:00")), "answered what its documents do not say: last_updated"),
        (Answer(b"<html>"), "answered what its documents do not say"),
        (Answer({"message": "Unauthorized"}, 401), "answered 401: the key is refused"),
        (Answer({"message": "Entity not found."}, 404), "answered 404: nothing there"),
        (Answer("", 500), "answered 500"),
        (Answer(state(), 302, {"Location": "http://127.0.0.1:1/"}), "answered 302: it sends us elsewhere"),
    ],
)
def test_refuse_what_is_no_good_answer(service: StandIn, key_file: str, answer: Answer, complaint: str) -> None:
    assert complaint in failure(service, key_file, answer).cause


def test_a_service_that_asks_for_a_pause_gets_it(service: StandIn, key_file: str) -> None:
    assert failure(service, key_file, Answer("", 429, {"Retry-After": "120"})).retry_after_ms == 120_000
    assert failure(service, key_file, Answer("", 429, {"Retry-After": "x"})).retry_after_ms is None
    assert failure(service, key_file, Answer("", 503, {"Retry-After": "9" * 8})).retry_after_ms == 6 * 3_600_000


def test_an_answer_without_end_is_cut_off(service: StandIn, key_file: str) -> None:
    assert "more than 4194304 bytes" in failure(service, key_file, Answer(b"x" * (5 * 2**20))).cause


def test_nobody_there(key_file: str) -> None:
    with stand_in(lambda _: Answer(state())) as gone:
        pass
    with pytest.raises(SourceError, match="Home Assistant cannot be reached"):
        opened(gone, key_file).read(AT_MS)


def test_the_key_may_stand_in_the_environment(service: StandIn, key_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HA_TOKEN", TOKEN)
    opened(service, key_file, key_file=None, key_variable="HA_TOKEN").read(AT_MS)
    assert service.asked[0].headers["authorization"] == f"Bearer {TOKEN}"
    monkeypatch.delenv("HA_TOKEN")
    with pytest.raises(LocalError, match="HA_TOKEN holds no key"):
        opened(service, key_file, key_file=None, key_variable="HA_TOKEN")


def test_refuse_a_key_that_others_can_read(service: StandIn, key_file: str) -> None:
    Path(key_file).chmod(0o644)
    with pytest.raises(Refused, match="mode 0644"):
        opened(service, key_file)


@pytest.mark.parametrize(
    "changes",
    [
        {"key_file": None},
        {"key_variable": "HA_TOKEN"},
        {"entity": "sensor.pv/../x"},
        {"base_url": "http://user:secret@host"},
        {"stale_after_s": 0},
    ],
)
def test_refuse_section(service: StandIn, key_file: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        opened(service, key_file, **changes)
