"""The question: what is offered (Candidate), what is asked (Demand), what a shard would cost where and when (Window).

Nothing here refuses or chooses: the hard filters are in `refusal`, the choice is in `match`. Candidate and Demand are
checked when they are made, so that a recorded instance from a stranger passes the same checks as our own.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from ledger.energy import carbon_ug, embodied_ug, intensity_g_per_kwh, shard_energy_j
from protocol.messages import ARRAY_MAX, Count, Digest, Key, Mode, Name, PerSlot, Positive, Tenant, Text, Zone
from protocol.units import MS_PER_HOUR, ceil_div

_STRICT = ConfigDict(strict=True, extra="forbid")
NEWCOMER_SHARDS_PERMILLE = 250  # of a job, though at least one shard; guess, not measured
# Guess, not measured. Each is matched too; and so many can whoever invents jobs make others yield to, but not more.
RIVALS_MAX = 16
_Shard = Annotated[int, Field(ge=0, lt=ARRAY_MAX)]


@dataclass(frozen=True, slots=True, config=_STRICT)
class Candidate:
    """One bid as the matching sees it: the facts of the offer and of the bid. Raises ValueError when inconsistent.

    Arrays hold one value per slot from `first_slot` on and are of equal length. `surplus_j` is the quantile that
    scores, already scaled by how well the provider's forecasts came true, and 0 where the surplus is attested below the
    network's `surplus_assurance_min`. Free units and surplus are what the provider has left: whatever it carries
    already is subtracted. A newcomer is one of whom this requester has settled no work yet.
    """

    bid: Digest
    provider: Key
    label: Name  # short name for people
    device: Name
    units: Positive
    memory_mb: Positive  # per unit, like rate and power
    rate_tps: Positive
    idle_w: Count
    peak_w: Positive
    pue_permille: Annotated[int, Field(ge=1000, le=10_000)]
    embodied_ug_per_unit_hour: Count
    bandwidth_mbps: Positive
    price_microcredits_per_unit_hour: Count
    tenant: Tenant
    newcomer: bool
    zone: Zone
    own_g_per_kwh: Count
    first_slot: Count
    free_units: PerSlot
    surplus_j: PerSlot
    grid_g_per_kwh: PerSlot

    @model_validator(mode="after")
    def _same_slots(self) -> Self:
        lengths = {len(self.free_units), len(self.surplus_j), len(self.grid_g_per_kwh)}
        if len(lengths) != 1:
            raise ValueError(f"per-slot arrays differ in length: {sorted(lengths)}")
        return self

    def grid_during(self, first_slot: int, slots: int) -> tuple[int, ...]:
        """The grid's intensity in g/kWh in those of the slots that the bid covers."""
        start = first_slot - self.first_slot
        return self.grid_g_per_kwh[max(0, start) : max(0, start + slots)]


@dataclass(frozen=True, slots=True, config=_STRICT)
class Demand:
    """What a job asks for now. Raises ValueError when inconsistent.

    `shards` are the indices still to be placed: all of them at first, later only the lost one. They start together and
    each takes `slots` consecutive slots on one provider, within [first_slot, deadline_slot). `occupied` names the
    provider of every other shard of the job, once per shard; `shards_per_peer` counts those too. `carbon_max_g_per_kwh`
    bounds the mean intensity of each shard's electricity (0: no cap). `rivals` ask at the same time, and their turn is
    before this one's, in this order; they name no rivals of their own.
    """

    job: Digest
    mode: Mode
    tenant: Tenant
    shards: Annotated[tuple[_Shard, ...], Field(min_length=1, max_length=ARRAY_MAX)]
    slots: Annotated[int, Field(ge=1, le=ARRAY_MAX)]
    first_slot: Count
    deadline_slot: Count  # the last slot + 1
    units_per_shard: Annotated[int, Field(ge=1, le=1024)]
    memory_mb: Count  # per unit, like rate
    rate_tps: Count  # 0: as fast as it goes
    bandwidth_mbps: Count
    price_max_microcredits_per_unit_hour: Count
    carbon_max_g_per_kwh: Count
    slot_ms: Annotated[int, Field(ge=1, le=MS_PER_HOUR)]
    shards_per_peer: Annotated[int, Field(ge=1, le=ARRAY_MAX)] = 1
    excluded: Annotated[tuple[tuple[Key, Text], ...], Field(max_length=ARRAY_MAX)] = ()  # (provider, reason)
    occupied: Annotated[tuple[Key, ...], Field(max_length=ARRAY_MAX)] = ()
    rivals: Annotated[tuple[Demand, ...], Field(max_length=RIVALS_MAX)] = ()

    @model_validator(mode="after")
    def _shards_differ(self) -> Self:
        if len(set(self.shards)) != len(self.shards):
            raise ValueError(f"shards {self.shards} name one index twice")
        if any(rival.rivals for rival in self.rivals):
            raise ValueError("a rival names rivals of its own")
        return self


@dataclass(frozen=True, slots=True)
class Window:
    """One shard on one candidate from `first_slot` on, when `rank` shards of the job already start there with it.

    Shards on one peer share its surplus, so the next one costs at least as much as the one before: sorting by cost
    never takes rank 1 before rank 0, and the costs of the ranks add up to the cost of the peer.
    """

    candidate: Candidate
    first_slot: int
    slots: int
    rank: int
    energy_j: int
    surplus_j: int  # of energy_j, covered by the peer's own
    embodied_ug: int
    carbon_ug: int  # with embodied_ug
    price_microcredits: int  # asked

    @property
    def intensity_g_per_kwh(self) -> int:
        """Mean intensity of the electricity, own and grid; the hardware's making is not in it."""
        return intensity_g_per_kwh(self.carbon_ug - self.embodied_ug, self.energy_j)


def windows(candidate: Candidate, demand: Demand, first_slot: int, count: int) -> list[Window]:
    """The windows of the first `count` shards that start in `first_slot`, all of whose slots the bid covers, by the
    ledger's own formulas. Whether there is room for them is not asked."""
    energy_j, making_ug = shard_energy(candidate, demand), shard_embodied_ug(candidate, demand)
    start = first_slot - candidate.first_slot
    rows = range(start, start + demand.slots)
    found = []
    for rank in range(count):
        left_j = [max(0, candidate.surplus_j[row] - rank * energy_j) for row in rows]
        grid = [candidate.grid_g_per_kwh[row] for row in rows]
        found.append(
            Window(
                candidate=candidate,
                first_slot=first_slot,
                slots=demand.slots,
                rank=rank,
                energy_j=energy_j * demand.slots,
                surplus_j=sum(min(energy_j, surplus) for surplus in left_j),
                embodied_ug=making_ug * demand.slots,
                carbon_ug=sum(
                    carbon_ug(energy_j, surplus, candidate.own_g_per_kwh, g_per_kwh, making_ug)
                    for surplus, g_per_kwh in zip(left_j, grid, strict=True)
                ),
                price_microcredits=price_of_shard(candidate.price_microcredits_per_unit_hour, demand),
            )
        )
    return found


def shard_energy(candidate: Candidate, demand: Demand) -> int:
    """Joules of one shard in one slot."""
    return shard_energy_j(
        units=demand.units_per_shard,
        idle_w=candidate.idle_w,
        peak_w=candidate.peak_w,
        unit_rate_tps=candidate.rate_tps,
        job_rate_tps=demand.rate_tps,
        pue_permille=candidate.pue_permille,
        duration_ms=demand.slot_ms,
    )


def shard_embodied_ug(candidate: Candidate, demand: Demand) -> int:
    """Micrograms of the making of its hardware that fall to one shard in one slot."""
    return embodied_ug(demand.units_per_shard, candidate.embodied_ug_per_unit_hour, demand.slot_ms)


def price_of_shard(microcredits_per_unit_hour: int, demand: Demand) -> int:
    """Microcredits of one shard in all its slots at this price, rounded up."""
    return ceil_div(demand.units_per_shard * microcredits_per_unit_hour * demand.slots * demand.slot_ms, MS_PER_HOUR)


def shards_left(candidate: Candidate, demand: Demand) -> int:
    """How many of the demanded shards this provider may take beside those it carries."""
    carried = demand.occupied.count(candidate.provider)
    return min(len(demand.shards), max(0, shards_max(candidate, demand) - carried))


def shards_max(candidate: Candidate, demand: Demand) -> int:
    """How many shards of the job this provider may carry. A newcomer is not given more than a part of one job."""
    if not candidate.newcomer:
        return demand.shards_per_peer
    of_job = len(demand.shards) + len(demand.occupied)
    return min(demand.shards_per_peer, max(1, of_job * NEWCOMER_SHARDS_PERMILLE // 1000))
