"""The operator's rules at work: when this node takes no work, and gives back what it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from node.actions import KeepRules
from node.energy.rules import Figures, Rule, Standing, figures, next_standing, works_ahead
from node.energy.supply import Forecast, SupplyReading
from node.handover import Handover
from node.provider import Provider
from node.turn import Turn
from protocol.messages import Offer


@dataclass(slots=True)
class Pausing:
    """Rules are judged at every reading of the meter; the forecast says in which slots bids promise nothing."""

    provider: Provider
    handover: Handover
    rules: tuple[Rule, ...] = ()
    standing: Standing = Standing()  # noqa: RUF009, frozen
    newest: Figures = Figures()  # noqa: RUF009, frozen

    def on_reading(self, turn: Turn, reading: SupplyReading | None) -> None:
        """Judge the rules by the newest figures, and act where they turn."""
        offer = self.provider.offer
        if offer is None:
            return
        if reading is not None:
            duration_ms = reading.end_ms - reading.start_ms
            self.newest = figures(
                surplus_w=reading.energy_j * 1000 // duration_ms,
                grid_g_per_kwh=reading.grid_g_per_kwh,
                own_g_per_kwh=reading.own_g_per_kwh,
                peak_w=peak_w(offer),
                marginal_g_per_kwh=reading.marginal_g_per_kwh,
                carbon_free_permille=reading.carbon_free_permille,
            )
        elif self.provider.forecast is not None:  # a silent source: what is left counts as grid
            self.newest = self._ahead(offer, self.provider.forecast)[0]
        self._judge(turn)

    def on_rules(self, turn: Turn, rules: tuple[Rule, ...]) -> None:
        """The operator has other rules from now on."""
        self.rules = rules
        turn.do(KeepRules(tuple(map(str, rules))))
        turn.notify("rules changed", rules=[str(rule) for rule in rules])
        self._judge(turn)

    def _judge(self, turn: Turn) -> None:
        before, self.standing = self.standing, next_standing(self.rules, self.standing, self.newest)
        self.provider.paused_by = self.standing.paused_by
        self.provider.closed_slots = self._closed_slots()
        if before.works and not self.standing.works:
            turn.notify("paused", rule=self.standing.paused_by)
            self.provider.advertise_soon(turn)
            self.provider.bid_for_all(turn)
            for shard, work in list(self.provider.works.items()):
                if work.lease.lease.first_slot <= turn.slot:  # a later one is judged when its time comes
                    self.handover.leave(turn, shard, f"paused by {self.standing.paused_by}")
        elif self.standing.works and not before.works:
            turn.notify("resumed", rule=before.paused_by)
            self.provider.advertise_soon(turn)
            self.provider.bid_for_all(turn)

    def _closed_slots(self) -> frozenset[int]:
        """Slots of the forecast in which the rules are expected to pause the node."""
        offer, forecast = self.provider.offer, self.provider.forecast
        if not self.rules or offer is None or forecast is None:
            return frozenset()
        expected = works_ahead(self.rules, self.standing, self._ahead(offer, forecast))
        return frozenset(slot for slot, works in enumerate(expected, start=forecast.first_slot) if not works)

    def _ahead(self, offer: Offer, forecast: Forecast) -> Sequence[Figures]:
        return [
            figures(
                surplus_w=surplus_j * 1000 // forecast.slot_ms,
                grid_g_per_kwh=grid_g_per_kwh,
                own_g_per_kwh=offer.own_g_per_kwh,
                peak_w=peak_w(offer),
            )
            for surplus_j, grid_g_per_kwh in zip(forecast.surplus_s50_j, forecast.grid_g_per_kwh, strict=True)
        ]


def peak_w(offer: Offer) -> int:
    """What all units of an offer draw at their peak, overhead included."""
    return offer.units * offer.peak_w * offer.pue_permille // 1000
