"""The operator's rules at work: when this node takes no work, and gives back what it has."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from node.actions import KeepRules
from node.energy.rules import Figures, Rule, Standing, figures, next_standing, works_ahead
from node.energy.supply import SupplyReading
from node.events import MeterFailed, MeterRead
from node.market.handover import Handover
from node.market.provider import Provider
from node.turn import Turn
from protocol.messages import Offer


@dataclass(slots=True)
class Pausing:
    """Rules are judged at every reading of the meter, by its mean over half a slot or more: in less a counter may not
    have moved, or by a whole unit. The forecast says in which slots bids promise nothing."""

    provider: Provider
    handover: Handover
    rules: tuple[Rule, ...] = ()
    standing: Standing = Standing()  # noqa: RUF009, frozen
    newest: Figures = Figures()  # noqa: RUF009, frozen
    recent: deque[tuple[int, int]] = field(default_factory=deque)  # surplus in J, and in how many ms

    def on_meter(self, turn: Turn, event: MeterRead | MeterFailed) -> None:
        """Judge the rules by the newest figures, and act where they turn. A reading that says nothing new turns
        nothing."""
        offer = self.provider.offer
        if offer is None:
            return
        if isinstance(event, MeterFailed):  # what is left counts as grid
            self.recent.clear()
            self.newest = next(iter(self._ahead(turn, offer)), Figures())
            self._judge(turn)
        elif event.reading is not None and (surplus_w := self._mean_w(turn, event.reading)) is not None:
            self.newest = figures(
                surplus_w=surplus_w,
                grid_g_per_kwh=event.reading.grid_g_per_kwh,
                own_g_per_kwh=event.reading.own_g_per_kwh,
                peak_w=peak_w(offer),
                marginal_g_per_kwh=event.reading.marginal_g_per_kwh,
                carbon_free_permille=event.reading.carbon_free_permille,
            )
            self._judge(turn)
        else:
            self.provider.closed_slots = self._closed_slots(turn)

    def _mean_w(self, turn: Turn, reading: SupplyReading) -> int | None:
        """Of this reading and as many before it as it takes; None while there are too few."""
        enough_ms = turn.identity.genesis.slot_ms // 2
        self.recent.append((reading.energy_j, reading.end_ms - reading.start_ms))
        duration_ms = sum(ms for _, ms in self.recent)
        while duration_ms - self.recent[0][1] >= enough_ms:
            duration_ms -= self.recent.popleft()[1]
        return sum(j for j, _ in self.recent) * 1000 // duration_ms if duration_ms >= enough_ms else None

    def on_rules(self, turn: Turn, rules: tuple[Rule, ...]) -> None:
        """The operator has other rules from now on."""
        self.rules = rules
        turn.do(KeepRules(tuple(map(str, rules))))
        turn.notify("rules changed", rules=[str(rule) for rule in rules])
        self._judge(turn)

    def _judge(self, turn: Turn) -> None:
        before, self.standing = self.standing, next_standing(self.rules, self.standing, self.newest)
        self.provider.paused_by = self.standing.paused_by
        self.provider.closed_slots = self._closed_slots(turn)
        if before.works is not self.standing.works:
            paused_by = before.paused_by or self.standing.paused_by
            turn.notify("resumed" if self.standing.works else "paused", rule=paused_by)
            self.provider.advertise_soon(turn)
            self.provider.bid_for_all(turn)
        if not self.standing.works:
            for shard, work in list(self.provider.works.items()):
                if work.lease.lease.first_slot <= turn.slot:  # a later one is judged when its time comes
                    self.handover.leave(turn, shard, f"paused by {self.standing.paused_by}")

    def _closed_slots(self, turn: Turn) -> frozenset[int]:
        """Slots of the forecast, from the present one on, at whose beginning or end the rules are expected to pause the
        node: what a slot was like is read at its end."""
        offer = self.provider.offer
        if not self.rules or offer is None:
            return frozenset()
        expected = (self.standing.works, *works_ahead(self.rules, self.standing, self._ahead(turn, offer)))
        return frozenset(slot for slot, works in enumerate(pairwise(expected), start=turn.slot) if not all(works))

    def _ahead(self, turn: Turn, offer: Offer) -> Sequence[Figures]:
        """Of each slot from the present one on, as far as the forecast reaches."""
        forecast = self.provider.forecast
        if forecast is None or turn.slot < forecast.first_slot:
            return ()
        gone = turn.slot - forecast.first_slot
        return [
            figures(
                surplus_w=surplus_j * 1000 // forecast.slot_ms,
                grid_g_per_kwh=grid_g_per_kwh,
                own_g_per_kwh=offer.own_g_per_kwh,
                peak_w=peak_w(offer),
            )
            for surplus_j, grid_g_per_kwh in zip(
                forecast.surplus_s50_j[gone:], forecast.grid_g_per_kwh[gone:], strict=True
            )
        ]


def peak_w(offer: Offer) -> int:
    """What all units of an offer draw at their peak, overhead included."""
    return offer.units * offer.peak_w * offer.pue_permille // 1000
