"""What the sources of a node's energy data last said, and which of them are silent: nothing falls back unseen."""

from __future__ import annotations

from dataclasses import dataclass, field

from node.energy.supply import SupplyReading
from node.energy.watched import Health
from node.events import MeterFailed, MeterRead
from node.turn import Turn


@dataclass(slots=True)
class Sourcing:
    """`sources`: how each stood at the last reading. `fault`: why the last reading as a whole failed; "" if it did
    not. `newest`: the last good reading."""

    sources: tuple[Health, ...] = ()
    newest: SupplyReading | None = None
    fault: str = ""
    silent: set[str] = field(default_factory=set)  # told already

    def on_meter(self, turn: Turn, event: MeterRead | MeterFailed) -> None:
        """Take note, and tell once of every source that fell silent or speaks again."""
        self.sources = event.sources
        if isinstance(event, MeterFailed):
            self.fault = event.reason
        else:
            self.fault = ""
            self.newest = event.reading or self.newest
        for health in event.sources:
            if health.is_well and health.name in self.silent:
                self.silent.remove(health.name)
                turn.notify("energy source is well again", source=health.name)
            elif not health.is_well and health.name not in self.silent:
                self.silent.add(health.name)
                turn.notify("energy source is silent", source=health.name, reason=health.fault, remedy=health.remedy)

    def unwell(self) -> tuple[Health, ...]:
        return tuple(health for health in self.sources if not health.is_well)
