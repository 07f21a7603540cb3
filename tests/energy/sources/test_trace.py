"""Facts about traces: every row is judged before the first is believed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from node.energy.metered import open_supply
from node.energy.source import ForecastingSource, Kind, Source, SourceError
from node.energy.sources import trace
from node.energy.sources.trace import Trace
from node.energy.supply import EnergyConfig
from protocol.genesis import Clock
from protocol.messages import Place

VALENCIA = Place(zone="ES", latitude_decidegrees=395, longitude_decidegrees=-4)
HOURS = ("2026-06-21T12:00:00Z,1.5", "2026-06-21T13:00:00Z,2.25", "2026-06-21T14:00:00Z,0")


def ms(written: str) -> int:
    return round(datetime.fromisoformat(written).replace(tzinfo=UTC).timestamp() * 1000)


def written(directory: Path, *rows: str, header: str = "time,kw", **changes: Any) -> Trace:
    path = directory / "pv.csv"
    path.write_text("\n".join((header, *(rows or HOURS))) + "\n")
    given = {"source": "trace", "path": str(path), "kind": "power", "value_column": "kw", "unit": "kW"}
    return Trace.model_validate_json(json.dumps(given | changes))


def opened(directory: Path, *rows: str, **changes: Any) -> Source:
    return written(directory, *rows, **changes).open(VALENCIA)


def refusal(directory: Path, *rows: str, **changes: Any) -> SourceError:
    with pytest.raises(SourceError) as raised:
        opened(directory, *rows, **changes)
    return raised.value


def test_a_row_holds_until_the_next(tmp_path: Path) -> None:
    source = opened(tmp_path)
    reading = source.read(ms("2026-06-21T13:59:59.999"))
    assert (reading.kind, reading.value, reading.unit) == (Kind.POWER, 2250, "W")
    assert (reading.start_ms, reading.end_ms) == (ms("2026-06-21T13:59:59.999"),) * 2
    assert (reading.method, reading.provenance) == ("modelled", "trace pv.csv kw")
    assert source.read(ms("2026-06-21T14:59:59")).value == 0


@pytest.mark.parametrize("at", ["2026-06-21T11:59:59.999", "2026-06-21T15:00"])
def test_there_is_nothing_outside_the_trace(tmp_path: Path, at: str) -> None:
    with pytest.raises(SourceError, match="from 2026-06-21T12:00:00Z to 2026-06-21T15:00:00Z"):
        opened(tmp_path).read(ms(at))


def test_a_trace_foretells_nothing(tmp_path: Path) -> None:
    assert not isinstance(opened(tmp_path), ForecastingSource)


def test_a_counter_speaks_of_its_moment(tmp_path: Path) -> None:
    reading = opened(tmp_path, *HOURS[:2], kind="counter", unit="kWh").read(ms("2026-06-21T12:30"))
    assert (reading.value, reading.start_ms, reading.end_ms) == (5_400_000, *[ms("2026-06-21T12:00")] * 2)


def test_an_intensity_is_of_the_grid(tmp_path: Path) -> None:
    reading = opened(tmp_path, kind="avg_lifecycle", unit="g/kWh").read(ms("2026-06-21T12:00"))
    assert (reading.value, reading.method) == (2, "grid_mix")
    assert (reading.start_ms, reading.end_ms) == (ms("2026-06-21T12:00"), ms("2026-06-21T13:00"))


@pytest.mark.parametrize(
    ("rows", "changes", "complaint"),
    [
        (("2026-06-21T12:00:00,1", HOURS[1]), {}, "line 2 of the trace: time '2026-06-21T12:00:00' names no zone"),
        (("21.6.2026 12:00,1",), {}, "line 2 of the trace: '21.6.2026 12:00' is no time"),
        ((*HOURS, HOURS[-1]), {}, "line 5 of the trace: the time of the row before it again"),
        ((HOURS[1], HOURS[0]), {}, "line 3 of the trace: an earlier time than the row before it"),
        ((*HOURS, "2026-06-21T15:30:00Z,1"), {}, "line 5 of the trace: a gap: 5400000 ms after"),
        ((*HOURS, "2026-06-21T14:30:00Z,1"), {}, "line 5 of the trace: 1800000 ms after the row before it"),
        ((*HOURS, "2026-06-21T14:30:00Z,1"), {"allow_gaps": True}, "line 5 of the trace: 1800000 ms after"),
        ((HOURS[0], "2026-06-21T13:00:00Z,nan"), {}, "line 3 of the trace: value NaN kW is out of range"),
        ((HOURS[0], "2026-06-21T13:00:00Z,inf"), {}, "line 3 of the trace: value Infinity kW is out of range"),
        ((HOURS[0], "2026-06-21T13:00:00Z,1e" + "9" * 30), {}, "line 3 of the trace: value '1e9"),
        ((HOURS[0], "2026-06-21T13:00:00Z,"), {}, "line 3 of the trace: value '' is no number"),
        ((HOURS[0], "2026-06-21T13:00:00Z,-0.003"), {}, "line 3 of the trace: value -0.003 kW is out of range"),
        ((HOURS[0], "2026-06-21T13:00:00Z,1,2"), {}, "line 3 of the trace: 3 fields, the header has 2"),
        ((HOURS[0], '2026-06-21T13:00:00Z,"1'), {}, "line 3 of the trace: no CSV"),
        ((HOURS[0], "2026-06-21T13:00:00Z,1"), {"kind": "counter", "unit": "kWh"}, "line 3 of the trace: the counter"),
        (HOURS, {"unit": "kWh"}, "line 2 of the trace: unit 'kWh' is none of a power"),
        (HOURS, {"value_column": "watts"}, "has no column 'watts'"),
        (HOURS, {"header": "time,kw,kw"}, "has no column 'kw', or has it twice"),
        (HOURS[:1], {}, "has 1 rows, at least 2 are needed"),
        (HOURS, {"path": "/nowhere/pv.csv"}, "cannot be read: No such file"),
    ],
)
def test_refuse_a_trace_by_line(tmp_path: Path, rows: tuple[str, ...], changes: dict[str, Any], complaint: str) -> None:
    assert complaint in refusal(tmp_path, *rows, **changes).cause


def test_an_autumn_hour_that_is_there_twice_is_told_by_its_offset(tmp_path: Path) -> None:
    source = opened(tmp_path, "2026-10-25T02:30:00+02:00,1", "2026-10-25T02:30:00+01:00,2")
    assert [source.read(ms(f"2026-10-25T0{hour}:45")).value for hour in (0, 1)] == [1000, 2000]


def test_local_times_are_taken_as_utc_only_if_the_section_says_so(tmp_path: Path) -> None:
    source = opened(tmp_path, "2026-06-21 12:00:00,1", "2026-06-21 13:00:00,2", time_zone="UTC")
    assert source.read(ms("2026-06-21T12:00")).value == 1000
    with pytest.raises(ValidationError):
        opened(tmp_path, time_zone="Europe/Madrid")


def test_a_gap_that_is_allowed_holds_no_figure(tmp_path: Path) -> None:
    source = opened(tmp_path, *HOURS, "2026-06-21T17:00:00Z,4", allow_gaps=True)
    assert source.read(ms("2026-06-21T17:30")).value == 4000
    with pytest.raises(SourceError, match="no figure for 2026-06-21T16:00:00Z"):
        source.read(ms("2026-06-21T16:00"))


def test_what_an_inverter_draws_at_night_may_count_as_nothing(tmp_path: Path) -> None:
    source = opened(tmp_path, HOURS[0], "2026-06-21T13:00:00Z,-0.003", negative_is_zero=True)
    assert source.read(ms("2026-06-21T13:00")).value == 0


def test_a_repeated_trace_serves_another_year(tmp_path: Path) -> None:
    reading = opened(tmp_path, repeat=True, kind="marginal", unit="g/kWh").read(ms("2031-06-21T13:30"))
    assert (reading.value, reading.start_ms) == (2, ms("2031-06-21T13:00"))
    assert reading.provenance == "trace pv.csv kw, of 2026"


def test_a_repeated_trace_over_new_year_is_looked_up_in_the_year_that_has_the_day(tmp_path: Path) -> None:
    rows = [f"{day}T00:00:00Z,{value}" for value, day in enumerate(("2021-12-30", "2021-12-31", "2022-01-01"))]
    source = opened(tmp_path, *rows, repeat=True)
    assert [source.read(ms(f"{day}T05:00")).value for day in ("2030-12-31", "2030-01-01")] == [1000, 2000]
    with pytest.raises(SourceError, match="no figure for 2030-06-01"):
        source.read(ms("2030-06-01T00:00"))


def test_a_leap_day_repeats_the_day_before(tmp_path: Path) -> None:
    source = opened(tmp_path, "2021-02-28T00:00:00Z,5", "2021-03-01T00:00:00Z,6", repeat=True)
    assert source.read(ms("2024-02-29T12:00")).value == 5000


def test_refuse_files_beyond_their_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "ROWS_MAX", 2)
    assert "line 4 of the trace: one row more than the 2" in refusal(tmp_path).cause
    monkeypatch.setattr(trace, "FILE_BYTES_MAX", 20)
    assert "20 are allowed" in refusal(tmp_path).cause


def test_refuse_what_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"time,kw\n\xff\xfe\n")
    assert "is not UTF-8 text" in refusal(tmp_path, path=str(tmp_path / "x.csv")).cause


@pytest.mark.parametrize(
    "changes", [{"kind": "counter", "repeat": True}, {"kind": "marginal", "negative_is_zero": True}]
)
def test_refuse_section(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        opened(tmp_path, **changes)


def test_a_trace_serves_a_network_whose_clock_is_not_the_worlds(tmp_path: Path) -> None:
    section = written(tmp_path, *HOURS, repeat=True)
    config = EnergyConfig.model_validate(
        {"device_id": "roof", "zone": "ES", "latitude": 39.5, "longitude": -0.4, "carrier": "solar"}
        | {"capacity_w": 3000, "own_g_per_kwh": 41, "generation": section}
    )
    supply = open_supply(config, Clock(unix_ms=0, network_ms=1, speed=60))
    times_ms = [ms(f"2031-06-21T13:{minute}") for minute in ("00", "10", "20")]
    readings = [supply.read(at_ms - 1, at_ms) for at_ms in times_ms]
    assert [reading and reading.energy_j for reading in readings] == [None, 2250 * 600, 2250 * 600]
