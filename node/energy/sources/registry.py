"""All kinds of sources, as `config.toml` names them: `source = "..."` in a section below `[energy]`."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from node.energy.sources.electricitymaps import ElectricityMaps
from node.energy.sources.energycharts import EnergyCharts
from node.energy.sources.homeassistant import HomeAssistant
from node.energy.sources.meter import SigningMeter
from node.energy.sources.mqtt import Mqtt
from node.energy.sources.prometheus import Prometheus
from node.energy.sources.sunspec import SunSpec
from node.energy.sources.trace import Trace
from node.energy.sources.ukcarbon import UkCarbon
from node.energy.sources.watttime import WattTime

AnySource: TypeAlias = Annotated[
    ElectricityMaps
    | EnergyCharts
    | HomeAssistant
    | SigningMeter
    | Mqtt
    | Prometheus
    | SunSpec
    | Trace
    | UkCarbon
    | WattTime,
    Field(discriminator="source"),
]
