"""What the API answers about the ledger; as `resources`, of which this is the second half."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from node.api.resources import Hex, Peer
from node.documents import Strict
from protocol.messages import Method

RawHex = Annotated[str, Field(pattern=r"^([0-9a-f]{2})+$")]


class EntryOf(Strict):
    """A ledger entry. `void`: the check that it failed, None if it counts or still waits for what it refers to.
    `confirmed`: cosigned by a quorum of witnesses; None in a network without."""

    position: int | None  # in this node's store
    id: Hex
    kind: str
    author: Peer
    seq: int
    prev: Hex
    time_ms: int
    refs: tuple[Hex, ...]
    body: dict[str, Any]
    void: str | None
    confirmed: bool | None
    raw: RawHex


class EntryPage(Strict):
    """Entries behind a position. `next_after` continues; a page may be short, even empty, though more follow."""

    entries: tuple[EntryOf, ...]
    next_after: int
    more: bool


class HeadOf(Strict):
    author: Peer
    seq: int
    id: Hex


class HeadList(Strict):
    """All feeds' newest entries. Equal ledgers have equal fingerprints. `forked`: authors caught in double talk."""

    network: Hex
    entries: int
    fingerprint: str
    heads: tuple[HeadOf, ...]
    forked: tuple[Hex, ...]


class Verification(Strict):
    """All that is stored was read, and every signature, chain, rule and sum checked again. `doubles`: what two owners
    claim of one device. No rule forbids it, as each feed is judged alone; one of the two is wrong."""

    ok: Literal[True] = True
    entries: int
    forks: int
    asides: int
    checkpoints: int
    matchings: int
    fingerprint: str
    network: Hex
    network_name: str
    doubles: tuple[str, ...]


class ForkOf(Strict):
    """An author that signed two entries which cannot stand in one feed; from seq `frozen_from` on its entries are void.
    `since_ms`: when the earlier of the two says that it was signed. `raws`: both entries, so that anybody can check."""

    author: Peer
    frozen_from: int
    since_ms: int
    entries: tuple[HeadOf, HeadOf]
    raws: tuple[RawHex, RawHex]


class ForkList(Strict):
    forks: tuple[ForkOf, ...]


class Exclusion(Strict):
    """A bidder that the requester ruled out, and why, in its own words."""

    provider: Peer
    reason: str


class AwardAuditOf(Strict):
    """`follows`: whether the award is what its recorded matching gives; None where the record is not at hand.
    `left_out`: bidders of the ledger that the record lacks; they may have come late."""

    id: Hex
    matcher: str
    instance_sha256: Hex
    follows: bool | None
    placements: int
    candidates: int
    left_out: tuple[Peer, ...]
    excluded: tuple[Exclusion, ...]
    findings: tuple[str, ...]


class DeliveryOf(Strict):
    """A receipt with its settlement: `accepted` None where there is none yet."""

    receipt: Hex
    method: Method
    tokens: int
    energy_j: int
    surplus_j: int
    carbon_ug: int
    accepted: bool | None
    amount_microcredits: int
    reason: str


class ChainOf(Strict):
    """A shard's way from the bid to the settlements. Energy and carbon as awarded; deliveries have the real ones."""

    shard: int
    provider: Peer
    status: str
    bid: Hex
    award: Hex
    lease: Hex | None
    energy_j: int
    carbon_ug: int
    deliveries: tuple[DeliveryOf, ...]
    reason: str


class Totals(Strict):
    """Sums over all receipts, those of lost and refused work too; `lost_*` was reported, never receipted, and is in
    them. `owed_microcredits`: of the accepted settlements."""

    energy_j: int
    surplus_j: int
    embodied_ug: int
    carbon_ug: int
    transfer_ug: int
    lost_energy_j: int
    lost_carbon_ug: int
    owed_microcredits: int


class JobAuditOf(Strict):
    """Whether every award follows from its recorded matching, and what came of it. `violations` are of the whole
    ledger. `doubts` are what is hard to believe of the devices behind the job's energy: advice. `ok` only if everything
    could be checked and holds."""

    ok: bool
    job: Hex
    name: str
    owner: Peer
    status: str
    bids: int
    awards: tuple[AwardAuditOf, ...]
    shards: tuple[ChainOf, ...]
    totals: Totals
    violations: tuple[str, ...]
    doubts: tuple[str, ...]
