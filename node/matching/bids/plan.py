"""The answer: where each shard goes, what became of every candidate, and what would help when nothing fits."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from node.matching.bids.demand import Candidate, Demand, Window
from node.matching.bids.refusal import Refusal
from node.matching.bids.relax import Relaxation
from protocol import messages


class Verdict(enum.StrEnum):
    """chosen · outbid: could take a shard, others are greener · incomplete: could take a shard, but too few others
    can to start together · refused: could not take one."""

    CHOSEN = "chosen"
    OUTBID = "outbid"
    INCOMPLETE = "incomplete"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class PlannedShard:
    """A shard and the window it got. Sums over shards on one peer are exact: each counts what the ranks before left."""

    shard: int
    window: Window

    def placement(self) -> messages.Placement:
        """As it stands in an award."""
        return messages.Placement(
            shard=self.shard,
            provider=self.window.candidate.provider,
            bid=self.window.candidate.bid,
            first_slot=self.window.first_slot,
            slots=self.window.slots,
            energy_j=self.window.energy_j,
            carbon_ug=self.window.carbon_ug,
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """What became of one candidate. Chosen: `windows` are its shards' own. Outbid: the one it would have got with the
    chosen start, or its greenest when it is not free then. Incomplete: its greenest. Refused: none, but `refusal`."""

    candidate: Candidate
    verdict: Verdict
    windows: tuple[Window, ...] = ()
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Either a placement for every shard of the demand, all from one start slot, or none and a relaxation.

    `choices` has every candidate, the chosen first, then by carbon; it is empty for a baseline, which is compared and
    not explained.
    """

    demand: Demand
    placements: tuple[PlannedShard, ...]
    choices: tuple[Choice, ...] = ()
    relaxation: Relaxation | None = None

    @property
    def start_slot(self) -> int | None:
        """Where all shards start; None without placements."""
        return self.placements[0].window.first_slot if self.placements else None

    @property
    def energy_j(self) -> int:
        """Joules of all shards."""
        return sum(placed.window.energy_j for placed in self.placements)

    @property
    def carbon_ug(self) -> int:
        """Micrograms of all shards, the hardware's making included."""
        return sum(placed.window.carbon_ug for placed in self.placements)

    @property
    def price_microcredits(self) -> int:
        """Microcredits of all shards."""
        return sum(placed.window.price_microcredits for placed in self.placements)


def assign(demand: Demand, gang: tuple[Window, ...]) -> tuple[PlannedShard, ...]:
    """The demand's shards on the windows of a gang, lowest index on the most preferred."""
    return tuple(PlannedShard(shard, window) for shard, window in zip(sorted(demand.shards), gang, strict=True))
