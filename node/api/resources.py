"""What the API answers with: one strict model per resource. `views` fills them from a node's state.

Keys and digests are hexadecimal, peers also by their libp2p id; times are milliseconds of network time; energy, carbon
and money are the protocol's integers. Every gram stands beside its method and the assurance behind it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from node.accounts.figures import Carbon, Rate, Score, Share
from node.documents import Strict
from protocol.messages import Carrier, Count, Method, Mode, Offer, Positive

Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
PeerId = Annotated[str, Field(pattern=r"^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$")]


class Peer(Strict):
    """Who somebody is. `label` is what its operator calls it: a stranger's word, and not unique."""

    key: Hex
    peer_id: PeerId
    label: str


class Health(Strict):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(Strict):
    """The node can do its work."""

    ready: Literal[True] = True


class Power(Strict):
    """This node's power now: its newest reading, or without one what is expected for this slot; and what was attested
    last."""

    carrier: Carrier
    zone: str
    surplus_w: int | None  # None: neither reading nor forecast
    grid_g_per_kwh: int | None
    attested_until_ms: int | None
    method: Method | None  # None while no reading comes: then nothing is attested
    assurance: int | None  # level A0 to A3 of the last attestation
    unattested: str  # why the newest reading was not attested; "" if it was
    unaudited: str  # why no auditor countersigned it; "" if one did, or it would gain nothing
    paused_by: str  # the operator's rule that holds now; "" while the node works


class ActiveShard(Strict):
    """A shard that this node trains now."""

    job: Hex
    name: str
    shard: int
    rounds_done: int
    rounds: int


class OthersJobs(Strict):
    """Jobs of others, as this node met them: why it is idle."""

    seen: int
    bids: int
    placed: int
    declined: tuple[str, ...]  # why open jobs got no bid of ours, each reason once


class Nobody(Strict):
    """Why nobody is connected, and what to do about it, the likeliest first."""

    reason: str
    remedies: tuple[str, ...]


class ThisNode(Strict):
    """The node that answers."""

    identity: Peer
    version: str
    network: Hex
    network_name: str
    now_ms: int
    slot: int
    slot_ms: int
    clock_speed: int
    surplus_assurance_min: int
    started_at_unix_ms: int
    addresses: tuple[str, ...]
    peers_connected: int
    peers_known: int
    nobody: Nobody | None  # while nobody is connected
    ledger_entries: int
    forks: int
    witness: bool  # of this network, by its genesis
    auditor: bool  # the same
    offer: Offer | None
    power: Power
    shards: tuple[ActiveShard, ...]
    jobs: OthersJobs


class AccountOf(Strict):
    """How a debtor stands with a creditor. `acknowledged` is the debtor's IOU, `paid` what the creditor says was paid
    of it, both over all time; `waiting` was settled and waits for an IOU."""

    debtor: Peer
    creditor: Peer
    limit_microcredits: int
    acknowledged_microcredits: int
    paid_microcredits: int
    waiting_microcredits: int


class AccountList(Strict):
    accounts: tuple[AccountOf, ...]


class Payment(Strict):
    """What a debtor has paid outside the ledger, over all time: said twice, it counts once."""

    debtor: Annotated[str, Field(max_length=64)]  # peer id or key
    total_microcredits: Positive


class KnownPeer(Strict):
    """A peer that is connected or has advertised."""

    identity: Peer
    connected: bool
    advert_age_ms: int | None
    advert_fresh: bool
    zone: str | None
    carrier: Carrier | None
    device: str | None
    addresses: tuple[str, ...]
    round_trip_ms: int | None  # None: not measured yet, or this node does not say where it stands
    doubt: str  # why it cannot be where it says; "" if it can


class FailedAddress(Strict):
    """An address that does not answer; it is dialled again, forever."""

    address: str
    failures: int
    reason: str


class PeerList(Strict):
    peers: tuple[KnownPeer, ...]
    unreachable: tuple[FailedAddress, ...]


class LiveOffer(Strict):
    """What a provider offers now, by its newest advert. Arrays hold one value per slot from `first_slot` on."""

    identity: Peer
    own: bool
    offer: Offer
    free_units: int
    first_slot: int
    surplus_s50_j: tuple[int, ...]
    surplus_s20_j: tuple[int, ...]
    grid_g_per_kwh: tuple[int, ...]
    method: Method | None  # of the newest attestation behind it
    assurance: int | None  # the lowest of those behind it
    reliability_permille: int  # how much of its forecast counts, by how earlier ones came true
    expires_at_ms: int


class OfferList(Strict):
    offers: tuple[LiveOffer, ...]


class Matching(Strict):
    """One run of the matching: `table` as of `node.matching.bids.explain.table`, `summary` as of its `summary`."""

    table: tuple[dict[str, Any], ...]
    summary: dict[str, Any]


class DryRun(Matching):
    """What the matching would choose if every peer bid what it advertises."""

    feasible: bool
    candidates: int
    slots: int
    first_slot: int
    deadline_slot: int
    tokens: int


class JobSummary(Strict):
    """A job in a list. `phase` is known for own jobs since the node's start, `status` for all, from the ledger."""

    id: Hex
    name: str
    owner: Peer
    own: bool
    mode: Mode
    status: str
    phase: str | None
    shards: int
    rounds_done: int
    rounds: int
    submitted_at_ms: int


class JobList(Strict):
    jobs: tuple[JobSummary, ...]


class PlacementOf(Strict):
    """A shard's place: price, expected energy and carbon as awarded. `reason` says why it was revoked. `confirmed`:
    award and lease can never be taken back; None in a network without witnesses."""

    award: Hex
    shard: int
    provider: Peer
    status: str
    first_slot: int
    slots: int
    price_microcredits_per_unit_hour: int
    energy_j: int
    carbon_ug: int
    reason: str
    confirmed: bool | None


class Round(Strict):
    """A closed round. `loss_millinats`: mean training loss of its shards, thousandths of a nat per byte."""

    round: int
    shards: int
    loss_millinats: int
    tokens: int
    duration_ms: int


class ReceiptOf(Strict):
    """What was delivered under a lease, and what the owner made of it (`accepted` None: not settled yet)."""

    id: Hex
    provider: Peer
    shard: int
    first_round: int
    rounds: int
    final: bool
    tokens: int
    energy_j: int
    surplus_j: int
    moved_bytes: int
    transfer_ug: int
    carbon_ug: int
    method: Method
    power_source: str
    assurance: int | None
    uncertainty_permille: int
    accepted: bool | None
    amount_microcredits: int
    reason: str


class CarbonAccount(Strict):
    """A job's totals by its receipts (`node.carbon.Account`); lost and refused work is in them. `reported_*`: what its
    shards have reported so far, before receipts settle it. `assurance`: the lowest behind any surplus, None where no
    surplus counts."""

    energy_j: int
    surplus_j: int
    idle_j: int
    overhead_j: int
    redundant_j: int
    embodied_ug: int
    carbon_ug: int
    lost_energy_j: int
    lost_carbon_ug: int
    redundant_ug: int
    moved_bytes: int
    transfer_j: int
    transfer_ug: int
    tokens: int
    inner_steps: int
    methods: tuple[Method, ...]
    power_sources: tuple[str, ...]
    assurance: int | None
    uncertainty_permille: int
    reported_energy_j: int
    reported_carbon_ug: int


class Counterfactual(Strict):
    """What the same work would have emitted by another choice; the saving is negative where that were greener."""

    carbon_ug: int
    saving_permille: int


class JobCarbon(Strict):
    """A job's carbon in several ways side by side (`node.figures.Report`), and what other choices would have emitted:
    by name, None where the record of its first matching is not at hand."""

    id: Hex
    name: str
    status: str
    account: CarbonAccount
    location: Carbon
    market: Carbon
    certified_j: int
    carbon_free: Score | None
    marginal: Carbon | None
    marginal_known_j: int
    sci_per_token: Rate | None
    sci_per_step: Rate | None
    shares: tuple[Share, ...]
    counterfactuals: dict[str, Counterfactual] | None


class BlobOf(Strict):
    """A file by its content; its bytes are at `/v1/blobs/{sha256}`."""

    sha256: Hex
    size_bytes: Count


class JobDetail(JobSummary):
    """A job, from its request to its receipts. Losses are on held-out text, 0 before the first is known."""

    request: dict[str, Any]  # the signed body
    bids: int
    bids_close_at_ms: int
    placements: tuple[PlacementOf, ...]
    matchings: tuple[Matching, ...]
    unplaceable: bool  # it was closed because no feasible placement was found
    history: tuple[Round, ...]
    replaced_shards: int
    loss_first_millinats: int
    loss_last_millinats: int
    account: CarbonAccount
    receipts: tuple[ReceiptOf, ...]
    outcome: str | None
    reason: str
    checkpoint: BlobOf | None
    sample: str
