"""Resources about this node's own power: its sources, its newest reading, and what it expects."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from node.documents import Strict
from protocol.messages import Carrier, IntensityKind, Method


class SourceOf(Strict):
    """One source of energy data. `value` in `unit` is its last good figure, None if there was none since the start."""

    name: str
    kind: str
    unit: str
    well: bool
    value: int | None
    age_ms: int | None
    method: Method | None
    uncertainty_permille: int | None
    provenance: str | None
    failures: int
    fault: str
    remedy: str
    retry_in_ms: int  # 0: at the next reading


class IntervalOf(Strict):
    """The newest reading of the site: surplus beyond its own use, and what the grid emitted meanwhile."""

    start_ms: int
    end_ms: int
    surplus_j: int
    surplus_w: int
    method: Method
    source: str
    uncertainty_permille: int
    own_g_per_kwh: int
    grid_g_per_kwh: int
    intensity_kind: IntensityKind
    intensity_source: str
    marginal_g_per_kwh: int | None
    carbon_free_permille: int | None


class EnergyForecast(Strict):
    """What is expected, one value per slot from `first_slot` on."""

    first_slot: int
    slot_ms: int
    surplus_s50_j: tuple[int, ...]
    surplus_s20_j: tuple[int, ...]
    grid_g_per_kwh: tuple[int, ...]
    grid_s20_g_per_kwh: tuple[int, ...]  # empty: the source says no quantiles
    grid_s80_g_per_kwh: tuple[int, ...]
    provenance: str


class RuleList(Strict):
    """The operator's rules, each as in: carbon > 300 => pause."""

    rules: Annotated[tuple[Annotated[str, Field(max_length=256)], ...], Field(max_length=32)]


class EnergyNow(Strict):
    """This node's power. `assurance`: the level at which surplus counts now, 0 while the plant's source is silent."""

    carrier: Carrier
    zone: str
    capacity_w: int
    now_ms: int
    assurance: int
    surplus_assurance_min: int
    fault: str  # why the last reading as a whole failed; "" if it did not
    rules: tuple[str, ...]
    paused_by: str  # the rule that holds now; "" while the node works
    sources: tuple[SourceOf, ...]  # none: the site is declared, and modelled
    newest: IntervalOf | None
    forecast: EnergyForecast | None
