"""Where a node learns what power it has: the interface that every source of energy data implements, and its registry.

A source answers about one site, behind one meter: how much surplus energy there was, how much there will be, and what
the zone's grid emits meanwhile. It may read a declared profile, an inverter, a web service, or join several of these.

`read` and `forecast` are plain calls that may wait for a device: the runtime makes them on a worker thread and turns
the answer into an event. So the simulated world calls a profile directly, without an event loop, and a library that
blocks is welcome. Coroutines were refused: they would force a loop upon arithmetic. A source sets its own time limits,
below the interval it is read at, and keeps its own connections; it is called by one thread at a time.

Nothing here falls back silently: a source that cannot answer raises SourceError, and the caller decides what follows.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from node.energy.zones import GRIDS
from protocol.errors import LocalError
from protocol.messages import Carrier, Count, IntensityKind, Method, Name, Place, Zone
from protocol.units import MS_PER_HOUR

READING_MAX_MS = MS_PER_HOUR  # an attestation spans no more, and neither does one figure for the grid
# A counter since 1970 at 2 MW stays below 2^53 J, what a signed body can carry, until the year 2112.
CAPACITY_MAX_W = 2_000_000


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source said about the interval from `start_ms` to `end_ms` of network time.

    Raises ValueError for an interval that is empty or longer than READING_MAX_MS, and for a counter that disagrees with
    the energy: such a reading would be a void attestation.
    """

    device_id: str
    start_ms: int
    end_ms: int
    energy_j: int  # surplus: beyond the site's own use, free for training
    meter_start_j: int  # the device's cumulative counter of that surplus
    meter_end_j: int
    carrier: Carrier
    method: Method
    capacity_w: int
    own_g_per_kwh: int  # of the surplus
    grid_g_per_kwh: int  # of the zone's grid meanwhile
    intensity_kind: IntensityKind
    intensity_source: str
    uncertainty_permille: int  # of the energy; of the grid's intensity where there is no energy
    read_at_ms: int  # network time at which the source knew; age is the difference to now

    def __post_init__(self) -> None:
        duration_ms = self.end_ms - self.start_ms
        if not 0 < duration_ms <= READING_MAX_MS:
            raise ValueError(f"a reading of {duration_ms} ms; 1 to {READING_MAX_MS} ms are allowed")
        rise_j = self.meter_end_j - self.meter_start_j
        if rise_j < 0 or self.energy_j != rise_j:
            raise ValueError(f"energy_j {self.energy_j}, but the counter rose from {self.meter_start_j} by {rise_j} J")


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a source expects, one value per slot from `first_slot` on, for slots of `slot_ms`."""

    first_slot: int
    slot_ms: int
    surplus_s50_j: tuple[int, ...]  # median of the surplus
    surplus_s20_j: tuple[int, ...]  # its 20 % quantile: exceeded four times in five
    grid_g_per_kwh: tuple[int, ...]


def reading_start_ms(read_until_ms: int, now_ms: int, slot_ms: int) -> int:
    """Where a reading that ends now begins: where the last one ended, at `read_until_ms`.

    A node that was away reads on from the present slot: what nobody attested is grid. Half a slot more is allowed for:
    a reading that comes a little late must not leave a gap.
    """
    if now_ms - read_until_ms > min(slot_ms * 3 // 2, READING_MAX_MS):
        return now_ms - min(slot_ms, READING_MAX_MS)
    return read_until_ms


class SourceError(LocalError):
    """The source cannot answer now. Nothing is lost but this interval: until it answers, power counts as grid.

    `last_read_at_ms` is the network time of its last good answer, None if there was none since the start.
    """

    def __init__(self, cause: str, remedy: str, last_read_at_ms: int | None) -> None:
        super().__init__("HEL-ENERGY-001", cause, remedy)
        self.last_read_at_ms = last_read_at_ms


class Source(Protocol):
    """One site's energy data. Both calls raise SourceError when there is no good answer: never a guess instead."""

    def read(self, start_ms: int, end_ms: int) -> Reading:
        """The interval that has just ended. Consecutive intervals get consecutive counters.

        Raises ValueError if the interval is empty or longer than READING_MAX_MS.
        """

    def forecast(self, first_slot: int, slots: int, slot_ms: int) -> Forecast:
        """The coming slots."""


class EnergyConfig(BaseModel):
    """The `[energy]` section of a node's configuration: the site, and the source that speaks for it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    source: Literal["profile"] = "profile"
    device_id: Name  # of the meter; unique among the owner's
    zone: Zone
    latitude: Annotated[float, Field(ge=-90, le=90)]  # degrees north
    longitude: Annotated[float, Field(ge=-180, le=180)]  # degrees east
    carrier: Carrier  # "grid": no source of its own
    capacity_w: Annotated[Count, Field(le=CAPACITY_MAX_W)]
    own_g_per_kwh: Count  # life cycle
    base_load_w: Count = 0  # the site's own use, served before training
    performance_ratio_permille: Annotated[int, Field(ge=1, le=1000)] = 670  # see node/energy/profile.py
    seed: Count = 0  # of the wind: equal seeds blow alike
    grid_g_per_kwh: Count | None = None  # declared annual mean, for a zone that the embedded table lacks

    @property
    def place(self) -> Place:
        """The site as it stands in offers and attestations."""
        return Place(
            zone=self.zone,
            latitude_decidegrees=round(self.latitude * 10),
            longitude_decidegrees=round(self.longitude * 10),
        )

    @model_validator(mode="after")
    def _grid_has_no_capacity(self) -> EnergyConfig:
        if self.carrier == "grid" and self.capacity_w:
            raise ValueError(
                f"capacity_w {self.capacity_w} with carrier grid: a site without a source of its own has 0"
                " (name the carrier, or set capacity_w = 0)"
            )
        return self

    @model_validator(mode="after")
    def _grid_intensity_is_known(self) -> EnergyConfig:
        if self.grid_g_per_kwh is None and self.zone not in GRIDS:
            near = difflib.get_close_matches(self.zone, GRIDS, n=3, cutoff=0.4)
            raise ValueError(
                f"no annual mean is embedded for zone {self.zone}"
                + (f" (nearest: {', '.join(near)})" if near else "")
                + "; set grid_g_per_kwh to its mean in g CO2e per kWh, life cycle"
            )
        return self


def source_from_config(config: EnergyConfig) -> Source:
    """The source that a configuration names. It is imported only when named: later ones bring heavy libraries."""
    match config.source:
        case "profile":
            from node.energy.profile import Profile

            return Profile(config)
