"""The node as a pure state machine: `handle(event, now_ms)` returns what is to be done, in order.

No clock, no socket, no file, no await; all chance comes from the generator given at the start. `now_ms` is network
time. The same Node runs under `runtime` on a real machine and under `sim.world` in virtual time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ledger.doubts import Watch
from ledger.ledger import Ledger
from node.actions import (
    Action,
    Blame,
    SetTimeout,
)
from node.claims.attesting import Attesting
from node.claims.claiming import on_claim
from node.claims.countersigning import Countersigning, both
from node.claims.sourcing import Sourcing
from node.dialling import Dialling, Remembered
from node.discovery import Discovery
from node.energy.rules import Rule
from node.events import (
    ApprovalsRead,
    ClaimMade,
    DebtPaid,
    DeviceDeclared,
    DialFailed,
    EntriesVerified,
    Event,
    ForksFound,
    GossipReceived,
    JobCancelled,
    JobSubmitted,
    LeadFailed,
    LinkRestarted,
    Matched,
    MatchingsWanted,
    MessageReceived,
    MeterFailed,
    MeterRead,
    ModelFinished,
    ModelReady,
    MomentsKept,
    OuterStepped,
    PeerConnected,
    PeerDisconnected,
    PeersFound,
    ReachabilityChanged,
    Refolded,
    RoundTrained,
    RulesChanged,
    ShardFailed,
    ShardId,
    ShardSaved,
    ShardStarted,
    Started,
    Stopping,
    StoreDischarged,
    Timer,
    TimerFired,
    TimerKind,
    TreeRead,
)
from node.feeds.checkpoints import Checkpoints
from node.feeds.exchange import Exchange, decode_cursors
from node.feeds.finality import Finality
from node.feeds.own_feed import OwnFeed, Signing
from node.feeds.records import Records
from node.feeds.refold import Refolding
from node.market.advertising import Advertising
from node.market.book import AdvertBook
from node.market.credit import Credit, Terms
from node.market.handover import Handover
from node.market.pausing import Pausing
from node.market.provider import Provider
from node.market.requester import Requester
from node.market.tickets import TicketOffice
from node.messages import EXCHANGE, MARKET
from node.peers import Peers
from node.reachability import Reachability, said
from node.reconcile import RECONCILE_EVERY_MS
from node.round_trips import RoundTrips
from node.timers import MARKET_TIMERS, TIMERS
from node.turn import Identity, Turn
from protocol.direct import decode_direct
from protocol.envelope import Entry
from protocol.errors import Reject
from protocol.identity import peer_id
from protocol.messages import Offer, Place, Revocation
from protocol.regions import OTHER, REGIONS, region_of


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept beside entries: the epoch of the store's positions, how far each peer's store has been read, the
    checkpoints of feeds, and addresses of the last run."""

    epoch: bytes
    cursors: Mapping[bytes, bytes]
    checkpoints: Checkpoints | None = None
    peers: tuple[Remembered, ...] = ()


NOTHING_KEPT = Kept(bytes(16), {})


class Node:
    """One peer: its book of peers, its ledger, what it sells and what it buys."""

    def __init__(
        self,
        identity: Identity,
        ledger: Ledger,
        offer: Offer | None,
        bootstrap: tuple[str, ...],
        *,
        terms: Terms = Terms(),  # noqa: B008, frozen
        kept: Kept = NOTHING_KEPT,
        may_sign: bool = True,
        rules: tuple[Rule, ...] = (),
        place: Place | None = None,
        regions: Collection[str] = REGIONS,
    ) -> None:
        """`offer` None: the node only buys. `bootstrap`: addresses to dial, now and forever. `terms`: of settlement.
        `may_sign`: the key is fresh, or the operator vouches for this ledger; else peers are asked first
        (`own_feed`). `rules`: the operator's, when to pause. `place`: where the node stands. `regions`: whose
        adverts it listens to."""
        self.identity = identity
        self.ledger = ledger
        self.tickets = TicketOffice()
        self.dialling: Dialling = Dialling(identity.key, bootstrap, kept.peers)
        self.peers: Peers = Peers(
            identity.key, identity.label, self.dialling, AdvertBook(identity.key, frozenset(regions))
        )
        self.exchange: Exchange = Exchange(self.peers, kept.epoch, decode_cursors(kept.cursors))
        self.own_feed: OwnFeed = OwnFeed(self.peers, Signing.ALLOWED if may_sign else Signing.UNCONFIRMED)
        self.records: Records = Records()
        self.refolding: Refolding = Refolding()
        self.checkpoints: Checkpoints = kept.checkpoints or Checkpoints()
        self.finality: Finality = Finality(self.peers, self.checkpoints)
        self.credit = Credit(terms)
        self.attesting: Attesting = Attesting(self.peers)
        self.round_trips: RoundTrips = RoundTrips(place)
        self.countersigning: Countersigning = Countersigning(both(Watch().findings, self.round_trips.findings))
        self.advertising = Advertising(self.peers)
        self.provider: Provider = Provider(offer, self.tickets, self.credit, self.attesting, self.advertising)
        self.requester: Requester = Requester(self.peers, self.tickets)
        self.sourcing = Sourcing()
        self.handover: Handover = Handover(self.provider)
        self.pausing: Pausing = Pausing(self.provider, self.handover, rules)
        self.addresses: tuple[str, ...] = ()
        self.reachability = Reachability()
        stands_at, device = (offer.place if offer else place), (offer.device if offer else "cpu")
        region = region_of(stands_at.zone) if stands_at else OTHER
        self.discovery: Discovery = Discovery(
            self.peers, region, device, provides=offer is not None, regions=tuple(sorted(regions))
        )

    @property
    def may_sign(self) -> bool:
        """Whether this node sells and buys now. If not it only listens, learns and serves entries: here is the one
        gate before everything that signs."""
        return self.own_feed.signing is Signing.ALLOWED and self.identity.key not in self.ledger.forks

    def handle(self, event: Event, now_ms: int) -> list[Action]:
        """Take one event; return the actions it asks for, durable ones first. Never raises for what a stranger sent."""
        turn = Turn(self.identity, self.ledger, now_ms)
        if self.may_sign or type(event) not in MARKET_EVENTS:
            self._on_event[type(event)](self, turn, event)
        self._draw_consequences(turn)
        if self.own_feed.check(turn):
            self._open_market(turn)
            self._draw_consequences(turn)
        self.refolding.watch(turn)
        self.checkpoints.watch(turn)
        if self.may_sign:
            self.finality.watch(turn)
        return turn.actions()

    def _draw_consequences(self, turn: Turn) -> None:
        while turn.judged:
            entry = turn.judged.popleft()
            if self.may_sign:
                self._on_judged(turn, entry)

    # --- events -----------------------------------------------------------------------------------------------------

    def _on_started(self, turn: Turn, event: Started) -> None:
        self.addresses = event.addresses
        self.tickets.on_started(event)
        self.exchange.on_started(turn)
        self.dialling.on_started(turn)
        self.peers.book.on_started(turn)
        self.round_trips.on_started(turn)
        if self.may_sign:
            self._open_market(turn)

    def _open_market(self, turn: Turn) -> None:
        """Sell and buy, from now on; what the ledger asks of us since we last did is made good."""
        self.provider.on_started(turn, self.addresses)
        self.requester.on_started(turn)
        turn.do(SetTimeout(Timer(TimerKind.RECONCILE), RECONCILE_EVERY_MS))

    def _on_connected(self, turn: Turn, event: PeerConnected) -> None:
        self.peers.on_connected(turn, event)
        self.own_feed.on_connected(turn, event.peer)
        self.exchange.on_connected(turn, event.peer)
        self.finality.on_connected(turn, event.peer)
        self.round_trips.on_connected(turn, event.peer)
        self.discovery.on_connected(turn)
        if self.may_sign:
            self.advertising.on_connected(turn)

    def _on_disconnected(self, turn: Turn, event: PeerDisconnected) -> None:
        self.peers.on_disconnected(turn, event)
        self.exchange.on_disconnected(turn, event.peer)
        if self.may_sign:
            self.requester.on_disconnected(turn, event.peer)

    def _on_reachability(self, turn: Turn, event: ReachabilityChanged) -> None:
        """Advertise where others can dial us now."""
        if event.reachability != self.reachability:
            self.reachability = event.reachability
            self.tickets.on_reachability(self.reachability)
            turn.notify("reachability", verdict=self.reachability.reach.value, text=said(self.reachability))
        if event.addresses != self.addresses:
            self.addresses = self.provider.addresses = event.addresses
            self.discovery.soon(turn)
            if self.may_sign:
                self.provider.advertise_soon(turn)

    def _on_link_restarted(self, turn: Turn, event: LinkRestarted) -> None:
        self.dialling.on_link_restarted(turn)
        self.discovery.soon(turn)

    def _on_gossip(self, turn: Turn, event: GossipReceived) -> None:
        region = self.identity.topics.region(event.topic)
        if region is not None:
            self.peers.on_gossip(turn, event.peer, region, event.data)
        elif event.topic == self.identity.topics.entries:
            self.exchange.on_announcement(turn, event.peer, event.data)
        elif event.topic == self.identity.topics.checkpoints:
            self.checkpoints.on_heard(turn, event.peer, event.data)

    def _on_message(self, turn: Turn, event: MessageReceived) -> None:
        try:
            message = decode_direct(event.data)
        except Reject as refusal:
            turn.notify("message refused", peer=peer_id(event.peer), reason=str(refusal))
            turn.do(Blame(event.peer))
            return
        handle = EXCHANGE.get(type(message)) or (MARKET.get(type(message)) if self.may_sign else None)
        if handle is not None:
            handle(self, turn, event.peer, message)

    def _on_round_trained(self, turn: Turn, event: RoundTrained) -> None:
        self.provider.on_round_trained(turn, event)
        self.handover.on_round_trained(turn, event.shard)

    def _on_submitted(self, turn: Turn, event: JobSubmitted) -> None:
        self.requester.on_submitted(turn, event)
        self.discovery.on_job(turn, event.job)

    def _on_tree(self, turn: Turn, event: TreeRead) -> None:
        if self.checkpoints.on_tree(turn, event):
            self.provider.on_final(turn)
        if event.author == self.identity.key and self.may_sign:
            self.finality.on_tree(turn, event)

    def _on_meter(self, turn: Turn, event: MeterRead | MeterFailed) -> None:
        self.sourcing.on_meter(turn, event)
        if isinstance(event, MeterRead):
            self.provider.on_meter(turn, event)
        else:
            self.provider.on_meter_failed(turn, event)
        self.pausing.on_meter(turn, event)

    def _on_timer(self, turn: Turn, event: TimerFired) -> None:
        if self.may_sign or event.timer.kind not in MARKET_TIMERS:
            TIMERS[event.timer.kind](self, turn, event.timer)

    def _on_refolded(self, turn: Turn, event: Refolded) -> None:
        """Go on with the fresh ledger; what was begun on the word of a forked author ends."""
        self.ledger = turn.ledger = self.refolding.on_refolded(turn, event)
        if self.may_sign:
            self.provider.on_refolded(turn)
            self.requester.on_refolded(turn)

    # --- what follows from entries, ours and others' ------------------------------------------------------------------

    def _on_judged(self, turn: Turn, entry: Entry) -> None:
        """Draw the consequences of an entry that the state has taken up."""
        state = turn.state
        if entry.id in state.voids:
            return
        match entry.kind:
            case "job":
                self.provider.on_job(turn, entry.id)
            case "award":
                self.provider.on_award(turn, entry.id, state.jobs[entry.body["job"]].awards[entry.id])
            case "lease":
                self.requester.on_lease(turn, state.leases[entry.id].lease)
            case "revocation":
                body = Revocation.model_validate(entry.body)
                placement = state.placements[body.award, body.shard]
                self.provider.on_withdrawn(turn, placement.job.id, ShardId(body.award, body.shard), body.reason)
                self.provider.on_job(turn, placement.job.id)
            case "receipt":
                self.requester.on_receipt(turn, state.receipts[entry.id])
            case "settlement" if entry.author == self.identity.key:
                self.credit.acknowledge(turn, state.receipts[bytes(entry.body["receipt"])].lease.provider)
            case "credit_limit" | "discharge" if entry.body["debtor"] == self.identity.key:
                self.credit.acknowledge(turn, entry.author)
            case "closure":
                self.provider.on_withdrawn(turn, bytes(entry.body["job"]), None, "the job was closed")
            case _:
                pass

    _on_event: ClassVar[Mapping[type, Callable[[Node, Turn, Any], None]]] = {
        Started: _on_started,
        Stopping: lambda self, turn, event: self.advertising.leave(turn),
        PeerConnected: _on_connected,
        PeerDisconnected: _on_disconnected,
        ReachabilityChanged: _on_reachability,
        PeersFound: lambda self, turn, event: self.discovery.on_found(turn, event),
        DialFailed: lambda self, turn, event: self.dialling.on_dial_failed(turn, event),
        LinkRestarted: _on_link_restarted,
        GossipReceived: _on_gossip,
        MessageReceived: _on_message,
        EntriesVerified: lambda self, turn, event: self.exchange.on_verified(turn, event),
        ForksFound: lambda self, turn, event: self.exchange.on_forks_found(turn, event),
        Refolded: _on_refolded,
        TreeRead: _on_tree,
        TimerFired: _on_timer,
        MeterRead: _on_meter,
        MeterFailed: _on_meter,
        DeviceDeclared: lambda self, turn, event: self.attesting.on_signed(turn, event.device),
        StoreDischarged: lambda self, turn, event: self.attesting.on_signed(turn, event.attestation),
        ClaimMade: lambda self, turn, event: on_claim(turn, event.claim),
        ApprovalsRead: lambda self, turn, event: self.countersigning.on_approvals(turn, event),
        JobSubmitted: _on_submitted,
        MatchingsWanted: lambda self, turn, event: self.records.on_wanted(turn, event.job),
        JobCancelled: lambda self, turn, event: self.requester.on_cancelled(turn, event.job),
        DebtPaid: lambda self, turn, event: self.credit.on_paid(turn, event.debtor, event.total_microcredits),
        Matched: lambda self, turn, event: self.requester.on_matched(turn, event),
        ShardStarted: lambda self, turn, event: self.provider.on_shard_started(turn, event),
        ShardSaved: lambda self, turn, event: self.handover.on_saved(turn, event),
        MomentsKept: lambda self, turn, event: self.requester.on_moments(turn, event),
        RulesChanged: lambda self, turn, event: self.pausing.on_rules(turn, event.rules),
        RoundTrained: _on_round_trained,
        ShardFailed: lambda self, turn, event: self.provider.on_shard_failed(turn, event),
        ModelReady: lambda self, turn, event: self.requester.on_model_ready(turn, event),
        OuterStepped: lambda self, turn, event: self.requester.on_stepped(turn, event),
        ModelFinished: lambda self, turn, event: self.requester.on_model_finished(turn, event),
        LeadFailed: lambda self, turn, event: self.requester.on_lead_failed(turn, event),
    }


# Events that sell, buy or attest, and may end in a signature.
MARKET_EVENTS = frozenset(
    {
        *(
            ClaimMade,
            DebtPaid,
            DeviceDeclared,
            StoreDischarged,
            MeterRead,
            MeterFailed,
            JobSubmitted,
            JobCancelled,
            Matched,
            ShardStarted,
            RoundTrained,
            ShardSaved,
            ShardFailed,
            MomentsKept,
            RulesChanged,
        ),
        *(ModelReady, OuterStepped, ModelFinished, LeadFailed),
    }
)
