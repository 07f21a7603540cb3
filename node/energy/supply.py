"""A site's power, behind one meter: what surplus there was, how much there will be, and what the grid emits meanwhile.

`read` and `forecast` are plain calls that may wait for a device; see `node/energy/source.py`. A supply may be computed
from a declared profile, or put together from several sources; what it cannot know it refuses with SourceError, and the
caller decides what follows.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ledger.places import describe_far, far_from_zone
from node.energy.sources.registry import AnySource
from node.energy.watched import Health
from node.energy.zones import GRIDS
from protocol.messages import Carrier, Count, IntensityKind, Method, Name, Place, Zone
from protocol.units import MS_PER_HOUR

READING_MAX_MS = MS_PER_HOUR  # an attestation spans no more, and neither does one figure for the grid
# A counter since 1970 at 2 MW stays below 2^53 J, what a signed body can carry, until the year 2112.
UNKNOWN_ZONE = "ZZ"  # of a site that does not say where it stands; a code that ISO 3166 leaves to its users
CAPACITY_MAX_W = 2_000_000


@dataclass(frozen=True, slots=True)
class MeterSignatures:
    """A device's own signatures under its counter at both ends of an interval."""

    key: bytes
    start: bytes
    end: bytes


@dataclass(frozen=True, slots=True)
class SupplyReading:
    """What a supply said about the interval from `start_ms` to `end_ms` of network time.

    Raises ValueError for an interval that is empty or longer than READING_MAX_MS, and for energy beyond what the
    counter rose by: such a reading would be a void attestation.
    """

    device_id: str
    start_ms: int
    end_ms: int
    energy_j: int  # surplus: beyond the site's own use, free for training
    meter_start_j: int  # the device's cumulative counter; it may rise by more than the surplus: the site's own use
    meter_end_j: int
    carrier: Carrier
    method: Method
    capacity_w: int
    own_g_per_kwh: int  # of the surplus
    grid_g_per_kwh: int  # of the zone's grid meanwhile
    intensity_kind: IntensityKind
    intensity_source: str
    uncertainty_permille: int  # of the energy; of the grid's intensity where there is no energy
    read_at_ms: int  # network time at which the supply knew; age is the difference to now
    source: str = "declared profile"  # of the energy; `intensity_source` is the grid figure's
    marginal_g_per_kwh: int | None = None
    carbon_free_permille: int | None = None  # of the grid's supply
    signatures: MeterSignatures | None = None  # by the device's own key, where it has one

    def __post_init__(self) -> None:
        duration_ms = self.end_ms - self.start_ms
        if not 0 < duration_ms <= READING_MAX_MS:
            raise ValueError(f"a reading of {duration_ms} ms; 1 to {READING_MAX_MS} ms are allowed")
        rise_j = self.meter_end_j - self.meter_start_j
        if not 0 <= self.energy_j <= rise_j:
            raise ValueError(f"energy_j {self.energy_j}, but the counter rose from {self.meter_start_j} by {rise_j} J")

    @property
    def surplus_w(self) -> int:
        """Its mean."""
        return self.energy_j * 1000 // (self.end_ms - self.start_ms)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a supply expects, one value per slot from `first_slot` on, for slots of `slot_ms`."""

    first_slot: int
    slot_ms: int
    surplus_s50_j: tuple[int, ...]  # median of the surplus
    surplus_s20_j: tuple[int, ...]  # its 20 % quantile: exceeded four times in five
    grid_g_per_kwh: tuple[int, ...]
    grid_s20_g_per_kwh: tuple[int, ...] = ()  # its quantiles; empty where nobody knows them
    grid_s80_g_per_kwh: tuple[int, ...] = ()
    provenance: str = "declared profile"  # for people: what it was made from

    def without_surplus(self) -> Forecast:
        """The same at grid mix."""
        nothing = (0,) * len(self.grid_g_per_kwh)
        return replace(self, surplus_s50_j=nothing, surplus_s20_j=nothing)


def reading_start_ms(read_until_ms: int, now_ms: int, slot_ms: int) -> int:
    """Where a reading that ends now begins: where the last one ended, at `read_until_ms`.

    A node that was away reads on from the present slot: what nobody attested is grid. Half a slot more is allowed for:
    a reading that comes a little late must not leave a gap.
    """
    if now_ms - read_until_ms > min(slot_ms * 3 // 2, READING_MAX_MS):
        return now_ms - min(slot_ms, READING_MAX_MS)
    return read_until_ms


class Supply(Protocol):
    """One site's energy data. Both calls raise SourceError when there is no good answer: never a guess instead."""

    @property
    def health(self) -> tuple[Health, ...]:
        """How each of its sources stands; none for a supply that is computed."""

    def read(self, start_ms: int, end_ms: int) -> SupplyReading | None:
        """The interval that has just ended, or an earlier end where the device's own clock says so; None if there is
        nothing to attest yet. Consecutive intervals get consecutive counters.

        Raises ValueError if the interval is empty or longer than READING_MAX_MS.
        """

    def sample(self, now_ms: int) -> None:
        """Look at what knows its power and no counter, between two readings: clouds pass in minutes. Never raises
        SourceError."""

    def forecast(self, first_slot: int, slots: int, slot_ms: int) -> Forecast:
        """The coming slots."""


class EnergyConfig(BaseModel):
    """The `[energy]` section of a node's configuration: the site, and the sources that speak for it.

    Without sections below it the site is a declared profile on the embedded table, and says so.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    device_id: Name  # of the meter; unique among the owner's
    zone: Zone
    latitude: Annotated[float, Field(ge=-90, le=90)]  # degrees north
    longitude: Annotated[float, Field(ge=-180, le=180)]  # degrees east
    carrier: Carrier  # "grid": no source of its own
    capacity_w: Annotated[Count, Field(le=CAPACITY_MAX_W)]
    own_g_per_kwh: Count  # life cycle
    tilt_degrees: Annotated[int, Field(ge=0, le=90)] | None = None  # of panels, from level
    azimuth_degrees: Annotated[int, Field(ge=0, le=359)] | None = None  # where panels look: 0 north, 90 east
    base_load_w: Count = 0  # the site's own use, served before training
    performance_ratio_permille: Annotated[int, Field(ge=1, le=1000)] = 670  # see node/energy/profile.py
    seed: Count = 0  # of the wind: equal seeds blow alike
    grid_g_per_kwh: Count | None = None  # declared annual mean, for a zone that the embedded table lacks
    generation: AnySource | None = None  # counter or power of the own plant; None: the profile
    use: AnySource | None = None  # counter or power of the site's own use; None: base_load_w
    grid: AnySource | None = None  # average intensity of the zone; None: the embedded table
    marginal: AnySource | None = None  # marginal intensity; told beside the average, never mixed with it
    carbon_free: AnySource | None = None  # the carbon-free share of the zone

    @property
    def place(self) -> Place:
        """The site as it stands in offers and attestations."""
        return Place(
            zone=self.zone,
            latitude_decidegrees=round(self.latitude * 10),
            longitude_decidegrees=round(self.longitude * 10),
        )

    @model_validator(mode="after")
    def _zone_is_here(self) -> EnergyConfig:
        """Every peer would hold this site's attestations void."""
        if far_from_zone(self.place):
            raise ValueError(describe_far(self.place))
        return self

    @model_validator(mode="after")
    def _use_is_taken_off_something(self) -> EnergyConfig:
        if self.use is not None and self.generation is None:
            raise ValueError(
                "use without generation: what a declared plant yields beyond a metered use is nobody's reading"
                " (add [energy.generation], or leave use out and declare base_load_w)"
            )
        return self

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
