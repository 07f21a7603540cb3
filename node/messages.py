"""What each direct message makes a node do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from node.events import ShardId
from node.feeds.finality import on_add_checkpoint
from node.turn import Turn
from protocol.direct import (
    AddCheckpoint,
    Adverts,
    Assignment,
    Checkpoint,
    Compare,
    Cosignature,
    Countersigned,
    Entries,
    Failure,
    Finish,
    Handover,
    HeadIs,
    Heads,
    Matching,
    News,
    Ping,
    Pong,
    Ready,
    RoundDelta,
    RoundStart,
    Since,
    Summary,
    Want,
    WantAdverts,
    WantCheckpoint,
    WantCountersignature,
    WantHead,
    WantIds,
    WantMatching,
)

if TYPE_CHECKING:
    from node.core import Node

Handlers = Mapping[type, Callable[["Node", Turn, bytes, Any], None]]


def _on_cosignature(node: Node, turn: Turn, peer: bytes, message: Cosignature) -> None:
    if node.finality.on_cosignature(turn, peer, message):
        node.provider.on_final(turn)


def _on_assignment(node: Node, turn: Turn, peer: bytes, message: Assignment) -> None:
    """Work that would begin in a pause is given back before it begins; unless the pause is expected to end by the
    reading that is due: the lead asks again."""
    shard, standing, closed = ShardId(message.award, message.shard), node.pausing.standing, node.provider.closed_slots
    if node.handover.is_leaving(shard):
        return
    if standing.works:
        node.provider.on_assignment(turn, peer, message)
    elif shard in node.provider.works and node.provider.works[shard].owner == peer and turn.slot in closed:
        node.handover.leave(turn, shard, f"paused by {standing.paused_by}")


def _on_round_start(node: Node, turn: Turn, peer: bytes, message: RoundStart) -> None:
    if not node.handover.is_leaving(ShardId(message.award, message.shard)):
        node.provider.on_round_start(turn, peer, message)


# By which entries travel, and about whole feeds: heard also by a node that may not sign.
EXCHANGE: Handlers = {
    Summary: lambda node, turn, peer, message: node.exchange.on_summary(turn, peer, message),
    Compare: lambda node, turn, peer, message: node.exchange.on_compare(turn, peer, message),
    Heads: lambda node, turn, peer, message: node.exchange.on_heads(turn, peer, message),
    Since: lambda node, turn, peer, message: node.exchange.on_since(turn, peer, message),
    News: lambda node, turn, peer, message: node.exchange.on_news(turn, peer, message),
    Want: lambda node, turn, peer, message: node.exchange.on_want(turn, peer, message),
    WantIds: lambda node, turn, peer, message: node.exchange.on_want_ids(turn, peer, message),
    Entries: lambda node, turn, peer, message: node.exchange.on_entries(turn, peer, message),
    WantMatching: lambda node, turn, peer, message: node.records.on_want(turn, peer, message),
    Matching: lambda node, turn, peer, message: node.records.on_matching(turn, peer, message),
    Ping: lambda node, turn, peer, message: node.round_trips.on_ping(turn, peer, message),
    Pong: lambda node, turn, peer, message: node.round_trips.on_pong(turn, peer, message),
    WantAdverts: lambda node, turn, peer, message: node.peers.book.on_want(turn, peer, message),
    Adverts: lambda node, turn, peer, message: node.peers.on_answer(turn, peer, message),
    WantHead: lambda node, turn, peer, message: node.own_feed.on_want_head(turn, peer),
    HeadIs: lambda node, turn, peer, message: node.own_feed.on_head_is(turn, peer, message),
    Checkpoint: lambda node, turn, peer, message: node.checkpoints.on_heard(turn, peer, message.note),
    WantCheckpoint: lambda node, turn, peer, message: node.checkpoints.on_want(turn, peer, message),
    AddCheckpoint: lambda node, turn, peer, message: on_add_checkpoint(turn, peer, message),
    Cosignature: _on_cosignature,
}

# Between the two sides of a deal, and with auditors: they may end in a signature.
MARKET: Handlers = {
    Assignment: _on_assignment,
    RoundStart: _on_round_start,
    Finish: lambda node, turn, peer, message: node.provider.on_finish(turn, peer, message),
    Ready: lambda node, turn, peer, message: node.requester.on_ready(turn, peer, message),
    RoundDelta: lambda node, turn, peer, message: node.requester.on_delta(turn, peer, message),
    Failure: lambda node, turn, peer, message: node.requester.on_failure(turn, peer, message),
    WantCountersignature: lambda node, turn, peer, message: node.countersigning.on_want(turn, peer, message),
    Countersigned: lambda node, turn, peer, message: node.provider.on_countersigned(turn, peer, message),
    Handover: lambda node, turn, peer, message: node.requester.on_handover(turn, peer, message),
}
