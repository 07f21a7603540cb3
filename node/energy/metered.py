"""A site's supply put together from sources: what its plant yields, what the site itself uses, what the grid emits.

What has no source of its own comes from the declared profile and the embedded table, and says so. What has one and
fails is never quietly replaced: without a reading of the plant nothing is attested; without the grid's figure the
table's stands in, and the reading, `status`, `/readyz` and the metrics name the fault.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from node.energy.flow import Flow, Stretch
from node.energy.outlook import Outlook
from node.energy.profile import Profile
from node.energy.source import NAME_MAX, ForecastingSource, Kind, Reading, SourceError
from node.energy.supply import READING_MAX_MS, EnergyConfig, Forecast, MeterSignatures, Supply, SupplyReading
from node.energy.watched import Health, Watched
from protocol.errors import LocalError
from protocol.genesis import Clock
from protocol.messages import IntensityKind
from protocol.units import MS_PER_HOUR, ceil_div

if TYPE_CHECKING:
    from node.energy.forecast.history import Interval

PAST_MAX = 100_000  # readings that forecasts learn from: 60 days in slots of a minute
FLOWS = frozenset({Kind.COUNTER, Kind.POWER})
AVERAGES: dict[Kind, IntensityKind] = {Kind.AVG_LIFECYCLE: "avg_lifecycle", Kind.AVG_DIRECT: "avg_direct"}
# Which kinds a section below [energy] may be of.
KINDS: dict[str, frozenset[Kind]] = {
    "generation": FLOWS,
    "use": FLOWS,
    "grid": frozenset(AVERAGES),
    "marginal": frozenset({Kind.MARGINAL}),
    "carbon_free": frozenset({Kind.CARBON_FREE}),
}


class MeteredSupply:
    """A Supply. `sources`: by section; those missing are declared. `counter_j`: the device's counter as last attested,
    from which a sum of powers goes on. `past`: what was attested before, from which forecasts learn."""

    def __init__(
        self, config: EnergyConfig, sources: Mapping[str, Watched], counter_j: int = 0, past: Iterable[Interval] = ()
    ) -> None:
        self._config = config
        self._sources = sources
        self._profile = Profile(config)
        self._generation = Flow(counter_j)
        self._use = Flow()
        self._use_stretch: Stretch | None = None
        self._past: list[Interval] = list(past)
        self._outlooks = {
            name: Outlook(watched, watched.source)
            for name, watched in sources.items()
            if name in ("generation", "grid") and isinstance(watched.source, ForecastingSource)
        }

    @property
    def health(self) -> tuple[Health, ...]:
        return tuple(source.health for source in self._sources.values())

    def read(self, start_ms: int, end_ms: int) -> SupplyReading | None:
        """The interval between the plant's last two readings; None while there is only one, or nothing new.

        Without a source of generation it is the profile's, from `start_ms` to `end_ms`.
        """
        if "generation" not in self._sources:
            return self._noted(self._with_grid(self._profile.read(start_ms, end_ms), end_ms))
        self._read_use(end_ms)
        reading = self._sources["generation"].read(end_ms)
        generated, use = self._generation.advance(reading), self._use_stretch
        if generated is None or ("use" in self._sources and not (use and _is_about(use, generated))):
            return None
        return self._noted(self._with_grid(self._surplus(generated, use, reading), end_ms))

    def _noted(self, reading: SupplyReading) -> SupplyReading:
        self._past.append(reading)
        if len(self._past) > 2 * PAST_MAX:
            del self._past[:PAST_MAX]
        return reading

    def sample(self, now_ms: int) -> None:
        for name, flow in (("generation", self._generation), ("use", self._use)):
            source = self._sources.get(name)
            if source is not None and source.kind is Kind.POWER:
                with contextlib.suppress(SourceError):  # `health` says it
                    flow.sample(source.read(now_ms))

    def forecast(self, first_slot: int, slots: int, slot_ms: int) -> Forecast:
        from node.energy.forecast.foretell import foretell
        from node.energy.forecast.history import history_of

        now_ms = first_slot * slot_ms
        told = {name: outlook.issues(now_ms) for name, outlook in self._outlooks.items()}
        forecast = foretell(
            self._config,
            self._profile,
            history_of(self._past, now_ms // MS_PER_HOUR),
            first_slot,
            slots,
            slot_ms,
            generation_issues=told.get("generation", ()),
            grid_issues=told.get("grid", ()),
        )
        missing = "".join(f"; no forecast by {o.name}: {o.fault}" for o in self._outlooks.values() if o.fault)
        return replace(forecast, provenance=forecast.provenance + missing)

    def _read_use(self, now_ms: int) -> None:
        if "use" in self._sources:
            self._use_stretch = self._use.advance(self._sources["use"].read(now_ms)) or self._use_stretch

    def _surplus(self, generated: Stretch, use: Stretch | None, reading: Reading) -> SupplyReading:
        """What the site itself used comes first. Its meter may report at other moments: then its mean power counts."""
        duration_ms = generated.end_ms - generated.start_ms
        if use is None:
            used_j, use_error_permille = ceil_div(self._config.base_load_w * duration_ms, 1000), 0
        else:
            used_j = ceil_div(use.energy_j * duration_ms, use.end_ms - use.start_ms)
            use_error_permille = use.uncertainty_permille
        surplus_j = max(0, generated.energy_j - used_j)
        error_mj = generated.energy_j * generated.uncertainty_permille + used_j * use_error_permille
        config = self._config
        return SupplyReading(
            device_id=config.device_id,
            start_ms=generated.start_ms,
            end_ms=generated.end_ms,
            energy_j=surplus_j,
            meter_start_j=generated.meter_start_j,
            meter_end_j=generated.meter_end_j,
            carrier=config.carrier,
            method=reading.method,
            capacity_w=config.capacity_w,
            own_g_per_kwh=config.own_g_per_kwh,
            grid_g_per_kwh=0,  # see _with_grid
            intensity_kind="avg_lifecycle",
            intensity_source="",
            uncertainty_permille=min(1000, ceil_div(error_mj, surplus_j))
            if surplus_j
            else generated.uncertainty_permille,
            read_at_ms=generated.end_ms,
            source=reading.provenance[:NAME_MAX],
            signatures=_signatures(generated),
        )

    def _with_grid(self, reading: SupplyReading, now_ms: int) -> SupplyReading:
        """The same with what the grid emitted meanwhile, as far as anybody knows."""
        marginal, carbon_free = self._optional("marginal", now_ms), self._optional("carbon_free", now_ms)
        reading = replace(
            reading,
            marginal_g_per_kwh=marginal.value if marginal else None,
            carbon_free_permille=carbon_free.value if carbon_free else None,
        )
        grid = self._optional("grid", now_ms)
        if grid is not None:
            return replace(
                reading,
                grid_g_per_kwh=grid.value,
                intensity_kind=AVERAGES[grid.kind],
                intensity_source=grid.provenance[:NAME_MAX],
            )
        declared = self._profile.read(reading.start_ms, reading.end_ms)
        failed = "; energy.grid gave no figure" if "grid" in self._sources else ""
        return replace(
            reading,
            grid_g_per_kwh=declared.grid_g_per_kwh,
            intensity_kind=declared.intensity_kind,
            intensity_source=declared.intensity_source[: NAME_MAX - len(failed)] + failed,
        )

    def _optional(self, section: str, now_ms: int) -> Reading | None:
        """A figure that the reading can do without; why it is missing stands in `health`."""
        if section not in self._sources:
            return None
        try:
            return self._sources[section].read(now_ms)
        except SourceError:
            return None


def _is_about(use: Stretch, generated: Stretch) -> bool:
    """Whether both are of one time, or nearly: what a site used in the night says nothing of its morning."""
    return abs(generated.end_ms - use.end_ms) <= READING_MAX_MS


def _signatures(stretch: Stretch) -> MeterSignatures | None:
    """Both ends signed by one key, or nothing."""
    start, end = stretch.start_signature, stretch.end_signature
    if start is None or end is None or start.key != end.key:
        return None
    return MeterSignatures(end.key, start.signature, end.signature)


def open_sources(config: EnergyConfig) -> dict[str, Watched]:
    """The sources that a configuration names, each under watch. Raises LocalError where one cannot be: a missing key or
    library, or a quantity that its section cannot be of."""
    opened = {}
    for name, kinds in KINDS.items():
        section = getattr(config, name)
        if section is None:
            continue
        try:
            source = section.open(config.place)
        except SourceError as error:
            raise SourceError(f"[energy.{name}]: {error.cause}", error.remedy) from None
        if source.kind not in kinds:
            raise LocalError(
                "HEL-ENERGY-003",
                f"[energy.{name}] gives {source.kind.value}; {' or '.join(sorted(kinds))} is needed there",
                "Name another source or kind: average and marginal intensities are not the same thing.",
            )
        opened[name] = Watched(
            f"energy.{name} ({section.source})", source, section.stale_after_s * 1000, section.refresh_s * 1000
        )
    return opened


def open_supply(config: EnergyConfig, clock: Clock, counter_j: int = 0, past: Iterable[Interval] = ()) -> Supply:
    """What a configuration says of a site, as a Supply. `counter_j` and `past`: as for MeteredSupply.

    Raises LocalError for a source that cannot be opened, and for one that reads the world in a network whose clock is
    not the world's: its sun would stand elsewhere.
    """
    sources = open_sources(config)
    if not sources:
        return Profile(config)
    worldly = [name for name in sources if getattr(config, name).reads_the_world]
    if worldly and (clock.speed != 1 or clock.unix_ms != clock.network_ms):
        raise LocalError(
            "HEL-ENERGY-004",
            f"[energy] names {', '.join(worldly)}, and this network's clock is not the world's",
            "Sources of real figures need real time: leave the sections out here, or join a network of real time.",
        )
    return MeteredSupply(config, sources, counter_j, past)
