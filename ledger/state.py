"""The fold of all entries: who offers what, which job stands where, who owes whom.

Only `transitions` changes a State. Status changes go through the tables below, so that they can be read at a glance.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from itertools import accumulate

from protocol.credit import Unit
from protocol.devices import Device
from protocol.messages import (
    INTEGER_MAX,
    Award,
    Bid,
    Carrier,
    Closure,
    Job,
    Lease,
    Method,
    Offer,
    Placement,
    Receipt,
    Settlement,
    Storage,
    Zone,
)


class JobStatus(enum.StrEnum):
    """open: bids are welcome · running: every shard has been placed · done, cancelled, failed: over."""

    OPEN = "open"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


# What each act makes of a job. All of them are in its owner's feed, so none can cross another; a shard may be revoked
# after the end, and the job stays what it became.
JOB_TABLE: dict[tuple[JobStatus, str], JobStatus] = {
    (JobStatus.OPEN, "last shard placed"): JobStatus.RUNNING,
    (JobStatus.OPEN, "revocation"): JobStatus.OPEN,
    (JobStatus.OPEN, "done"): JobStatus.DONE,
    (JobStatus.OPEN, "cancelled"): JobStatus.CANCELLED,
    (JobStatus.OPEN, "failed"): JobStatus.FAILED,
    (JobStatus.RUNNING, "revocation"): JobStatus.OPEN,
    (JobStatus.RUNNING, "done"): JobStatus.DONE,
    (JobStatus.RUNNING, "cancelled"): JobStatus.CANCELLED,
    (JobStatus.RUNNING, "failed"): JobStatus.FAILED,
    (JobStatus.DONE, "revocation"): JobStatus.DONE,
    (JobStatus.CANCELLED, "revocation"): JobStatus.CANCELLED,
    (JobStatus.FAILED, "revocation"): JobStatus.FAILED,
}


class PlacementStatus(enum.StrEnum):
    """awarded: the requester chose · leased: the provider agreed · delivered: its final receipt is there ·
    settled: the final receipt was judged · revoked: the requester withdrew it."""

    AWARDED = "awarded"
    LEASED = "leased"
    DELIVERED = "delivered"
    SETTLED = "settled"
    REVOKED = "revoked"


# What each act makes of a placement. A revocation and the provider's acts may cross on the way: whatever the order of
# arrival, the outcome is the same, or peers would disagree.
PLACEMENT_TABLE: dict[tuple[PlacementStatus, str], PlacementStatus] = {
    (PlacementStatus.AWARDED, "lease"): PlacementStatus.LEASED,
    (PlacementStatus.AWARDED, "revocation"): PlacementStatus.REVOKED,
    (PlacementStatus.LEASED, "final receipt"): PlacementStatus.DELIVERED,
    (PlacementStatus.LEASED, "revocation"): PlacementStatus.REVOKED,
    (PlacementStatus.DELIVERED, "final settlement"): PlacementStatus.SETTLED,
    (PlacementStatus.DELIVERED, "revocation"): PlacementStatus.REVOKED,
    (PlacementStatus.REVOKED, "lease"): PlacementStatus.REVOKED,
    (PlacementStatus.REVOKED, "final receipt"): PlacementStatus.REVOKED,
    (PlacementStatus.REVOKED, "final settlement"): PlacementStatus.REVOKED,
}


class LotStatus(enum.StrEnum):
    """held: its holder may act on it · split, transferred: it lives on in other lots · cancelled: used up for ever ·
    stored: it lives on in a store."""

    HELD = "held"
    SPLIT = "split"
    TRANSFERRED = "transferred"
    CANCELLED = "cancelled"
    STORED = "stored"


# What each act makes of a lot of certified energy. All of them are in its holder's feed, so none can cross another.
LOT_TABLE: dict[tuple[LotStatus, str], LotStatus] = {
    (LotStatus.HELD, "split"): LotStatus.SPLIT,
    (LotStatus.HELD, "transfer"): LotStatus.TRANSFERRED,
    (LotStatus.HELD, "cancellation"): LotStatus.CANCELLED,
    (LotStatus.HELD, "charge"): LotStatus.STORED,
}


@dataclass(slots=True)
class OfferRecord:
    id: bytes
    provider: bytes
    offer: Offer


DeviceKey = tuple[bytes, str]  # its owner, and its id as `assurance.comparable` spells it
ATTESTED_MAX = 3  # the highest level of an attestation; A4 is for certificates


@dataclass(slots=True)
class DeviceRecord:
    id: bytes
    owner: bytes
    device: Device
    auditors: tuple[bytes, ...]  # who countersigned the declaration


@dataclass(slots=True)
class AttestationRecord:
    """What later entries and views ask of an attestation, and no more: providers sign one in every slot, and of all
    records these are by far the most. The body is in the store."""

    id: bytes
    author: bytes
    device_id: str  # as `assurance.comparable` spells it
    start_ms: int
    end_ms: int
    energy_j: int
    meter_start_j: int
    meter_end_j: int
    own_g_per_kwh: int
    grid_g_per_kwh: int
    zone: Zone
    carrier: Carrier | Storage
    method: Method
    source: str  # of the energy
    intensity_source: str  # of the grid's figure
    uncertainty_permille: int  # of the energy; of the grid's figure where there is no energy
    marginal_g_per_kwh: int | None
    carbon_free_permille: int | None  # of the grid's supply
    auditors: tuple[bytes, ...]  # who countersigned it
    sealed_by: DeviceRecord | None  # the device whose own key signed its counters
    ceiling: int  # no more is reached than what was charged, if it comes from a store
    assurance: int  # level A0 to A3, by the auditors of the genesis
    remaining_j: int  # not yet claimed


@dataclass(slots=True)
class BidRecord:
    id: bytes
    provider: bytes
    bid: Bid
    offer: OfferRecord
    time_ms: int
    reliability_permille: int = 0  # how much of its forecast counts, by what its author had foretold before


@dataclass(slots=True)
class TrackRecord:
    """How a provider's forecasts came out: those whose slots are not over, as slot → (foretold J, attested J so far) in
    the order of slots, and the latest of the others, as (permille that was attested, foretold J)."""

    due: dict[int, tuple[int, int]] = field(default_factory=dict)
    observations: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class ReceiptRecord:
    id: bytes
    lease: LeaseRecord
    receipt: Receipt
    settlement: Settlement | None = None
    iou: bytes | None = None  # by which the debtor acknowledged what it settled


@dataclass(slots=True)
class LeaseRecord:
    id: bytes
    provider: bytes
    lease: Lease
    placement: PlacementRecord
    receipts: list[ReceiptRecord] = field(default_factory=list)
    released_at_slot: int | None = None  # from here on the capacity is free again

    @property
    def is_over(self) -> bool:
        """Whether its final receipt is there."""
        return self.released_at_slot is not None

    @property
    def end_slot(self) -> int:
        """The last slot that it binds, + 1."""
        end_slot = self.lease.first_slot + self.lease.slots
        return end_slot if self.released_at_slot is None else min(end_slot, self.released_at_slot)


@dataclass(slots=True)
class PlacementRecord:
    award: bytes
    job: JobRecord
    placement: Placement
    bid: BidRecord
    status: PlacementStatus = PlacementStatus.AWARDED
    lease: LeaseRecord | None = None
    revocation_reason: str = ""
    lost_energy_j: int = 0  # reported by the time of a revocation, receipted or not
    lost_carbon_ug: int = 0

    def advance(self, act: str) -> None:
        """Follow the table. Raises KeyError for an act that the table does not know: a fault of this program."""
        self.status = PLACEMENT_TABLE[self.status, act]


@dataclass(slots=True)
class JobRecord:
    id: bytes
    owner: bytes
    job: Job
    time_ms: int
    bids: dict[bytes, BidRecord] = field(default_factory=dict)  # the latest of each provider
    placements: list[PlacementRecord] = field(default_factory=list)
    awards: dict[bytes, Award] = field(default_factory=dict)
    award_seqs: dict[bytes, int] = field(default_factory=dict)  # in the owner's feed
    closure: Closure | None = None
    status: JobStatus = JobStatus.OPEN

    def advance(self, act: str) -> None:
        """Follow the table. Raises KeyError for an act that the table does not know: a fault of this program."""
        self.status = JOB_TABLE[self.status, act]

    def live(self) -> dict[int, PlacementRecord]:
        """The placement that counts for each shard."""
        return {p.placement.shard: p for p in self.placements if p.status is not PlacementStatus.REVOKED}


@dataclass(slots=True)
class LotRecord:
    """Certified energy in one pair of hands. `entry` and `index` name it for ever, as `parent` names the lot that it
    came from; a lot that was issued has none."""

    entry: bytes
    index: int
    holder: bytes
    energy_j: int
    attestation: AttestationRecord
    parent: tuple[bytes, int] | None
    status: LotStatus = LotStatus.HELD

    def advance(self, act: str) -> None:
        """Follow the table. Raises KeyError for an act that the table does not know: a fault of this program."""
        self.status = LOT_TABLE[self.status, act]


@dataclass(slots=True)
class CancellationRecord:
    id: bytes
    lot: LotRecord
    beneficiary: bytes
    allocated_j: int = 0  # matched with consumption


@dataclass(slots=True)
class AllocationRecord:
    """Cancelled energy matched with what a row of a receipt drew; its id is the allocation id."""

    id: bytes
    cancellation: CancellationRecord
    receipt: ReceiptRecord
    row: int
    energy_j: int


@dataclass(slots=True)
class ChargeRecord:
    id: bytes
    attestation: AttestationRecord  # that it was made by
    is_of_lot: bool  # or claimed from the attestation itself
    energy_j: int  # before losses
    kept_j: int


@dataclass(slots=True)
class StoreRecord:
    """What is in a store, as a heap: joules, and joules times g/kWh."""

    held_j: int = 0
    held_g_j_per_kwh: int = 0
    assurance: int = ATTESTED_MAX  # the lowest of what is in it
    charged_until_ms: int = 0  # the latest end of what went in
    charges: list[ChargeRecord] = field(default_factory=list)
    discharges: list[AttestationRecord] = field(default_factory=list)


AccountKey = tuple[bytes, bytes, Unit]  # debtor, creditor


@dataclass(slots=True)
class CreditLimitRecord:
    id: bytes
    account: AccountKey
    seq: int  # in the creditor's feed
    limit: int


@dataclass(slots=True)
class DischargeRecord:
    id: bytes
    account: AccountKey
    seq: int  # in the creditor's feed
    total: int


@dataclass(slots=True)
class IouRecord:
    id: bytes
    account: AccountKey
    total: int
    limit: CreditLimitRecord
    discharge: DischargeRecord | None


@dataclass(slots=True)
class Account:
    """How one debtor stands with one creditor: the latest of each, and what was settled but not acknowledged yet."""

    limit: CreditLimitRecord | None = None
    iou: IouRecord | None = None
    discharge: DischargeRecord | None = None
    pending: dict[bytes, ReceiptRecord] = field(default_factory=dict)  # by settlement, in the debtor's order


@dataclass(slots=True)
class State:
    """Everything that follows from the entries judged so far.

    An entry is judged once everything it refers to has been.
    """

    slot_ms: int
    surplus_assurance_min: int
    auditors: tuple[bytes, ...] = ()  # of the genesis
    frozen_from: dict[bytes, int] = field(default_factory=dict)  # author → seq of its fork: void from there on
    aside: set[bytes] = field(default_factory=set)  # void entries of branches that are not in any feed here
    forked: set[bytes] = field(default_factory=set)  # void for their author's fork, in the feeds
    voids: dict[bytes, str] = field(default_factory=dict)
    offers: dict[bytes, OfferRecord] = field(default_factory=dict)  # by entry id
    offer_of: dict[bytes, OfferRecord] = field(default_factory=dict)  # the latest of each provider
    attestations: dict[bytes, AttestationRecord] = field(default_factory=dict)
    attestations_of: dict[bytes, list[AttestationRecord]] = field(default_factory=dict)  # by author, in order
    newest_of_device: dict[DeviceKey, AttestationRecord] = field(default_factory=dict)
    devices: dict[DeviceKey, DeviceRecord] = field(default_factory=dict)  # the latest declaration of each
    stores: dict[DeviceKey, StoreRecord] = field(default_factory=dict)
    tracks: dict[bytes, TrackRecord] = field(default_factory=dict)  # by provider
    jobs: dict[bytes, JobRecord] = field(default_factory=dict)
    bids: dict[bytes, BidRecord] = field(default_factory=dict)
    placements: dict[tuple[bytes, int], PlacementRecord] = field(default_factory=dict)  # by award and shard
    leases: dict[bytes, LeaseRecord] = field(default_factory=dict)
    leases_of: dict[bytes, list[LeaseRecord]] = field(default_factory=dict)  # by provider
    receipts: dict[bytes, ReceiptRecord] = field(default_factory=dict)
    first_settled: dict[tuple[bytes, bytes], int] = field(default_factory=dict)  # (owner, provider) → owner's seq
    owed_microcredits: dict[tuple[bytes, bytes], int] = field(default_factory=dict)  # (debtor, creditor)
    lots: dict[tuple[bytes, int], LotRecord] = field(default_factory=dict)  # by entry and index
    cancellations: dict[bytes, CancellationRecord] = field(default_factory=dict)
    allocations: dict[bytes, AllocationRecord] = field(default_factory=dict)
    allocated_j: dict[tuple[bytes, int], int] = field(default_factory=dict)  # by receipt and row
    accounts: dict[AccountKey, Account] = field(default_factory=dict)
    credit_limits: dict[bytes, CreditLimitRecord] = field(default_factory=dict)
    ious: dict[bytes, IouRecord] = field(default_factory=dict)
    discharges: dict[bytes, DischargeRecord] = field(default_factory=dict)

    def is_forked(self, entry_id: bytes) -> bool:
        """Whether an entry is void because its author signed two histories."""
        return entry_id in self.forked or entry_id in self.aside

    def is_newcomer(self, provider: bytes, owner: bytes, before_seq: int = INTEGER_MAX) -> bool:
        """Whether an owner had settled none of a provider's work before this entry of its own. Others' settlements do
        not count: whoever owns two keys can settle with itself."""
        return provider != owner and self.first_settled.get((owner, provider), INTEGER_MAX) >= before_seq

    def units_leased(self, provider: bytes, slot: int) -> int:
        """Units of a provider that its leases bind in a slot."""
        return self.units_leased_during(provider, slot, 1)[0]

    def units_leased_during(self, provider: bytes, first_slot: int, slots: int) -> list[int]:
        """The same for each of several slots, in one pass: to ask slot by slot would let a stranger with a few thousand
        leases hold every peer for minutes."""
        changes = [0] * (slots + 1)
        for r in self.leases_of.get(provider, ()):
            start, end = max(r.lease.first_slot, first_slot), min(r.end_slot, first_slot + slots)
            if start < end:
                changes[start - first_slot] += r.lease.units
                changes[end - first_slot] -= r.lease.units
        return list(accumulate(changes[:-1]))
