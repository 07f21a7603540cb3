"""What each timer makes a node do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from node.events import ShardId, Timer, TimerKind
from node.reconcile import reconcile
from node.turn import Turn

if TYPE_CHECKING:
    from node.core import Node


def _on_tick(node: Node, turn: Turn, timer: Timer) -> None:
    node.own_feed.on_timer(turn)
    node.exchange.on_timer(turn)
    if node.exchange.compares:
        node.checkpoints.on_tick(turn, node.peers.connected)


def _on_reconcile(node: Node, turn: Turn, timer: Timer) -> None:
    reconcile(turn, node.provider, node.requester, node.credit)
    node.handover.remind(turn)


TIMERS: Mapping[TimerKind, Callable[[Node, Turn, Timer], None]] = {
    TimerKind.SYNC: _on_tick,
    TimerKind.ADVERTISE: lambda node, turn, timer: node.provider.on_advertise(turn, timer),
    TimerKind.ASK_ADVERTS: lambda node, turn, timer: node.peers.book.on_tick(turn, node.peers.connected),
    TimerKind.REDIAL: lambda node, turn, timer: node.dialling.on_tick(turn, node.peers.connected),
    TimerKind.BIDS_CLOSE: lambda node, turn, timer: node.requester.on_bids_close(turn, timer.key, timer.number),
    TimerKind.ASSIGN: lambda node, turn, timer: node.requester.on_assign(turn, ShardId(timer.key, timer.number)),
    TimerKind.LEASES_DUE: lambda node, turn, timer: node.requester.on_leases_due(turn, timer.key),
    TimerKind.PEER_GRACE: lambda node, turn, timer: node.requester.on_grace_over(turn, timer.key),
    TimerKind.SHARD_READY_DUE: lambda node, turn, timer: node.requester.on_ready_due(
        turn, ShardId(timer.key, timer.number)
    ),
    TimerKind.ROUND_DUE: lambda node, turn, timer: node.requester.on_round_due(turn, timer.key, timer.number),
    TimerKind.RECEIPTS_DUE: lambda node, turn, timer: node.requester.on_receipts_due(turn, timer.key),
    TimerKind.LEASE_ENDS: lambda node, turn, timer: node.provider.on_lease_ends(turn, timer),
    TimerKind.RECONCILE: _on_reconcile,
    TimerKind.REFOLD: lambda node, turn, timer: node.refolding.on_timer(turn),
    TimerKind.COUNTERSIGNATURES_DUE: lambda node, turn, timer: node.provider.on_countersignatures_due(turn, timer),
    TimerKind.PING: lambda node, turn, timer: node.round_trips.on_timer(turn, node.peers.connected),
    TimerKind.PROVIDE: lambda node, turn, timer: node.discovery.on_timer(turn, timer, node.addresses),
    TimerKind.CHECKPOINT: lambda node, turn, timer: node.finality.on_tick(turn),
}

# Of these a node that may not sign hears nothing.
MARKET_TIMERS = frozenset(TimerKind) - {
    *(TimerKind.SYNC, TimerKind.REDIAL, TimerKind.REFOLD, TimerKind.PING),
    *(TimerKind.ASK_ADVERTS, TimerKind.PROVIDE),
}
