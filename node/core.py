"""The node as a pure state machine: `handle(event, now_ms)` returns what is to be done, in order.

No clock, no socket, no file, no await; all chance comes from the generator given at the start. `now_ms` is network
time. The same Node runs under `runtime` on a real machine and under `sim.world` in virtual time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ledger.ledger import Ledger
from node.actions import (
    Action,
    SetTimeout,
)
from node.events import (
    DialFailed,
    EntriesVerified,
    Event,
    GossipReceived,
    JobCancelled,
    JobSubmitted,
    LeadFailed,
    Matched,
    MatchingsWanted,
    MessageReceived,
    MeterFailed,
    MeterRead,
    ModelFinished,
    ModelReady,
    OuterStepped,
    PeerConnected,
    PeerDisconnected,
    Refolded,
    RoundTrained,
    ShardFailed,
    ShardId,
    ShardStarted,
    Started,
    Timer,
    TimerFired,
    TimerKind,
)
from node.exchange import Exchange
from node.peers import Peers
from node.provider import Provider
from node.reconcile import RECONCILE_EVERY_MS, reconcile
from node.records import Records
from node.refold import Refolding
from node.requester import Requester
from node.tickets import TicketOffice
from node.turn import Identity, Turn
from protocol.direct import (
    Assignment,
    Entries,
    Failure,
    Finish,
    Heads,
    Matching,
    Ready,
    RoundDelta,
    RoundStart,
    Want,
    WantMatching,
    decode_direct,
)
from protocol.envelope import Entry
from protocol.errors import Reject
from protocol.identity import peer_id
from protocol.messages import Offer, Revocation


class Node:
    """One peer: its book of peers, its ledger, what it sells and what it buys."""

    def __init__(self, identity: Identity, ledger: Ledger, offer: Offer | None, bootstrap: tuple[str, ...]) -> None:
        """`offer` None: the node only buys. `bootstrap`: addresses to dial, now and forever."""
        self.identity = identity
        self.ledger = ledger
        self.tickets = TicketOffice()
        self.peers = Peers(identity.key, identity.label, bootstrap)
        self.exchange = Exchange(self.peers)
        self.records = Records()
        self.refolding = Refolding()
        self.provider = Provider(offer, self.tickets)
        self.requester = Requester(self.peers, self.tickets)
        self.addresses: tuple[str, ...] = ()

    def handle(self, event: Event, now_ms: int) -> list[Action]:
        """Take one event; return the actions it asks for, durable ones first. Never raises for what a stranger sent."""
        turn = Turn(self.identity, self.ledger, now_ms)
        self._on_event[type(event)](self, turn, event)
        while turn.judged:
            self._on_judged(turn, turn.judged.popleft())
        self.refolding.watch(turn)
        return turn.actions()

    # --- events -----------------------------------------------------------------------------------------------------

    def _on_started(self, turn: Turn, event: Started) -> None:
        self.addresses = event.addresses
        self.tickets.url, self.tickets.certificate_sha256 = event.data_url, event.certificate_sha256
        self.exchange.on_started(turn)
        self.provider.on_started(turn, event.addresses)
        self.requester.on_started(turn)
        self.peers.on_started(turn)
        turn.do(SetTimeout(Timer(TimerKind.RECONCILE), RECONCILE_EVERY_MS))

    def _on_connected(self, turn: Turn, event: PeerConnected) -> None:
        self.peers.on_connected(turn, event)
        self.exchange.on_connected(turn, event.peer)
        self.provider.advertise_soon(turn)

    def _on_disconnected(self, turn: Turn, event: PeerDisconnected) -> None:
        self.peers.on_disconnected(turn, event)
        self.requester.on_disconnected(turn, event.peer)

    def _on_gossip(self, turn: Turn, event: GossipReceived) -> None:
        if event.topic == self.identity.topics.adverts:
            self.peers.on_advert(turn, event.data)
        elif event.topic == self.identity.topics.entries:
            self.exchange.on_announcement(turn, event.peer, event.data)

    def _on_message(self, turn: Turn, event: MessageReceived) -> None:
        try:
            message = decode_direct(event.data)
        except Reject as refusal:
            turn.notify("message refused", peer=peer_id(event.peer), reason=str(refusal))
            return
        match message:
            case Heads():
                self.exchange.on_heads(turn, event.peer, message)
            case Want():
                self.exchange.on_want(turn, event.peer, message)
            case Entries():
                self.exchange.on_entries(turn, event.peer, message)
            case WantMatching():
                self.records.on_want(turn, event.peer, message)
            case Matching():
                self.records.on_matching(turn, event.peer, message)
            case Assignment():
                self.provider.on_assignment(turn, event.peer, message)
            case RoundStart():
                self.provider.on_round_start(turn, event.peer, message)
            case Finish():
                self.provider.on_finish(turn, event.peer, message)
            case Ready():
                self.requester.on_ready(turn, event.peer, message)
            case RoundDelta():
                self.requester.on_delta(turn, event.peer, message)
            case Failure():
                self.requester.on_failure(turn, event.peer, message)

    def _on_timer(self, turn: Turn, event: TimerFired) -> None:
        self._on_timer_of[event.timer.kind](self, turn, event.timer)

    def _on_refolded(self, turn: Turn, event: Refolded) -> None:
        """Go on with the fresh ledger; what was begun on the word of a forked author ends."""
        self.ledger = turn.ledger = self.refolding.on_refolded(turn, event)
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
            case "closure":
                self.provider.on_withdrawn(turn, bytes(entry.body["job"]), None, "the job was closed")
            case _:
                pass

    _on_event: ClassVar[Mapping[type, Callable[[Node, Turn, Any], None]]] = {
        Started: _on_started,
        PeerConnected: _on_connected,
        PeerDisconnected: _on_disconnected,
        DialFailed: lambda self, turn, event: self.peers.on_dial_failed(turn, event),
        GossipReceived: _on_gossip,
        MessageReceived: _on_message,
        EntriesVerified: lambda self, turn, event: self.exchange.on_verified(turn, event),
        Refolded: _on_refolded,
        TimerFired: _on_timer,
        MeterRead: lambda self, turn, event: self.provider.on_meter(turn, event),
        MeterFailed: lambda self, turn, event: self.provider.on_meter_failed(turn, event),
        JobSubmitted: lambda self, turn, event: self.requester.on_submitted(turn, event),
        MatchingsWanted: lambda self, turn, event: self.records.on_wanted(turn, event.job),
        JobCancelled: lambda self, turn, event: self.requester.on_cancelled(turn, event.job),
        Matched: lambda self, turn, event: self.requester.on_matched(turn, event),
        ShardStarted: lambda self, turn, event: self.provider.on_shard_started(turn, event),
        RoundTrained: lambda self, turn, event: self.provider.on_round_trained(turn, event),
        ShardFailed: lambda self, turn, event: self.provider.on_shard_failed(turn, event),
        ModelReady: lambda self, turn, event: self.requester.on_model_ready(turn, event),
        OuterStepped: lambda self, turn, event: self.requester.on_stepped(turn, event),
        ModelFinished: lambda self, turn, event: self.requester.on_model_finished(turn, event),
        LeadFailed: lambda self, turn, event: self.requester.on_lead_failed(turn, event),
    }
    _on_timer_of: ClassVar[Mapping[TimerKind, Callable[[Node, Turn, Timer], None]]] = {
        TimerKind.SYNC: lambda self, turn, timer: self.exchange.on_timer(turn),
        TimerKind.ADVERTISE: lambda self, turn, timer: self.provider.on_advertise(turn, timer),
        TimerKind.REDIAL: lambda self, turn, timer: self.peers.on_redial(turn),
        TimerKind.BIDS_CLOSE: lambda self, turn, timer: self.requester.on_bids_close(turn, timer.key, timer.number),
        TimerKind.ASSIGN: lambda self, turn, timer: self.requester.on_assign(turn, ShardId(timer.key, timer.number)),
        TimerKind.LEASES_DUE: lambda self, turn, timer: self.requester.on_leases_due(turn, timer.key),
        TimerKind.PEER_GRACE: lambda self, turn, timer: self.requester.on_grace_over(turn, timer.key),
        TimerKind.SHARD_READY_DUE: lambda self, turn, timer: self.requester.on_ready_due(
            turn, ShardId(timer.key, timer.number)
        ),
        TimerKind.ROUND_DUE: lambda self, turn, timer: self.requester.on_round_due(turn, timer.key, timer.number),
        TimerKind.RECEIPTS_DUE: lambda self, turn, timer: self.requester.on_receipts_due(turn, timer.key),
        TimerKind.LEASE_ENDS: lambda self, turn, timer: self.provider.on_lease_ends(turn, timer),
        TimerKind.RECONCILE: lambda self, turn, timer: reconcile(turn, self.provider, self.requester),
        TimerKind.REFOLD: lambda self, turn, timer: self.refolding.on_timer(turn),
    }
