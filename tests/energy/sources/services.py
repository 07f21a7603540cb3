"""What each web service answers when all is well, in the shape of its documents, around midsummer noon."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from node.energy.source import Kind, Source, SourceError
from node.energy.sources.registry import AnySource
from protocol.messages import Place
from tests.energy.standin import Answer, Asked, StandIn

NOON = datetime(2026, 6, 21, 12, tzinfo=UTC)
NOON_MS = 1_782_043_200_000
KEY = "k3y-that-nobody-may-see"
TOKEN = "t0ken-of-half-an-hour"

VALENCIA = Place(zone="ES", latitude_decidegrees=395, longitude_decidegrees=-4)
READING = Place(zone="GB", latitude_decidegrees=515, longitude_decidegrees=-10)
BERLIN = Place(zone="DE", latitude_decidegrees=525, longitude_decidegrees=134)
OAKLAND = Place(zone="US-CAL-CISO", latitude_decidegrees=378, longitude_decidegrees=-1223)


def iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def zulu(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%MZ}"


def hour(at: datetime = NOON, **changes: Any) -> dict[str, Any]:
    """Of Electricity Maps' carbon intensity."""
    return {
        "zone": "ES",
        "carbonIntensity": 112,
        "datetime": iso(at),
        "updatedAt": iso(at),
        "createdAt": iso(at),
        "emissionFactorType": "lifecycle",
        "isEstimated": False,
        "estimationMethod": None,
        "temporalGranularity": "hourly",
    } | changes


def share(at: datetime = NOON, **changes: Any) -> dict[str, Any]:
    """Of Electricity Maps' power breakdown."""
    return {
        "zone": "ES",
        "datetime": iso(at),
        "powerConsumptionBreakdown": {"nuclear": 7000, "wind": 9000, "gas": None, "battery discharge": 0},
        "powerImportBreakdown": {"FR": 900},
        "fossilFreePercentage": 83,
        "renewablePercentage": 61,
        "powerConsumptionTotal": 31_000,
        "isEstimated": False,
        "estimationMethod": None,
    } | changes


def electricity_maps(asked: Asked) -> Answer:
    endpoint, what = asked.path.rsplit("/", 1)
    one = share if endpoint == "/power-breakdown" else hour
    if what == "forecast":
        coming = [{"carbonIntensity": 100 + i, "datetime": iso(NOON + timedelta(hours=i))} for i in range(24)]
        return Answer({"zone": "ES", "forecast": coming, "updatedAt": iso(NOON)})
    if what == "history":
        return Answer({"zone": "ES", "history": [one(NOON - timedelta(hours=i)) for i in range(23, -1, -1)]})
    return Answer(one())


def half_hour(at: datetime = NOON, actual: float | None = 263, **changes: Any) -> dict[str, Any]:
    """Of UK Carbon Intensity."""
    return {
        "from": zulu(at),
        "to": zulu(at + timedelta(minutes=30)),
        "intensity": {"forecast": 266, "actual": actual, "index": "moderate"},
    } | changes


def half_hours(asked: Asked) -> list[dict[str, Any]]:
    if asked.path == "/intensity" or asked.path.startswith(("/regional/postcode", "/regional/regionid")):
        return [half_hour()]
    return [half_hour(NOON + timedelta(minutes=30 * i), 263 if i < 0 else None) for i in range(-48, 96)]


def uk_carbon(asked: Asked) -> Answer:
    if not asked.path.startswith("/regional"):
        return Answer({"data": half_hours(asked)})
    halves = half_hours(asked)
    for half in halves:
        del half["intensity"]["actual"]
        half["generationmix"] = [{"fuel": "gas", "perc": 43.6}, {"fuel": "wind", "perc": 56.4}]
    region = {
        "regionid": 12,
        "dnoregion": "SSE South",
        "shortname": "South England",
        "postcode": "RG10",
        "data": halves,
    }
    return Answer({"data": [region]})


def quarters(known: int = 24, expected: int = 96, since: datetime = NOON - timedelta(hours=7)) -> dict[str, Any]:
    """Of Energy-Charts' co2eq: figures that are known, then expected ones."""
    first = int(since.timestamp())
    return {
        "unix_seconds": [first + 900 * i for i in range(known + expected)],
        "co2eq": [400.0 + i for i in range(known)] + [None] * expected,
        "co2eq_forecast": [None] * known + [300.0 + i for i in range(expected)],
        "deprecated": False,
    }


def generation(*rows: tuple[str, list[float | None]], since: datetime = NOON - timedelta(hours=1)) -> dict[str, Any]:
    """Of Energy-Charts' public power."""
    rows = rows or (
        ("Hydro pumped storage consumption", [-900.0, -900.0, None]),
        ("Cross border electricity trading", [5000.0, 5000.0, None]),
        ("Biomass", [4000.0, 4000.0, None]),
        ("Fossil gas", [6000.0, 5000.0, None]),
        ("Hydro pumped storage", [800.0, 800.0, None]),
        ("Fossil peat", [None, None, None]),
        ("Solar", [30_000.0, 31_000.0, 32_000.0]),
        ("Load", [60_000.0, 60_000.0, None]),
        ("Renewable share of generation", [85.0, 87.5, None]),
    )
    first = int(since.timestamp())
    return {
        "unix_seconds": [first + 900 * i for i in range(len(rows[0][1]))],
        "production_types": [{"name": name, "data": data} for name, data in rows],
        "deprecated": False,
    }


def energy_charts(asked: Asked) -> Answer:
    return Answer(generation() if asked.path == "/public_power" else quarters())


def moer(points: int = 3, since: datetime = NOON, meta: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Of WattTime."""
    return {
        "data": [
            {"point_time": (since + timedelta(minutes=5 * i)).isoformat(), "value": 900.5 + i} for i in range(points)
        ],
        "meta": {
            "data_point_period_seconds": 300,
            "region": "CAISO_NORTH",
            "signal_type": "co2_moer",
            "units": "lbs_co2_per_mwh",
            "model": {"date": "2026-03-01"},
            "generated_at": since.isoformat(),
            "warnings": [],
            **(meta or {}),
        },
    }


def watt_time(asked: Asked) -> Answer:
    if asked.path == "/login":
        return Answer({"token": TOKEN})
    if asked.headers.get("authorization") != f"Bearer {TOKEN}":
        return Answer({"error": "Unauthorized"}, 401)
    if asked.path == "/v3/region-from-loc":
        return Answer({"region": "CAISO_NORTH", "region_full_name": "California North", "signal_type": "co2_moer"})
    return Answer(moer(12 * 24 if asked.params.get("horizon_hours") == "72" else 1))


def vector(*values: str, at: float = NOON_MS / 1000) -> dict[str, Any]:
    """Of Prometheus."""
    rows = [{"metric": {"instance": f"meter{i}"}, "value": [at, value]} for i, value in enumerate(values)]
    return {"status": "success", "data": {"resultType": "vector", "result": rows}}


def prometheus(asked: Asked) -> Answer:
    sampled = asked.params["query"].startswith("timestamp(")
    return Answer(vector("1782043185.25" if sampled else "1520.4"))


@dataclass(frozen=True, slots=True)
class Case:
    """One source, and a service that answers it well."""

    section: Mapping[str, Any]
    place: Place
    answer: Callable[[Asked], Answer]
    kind: Kind
    value: int
    wants_key: bool = True


CASES = {
    "electricitymaps": Case({"source": "electricitymaps"}, VALENCIA, electricity_maps, Kind.AVG_LIFECYCLE, 112),
    "electricitymaps share": Case(
        {"source": "electricitymaps", "kind": "carbon_free"}, VALENCIA, electricity_maps, Kind.CARBON_FREE, 830
    ),
    "ukcarbon": Case({"source": "ukcarbon"}, READING, uk_carbon, Kind.AVG_DIRECT, 263, wants_key=False),
    "ukcarbon region": Case(
        {"source": "ukcarbon", "regionid": 12}, READING, uk_carbon, Kind.AVG_DIRECT, 266, wants_key=False
    ),
    "energycharts": Case({"source": "energycharts"}, BERLIN, energy_charts, Kind.AVG_LIFECYCLE, 423, wants_key=False),
    "energycharts share": Case(
        {"source": "energycharts", "kind": "carbon_free"}, BERLIN, energy_charts, Kind.CARBON_FREE, 875, wants_key=False
    ),
    "watttime": Case({"source": "watttime", "username": "sun"}, OAKLAND, watt_time, Kind.MARGINAL, 408),
    "prometheus": Case(
        {"source": "prometheus", "query": "site_power_watts", "unit": "W"}, VALENCIA, prometheus, Kind.POWER, 1520
    ),
}


def opened(service: StandIn, given: Mapping[str, Any], place: Place) -> Source:
    """As `config.toml` gives it: by the registry, from JSON."""
    adapter: TypeAdapter[AnySource] = TypeAdapter(AnySource)
    return adapter.validate_json(json.dumps({"base_url": service.base_url, **given})).open(place)


def failure(service: StandIn, source: Source, answer: Any, status: int = 200, **headers: str) -> SourceError:
    """What the source says of such an answer."""
    service.answer = lambda _: answer if isinstance(answer, Answer) else Answer(answer, status, headers)
    with pytest.raises(SourceError) as raised:
        source.read(NOON_MS)
    return raised.value
