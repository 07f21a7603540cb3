"""What can happen to a node: facts from outside. What it asks for in return is in `actions`.

    actions = node.handle(event, now_ms)

Whatever takes longer than a few milliseconds is an action whose result comes back as an event; a timer is a value that
goes out and comes back. `runtime` brings events on a real machine, `sim.world` in virtual time.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ledger.feed import ForkProof
from ledger.ledger import Ledger
from node.claims.approval import Approval
from node.energy.power import Measured
from node.energy.rules import Rule
from node.energy.supply import Forecast, SupplyReading
from node.energy.watched import Health
from node.matching.bids.plan import Plan
from node.reachability import Reachability
from protocol.devices import Claim, Device
from protocol.envelope import Entry
from protocol.messages import Attestation, Blob, Job


class TimerKind(enum.Enum):
    SYNC = "sync"  # a tick of the exchange
    ADVERTISE = "advertise"
    ASK_ADVERTS = "ask adverts"
    REDIAL = "redial"
    BIDS_CLOSE = "bids close"
    ASSIGN = "assign"  # a placement's first slot begins
    LEASES_DUE = "leases due"
    PEER_GRACE = "peer grace"
    SHARD_READY_DUE = "shard ready due"
    ROUND_DUE = "round due"
    RECEIPTS_DUE = "receipts due"
    LEASE_ENDS = "lease ends"
    RECONCILE = "reconcile"
    REFOLD = "refold"
    CHECKPOINT = "checkpoint"
    PING = "ping"
    PROVIDE = "provide"  # what this node offers, in the Kademlia table
    COUNTERSIGNATURES_DUE = "countersignatures due"


@dataclass(frozen=True, slots=True)
class Timer:
    """`key` and `number` mean what the kind's owner says; a timer that no longer applies is let pass when it fires."""

    kind: TimerKind
    key: bytes = b""
    number: int = 0


@dataclass(frozen=True, slots=True)
class ShardId:
    """A shard in somebody's hands: an award and an index in it."""

    award: bytes
    shard: int


@dataclass(frozen=True, slots=True)
class Started:
    """First event of all. `data_url` and `certificate_sha256` are where this node serves blobs; the URL's host is its
    operator's word, or else a guess, which gives way to what peers confirm."""

    addresses: tuple[str, ...]
    data_url: str
    certificate_sha256: bytes
    is_data_host_given: bool = False


@dataclass(frozen=True, slots=True)
class Stopping:
    """The last event of an orderly end."""


@dataclass(frozen=True, slots=True)
class PeerConnected:
    peer: bytes


@dataclass(frozen=True, slots=True)
class PeerDisconnected:
    peer: bytes


@dataclass(frozen=True, slots=True)
class ReachabilityChanged:
    """Whether others can dial this node, and the addresses to advertise from now on."""

    reachability: Reachability
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DialFailed:
    """`remedy`: what an operator may do about it. `is_refusal`: the peer is there, and only an operator can change that
    it and we do not go together."""

    address: str
    reason: str
    remedy: str = ""
    is_refusal: bool = False


@dataclass(frozen=True, slots=True)
class LinkRestarted:
    """The link had died, with all connections and dials under way, and is back."""


@dataclass(frozen=True, slots=True)
class PeersFound:
    """Addresses that end in `/p2p/` and a peer's id. `where`: `mdns`, or region and device that were looked up."""

    where: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GossipReceived:
    topic: str
    peer: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class MessageReceived:
    peer: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class EntriesVerified:
    """`entries` are well-formed, of this network and signed, in the order received."""

    peer: bytes
    entries: tuple[Entry, ...]
    refusals: tuple[str, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class ForksFound:
    """A peer's old entries that conflict with ours, each with the one that we hold."""

    peer: bytes
    proofs: tuple[ForkProof, ...]


@dataclass(frozen=True, slots=True)
class Refolded:
    """The ledger of all entries that were stored when the fold ended; None, and why, if the store cannot be read."""

    ledger: Ledger | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TreeRead:
    """The root of a feed's first `size` entries, the id of the last, and consistency proofs by the size they start
    from."""

    author: bytes
    size: int
    root: bytes
    last: bytes
    proofs: Mapping[int, tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class TimerFired:
    timer: Timer


@dataclass(frozen=True, slots=True)
class MeterRead:
    """The supply's reading for the time since the last one, None if there is nothing new; its forecast; and how its
    sources stand."""

    reading: SupplyReading | None
    forecast: Forecast
    sources: tuple[Health, ...] = ()


@dataclass(frozen=True, slots=True)
class MeterFailed:
    """No reading of the time since the last one. `forecast`: what is expected all the same; None if nobody knows."""

    reason: str
    sources: tuple[Health, ...] = ()
    forecast: Forecast | None = None


@dataclass(frozen=True, slots=True)
class RulesChanged:
    """The operator's rules from now on."""

    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class DeviceDeclared:
    """Our operator declares a device; an auditor is asked to countersign it first."""

    device: Device


@dataclass(frozen=True, slots=True)
class StoreDischarged:
    """Our operator has read a battery's counter: this came out of it. An auditor is asked to countersign it first."""

    attestation: Attestation


@dataclass(frozen=True, slots=True)
class ClaimMade:
    """Our operator acts on certified energy, or charges a store."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class ApprovalsRead:
    """What this auditor's operator has approved; nothing, and why, if it could not be read."""

    approvals: tuple[Approval, ...]
    fault: str = ""


@dataclass(frozen=True, slots=True)
class JobSubmitted:
    """Our own user's job. The blobs it names are in this node's store."""

    job: Job


@dataclass(frozen=True, slots=True)
class JobCancelled:
    job: bytes


@dataclass(frozen=True, slots=True)
class DebtPaid:
    """Our operator has been paid outside: so much by this debtor, over all time."""

    debtor: bytes
    total_microcredits: int


@dataclass(frozen=True, slots=True)
class MatchingsWanted:
    """Somebody audits this job: ask its owner for the records that its awards name."""

    job: bytes


@dataclass(frozen=True, slots=True)
class Matched:
    """`instance` is the recorded input of the matching, stored as a blob; `summary` compares with the baselines."""

    job: bytes
    plan: Plan
    instance: Blob
    summary: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ShardStarted:
    """`resumed`: it goes on from the moments of whoever trained it before. `fetched_bytes` came from other peers for
    it: moments, and the data, where they were not here."""

    shard: ShardId
    resumed: bool = False
    fetched_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ShardSaved:
    """`moments` None: they could not be written."""

    shard: ShardId
    moments: Blob | None


@dataclass(frozen=True, slots=True)
class RoundTrained:
    """One round of ours is done, at `end_ms` of network time. `measured`: what the worker drew by the hardware's meter
    since its last round; None where there is no meter, or it had no figure. `fetched_bytes` came from other peers for
    it."""

    shard: ShardId
    round: int
    delta: Blob
    loss_millinats: int
    tokens: int
    inner_steps: int
    end_ms: int
    cpu_ms: int
    measured: Measured | None = None
    fetched_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ShardFailed:
    shard: ShardId
    reason: str


@dataclass(frozen=True, slots=True)
class MomentsKept:
    """The moments of a shard that leaves its peer are here; None: they could not be had."""

    job: bytes
    shard: ShardId
    moments: Blob | None


@dataclass(frozen=True, slots=True)
class ModelReady:
    """The lead's worker has made the initial model of a job."""

    job: bytes
    parameters: Blob
    loss_millinats: int  # on held-out text


@dataclass(frozen=True, slots=True)
class OuterStepped:
    job: bytes
    round: int
    parameters: Blob


@dataclass(frozen=True, slots=True)
class ModelFinished:
    job: bytes
    checkpoint: Blob
    loss_millinats: int  # on held-out text
    sample: str


@dataclass(frozen=True, slots=True)
class LeadFailed:
    """The lead's own worker, or a blob that it needs, failed."""

    job: bytes
    reason: str
    shard: ShardId | None = None  # whose delta could not be had


Event = (
    Started
    | Stopping
    | PeerConnected
    | PeerDisconnected
    | ReachabilityChanged
    | DialFailed
    | PeersFound
    | LinkRestarted
    | GossipReceived
    | MessageReceived
    | EntriesVerified
    | ForksFound
    | Refolded
    | TreeRead
    | TimerFired
    | MeterRead
    | MeterFailed
    | RulesChanged
    | DeviceDeclared
    | StoreDischarged
    | ClaimMade
    | ApprovalsRead
    | JobSubmitted
    | JobCancelled
    | DebtPaid
    | MatchingsWanted
    | Matched
    | ShardStarted
    | ShardSaved
    | MomentsKept
    | RoundTrained
    | ShardFailed
    | ModelReady
    | OuterStepped
    | ModelFinished
    | LeadFailed
)
