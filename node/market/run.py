"""What a requester keeps in mind about one of its jobs while it runs. The ledger holds what must outlive a crash."""

from __future__ import annotations

import enum
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from ledger.state import JobRecord
from node.events import ShardId
from protocol.direct import RoundDelta
from protocol.messages import Blob

MATCHINGS_MAX = 64


class Phase(enum.StrEnum):
    """bidding: bids are welcome · placing: awarded, waiting for leases and workers · training: rounds ·
    closing: waiting for receipts · over."""

    BIDDING = "bidding"
    PLACING = "placing"
    TRAINING = "training"
    CLOSING = "closing"
    OVER = "over"


@dataclass(slots=True)
class Member:
    """A shard and who trains it."""

    id: ShardId
    provider: bytes
    first_slot: int
    end_slot: int  # the last slot of its lease + 1
    leased: bool = False
    ready: bool = False
    leaving: str = ""  # why it hands the shard over; it is asked for no more rounds
    parted: bool = False  # nothing more is to come from it: its moments are here, or will never be
    misses: int = 0  # rounds in a row that closed without its delta
    energy_j: int = 0  # reported so far; the receipt settles it
    carbon_ug: int = 0
    deltas: dict[int, bytes] = field(default_factory=dict)  # by round, reported so far


@dataclass(slots=True)
class RoundSummary:
    """One closed round. `loss_millinats` is the mean training loss of its shards."""

    round: int
    shards: int
    loss_millinats: int
    tokens: int
    duration_ms: int


@dataclass(slots=True)
class Run:
    """One job of ours, from submission to closure."""

    record: JobRecord
    phase: Phase = Phase.BIDDING
    members: dict[int, Member] = field(default_factory=dict)  # by shard index
    former: dict[ShardId, Member] = field(default_factory=dict)  # lost or failed
    excluded: dict[bytes, str] = field(default_factory=dict)  # providers that failed us, and how
    refusals: Counter[bytes] = field(default_factory=Counter)  # awards that a provider left without lease or round
    matching: bool = False
    rematch: int = 0  # number of the last matching asked for; a timer of an earlier one is let pass
    parameters: Blob | None = None
    moments: dict[int, Blob] = field(default_factory=dict)  # of shards that were handed over
    loss_first_millinats: int = 0
    round: int = 0
    attempt: int = 0  # rounds begun; one that lost all its members is begun again
    round_began_ms: int = 0
    in_round: dict[int, ShardId] = field(default_factory=dict)  # who was asked for the present round
    deltas: dict[int, RoundDelta] = field(default_factory=dict)
    stepping: bool = False
    extensions: int = 0
    history: list[RoundSummary] = field(default_factory=list)
    checkpoint: Blob | None = None
    loss_last_millinats: int = 0
    sample: str = ""
    # One per matching, why each peer was chosen or not; of a job that searches for long, the last ones.
    tables: deque[list[dict[str, Any]]] = field(default_factory=lambda: deque(maxlen=MATCHINGS_MAX))
    summaries: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=MATCHINGS_MAX))

    @property
    def id(self) -> bytes:
        return self.record.id

    def find(self, shard: ShardId) -> Member | None:
        """The member that trains this shard now."""
        member = self.members.get(shard.shard)
        return member if member is not None and member.id == shard else None
