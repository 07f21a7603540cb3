"""What a node can ask for: wishes to whoever runs it, in the order in which they are to be carried out.

Each says what answers it, where anything does. What can happen to a node is in `events`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from node.events import ShardId, Timer
from node.matching.bids.demand import Candidate, Demand
from protocol.direct import Ticket
from protocol.envelope import Entry
from protocol.messages import Blob, Body, TrainingSpec


@dataclass(frozen=True, slots=True)
class Persist:
    """Make these entries durable before any later action of the same turn is carried out."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class PersistFork:
    author: bytes


@dataclass(frozen=True, slots=True)
class PersistAside:
    """Keep these entries, which stand in no feed here, together with what is persisted in the same turn."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class PersistCursor:
    """Remember how far a peer's store has been read. What it covers has been persisted in this turn or before."""

    peer: bytes
    cursor: bytes


@dataclass(frozen=True, slots=True)
class Refold:
    """Fold all stored entries anew, with the forks that are known; the answer is Refolded."""


@dataclass(frozen=True, slots=True)
class PersistCheckpoint:
    """Keep a signed note of an author's feed: as durable as entries of peers."""

    author: bytes
    size: int
    note: bytes
    is_final: bool


@dataclass(frozen=True, slots=True)
class ReadTree:
    """The root of a feed's first `size` entries, and how the tree grew there from each of `old_sizes`; the answer is
    TreeRead. None comes where the store holds less of the feed."""

    author: bytes
    size: int
    old_sizes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Cosign:
    """Answer a request for this witness's cosignature, once the promise is durable; the answer goes to the peer."""

    peer: bytes
    request: bytes
    time_s: int


@dataclass(frozen=True, slots=True)
class Publish:
    topic: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """To ourselves it comes back as MessageReceived."""

    peer: bytes
    message: Body


@dataclass(frozen=True, slots=True)
class SendEntries:
    """Read these feeds from the store, each from a seq on, and send them."""

    peer: bytes
    ranges: tuple[tuple[bytes, int], ...]


@dataclass(frozen=True, slots=True)
class SendIds:
    """Read these entries from the store and send those that are there."""

    peer: bytes
    ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SendNews:
    """Read which feeds have grown behind a position of the store, and say so."""

    peer: bytes
    epoch: bytes
    after: int


@dataclass(frozen=True, slots=True)
class FindForks:
    """Read what the store holds in the place of these entries, which are not there; the answer is ForksFound."""

    peer: bytes
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Verify:
    """Open and verify raw entries; the answer is EntriesVerified."""

    peer: bytes
    raws: tuple[bytes, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Blame:
    """This peer sent what no honest peer sends; never for what came late, or what we cannot use."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class Dial:
    address: str


@dataclass(frozen=True, slots=True)
class Provide:
    """Announce in the network's Kademlia table that this node offers a device in a region, and where it is dialled."""

    region: str
    device: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """Look up who offers a device in a region; the answer is PeersFound, if anybody is found."""

    region: str
    device: str


@dataclass(frozen=True, slots=True)
class RememberPeers:
    """Keep these addresses for the next start, and at which network time each last answered, 0 for never."""

    addresses: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class KeepRules:
    """Keep the operator's rules for the next start."""

    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Fire when network time reaches `at_ms`."""

    timer: Timer
    at_ms: int


@dataclass(frozen=True, slots=True)
class SetTimeout:
    """Fire `after_ms` of the machine's own time from now, however fast the network clock runs."""

    timer: Timer
    after_ms: int


@dataclass(frozen=True, slots=True)
class ReadMeter:
    """Read the energy source now; the answer is MeterRead or MeterFailed."""


@dataclass(frozen=True, slots=True)
class ReadApprovals:
    """Read what this auditor's operator has approved; the answer is ApprovalsRead."""


@dataclass(frozen=True, slots=True)
class Match:
    job: bytes
    candidates: tuple[Candidate, ...]
    demand: Demand


@dataclass(frozen=True, slots=True)
class SendMatching:
    """Read the record of a matching of ours and send it, if it is here."""

    peer: bytes
    award: bytes
    sha256: bytes


@dataclass(frozen=True, slots=True)
class KeepMatching:
    """Keep a record from a peer among the blobs, if it is of this hash."""

    sha256: bytes
    record: bytes


@dataclass(frozen=True, slots=True)
class StartShard:
    """Fetch the data and start a worker; the answer is ShardStarted or ShardFailed."""

    shard: ShardId
    job: bytes
    shards: int
    spec: TrainingSpec
    data: tuple[Ticket, ...]
    moments: Ticket | None = None  # of whoever trained it before


@dataclass(frozen=True, slots=True)
class TrainRound:
    """Fetch the parameters and train; the answer is RoundTrained or ShardFailed."""

    shard: ShardId
    round: int
    parameters: Ticket


@dataclass(frozen=True, slots=True)
class StopShard:
    shard: ShardId


@dataclass(frozen=True, slots=True)
class SaveShard:
    """Have the worker write its moments down; the answer is ShardSaved."""

    shard: ShardId


@dataclass(frozen=True, slots=True)
class KeepMoments:
    """Fetch the moments of a shard that leaves its peer; the answer is MomentsKept."""

    job: bytes
    shard: ShardId
    moments: Ticket


@dataclass(frozen=True, slots=True)
class PrepareModel:
    """Start the lead's worker and make the initial model; the answer is ModelReady or LeadFailed."""

    job: bytes
    spec: TrainingSpec


@dataclass(frozen=True, slots=True)
class StepOuter:
    """Fetch the deltas and take the outer step, in shard order; the answer is OuterStepped or LeadFailed."""

    job: bytes
    round: int
    deltas: tuple[tuple[ShardId, Ticket], ...]


@dataclass(frozen=True, slots=True)
class FinishModel:
    """Evaluate, sample, keep these parameters as the checkpoint; the answer is ModelFinished or LeadFailed."""

    job: bytes
    parameters: Blob


@dataclass(frozen=True, slots=True)
class CloseModel:
    """Stop the lead's worker of this job."""

    job: bytes


@dataclass(frozen=True, slots=True)
class Notify:
    """Something a person may want to know: shown in logs and on `/v1/events`."""

    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)


Lasting = Persist | PersistFork | PersistAside | PersistCursor | PersistCheckpoint
Serving = SendEntries | SendIds | SendNews

Action = (
    Lasting
    | Refold
    | ReadTree
    | Cosign
    | Publish
    | Send
    | Serving
    | FindForks
    | Verify
    | Blame
    | Dial
    | Provide
    | Look
    | RememberPeers
    | KeepRules
    | SetTimer
    | SetTimeout
    | ReadMeter
    | ReadApprovals
    | Match
    | SendMatching
    | KeepMatching
    | StartShard
    | TrainRound
    | StopShard
    | SaveShard
    | KeepMoments
    | PrepareModel
    | StepOuter
    | FinishModel
    | CloseModel
    | Notify
)
