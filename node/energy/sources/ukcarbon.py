"""UK Carbon Intensity, by the National Energy System Operator: what the grid of Great Britain emits. Needs no key.

`GET /intensity` answers {"data": [{"from": "2026-06-21T12:00Z", "to": "2026-06-21T12:30Z", "intensity": {"forecast":
266, "actual": 263, "index": "moderate"}}]}: half hours of UTC, g CO2 per kWh consumed; `actual` is null until it has
been estimated. `/intensity/{from}/{to}` and `/intensity/{from}/fw48h` list more of the same. By region, as in
`/regional/postcode/{outward}` and `/regional/intensity/{from}/fw48h/regionid/{1..17}`, there are forecasts only; some
of these answer one region where the documents say a list of regions. https://carbon-intensity.github.io/api-definitions/

The kind is avg_direct: CO2 of generation alone, wind, sun, water and nuclear power counted as 0, imports and losses in
the wires included (Bruce et al., Carbon Intensity Forecast Methodology, NESO, May 2024; biomass, at 120 g/kWh, carries
its supply chain). It is not to be compared with life-cycle figures.

Traps: the island of Ireland is another grid (zone GB-NIR). `/intensity/date` means a local day, of 23 to 25 hours: it
is not asked. A list from a moment on may begin half an hour earlier.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from node.energy.series import coming, newest, spans, unix_ms, utc_text, within
from node.energy.source import GRID_REFRESH_S, BaseUrl, Kind, Reading, RefreshSeconds, SourceError, SourceSection
from node.energy.units import converted
from node.energy.web import WebService
from protocol.messages import Place

# Of the estimate ±10 % (Staffell, Electric Insights Q3 2017); of the forecast twice its mean error from 2017 to 2023,
# which was 7.1 % (nickmp.com/posts/carbon-intensity-forecast-tracking).
ESTIMATED_PERMILLE = 100
FORECAST_PERMILLE = 150

ZONES: Final = frozenset({"GB", "GB-ORK"})  # Orkney hangs on the mainland's grid
SPAN_MAX_MS = 13 * 86_400_000  # the service answers at most 14 days at once


class UkCarbon(SourceSection):
    """The whole of Great Britain, or a region: by `postcode` (the outward half: RG10) or by `regionid`."""

    source: Literal["ukcarbon"]
    base_url: BaseUrl = "https://api.carbonintensity.org.uk"
    refresh_s: RefreshSeconds = GRID_REFRESH_S
    postcode: Annotated[str, Field(pattern=r"^[A-Z]{1,2}[0-9][0-9A-Z]?$")] | None = None
    regionid: Annotated[int, Field(ge=1, le=17)] | None = None

    @model_validator(mode="after")
    def _one_region(self) -> UkCarbon:
        if self.postcode is not None and self.regionid is not None:
            raise ValueError("postcode and regionid both name a region: give one of them")
        return self

    def open(self, place: Place) -> UkCarbonSource:
        """Raises SourceError for a site elsewhere."""
        if place.zone not in ZONES:
            raise SourceError(
                f"UK Carbon Intensity knows the grid of Great Britain, and the site is in zone {place.zone}",
                f"Use it in {' or '.join(sorted(ZONES))} only.",
            )
        return UkCarbonSource(self)


class _Answer(BaseModel):
    model_config = ConfigDict(strict=True)


class _Intensity(_Answer):
    forecast: float | None = None
    actual: float | None = None


class _HalfHour(_Answer):
    starts: AwareDatetime = Field(alias="from")
    ends: AwareDatetime = Field(alias="to")
    intensity: _Intensity


class _National(_Answer):
    data: list[_HalfHour]


class _Region(_Answer):
    regionid: int
    postcode: str | None = None
    data: list[_HalfHour]


class _Regional(_Answer):
    data: list[_Region] | _Region


class UkCarbonSource:
    """Great Britain, or one of its regions."""

    kind = Kind.AVG_DIRECT

    def __init__(self, section: UkCarbon) -> None:
        self._section = section
        self._web = WebService("UK Carbon Intensity", section.base_url)
        self._region = ""
        if section.postcode is not None:
            self._region = f"/postcode/{section.postcode}"
        elif section.regionid is not None:
            self._region = f"/regionid/{section.regionid}"

    def read(self, now_ms: int) -> Reading:
        """The present half hour. Its `actual` where there is one, else its forecast, marked as such."""
        return newest(self._readings(""), now_ms, self._name)

    def forecast(self, now_ms: int) -> tuple[Reading, ...]:
        return coming(self._readings(f"/{utc_text(now_ms)}/fw48h"), now_ms)

    def history(self, start_ms: int, end_ms: int) -> tuple[Reading, ...]:
        found = (
            reading
            for begins_ms, ends_ms in spans(start_ms, end_ms, SPAN_MAX_MS)
            for reading in self._readings(f"/{utc_text(begins_ms)}/{utc_text(ends_ms)}")
        )
        return within(found, start_ms, end_ms)

    @property
    def _name(self) -> str:
        return f"UK Carbon Intensity {self._region.lstrip('/').replace('/', ' ') or 'GB'}"

    def _readings(self, when: str) -> Iterator[Reading]:
        for half in self._halves(when):
            actual, forecast = half.intensity.actual, half.intensity.forecast
            value = forecast if actual is None else actual
            start_ms, end_ms = unix_ms(half.starts), unix_ms(half.ends)
            if value is None or start_ms >= end_ms:
                continue
            yield Reading(
                kind=self.kind,
                value=converted(value, "g/kWh", self.kind),
                start_ms=start_ms,
                end_ms=end_ms,
                method="modelled" if actual is None else "grid_mix",
                uncertainty_permille=self._section.uncertainty_or(
                    FORECAST_PERMILLE if actual is None else ESTIMATED_PERMILLE
                ),
                provenance=self._name + (", forecast" if actual is None else ", estimated"),
            )

    def _halves(self, when: str) -> list[_HalfHour]:
        if not self._region:
            return self._web.get(_National, f"/intensity{when}").data
        path = f"/regional/intensity{when}{self._region}" if when else f"/regional{self._region}"
        data = self._web.get(_Regional, path).data
        regions = data if isinstance(data, list) else [data]
        for region in regions:
            asked, got = self._section.postcode, region.postcode
            if asked is None:
                asked, got = str(self._section.regionid), str(region.regionid)
            if asked != got:
                raise SourceError(f"asked {self._name}, got {str(got)[:16]!r}", "Check postcode or regionid.")
        return [half for region in regions for half in region.data]
