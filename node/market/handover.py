"""A shard leaves this node before its work is done, and takes along what it has learned. The selling side.

The round under way is trained to its end, the worker writes its AdamW moments down, and the lead is told where they
are. It fetches them, withdraws the placement and looks for another peer, or waits for this one: that is its matching's
choice. Until then this node serves what it made; the receipt follows the withdrawal, as always.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from node.actions import SaveShard, Send
from node.events import ShardId, ShardSaved
from node.market.provider import Provider
from node.turn import Turn
from protocol import direct


@dataclass(slots=True)
class Handover:
    """`leaving`: why each shard leaves, and what its lead was told; None while its worker is not done."""

    provider: Provider
    leaving: dict[ShardId, tuple[str, direct.Handover | None]] = field(default_factory=dict)

    def leave(self, turn: Turn, shard: ShardId, reason: str) -> None:
        """Begin; a shard that has trained no round here has nothing to take along."""
        work = self.provider.works.get(shard)
        if work is None or shard in self.provider.finishing or shard in self.leaving:
            return
        self.leaving[shard] = (reason, None)
        if not work.started:
            work.data = ()  # or its worker would start once the deal is final
        if not work.ready or work.asked_round < 0:
            self._tell(turn, shard, None)
        elif work.asked_round <= (-1 if work.told is None else work.told.round):
            turn.do(SaveShard(shard))

    def is_leaving(self, shard: ShardId) -> bool:
        return shard in self.leaving

    def on_round_trained(self, turn: Turn, shard: ShardId) -> None:
        """The round that was under way is told: now its moments."""
        if shard in self.leaving and self.leaving[shard][1] is None:
            turn.do(SaveShard(shard))

    def on_saved(self, turn: Turn, event: ShardSaved) -> None:
        """Tell the lead. Moments that could not be written begin at zero elsewhere."""
        work = self.provider.works.get(event.shard)
        if work is None or event.shard not in self.leaving:
            return
        ticket = None
        if event.moments is not None:
            ticket = self.provider.tickets.issue(turn, event.moments, work.owner, event.shard)
            work.moved_bytes += work.served_bytes(event.moments)
        self._tell(turn, event.shard, ticket)

    def remind(self, turn: Turn) -> None:
        """Say again what has not been answered by a withdrawal; forget what has."""
        for shard, (_, message) in list(self.leaving.items()):
            work = self.provider.works.get(shard)
            if work is None or shard in self.provider.finishing:
                del self.leaving[shard]
            elif message is not None:
                turn.do(Send(work.owner, message))

    def _tell(self, turn: Turn, shard: ShardId, moments: direct.Ticket | None) -> None:
        reason, _ = self.leaving[shard]
        message = direct.Handover(award=shard.award, shard=shard.shard, reason=reason, moments=moments)
        self.leaving[shard] = (reason, message)
        turn.do(Send(self.provider.works[shard].owner, message))
