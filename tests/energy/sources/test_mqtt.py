"""Facts about reading MQTT, from a real broker on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from node.energy.source import Kind, Reading, SourceError
from node.energy.sources import mqtt
from node.energy.sources.mqtt import Mqtt, MqttSource
from node.energy.watched import Watched
from node.home.secret import write_private
from protocol.errors import LocalError
from protocol.messages import Place
from tests.energy.broker import Broker, running
from tests.energy.certificates import make_authority

VALENCIA = Place(zone="ES", latitude_decidegrees=395, longitude_decidegrees=-4)
AT_MS = 1_782_043_200_000  # 2026-06-21 12:00 UTC
TOPIC = "tele/plug/SENSOR"
TASMOTA = json.dumps({"Time": "2026-06-21T14:00:00", "ENERGY": {"Total": 1.234, "Power": 56, "Factor": [0.5, 1]}})
PASSWORD = "between-plug-and-broker"


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with running() as started:
        yield started


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "FIRST_MESSAGE_S", 0.05)


@pytest.fixture
def sources() -> Iterator[list[MqttSource]]:
    made: list[MqttSource] = []
    yield made
    for source in made:
        source.close()


def section(port: int, **changes: Any) -> Mqtt:
    given = {"source": "mqtt", "host": "127.0.0.1", "port": port, "topic": TOPIC, "unit": "kWh"}
    return Mqtt.model_validate(given | {"value_path": "ENERGY.Total"} | changes)


def told(broker: Broker, source: MqttSource, payload: str | bytes, *, topic: str = TOPIC) -> Reading:
    """The reading, or the refusal, of a message that the source has heard for sure: it is said until it has."""
    deadline = time.monotonic() + 10
    while True:
        broker.publish(topic, payload)
        try:
            return source.read(AT_MS)
        except SourceError as error:
            if "nothing on" not in error.cause or time.monotonic() > deadline:
                raise


def refusal(source: MqttSource, wish: str) -> str:
    """The cause that holds `wish`, within ten seconds, or the last one."""
    deadline = time.monotonic() + 10
    while True:
        with pytest.raises(SourceError) as raised:
            source.read(AT_MS)
        if wish in raised.value.cause or time.monotonic() > deadline:
            return raised.value.cause


@pytest.mark.parametrize(
    ("payload", "changes", "value"),
    [
        (TASMOTA, {}, 4_442_400),
        (TASMOTA, {"value_path": "ENERGY.Power", "unit": "W", "kind": Kind.POWER}, 56),
        (TASMOTA, {"value_path": "ENERGY.Factor.1", "unit": "permille", "kind": Kind.CARBON_FREE}, 1),
        ('{"aenergy": {"total": 1234.5, "minute_ts": 1}}', {"value_path": "aenergy.total", "unit": "Wh"}, 4_444_200),
        (" 12.5\n", {"value_path": None}, 45_000_000),
    ],
)
def test_a_number_in_the_payload_is_read_in_the_unit_of_the_section(
    broker: Broker, sources: list[MqttSource], payload: str, changes: dict[str, Any], value: int
) -> None:
    sources.append(section(broker.port, **changes).open(VALENCIA))
    reading = told(broker, sources[0], payload)
    assert (reading.value, reading.method) == (value, "metered")
    assert reading.provenance.startswith(f"MQTT {TOPIC}")


def test_the_newest_message_counts(broker: Broker, sources: list[MqttSource]) -> None:
    sources.append(section(broker.port, value_path=None).open(VALENCIA))
    told(broker, sources[0], "1")
    broker.publish(TOPIC, "2")
    deadline = time.monotonic() + 10
    while sources[0].read(AT_MS).value != 7_200_000:
        assert time.monotonic() < deadline


def test_the_time_of_arrival_counts_and_silence_makes_it_stale(
    broker: Broker, sources: list[MqttSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    sources.append(section(broker.port).open(VALENCIA))
    now_s = time.monotonic()
    assert told(broker, sources[0], TASMOTA).age_ms(AT_MS) < 10_000
    monkeypatch.setattr(mqtt, "time", SimpleNamespace(monotonic=lambda: now_s + 1_000))
    assert 980_000 < sources[0].read(AT_MS).age_ms(AT_MS) <= 1_000_000
    with pytest.raises(SourceError, match="s old, 900 s are allowed"):
        Watched("energy.use (mqtt)", sources[0], stale_after_ms=900_000).read(AT_MS)


def test_a_retained_message_is_of_unknown_age(broker: Broker, sources: list[MqttSource]) -> None:
    broker.publish("old", TASMOTA, retain=True)
    sources.append(section(broker.port, topic="old").open(VALENCIA))
    assert "only a retained message on 'old' yet" in refusal(sources[0], "retained")
    broker.publish("old", TASMOTA)
    deadline = time.monotonic() + 10
    while True:
        try:
            assert sources[0].read(AT_MS).value == 4_442_400
            break
        except SourceError:
            assert time.monotonic() < deadline


@pytest.mark.parametrize("at", [1_782_040_000, "2026-06-21T13:06:40+02:00"])
def test_a_retained_message_that_says_its_time_counts(broker: Broker, sources: list[MqttSource], at: int | str) -> None:
    topic = f"timed/{type(at).__name__}"
    broker.publish(topic, json.dumps({"total": 2, "at": at}), retain=True)
    sources.append(section(broker.port, topic=topic, value_path="total", time_path="at").open(VALENCIA))
    assert told(broker, sources[0], "{}", topic="other").end_ms == 1_782_040_000_000


@pytest.mark.parametrize(
    ("payload", "changes", "complaint"),
    [
        ('{"ENERGY": {"Total": "12"}}', {}, "value '12' is no number"),
        ('{"ENERGY": {"Total": null}}', {}, "value 'None' is no number"),
        ('{"ENERGY": {"Total": true}}', {}, "value 'True' is no number"),
        ('{"ENERGY": {"Total": NaN}}', {}, "value 'nan' is no number"),
        ('{"ENERGY": {"Total": -1}}', {}, "value -1 kWh is out of range"),
        ('{"ENERGY": {"Total": 1e30}}', {}, "is out of range"),
        ('{"ENERGY": []}', {}, "the payload has no 'ENERGY.Total'"),
        ("offline", {}, "message b'offline' is neither a number nor JSON"),
        (b"\xff\xfe", {}, "is neither a number nor JSON"),
        ("[" * 60_000, {}, "is neither a number nor JSON"),
        ("1e" + "9" * 30, {"value_path": None}, "is neither a number nor JSON"),
        ("9" * 60_000, {"value_path": None}, "is neither a number nor JSON"),
        ("x" * 70_000, {}, "a message of 70000 bytes, 65536 are allowed"),
        (TASMOTA, {"unit": "W"}, "unit 'W' is none of a counter"),
        (TASMOTA, {"time_path": "Time"}, "time '2026-06-21T14:00:00' names no zone"),
        (TASMOTA, {"time_path": "ENERGY"}, "is no time"),
        (TASMOTA, {"value_path": "ENERGY.Factor.2"}, "the payload has no 'ENERGY.Factor.2'"),
    ],
)
def test_refuse_what_is_no_good_message(
    broker: Broker, sources: list[MqttSource], payload: str | bytes, changes: dict[str, Any], complaint: str
) -> None:
    sources.append(section(broker.port, **changes).open(VALENCIA))
    with pytest.raises(SourceError) as raised:
        told(broker, sources[0], payload)
    assert complaint in raised.value.cause


def test_the_broker_is_told_the_largest_message(sources: list[MqttSource]) -> None:
    with running() as broker:
        sources.append(section(broker.port).open(VALENCIA))
        told(broker, sources[0], TASMOTA)
        broker.publish(TOPIC, "x" * 1_000_000)
        told(broker, sources[0], "{}", topic="other")
        broker.publish(TOPIC, TASMOTA)
        assert sources[0].read(AT_MS).value == 4_442_400


def test_after_a_restart_of_the_broker_it_is_heard_again_and_what_was_retained_stays_old(
    sources: list[MqttSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    with running("allow_anonymous true", "persistence true") as broker:
        sources.append(section(broker.port, value_path=None).open(VALENCIA))
        told(broker, sources[0], "1")
        broker.publish(TOPIC, "2", retain=True)  # whoever has subscribed already hears it as any other
        broker.stop()
        now_s = time.monotonic()
        broker.start()
        broker.wait_for("r1, m0, 'tele/plug/SENSOR'")
        monkeypatch.setattr(mqtt, "time", SimpleNamespace(monotonic=lambda: now_s + 1_000))
        reading = sources[0].read(AT_MS)
        assert (reading.value, reading.age_ms(AT_MS) >= 1_000_000) == (7_200_000, True)
        broker.publish(TOPIC, "3")
        deadline = time.monotonic() + 10
        while sources[0].read(AT_MS).value != 10_800_000:
            assert time.monotonic() < deadline


def test_a_password_opens_a_broker_that_wants_one(
    sources: list[MqttSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "node", PASSWORD], check=True, capture_output=True)
    passwords.chmod(0o644)
    with running("allow_anonymous false", f"password_file {passwords}") as broker:
        write_private(tmp_path / "key", PASSWORD)
        sources.append(section(broker.port, user="node", key_file=str(tmp_path / "key")).open(VALENCIA))
        assert "nothing on" in refusal(sources[0], "yet from the MQTT broker")
        broker.wait_for("SUBACK")
        monkeypatch.setenv("MQTT_PASSWORD", "wrong")
        sources.append(section(broker.port, user="node", key_variable="MQTT_PASSWORD").open(VALENCIA))
        assert "it refuses us: Not authorized" in refusal(sources[1], "refuses")
        sources.append(section(broker.port).open(VALENCIA))
        assert "it refuses us: Not authorized" in refusal(sources[2], "refuses")
        with pytest.raises(LocalError, match="NOWHERE holds no key"):
            section(broker.port, user="node", key_variable="NOWHERE").open(VALENCIA)


def test_tls_is_checked_against_the_ca(sources: list[MqttSource], tmp_path: Path) -> None:
    ours, other = (make_authority(tmp_path / name, "127.0.0.1") for name in ("ours", "other"))
    with running("allow_anonymous true", f"certfile {ours.certificate}", f"keyfile {ours.key}") as broker:
        sources.append(section(broker.port, tls=True, ca_file=str(ours.ca)).open(VALENCIA))
        broker.wait_for("SUBACK")
        for trusted in (str(other.ca), None):
            sources.append(section(broker.port, tls=True, ca_file=trusted).open(VALENCIA))
            assert "it cannot be reached" in refusal(sources[-1], "reached")
        with pytest.raises(LocalError, match="holds no certificate"):
            section(broker.port, tls=True, ca_file=str(tmp_path / "nothing")).open(VALENCIA)


def test_nobody_there(sources: list[MqttSource]) -> None:
    with running() as gone:
        pass
    sources.append(section(gone.port).open(VALENCIA))
    assert "nothing on 'tele/plug/SENSOR' yet" in refusal(sources[0], "it cannot be reached")


def test_without_the_library_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(LocalError, match=r"heliotrope\[mqtt\]"):
        section(1).open(VALENCIA)


@pytest.mark.parametrize(
    "changes",
    [
        {"topic": "tele/+/SENSOR"},
        {"topic": "#"},
        {"user": "node"},
        {"key_variable": "MQTT_PASSWORD"},
        {"user": "node", "key_variable": "MQTT_PASSWORD", "key_file": "key"},
        {"ca_file": "ca.pem"},
        {"value_path": "ENERGY..Total"},
        {"value_path": ""},
        {"host": "user@host"},
    ],
)
def test_refuse_section(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        section(1883, **changes)
