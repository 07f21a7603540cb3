"""SunSpec over Modbus TCP: the counter or the power of an inverter, the counters of a meter.

A device has a map of models behind the mark "SunS" at register 40000, 0 or 50000. Model 1 names maker, product and
serial number for the models that follow it. Inverters are models 101 to 103 (integers, with a power of ten beside each,
in a point of its own) and 111 to 113 (floats), meters 201 to 204 and 211 to 214. What a device does not implement it
fills with a set value, which pysunspec2 reads as None: 0 for a counter, so that a new one and none look alike.

Traps. pysunspec2 keeps the last value of a point when an answer is too short, and leaves a value unscaled when its
scale is missing: both are refused here. It does not compare transaction numbers: after any fault the connection is
dropped, or the answer to one question would be taken for the next one's. Inverters close idle connections: that is no
fault. The sign of a meter's power differs by maker, so of meters only the counters are read.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple

from pydantic import Field, model_validator

from node.energy.extras import missing
from node.energy.source import Kind, Reading, SourceError, SourceSection
from node.energy.units import converted
from protocol.messages import Place

if TYPE_CHECKING:
    from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP, SunSpecModbusClientModel

TIMEOUT_S = 3.0  # for each part of an answer; a scan asks some twenty questions of 3 ms
DEADLINE_S = 15.0  # for all of them together, or a device that drips would hold the node
MODELS_MAX = 64  # of a device; a map without end is not followed
INVERTERS = frozenset({101, 102, 103, 111, 112, 113})
METERS = frozenset({201, 202, 203, 204, 211, 212, 213, 214})

Measure = Literal["inverter", "import", "export"]

POINTS: Final[dict[tuple[Measure, Kind], tuple[str, str]]] = {  # name and unit
    ("inverter", Kind.COUNTER): ("WH", "Wh"),
    ("inverter", Kind.POWER): ("W", "W"),
    ("import", Kind.COUNTER): ("TotWhImp", "Wh"),
    ("export", Kind.COUNTER): ("TotWhExp", "Wh"),
}
# Guesses, not measured: inverters promise about 5 %, class 2 meters 2 %.
UNCERTAINTY_PERMILLE: Final[dict[Measure, int]] = {"inverter": 50, "import": 20, "export": 20}

# St of an inverter, by number from 1 on.
STATES = ("off", "sleeping", "starting", "feeding", "throttled", "shutting down", "fault", "standby")
ASLEEP = frozenset({"off", "sleeping", "standby"})  # then many say no power at all


class SunSpec(SourceSection):
    """`measures`: what an inverter made, or what a meter saw go from the grid to the site ("import") or back. `serial`:
    the device's; another one's figures are refused, and of several devices behind one unit it says which."""

    source: Literal["sunspec"]
    host: Annotated[str, Field(pattern=r"^[0-9A-Za-z.-]{1,253}$")]
    port: Annotated[int, Field(ge=1, le=65_535)] = 502
    unit_id: Annotated[int, Field(ge=0, le=247)] = 1
    measures: Measure = "inverter"
    kind: Literal[Kind.COUNTER, Kind.POWER] = Kind.COUNTER
    serial: Annotated[str, Field(min_length=1, max_length=32)] | None = None

    @model_validator(mode="after")
    def _can_be_read(self) -> SunSpec:
        if (self.measures, self.kind) not in POINTS:
            raise ValueError("of a meter only the counter is read: makers differ in the sign of its power")
        return self

    def open(self, place: Place) -> SunSpecSource:
        return SunSpecSource(self)


class _Found(NamedTuple):
    """One inverter or meter of a device that is connected."""

    device: SunSpecModbusClientDeviceTCP
    model: SunSpecModbusClientModel
    serial: str
    name: str


class SunSpecSource:
    """One inverter or meter. The first reading connects; the connection is kept."""

    def __init__(self, section: SunSpec) -> None:
        """Raises LocalError if pysunspec2 is missing."""
        try:
            from sunspec2 import device, mdef
            from sunspec2.modbus import client, modbus
        except ImportError as error:
            raise missing("sunspec", error) from None
        self.kind: Kind = section.kind
        self._section = section
        self._name = f"the SunSpec device at {section.host}:{section.port}"
        self._found: _Found | None = None
        self._counter_j = 0  # the highest so far
        self._faults = (
            *(modbus.ModbusClientError, client.SunSpecModbusClientError, device.ModelError, mdef.ModelDefinitionError),
            *(AttributeError, IndexError, KeyError, OSError, TypeError, ValueError, struct.error),  # on answers cut off
        )
        if device.get_model_defs_path() != [device.models_dir]:  # or a file in the working directory could redefine one
            device.set_model_defs_path([device.models_dir])

    def read(self, now_ms: int) -> Reading:
        section = self._section
        found, value = self._value()
        if self.kind is Kind.COUNTER and value < self._counter_j:
            raise SourceError(
                f"the counter of {found.name} went back from {self._counter_j} to {value} J",
                "If the device was replaced or reset, set another device_id, and start the node again.",
            )
        if self.kind is Kind.COUNTER:
            self._counter_j = value
        return Reading(
            kind=self.kind,
            value=value,
            start_ms=now_ms,
            end_ms=now_ms,
            method="metered",
            uncertainty_permille=section.uncertainty_or(UNCERTAINTY_PERMILLE[section.measures]),
            provenance=found.name,
        )

    def close(self) -> None:
        """Let the connection go; the next reading opens another."""
        if self._found is not None:
            self._found.device.disconnect()
            self._found = None

    def _value(self) -> tuple[_Found, int]:
        """Ask, on a new connection if the one at hand has ended."""
        for found in (self._found, None):
            try:
                self._found = found or self._open()
                return self._found, self._ask(self._found)
            except self._faults as error:
                self.close()
                if found is None:
                    what = str(error) or type(error).__name__
                    raise SourceError(
                        f"{self._name} does not answer as it should: {what.splitlines()[0][:160]}",
                        "See whether it is on, host, port and unit_id are right, and nobody else is connected to it.",
                    ) from None
        raise AssertionError("the second turn returns or raises")

    def _open(self) -> _Found:
        """Connect and find the inverter or meter that the section speaks of. Raises SourceError if it is not there."""
        from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

        section = self._section
        device = SunSpecModbusClientDeviceTCP(section.unit_id, section.host, section.port, timeout=TIMEOUT_S)
        models_left = iter(range(MODELS_MAX))
        try:
            device.connect()
            with _deadline(device):
                device.scan(lambda _: next(models_left, None) is not None, connect=False, full_model_read=False)
                found = self._chosen(device)
        except (SourceError, *self._faults):
            device.disconnect()
            raise
        return found

    def _chosen(self, device: SunSpecModbusClientDeviceTCP) -> _Found:
        section = self._section
        wanted = INVERTERS if section.measures == "inverter" else METERS
        what = "inverter" if section.measures == "inverter" else "meter"
        found = []
        maker = serial = ""
        for model in sorted(device.model_list, key=lambda model: model.model_addr):
            if model.model_id == 1:
                model.read()
                maker, serial = (_printable(model.points[name].value) for name in ("Mn", "SN"))
            elif model.model_id in wanted:
                name = f"SunSpec {model.model_id} {maker} {serial}".rstrip()
                found.append(_Found(device, model, serial, name))
        there = ", ".join(each.name for each in found)[:200] or f"no {what}"
        if section.serial is not None:
            found = [each for each in found if each.serial == section.serial]
        if len(found) != 1:
            wish = f"one {what}" if section.serial is None else f"a {what} with serial number {section.serial!r}"
            raise SourceError(f"{self._name} is not {wish}: it has {there}", "Set unit_id, measures and serial.")
        return found[0]

    def _ask(self, found: _Found) -> int:
        """The figure now. Raises SourceError where the device has none."""
        model = found.model
        point_name, unit = POINTS[self._section.measures, self.kind]
        for point in model.points.values():
            point.set_value(None)  # or the last value would stay where an answer is too short
        with _deadline(found.device):
            model.read()
        if model.points["ID"].value != model.model_id:  # its map has moved: look again
            raise ValueError(f"model {model.model_id} is no longer at register {model.model_addr}")
        point = model.points[point_name]
        state = model.points["St"].value if self._section.measures == "inverter" else None
        state_name = STATES[state - 1] if isinstance(state, int) and 1 <= state <= len(STATES) else "unknown"
        value = point.value
        if self.kind is Kind.POWER:
            if state_name == "fault":
                raise SourceError(f"{self._name} reports a fault (St {state})", "Look at the inverter's own display.")
            if value is None and state_name in ASLEEP:
                return 0
            value = value and max(value, 0)  # below zero it draws for itself
        if value is None:
            raise SourceError(
                f"{self._name} has no {point_name}: not implemented, or nothing counted yet",
                "Read another device; or wait until this one has counted.",
            )
        exponent = model.points[point.sf].value if point.sf else 0
        if exponent is None:
            raise SourceError(f"{self._name} has no {point.sf}, the scale of {point_name}", "Read another device.")
        return converted(Decimal(str(value)).scaleb(exponent), unit, self.kind)


@contextmanager
def _deadline(device: SunSpecModbusClientDeviceTCP) -> Iterator[None]:
    """Within the block the connection ends after DEADLINE_S: whoever reads from it then finds it closed."""
    connection = device.client.socket

    def end() -> None:
        with suppress(OSError):  # it has ended already
            connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(DEADLINE_S, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _printable(text: str | None) -> str:
    """What a device calls itself, as far as it can be shown."""
    return "".join(character for character in (text or "").strip() if character.isascii() and character.isprintable())
