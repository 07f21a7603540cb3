"""Energy-Charts, by Fraunhofer ISE: what the grid of a European country emits, and its carbon-free share. No key.

`GET /co2eq?country=de&start=...&end=...` (Unix seconds) answers {"unix_seconds": [...], "co2eq": [491.5, null, ...],
"co2eq_forecast": [null, 505.0, ...], "deprecated": false}, in g CO2e per kWh, each figure for the quarter of an hour
(in some countries the hour) that begins at its second; at most one of the two is set. `/public_power` answers
{"unix_seconds", "production_types": [{"name": "Wind onshore", "data": [...]}, ...]} in MW of net public generation,
among them load, trade, pumping (negative) and shares in %. https://api.energy-charts.info/

The documents call the intensity an equivalent and do not say whether what building and fuel emitted is in it: it passes
for avg_lifecycle here unless `kind` says avg_direct.

Traps: figures come one to three hours late, and the newest entries are null. The answer does not name its country, so
the country is that of the zone and nothing else; of a country with several zones it is the mean, and less certain.
Types of plant differ by country: what is not known here to be carbon-free counts as not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from node.energy.series import coming, newest, spans, within
from node.energy.source import GRID_REFRESH_S, BaseUrl, Kind, Reading, RefreshSeconds, SourceError, SourceSection
from node.energy.units import converted
from node.energy.web import WebService
from protocol.messages import Place
from protocol.units import MS_PER_HOUR

# Guesses: the service states no error of its figures.
ESTIMATED_PERMILLE = 100
FORECAST_PERMILLE = 200
PART_OF_COUNTRY_PERMILLE = 300

STEPS_S: Final = (900, 1800, 3600)
BACK_MS = 6 * MS_PER_HOUR  # figures come one to three hours late
AHEAD_MS = 48 * MS_PER_HOUR
SPAN_MAX_MS = 30 * 86_400_000  # some 100 KiB an answer

COUNTRY_OF: Final = {"GB": "uk"}  # elsewhere its code is the first part of the zone, in lower case

CARBON_FREE: Final = frozenset(
    {
        *("biomass", "geothermal", "marine", "nuclear", "other renewables", "solar", "wind offshore", "wind onshore"),
        *("hydro run-of-river", "hydro water reservoir"),
    }
)
# Parts of the names of what is no generation. What comes out of a store counted when it was generated.
NO_GENERATION: Final = ("battery", "cross border", "load", "share of", "storage")


class EnergyCharts(SourceSection):
    """`kind`: see above for the intensity; carbon_free for the share, of generation, which has no forecast."""

    source: Literal["energycharts"]
    base_url: BaseUrl = "https://api.energy-charts.info"
    refresh_s: RefreshSeconds = GRID_REFRESH_S
    kind: Literal[Kind.AVG_LIFECYCLE, Kind.AVG_DIRECT, Kind.CARBON_FREE] = Kind.AVG_LIFECYCLE

    def open(self, place: Place) -> EnergyChartsShare | EnergyChartsIntensity:
        return (EnergyChartsShare if self.kind is Kind.CARBON_FREE else EnergyChartsIntensity)(self, place)


class _Answer(BaseModel):
    model_config = ConfigDict(strict=True)

    unix_seconds: list[Annotated[int, Field(ge=0, lt=2**33)]]

    def step_s(self) -> int:
        """How long each figure is for. Raises SourceError unless that is a quarter, half or whole hour."""
        seconds = sorted(set(self.unix_seconds))
        step = min((after - before for before, after in pairwise(seconds)), default=STEPS_S[0])
        if step not in STEPS_S:
            raise SourceError(f"Energy-Charts answered in steps of {step} s", "The service may have changed.")
        return step


class _Intensities(_Answer):
    co2eq: list[float | None]
    co2eq_forecast: list[float | None] | None = None


class _Plants(BaseModel):
    name: str
    data: list[float | None]

    @property
    def is_carbon_free(self) -> bool:
        return self.name.casefold() in CARBON_FREE

    @property
    def is_generation(self) -> bool:
        """And reports at all: some types are named in countries that have none."""
        name = self.name.casefold()
        return any(power is not None for power in self.data) and not any(part in name for part in NO_GENERATION)


class _Generation(_Answer):
    production_types: list[_Plants]


class _Country:
    """The country of a zone."""

    what: str

    def __init__(self, section: EnergyCharts, place: Place) -> None:
        self.kind: Kind = section.kind
        self._section = section
        head, _, part = place.zone.partition("-")
        self._country = COUNTRY_OF.get(head, head.lower())
        self._is_part = bool(part)
        self._web = WebService("Energy-Charts", section.base_url)

    def _params(self, start_ms: int, end_ms: int) -> dict[str, str]:
        return {"country": self._country, "start": str(start_ms // 1000), "end": str(end_ms // 1000)}

    def _reading(self, value: float, unit: str, start_s: int, step_s: int, *, forecast: bool = False) -> Reading:
        uncertainty_permille = FORECAST_PERMILLE if forecast else ESTIMATED_PERMILLE
        if self._is_part:
            uncertainty_permille = PART_OF_COUNTRY_PERMILLE
        return Reading(
            kind=self.kind,
            value=converted(value, unit, self.kind),
            start_ms=start_s * 1000,
            end_ms=(start_s + step_s) * 1000,
            method="modelled" if forecast else "grid_mix",
            uncertainty_permille=self._section.uncertainty_or(uncertainty_permille),
            provenance=self._name + (", forecast" if forecast else ""),
        )

    @property
    def _name(self) -> str:
        return f"Energy-Charts {self._country} {self.what}" + (", mean of the country" if self._is_part else "")

    def _check_lengths(self, answer: _Answer, lists: Sequence[Sequence[float | None]]) -> None:
        lengths = sorted({len(answer.unix_seconds), *map(len, lists)})
        if len(lengths) != 1:
            raise SourceError(f"Energy-Charts answered lists of {lengths} figures", "The service may have changed.")


class EnergyChartsIntensity(_Country):
    """What its grid emits."""

    what = "co2eq"

    def read(self, now_ms: int) -> Reading:
        """The newest figure of the last hour, else the forecast for now, marked as such, else the newest there is."""
        found = tuple(self._readings(now_ms - BACK_MS, now_ms + AHEAD_MS))
        known = [reading for reading in found if reading.method == "grid_mix"]
        recent = [reading for reading in known if reading.age_ms(now_ms) <= MS_PER_HOUR]
        return newest(recent or found, now_ms, self._name)

    def forecast(self, now_ms: int) -> tuple[Reading, ...]:
        return coming(self._readings(now_ms - BACK_MS, now_ms + AHEAD_MS), now_ms)

    def history(self, start_ms: int, end_ms: int) -> tuple[Reading, ...]:
        pieces = (self._readings(*span) for span in spans(start_ms, end_ms, SPAN_MAX_MS))
        return within(
            (reading for piece in pieces for reading in piece if reading.method == "grid_mix"), start_ms, end_ms
        )

    def _readings(self, start_ms: int, end_ms: int) -> Iterator[Reading]:
        answer = self._web.get(_Intensities, "/co2eq", self._params(start_ms, end_ms))
        forecast = answer.co2eq_forecast or [None] * len(answer.co2eq)
        self._check_lengths(answer, (answer.co2eq, forecast))
        step_s = answer.step_s()
        for second, known, expected in zip(answer.unix_seconds, answer.co2eq, forecast, strict=True):
            value = expected if known is None else known
            if value is not None:
                yield self._reading(value, "gCO2eq/kWh", second, step_s, forecast=known is None)


class EnergyChartsShare(_Country):
    """How much of its generation is renewable or nuclear. What it imports is left out: Electricity Maps counts it."""

    what = "carbon-free share of generation"

    def read(self, now_ms: int) -> Reading:
        """The newest time for which all types of plant that report at all have reported."""
        return newest(self._readings(now_ms - BACK_MS, now_ms), now_ms, self._name)

    def history(self, start_ms: int, end_ms: int) -> tuple[Reading, ...]:
        pieces = (self._readings(*span) for span in spans(start_ms, end_ms, SPAN_MAX_MS))
        return within((reading for piece in pieces for reading in piece), start_ms, end_ms)

    def _readings(self, start_ms: int, end_ms: int) -> Iterator[Reading]:
        answer = self._web.get(_Generation, "/public_power", self._params(start_ms, end_ms))
        self._check_lengths(answer, [plants.data for plants in answer.production_types])
        generating = [plants for plants in answer.production_types if plants.is_generation]
        step_s = answer.step_s()
        for at, second in enumerate(answer.unix_seconds):
            power_mw = [(max(0.0, plants.data[at] or 0.0), plants.is_carbon_free) for plants in generating]
            total_mw = sum(power for power, _ in power_mw)
            if total_mw and all(plants.data[at] is not None for plants in generating):
                free_mw = sum(power for power, is_free in power_mw if is_free)
                yield self._reading(100 * free_mw / total_mw, "%", second, step_s)
