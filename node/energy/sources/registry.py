"""All kinds of sources, as `config.toml` names them: `source = "..."` in a section below `[energy]`."""

from __future__ import annotations

from typing import TypeAlias

from node.energy.sources.homeassistant import HomeAssistant

AnySource: TypeAlias = HomeAssistant
