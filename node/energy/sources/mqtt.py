"""MQTT: the newest message on one topic, as Tasmota, Shelly, zigbee2mqtt and many others publish it.

The payload is a number, or JSON in which `value_path` names one: Tasmota says {"ENERGY": {"Total": 1.234}} on
tele/NAME/SENSOR (kWh), a Shelly of the second generation {"aenergy": {"total": 1234.5}} on NAME/status/switch:0 (Wh).
Neither says its unit: the section does.

paho keeps the connection on a thread of its own, connects again by itself, and this file remembers the newest message
with the moment of its arrival. A broker also hands out what it has retained for a topic, once at each subscription,
however old that is: a plug that died last winter would look alive after every start. So a retained message counts only
if it says its own time (`time_path`); otherwise the next live one is waited for. MQTT 5 is spoken, since only there can
a client tell the broker the largest message that it takes.
"""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import Field, model_validator

from node.energy.extras import missing
from node.energy.keys import read_key
from node.energy.source import Kind, OptionalKeySection, Reading, SourceError
from node.energy.units import converted
from protocol.errors import LocalError
from protocol.messages import Place

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

PAYLOAD_BYTES_MAX = 65_536
PACKET_BYTES_MAX = PAYLOAD_BYTES_MAX + 70_000  # with topic and properties
KEEPALIVE_S = 60
RECONNECT_MAX_S = 60
FIRST_MESSAGE_S = 5.0  # a first reading waits so long; devices publish every few seconds to minutes
UNCERTAINTY_PERMILLE = 20  # accuracy class 2; guess: plugs promise 1 to 3 %

JsonPath = Annotated[str, Field(pattern=r"^[^.\s]+(\.[^.\s]+)*$", max_length=256)]


class Mqtt(OptionalKeySection):
    """`topic`: one, without wildcards. A path names fields from the outside in, as in "ENERGY.Total"; a number in it
    counts in a list from 0. With `user` the password is the section's key."""

    source: Literal["mqtt"]
    host: Annotated[str, Field(pattern=r"^[0-9A-Za-z.:-]{1,253}$")]
    port: Annotated[int, Field(ge=1, le=65_535)] = 1883  # with TLS usually 8883
    tls: bool = False
    ca_file: Annotated[str, Field(min_length=1)] | None = None  # None: the system's
    user: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    topic: Annotated[str, Field(pattern=r"^[^#+\x00]+$", max_length=1024)]
    value_path: JsonPath | None = None  # None: the payload is the number
    time_path: JsonPath | None = None  # Unix seconds, or ISO 8601 with its offset; None: when it arrived
    unit: Annotated[str, Field(min_length=1, max_length=32)]
    kind: Kind = Kind.COUNTER

    @model_validator(mode="after")
    def _belongs_together(self) -> Mqtt:
        if self.has_key != (self.user is not None):
            raise ValueError("user needs its password in key_file or key_variable, and a password needs its user")
        if self.ca_file is not None and not self.tls:
            raise ValueError("ca_file without tls = true: nothing would be checked against it")
        return self

    def open(self, place: Place) -> MqttSource:
        return MqttSource(self)


class _Message(NamedTuple):
    payload: bytes
    is_retained: bool
    arrived_s: float  # monotonic


class MqttSource:
    """One topic. Opening connects in the background."""

    def __init__(self, section: Mqtt) -> None:
        """Raises LocalError if paho-mqtt, a password or the CA's certificate is missing."""
        try:
            from paho.mqtt.client import Client, MQTTv5
            from paho.mqtt.enums import CallbackAPIVersion
            from paho.mqtt.packettypes import PacketTypes
            from paho.mqtt.properties import Properties
        except ImportError as error:
            raise missing("mqtt", error) from None
        self.kind = section.kind
        self._section = section
        self._name = f"the MQTT broker at {section.host}:{section.port}"
        self._news = threading.Condition()
        self._newest: _Message | None = None
        self._fault = "no connection yet"  # "" while subscribed
        self._client = client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        if section.user is not None:
            client.username_pw_set(section.user, read_key(section))
        if section.tls:
            try:
                client.tls_set(section.ca_file)
            except OSError as error:
                raise LocalError(
                    "HEL-ENERGY-021",
                    f"{section.ca_file} holds no certificate: {error.strerror or type(error).__name__}",
                    "Write the broker's CA certificate there, as PEM.",
                ) from None
        client.on_connect = self._on_connect
        client.on_connect_fail = lambda *_: self._note("it cannot be reached")
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.reconnect_delay_set(1, RECONNECT_MAX_S)
        limits = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        limits.MaximumPacketSize = PACKET_BYTES_MAX
        client.connect_async(section.host, section.port, KEEPALIVE_S, clean_start=True, properties=limits)
        client.loop_start()

    def read(self, now_ms: int) -> Reading:
        section = self._section
        with self._news:
            self._news.wait_for(self._has_good_message, FIRST_MESSAGE_S)
            is_good, message, fault = self._has_good_message(), self._newest, self._fault
        if message is None:
            raise SourceError(
                f"nothing on {section.topic[:80]!r} yet from {self._name}" + (f": {fault}" if fault else ""),
                "Devices may publish minutes apart. See whether this one does, and host, port, user and TLS are right.",
            )
        if not is_good:
            raise SourceError(
                f"only a retained message on {section.topic[:80]!r} yet, of unknown age",
                "Wait for the device's next message; or set time_path, if its messages say their time.",
            )
        told = self._told(message.payload)
        at_ms = now_ms - round((time.monotonic() - message.arrived_s) * 1000)
        if section.time_path is not None:
            at_ms = _time_ms(_at_path(told, section.time_path))
        value = told if section.value_path is None else _at_path(told, section.value_path)
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise SourceError(f"value {str(value)[:40]!r} is no number", "Set value_path to a number of the payload.")
        return Reading(
            kind=self.kind,
            value=converted(value, section.unit, self.kind),
            start_ms=at_ms,
            end_ms=at_ms,
            method="metered",
            uncertainty_permille=section.uncertainty_or(UNCERTAINTY_PERMILLE),
            provenance=f"MQTT {section.topic[:80]} {section.value_path or ''}".rstrip(),
        )

    def close(self) -> None:
        """End the connection and its thread."""
        self._client.disconnect()
        self._client.loop_stop()

    def _has_good_message(self) -> bool:
        newest = self._newest
        return newest is not None and (not newest.is_retained or self._section.time_path is not None)

    @staticmethod
    def _told(payload: bytes) -> Any:
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise SourceError(f"a message of {len(payload)} bytes, {PAYLOAD_BYTES_MAX} are allowed", "Check topic.")
        try:
            return json.loads(payload, parse_float=Decimal)
        except (ArithmeticError, RecursionError, ValueError):  # also: no UTF-8, digits or exponents without end
            raise SourceError(f"message {payload[:40]!r} is neither a number nor JSON", "Check topic.") from None

    # --- on paho's thread -------------------------------------------------------------------------------------------

    def _note(self, fault: str) -> None:
        with self._news:
            self._fault = fault

    def _on_connect(
        self, client: Client, _: Any, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._note(f"it refuses us: {reason}")
        else:
            client.subscribe(self._section.topic)

    def _on_subscribe(
        self, _client: Client, _: Any, _mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        failed = [str(reason) for reason in reasons if reason.is_failure]
        self._note(f"it refuses the topic: {failed[0]}" if failed else "")

    def _on_disconnect(
        self, _client: Client, _: Any, _flags: DisconnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure and not self._fault:
            self._note(f"the connection ended: {reason}")

    def _on_message(self, _client: Client, _: Any, message: MQTTMessage) -> None:
        """A retained message never takes the place of a live one: after a reconnection it would make it young again."""
        with self._news:
            if self._newest is None or self._newest.is_retained or not message.retain:
                self._newest = _Message(bytes(message.payload), message.retain, time.monotonic())
                self._news.notify_all()


def _at_path(told: Any, path: str) -> Any:
    """What stands in the payload there. Raises SourceError if there is no such place."""
    for name in path.split("."):
        if isinstance(told, dict) and name in told:
            told = told[name]
        elif isinstance(told, list) and name.isdecimal() and len(name) < 6 and int(name) < len(told):
            told = told[int(name)]
        else:
            raise SourceError(f"the payload has no {path[:80]!r}", "Set value_path and time_path to what is there.")
    return told


def _time_ms(told: Any) -> int:
    if isinstance(told, int | Decimal) and not isinstance(told, bool) and 0 <= told < 2**40:
        return round(told * 1000)
    try:
        at = datetime.fromisoformat(told if isinstance(told, str) else "")
    except ValueError:
        raise SourceError(f"time {str(told)[:40]!r} is no time", "Set time_path to Unix seconds or ISO 8601.") from None
    if at.tzinfo is None:  # Tasmota's is the local time of the device
        raise SourceError(f"time {str(told)[:40]!r} names no zone", "Leave time_path out: its arrival counts then.")
    return round(at.timestamp() * 1000)
