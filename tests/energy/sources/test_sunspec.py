"""Facts about reading SunSpec devices, against one that pymodbus serves on loopback."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError
from pymodbus.constants import ExcCodes

from node.energy.source import Kind, SourceError
from node.energy.sources import sunspec
from node.energy.sources.sunspec import SunSpec, SunSpecSource
from protocol.errors import LocalError
from protocol.messages import Place
from tests.energy.sunspec_server import (
    BASE,
    NOT_IMPLEMENTED,
    SunSpecServer,
    common,
    float_inverter,
    inverter,
    meter,
    sunspec_server,
)

VALENCIA = Place(zone="ES", latitude_decidegrees=395, longitude_decidegrees=-4)
AT_MS = 1_782_043_200_000
VENDOR = (64_001, 3, 1, 2, 3)


@pytest.fixture
def server() -> Iterator[SunSpecServer]:
    with sunspec_server(common(), inverter()) as running:
        yield running


def opened(server: SunSpecServer, **changes: Any) -> SunSpecSource:
    given: dict[str, Any] = {"source": "sunspec", "host": "127.0.0.1", "port": server.port}
    return SunSpec.model_validate(given | changes).open(VALENCIA)


def value(server: SunSpecServer, *models: Any, **changes: Any) -> int:
    server.lay(*models)
    source = opened(server, **changes)
    try:
        return source.read(AT_MS).value
    finally:
        source.close()


def refusal(server: SunSpecServer, *models: Any, **changes: Any) -> str:
    with pytest.raises(SourceError) as raised:
        value(server, *models, **changes)
    return raised.value.cause


def test_an_inverters_counter_in_watt_hours_becomes_joules(server: SunSpecServer) -> None:
    reading = opened(server).read(AT_MS)
    assert (reading.kind, reading.value, reading.unit) == (Kind.COUNTER, 123_456_789 * 3600, "J")
    assert (reading.start_ms, reading.end_ms, reading.method) == (AT_MS, AT_MS, "metered")
    assert reading.provenance == "SunSpec 103 Heliotrope SN123"


@pytest.mark.parametrize("model", [101, 102, 103])
def test_every_integer_inverter_is_scaled_by_its_power_of_ten(server: SunSpecServer, model: int) -> None:
    assert value(server, common(), inverter(model, wh=5, wh_scale=3)) == 5_000 * 3600
    assert value(server, common(), inverter(model, w=12_345, w_scale=-1), kind=Kind.POWER) == 1234  # half to even


@pytest.mark.parametrize("model", [111, 112, 113])
def test_every_float_inverter_is_read_as_it_says(server: SunSpecServer, model: int) -> None:
    assert value(server, common(), float_inverter(model, wh=1234.5)) == 4_444_200
    assert value(server, common(), float_inverter(model, w=987.75), kind=Kind.POWER) == 988


@pytest.mark.parametrize("model", [201, 202, 203, 204])
def test_a_meter_counts_in_both_directions(server: SunSpecServer, model: int) -> None:
    both = [value(server, common(), meter(model), measures=measures) for measures in ("export", "import")]
    assert both == [20_000 * 3600, 70_000 * 3600]


def test_the_model_is_found_behind_others_that_nobody_knows(server: SunSpecServer) -> None:
    assert value(server, common(), VENDOR, inverter(wh=7)) == 7 * 3600


@pytest.mark.parametrize(
    ("models", "changes", "complaint"),
    [
        ((common(), inverter(wh=0)), {}, "has no WH: not implemented, or nothing counted yet"),
        ((common(), inverter(wh_scale=NOT_IMPLEMENTED)), {}, "has no WH_SF, the scale of WH"),
        ((common(), inverter(w=NOT_IMPLEMENTED)), {"kind": Kind.POWER}, "has no W: not implemented"),
        ((common(), inverter(state=7)), {"kind": Kind.POWER}, "reports a fault (St 7)"),
        ((common(), float_inverter(113, wh=float("nan"))), {}, "has no WH"),
        ((common(), float_inverter(113, wh=float("inf"))), {}, "value Infinity Wh is out of range"),
        ((common(), float_inverter(113, wh=-1.0)), {}, "value -1.0 Wh is out of range"),
        ((common(), inverter(wh=4_000_000_000, wh_scale=10)), {}, "is out of range"),
        ((common(), meter()), {}, "is not one inverter: it has no inverter"),
        ((common(), inverter()), {"measures": "import"}, "is not one meter: it has no meter"),
        ((common("SN9"), inverter()), {"serial": "SN1"}, "serial number 'SN1': it has SunSpec 103 Heliotrope SN9"),
        (
            (common(), inverter(), common("M1"), meter(), common("M2"), meter()),
            {"measures": "import"},
            "is not one meter: it has SunSpec 203 Heliotrope M1, SunSpec 203 Heliotrope M2",
        ),
        ([VENDOR] * 80, {}, "Device scan terminated"),
    ],
)
def test_refuse_what_is_no_good_answer(
    server: SunSpecServer, models: Any, changes: dict[str, Any], complaint: str
) -> None:
    assert complaint in refusal(server, *models, **changes)


def test_a_serial_number_says_which_of_several_meters(server: SunSpecServer) -> None:
    models = (common(), inverter(), common("M1"), meter(imported=1), common("M2"), meter(imported=2))
    assert value(server, *models, measures="import", serial="M2") == 20 * 3600


def test_what_a_device_calls_itself_is_shown_without_control_characters(server: SunSpecServer) -> None:
    server.lay(common(maker="Sun\x1b[31m\nCo"), inverter())
    assert opened(server).read(AT_MS).provenance == "SunSpec 103 Sun[31mCo SN123"


@pytest.mark.parametrize("state", [1, 2, 8])
def test_an_inverter_that_sleeps_and_says_no_power_feeds_nothing(server: SunSpecServer, state: int) -> None:
    assert value(server, common(), inverter(w=NOT_IMPLEMENTED, state=state), kind=Kind.POWER) == 0


def test_what_an_inverter_draws_for_itself_is_no_generation(server: SunSpecServer) -> None:
    assert value(server, common(), inverter(w=-4), kind=Kind.POWER) == 0


def test_a_fault_does_not_hide_the_counter(server: SunSpecServer) -> None:
    assert value(server, common(), inverter(wh=9, state=7)) == 9 * 3600


def test_a_counter_that_goes_back_is_refused_until_it_has_caught_up(server: SunSpecServer) -> None:
    source = opened(server)
    for wh in (100, 250):
        server.lay(common(), inverter(wh=wh))
        source.read(AT_MS)
    server.lay(common(), inverter(wh=249))
    with pytest.raises(SourceError, match="went back from 900000 to 896400 J"):
        source.read(AT_MS)
    server.lay(common(), inverter(wh=250))
    assert source.read(AT_MS).value == 900_000


def test_the_connection_is_kept(server: SunSpecServer) -> None:
    source = opened(server)
    for _ in range(3):
        source.read(AT_MS)
    assert server.connections == 1


def test_a_connection_that_the_device_closed_meanwhile_is_no_fault(server: SunSpecServer) -> None:
    source = opened(server)
    source.read(AT_MS)
    server.drop_connections()
    assert source.read(AT_MS).value
    assert server.connections == 2


def test_a_device_that_failed_is_asked_on_a_new_connection(server: SunSpecServer) -> None:
    source = opened(server)
    source.read(AT_MS)
    server.fault = ExcCodes.DEVICE_BUSY
    with pytest.raises(SourceError, match="does not answer as it should"):
        source.read(AT_MS)
    server.fault = None
    assert source.read(AT_MS).value
    assert server.connections == 3


def test_a_device_whose_map_has_moved_is_scanned_again(server: SunSpecServer) -> None:
    source = opened(server)
    source.read(AT_MS)
    server.lay(common(), VENDOR, inverter(wh=200_000_000))
    assert source.read(AT_MS).value == 200_000_000 * 3600


def test_an_answer_that_is_too_short_leaves_no_old_value_standing(server: SunSpecServer) -> None:
    source = opened(server)
    source.read(AT_MS)
    server.answer_bytes_max = 9 + 2 * 20  # header, then 20 of the model's 52 registers
    with pytest.raises(SourceError):
        source.read(AT_MS)


def test_a_device_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sunspec, "TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = opened(SunSpecServer([], port=silent.getsockname()[1]))
        with pytest.raises(SourceError, match="does not answer as it should"):
            source.read(AT_MS)


def test_a_device_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sunspec, "DEADLINE_S", 0.2)

    def drip() -> None:
        connection, _ = dripping.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(bytes((0, 0, 0, 0, 0xFF, 0xFF, 1, 3, 250)))  # a long answer is to come
            while True:
                connection.sendall(b"\0")
                time.sleep(0.01)

    with socket.create_server(("127.0.0.1", 0)) as dripping:
        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        source = opened(SunSpecServer([], port=dripping.getsockname()[1]))
        with pytest.raises(SourceError, match="does not answer as it should"):
            source.read(AT_MS)
        thread.join(10)
        assert not thread.is_alive()


def test_nobody_there() -> None:
    with sunspec_server() as gone:
        pass
    with pytest.raises(SourceError, match="does not answer as it should: Connection error"):
        opened(gone).read(AT_MS)


def test_refuse_a_device_that_is_not_sunspec(server: SunSpecServer) -> None:
    server.registers = [0] * 10
    with pytest.raises(SourceError, match="Error scanning SunSpec base addresses"):
        opened(server).read(AT_MS)


def test_without_the_library_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sunspec2", None)
    with pytest.raises(LocalError, match=r"heliotrope\[sunspec\]"):
        opened(SunSpecServer([], port=1))


def test_a_file_in_the_working_directory_defines_no_model(
    server: SunSpecServer, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model_103.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert opened(server).read(AT_MS).value


@pytest.mark.parametrize(
    "changes",
    [
        {"measures": "import", "kind": Kind.POWER},
        {"kind": Kind.MARGINAL},
        {"host": "inverter/../x"},
        {"port": 0},
        {"unit_id": 248},
    ],
)
def test_refuse_section(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        opened(SunSpecServer([], port=BASE), **changes)
