"""Where a figure about power comes from: the one interface of all sources, and what a figure must say of itself.

A source answers about one quantity at one place: the counter or the power of a plant, the use of a site, what the
grid of a zone emits. Several of them make up a site's supply (`node/energy/supply.py`); their list is in
`node/energy/sources/`.

`read` is a plain call that may wait for a device: the runtime makes it on a worker thread and turns the answer into an
event. So a simulated world calls it directly, without an event loop, and a library that blocks is welcome. Coroutines
were refused: they would force a loop upon arithmetic. A source sets its own time limits, below the interval it is read
at, and keeps its own connections; it is called by one thread at a time. It may import its library only when opened.

Nothing here falls back silently: a source that has no good answer raises SourceError, and `watched` and the supply say
what follows. Average and marginal intensities are of different kinds, and no code turns one into the other.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, model_validator

from protocol.errors import LocalError
from protocol.messages import Method, Permille
from protocol.units import MS_PER_HOUR

NAME_MAX = 128  # of a Name on the wire
UnitName = Literal["J", "W", "g/kWh", "permille"]


class Kind(enum.StrEnum):
    """What a figure is about. A supply asks for kinds, never for sources by name."""

    COUNTER = "counter"  # cumulative energy since the device's beginning
    POWER = "power"
    AVG_LIFECYCLE = "avg_lifecycle"  # intensity of the grid's mix, with what building and fuel emitted
    AVG_DIRECT = "avg_direct"  # of the mix, stacks alone
    MARGINAL = "marginal"  # of the plant that would follow one more load
    CARBON_FREE = "carbon_free"  # share of the grid's supply


UNIT_OF: Final[dict[Kind, UnitName]] = {
    Kind.COUNTER: "J",
    Kind.POWER: "W",
    Kind.AVG_LIFECYCLE: "g/kWh",
    Kind.AVG_DIRECT: "g/kWh",
    Kind.MARGINAL: "g/kWh",
    Kind.CARBON_FREE: "permille",
}


@dataclass(frozen=True, slots=True)
class DeviceSignature:
    """By a device's own key, under its counter at the moment of a reading."""

    key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Reading:
    """One figure: `value` in the unit of its kind, for the time from `start_ms` to `end_ms` (Unix time).

    A counter, and a power of this moment, speak of one moment: both ends are equal. `provenance` is for people and for
    the ledger: source, zone or device, and what the source says of its own figure ("estimated"). Raises ValueError for
    a negative value, a share above 1000 permille, or an interval that ends before it starts.
    """

    kind: Kind
    value: int
    start_ms: int
    end_ms: int
    method: Method
    uncertainty_permille: int
    provenance: str
    signature: DeviceSignature | None = None

    def __post_init__(self) -> None:
        if self.value < 0 or (self.kind is Kind.CARBON_FREE and self.value > 1000):
            raise ValueError(f"{self.kind} of {self.value} {self.unit}")
        if self.end_ms < self.start_ms:
            raise ValueError(f"a reading from {self.start_ms} to {self.end_ms} ms ends before it starts")

    @property
    def unit(self) -> UnitName:
        return UNIT_OF[self.kind]

    def age_ms(self, now_ms: int) -> int:
        """How long ago the time that the figure speaks of ended; 0 while it lasts."""
        return max(0, now_ms - self.end_ms)


class SourceError(LocalError):
    """The source has no good answer now. Nothing is lost but this figure.

    `retry_after_ms`: how long the source itself asks to be left alone; None if it said nothing.
    """

    def __init__(self, cause: str, remedy: str, *, retry_after_ms: int | None = None) -> None:
        super().__init__("HEL-ENERGY-001", cause, remedy)
        self.retry_after_ms = retry_after_ms


class Source(Protocol):
    """One quantity. `kind` is fixed for its life."""

    kind: Kind

    def read(self, now_ms: int) -> Reading:
        """The newest figure. Raises SourceError when there is no good one: never a guess instead."""


@runtime_checkable
class ForecastingSource(Source, Protocol):
    """A source that also says what is to come."""

    def forecast(self, now_ms: int) -> tuple[Reading, ...]:
        """Figures for the time from now on, in order, without overlap; as far as the source looks ahead. Raises
        SourceError."""


@runtime_checkable
class HistoricSource(Source, Protocol):
    """A source that also remembers."""

    def history(self, start_ms: int, end_ms: int) -> tuple[Reading, ...]:
        """The figures it has for intervals that begin within `start_ms <= t < end_ms`, in order, without overlap; gaps
        where it has none, and nothing before its memory begins. Raises SourceError."""


BaseUrl = Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$")]  # no user, no password, no parameters: keys are apart
RefreshSeconds = Annotated[int, Field(ge=0, le=3600)]
GRID_REFRESH_S = 240  # of figures for quarters of an hour or longer: services count questions; below a slot of 300 s


class SourceSection(BaseModel):
    """What a section of `config.toml` says of any source. A figure older than `stale_after_s` is no good answer; one
    that is good is asked for again after `refresh_s`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    reads_the_world: ClassVar[bool] = True  # then it needs a network whose clock is the world's

    stale_after_s: Annotated[int, Field(ge=1, le=7 * 86_400)] = 2 * MS_PER_HOUR // 1000
    refresh_s: RefreshSeconds = 0
    uncertainty_permille: Permille | None = None  # None: as the source says, or its adapter knows

    def uncertainty_or(self, known_permille: int) -> int:
        return known_permille if self.uncertainty_permille is None else self.uncertainty_permille


class OptionalKeySection(SourceSection):
    """A source that may want a key. It stands in a file of mode 0600 or in the environment, never in `config.toml`."""

    key_file: Annotated[str, Field(min_length=1)] | None = None
    key_variable: Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")] | None = None

    @model_validator(mode="after")
    def _at_most_one_place(self) -> OptionalKeySection:
        if self.key_file is not None and self.key_variable is not None:
            raise ValueError(_WHERE)
        return self

    @property
    def has_key(self) -> bool:
        return self.key_file is not None or self.key_variable is not None

    @property
    def key_path(self) -> Path | None:
        return None if self.key_file is None else Path(self.key_file).expanduser()


class KeySection(OptionalKeySection):
    """A source that wants a key."""

    @model_validator(mode="after")
    def _a_place(self) -> KeySection:
        if not self.has_key:
            raise ValueError(_WHERE)
        return self


_WHERE = "say where the key is: either key_file (mode 0600) or key_variable (of the environment)"
