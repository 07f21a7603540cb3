"""Home Assistant: the state of one sensor, over its REST API.

`GET /api/states/{entity}` with a long-lived token answers {"state": "16.57", "attributes": {"unit_of_measurement":
"kWh"}, "last_updated": "..."}; the state is a string, and "unavailable" or "unknown" while the device is away. A sensor
that does not change is not written again (`last_updated` stands still), so `last_reported`, where the release has it,
tells how old a figure is. https://developers.home-assistant.io/docs/api/rest/
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, Field

from node.energy.keys import read_key
from node.energy.source import BaseUrl, KeySection, Kind, Reading, SourceError
from node.energy.units import converted
from node.energy.web import WebService
from protocol.messages import Place

AWAY = frozenset({"unavailable", "unknown", ""})
UNCERTAINTY_PERMILLE = 20  # accuracy class 2, as household meters have; guess for others


class HomeAssistant(KeySection):
    """`entity`: of an energy (total_increasing), power or intensity sensor; `kind` says which of them."""

    source: Literal["homeassistant"]
    base_url: BaseUrl = "http://homeassistant.local:8123"
    entity: Annotated[str, Field(pattern=r"^[a-z_]+\.[a-z0-9_]+$")]
    kind: Kind = Kind.COUNTER

    def open(self, place: Place) -> HomeAssistantSource:
        return HomeAssistantSource(self)


class _Attributes(BaseModel):
    unit_of_measurement: str | None = None


class _State(BaseModel):
    entity_id: str
    state: str
    attributes: _Attributes
    last_updated: AwareDatetime
    last_reported: AwareDatetime | None = None


class HomeAssistantSource:
    """One sensor."""

    def __init__(self, section: HomeAssistant) -> None:
        self.kind = section.kind
        self._section = section
        token = read_key(section)
        self._web = WebService("Home Assistant", section.base_url, {"Authorization": f"Bearer {token}"})

    def read(self, now_ms: int) -> Reading:
        section = self._section
        state = self._web.get(_State, f"/api/states/{section.entity}")
        if state.entity_id != section.entity:
            raise SourceError(f"asked for {section.entity}, got {state.entity_id[:64]!r}", "Check base_url and entity.")
        if state.state in AWAY:
            raise SourceError(f"{section.entity} is {state.state or 'empty'!r}", "See why its device is away.")
        value = converted(state.state, state.attributes.unit_of_measurement or "none", self.kind)
        at_ms = round((state.last_reported or state.last_updated).timestamp() * 1000)
        return Reading(
            kind=self.kind,
            value=value,
            start_ms=at_ms,
            end_ms=at_ms,
            method="metered",
            uncertainty_permille=section.uncertainty_or(UNCERTAINTY_PERMILLE),
            provenance=f"Home Assistant {section.entity}",
        )
