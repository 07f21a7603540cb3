"""Electricity Maps v3: what the grid of a zone emits, and how much of its supply is free of fossil fuel.

`GET /carbon-intensity/latest?zone=ES` with the key in the header `auth-token` answers {"zone": "ES",
"carbonIntensity": 112, "datetime": "2026-06-21T11:00:00.000Z", "emissionFactorType": "lifecycle", "isEstimated": true,
"estimationMethod": "TIME_SLICER_AVERAGE", "temporalGranularity": "hourly"}, in g CO2e per kWh consumed, for the hour
that begins at `datetime`; `/history` lists the last 24 hours, `/forecast` the coming 24 to 72, which is not in the free
plan (403). `/power-breakdown/latest` and `/history` carry `fossilFreePercentage`, of consumption, nuclear power and
biomass included. https://portal.electricitymaps.com/developer-hub/api/reference

Traps: without a zone that it knows, the service answers for where the caller's address seems to be, so the zone is
always sent, the look-up of the caller switched off, and what comes back compared. The latest hours are estimates until
the operators report (`isEstimated`); such figures say so and are less certain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from node.energy.keys import read_key
from node.energy.series import coming, unix_ms, within
from node.energy.source import GRID_REFRESH_S, BaseUrl, KeySection, Kind, Reading, RefreshSeconds, SourceError
from node.energy.units import converted
from node.energy.web import WebService
from protocol.messages import Place
from protocol.units import MS_PER_HOUR

# Guesses: the service states no error of its figures.
MEASURED_PERMILLE = 100
ESTIMATED_PERMILLE = 250
FORECAST_PERMILLE = 250

METHOD_NAME = re.compile(r"[A-Z0-9_]{1,48}")  # a service's words may stand in the ledger: nothing but a name passes


class _Quantity(NamedTuple):
    endpoint: str
    unit: str
    name: str
    factors: str | None  # parameter emissionFactorType


QUANTITIES: Final[dict[Kind, _Quantity]] = {
    Kind.AVG_LIFECYCLE: _Quantity("/carbon-intensity", "gCO2eq/kWh", "life-cycle intensity", "lifecycle"),
    Kind.AVG_DIRECT: _Quantity("/carbon-intensity", "gCO2eq/kWh", "direct intensity", "direct"),
    Kind.CARBON_FREE: _Quantity("/power-breakdown", "%", "fossil-free share", None),
}


class ElectricityMaps(KeySection):
    """`kind`: avg_lifecycle or avg_direct for the intensity, carbon_free for the share, which has no forecast."""

    source: Literal["electricitymaps"]
    base_url: BaseUrl = "https://api.electricitymaps.com/v3"
    refresh_s: RefreshSeconds = GRID_REFRESH_S
    kind: Literal[Kind.AVG_LIFECYCLE, Kind.AVG_DIRECT, Kind.CARBON_FREE] = Kind.AVG_LIFECYCLE

    def open(self, place: Place) -> ElectricityMapsSource:
        opened = ElectricityMapsSource if self.kind is Kind.CARBON_FREE else ForecastingElectricityMapsSource
        return opened(self, place)


class _Answer(BaseModel):
    model_config = ConfigDict(strict=True, alias_generator=to_camel)

    zone: str | None = None  # what is listed may leave these to the list
    emission_factor_type: str | None = None
    temporal_granularity: str | None = None


class _Hour(_Answer):
    datetime: AwareDatetime
    carbon_intensity: float | None = None
    fossil_free_percentage: float | None = None
    is_estimated: bool | None = None
    estimation_method: str | None = None


class _Latest(_Hour):
    zone: str


class _History(_Answer):
    zone: str
    history: list[_Hour]


class _Forecast(_Answer):
    zone: str
    forecast: list[_Hour]


class ElectricityMapsSource:
    """One quantity of one zone."""

    def __init__(self, section: ElectricityMaps, place: Place) -> None:
        self.kind: Kind = section.kind
        self._section = section
        self._quantity = QUANTITIES[section.kind]
        self._asked = {"zone": place.zone, "temporalGranularity": "hourly"}
        if self._quantity.factors is not None:
            self._asked["emissionFactorType"] = self._quantity.factors
        self._web = WebService("Electricity Maps", section.base_url, {"auth-token": read_key(section)})

    def read(self, now_ms: int) -> Reading:
        latest = self._get(_Latest, "/latest")
        reading = self._reading(latest)
        if reading is None:
            raise SourceError(f"{self._name} is null now", "It is asked again by itself, later.")
        return reading

    def history(self, start_ms: int, end_ms: int) -> tuple[Reading, ...]:
        """Of the last 24 hours: what every plan gives."""
        return within(self._readings(self._get(_History, "/history").history), start_ms, end_ms)

    @property
    def _name(self) -> str:
        return f"Electricity Maps {self._asked['zone']} {self._quantity.name}"

    def _get(self, model: type[AnyAnswer], what: str) -> AnyAnswer:
        params = self._asked | {"shouldUseFallbackCallerLookup": "false"}
        answer = self._web.get(model, self._quantity.endpoint + what, params)
        self._check_asked(answer)
        return answer

    def _check_asked(self, answer: _Answer) -> None:
        """Refuses what is about another zone, other factors or another length of time."""
        got = {
            "zone": answer.zone,
            "emissionFactorType": answer.emission_factor_type,
            "temporalGranularity": answer.temporal_granularity,
        }
        for field, asked in self._asked.items():
            if got[field] not in (None, asked):
                raise SourceError(
                    f"asked Electricity Maps for {field} {asked}, got {str(got[field])[:32]!r}",
                    "See whether it knows the zone, and what the key's plan allows.",
                )

    def _readings(self, hours: list[_Hour], *, forecast: bool = False) -> Iterator[Reading]:
        for hour in hours:
            self._check_asked(hour)
            reading = self._reading(hour, forecast=forecast)
            if reading is not None:
                yield reading

    def _reading(self, hour: _Hour, *, forecast: bool = False) -> Reading | None:
        """None for an hour that has no figure."""
        value = hour.fossil_free_percentage if self.kind is Kind.CARBON_FREE else hour.carbon_intensity
        if value is None:
            return None
        note, uncertainty_permille = "", MEASURED_PERMILLE
        if forecast:
            note, uncertainty_permille = ", forecast", FORECAST_PERMILLE
        elif hour.is_estimated is not False:
            note, uncertainty_permille = ", estimated", ESTIMATED_PERMILLE
            if METHOD_NAME.fullmatch(hour.estimation_method or ""):
                note += f" by {hour.estimation_method}"
        start_ms = unix_ms(hour.datetime)
        return Reading(
            kind=self.kind,
            value=converted(value, self._quantity.unit, self.kind),
            start_ms=start_ms,
            end_ms=start_ms + MS_PER_HOUR,
            method="modelled" if forecast else "grid_mix",
            uncertainty_permille=self._section.uncertainty_or(uncertainty_permille),
            provenance=self._name + note,
        )


class ForecastingElectricityMapsSource(ElectricityMapsSource):
    """An intensity."""

    def forecast(self, now_ms: int) -> tuple[Reading, ...]:
        return coming(self._readings(self._get(_Forecast, "/forecast").forecast, forecast=True), now_ms)


AnyAnswer = TypeVar("AnyAnswer", bound=_Answer)
