"""The answer: where each shard goes, what became of every candidate, and what would help when nothing fits."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from node.matching.bids.demand import Candidate, Demand, Window, price_of_shard
from node.matching.bids.refusal import Refusal
from node.matching.changes import Relaxation
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
    """A shard, the window it got, and what is paid for it. Sums over shards on one peer are exact: each counts what the
    ranks before left."""

    shard: int
    window: Window
    price_microcredits_per_unit_hour: int
    price_microcredits: int  # for all of the window

    def placement(self) -> messages.Placement:
        """As it stands in an award."""
        return messages.Placement(
            shard=self.shard,
            provider=self.window.candidate.provider,
            bid=self.window.candidate.bid,
            first_slot=self.window.first_slot,
            slots=self.window.slots,
            price_microcredits_per_unit_hour=self.price_microcredits_per_unit_hour,
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
        """Microcredits of all shards, as they are paid."""
        return sum(placed.price_microcredits for placed in self.placements)


def assign(demand: Demand, gang: tuple[Window, ...]) -> tuple[PlannedShard, ...]:
    """The demand's shards on the windows of a gang, lowest index on the most preferred.

    All in one zone and on one device are paid the highest bid among them, and start together: who asks less than what
    sets the price is paid no less for it.
    """
    highest: dict[tuple[str, str], int] = {}
    for window in gang:
        like, asked = _like(window.candidate), window.candidate.price_microcredits_per_unit_hour
        highest[like] = max(asked, highest.get(like, 0))
    return tuple(
        PlannedShard(shard, window, price, price_of_shard(price, demand))
        for shard, window in zip(sorted(demand.shards), gang, strict=True)
        for price in (highest[_like(window.candidate)],)
    )


def _like(candidate: Candidate) -> tuple[str, str]:
    return candidate.zone, candidate.device
