"""All kinds of sources, as `config.toml` names them: `source = "..."` in a section below `[energy]`."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from node.energy.sources.homeassistant import HomeAssistant
from node.energy.sources.meter import SigningMeter

AnySource: TypeAlias = Annotated[HomeAssistant | SigningMeter, Field(discriminator="source")]
