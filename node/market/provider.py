"""The selling half of a node: attests its energy, bids, leases, trains and writes receipts.

What is decided here is decided from the ledger and from this node's own worker and meter. The tensors are elsewhere: a
worker trains when asked to and reports back as an event. Whatever the lead says may reach us twice; it is done once,
and answered again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.energy import carbon_ug
from ledger.receipts import price_of
from ledger.state import JobRecord, JobStatus, LeaseRecord, PlacementRecord, PlacementStatus
from node.actions import (
    ReadMeter,
    Send,
    SetTimer,
    StopShard,
    TrainRound,
)
from node.claims.attesting import Attesting
from node.energy.supply import Forecast
from node.events import (
    MeterFailed,
    MeterRead,
    RoundTrained,
    ShardFailed,
    ShardId,
    ShardStarted,
    Timer,
    TimerKind,
)
from node.market import offering
from node.market.advertising import Advertising
from node.market.credit import Credit
from node.market.receipts import Work, is_confirmed, write_receipt
from node.market.tickets import TicketOffice
from node.turn import Turn
from protocol.adverts import Advert
from protocol.direct import Assignment, Countersigned, Failure, Finish, Ready, RoundDelta, RoundStart, WantCheckpoint
from protocol.messages import Award, Lease, Offer


@dataclass(slots=True)
class Provider:
    """`offer` is what the operator configured; None for a node that only buys."""

    offer: Offer | None
    tickets: TicketOffice
    credit: Credit
    attesting: Attesting
    advertising: Advertising
    addresses: tuple[str, ...] = ()
    forecast: Forecast | None = None  # None until the energy source has answered
    paused_by: str = ""  # the operator's rule that holds now
    closed_slots: frozenset[int] = frozenset()  # in which the rules are expected to hold
    declined: dict[bytes, str] = field(default_factory=dict)  # jobs without our bid, and why: told once
    works: dict[ShardId, Work] = field(default_factory=dict)
    finishing: dict[ShardId, str] = field(default_factory=dict)  # wait for the meter, then for their final receipt
    partial: set[ShardId] = field(default_factory=set)  # wait for the meter, then for a receipt so far

    # --- offering ---------------------------------------------------------------------------------------------------

    def on_started(self, turn: Turn, addresses: tuple[str, ...]) -> None:
        """Declare the offer where it is new; receipt what a crash interrupted; begin to advertise."""
        self.addresses = addresses
        if self.offer is None:
            return
        known = turn.state.offer_of.get(turn.identity.key)
        if known is None or known.offer != self.offer:
            turn.record(self.offer, ())
        for lease in turn.state.leases_of.get(turn.identity.key, ()):
            if not any(r.receipt.final for r in lease.receipts):
                self._finish(turn, self._begin_work(turn, lease), "the node was restarted")
        turn.do(ReadMeter())
        self.advertising.on_started(turn)

    def on_meter(self, turn: Turn, event: MeterRead) -> None:
        """Attest what the meter said, and write the receipts that waited for it."""
        if self.forecast is None:
            self.advertise_soon(turn)
        self.forecast = event.forecast
        if self.offer is None:
            return
        if event.reading is not None:
            self.attesting.on_reading(turn, event.reading, self.offer)
        if self.attesting.refused:  # nobody will be able to claim what is not attested
            self.forecast = self.forecast.without_surplus()
        self._go_on(turn)

    def on_countersigned(self, turn: Turn, peer: bytes, message: Countersigned) -> None:
        """An auditor has answered."""
        self.attesting.on_countersigned(turn, peer, message)
        self._go_on(turn)

    def on_countersignatures_due(self, turn: Turn, timer: Timer) -> None:
        self.attesting.on_due(turn, timer)
        self._go_on(turn)

    def _go_on(self, turn: Turn) -> None:
        """Receipts wait for the last joules, and those for their auditors."""
        if not self.attesting.is_waiting:
            self._write_due_receipts(turn)

    def on_meter_failed(self, turn: Turn, event: MeterFailed) -> None:
        """Go on at grid mix: nothing is attested, and no surplus is promised that nobody watches."""
        turn.notify("energy source failed", reason=event.reason)
        if self.forecast is None:
            self.advertise_soon(turn)
        expected = event.forecast or self.forecast
        self.forecast = None if expected is None else expected.without_surplus()
        self._go_on(turn)

    def on_advertise(self, turn: Turn, timer: Timer) -> None:
        self.advertising.on_timer(turn, timer, self._advert(turn))

    def advertise_soon(self, turn: Turn) -> None:
        if self.offer is not None:
            self.advertising.soon(turn)

    def _advert(self, turn: Turn) -> Advert | None:
        """What is on offer now; None before there is a forecast."""
        if self.offer is None or self.forecast is None:
            return None
        return offering.advert(turn, self.offer, self.forecast, self.addresses, self.closed_slots)

    # --- bidding and leasing ----------------------------------------------------------------------------------------

    def on_job(self, turn: Turn, job_id: bytes) -> None:
        """Bid for an open job, with our present facts. The buyer's matching judges whether we fit, and says why not."""
        record = turn.state.jobs.get(job_id)
        offer = turn.state.offer_of.get(turn.identity.key)
        if self.offer is None or offer is None or record is None or record.status is not JobStatus.OPEN:
            return
        known = record.bids.get(turn.identity.key)
        bid = offering.bid(turn, record, offer, self.forecast, self.closed_slots)
        if not isinstance(bid, str):
            price = bid.price_microcredits_per_unit_hour
            bid = self._lend(turn, record, price, record.job.slots) or bid
        if isinstance(bid, str):
            if self.declined.get(job_id) != bid:
                self.declined[job_id] = bid
                turn.notify("no bid", job=job_id.hex(), reason=bid)
            if known is None:
                return
            bid = offering.nothing_left(known.bid, offer)  # an earlier bid stands until another replaces it
        else:
            self.declined.pop(job_id, None)
        if known is None or known.bid != bid:  # one that says nothing new stands as it is
            turn.record(bid, (job_id, offer.id, *bid.attestations), tell=(record.owner,))

    def bid_for_all(self, turn: Turn) -> None:
        """Whoever still looks for capacity should know what we have now."""
        for job in list(turn.state.jobs.values()):
            self.on_job(turn, job.id)

    def on_award(self, turn: Turn, award_id: bytes, award: Award) -> None:
        """Countersign what was placed on us; say so at once where we cannot."""
        for placement in award.placements:
            record = turn.state.placements.get((award_id, placement.shard))  # None: void for its bidder's fork
            if record is None or placement.provider != turn.identity.key or self.offer is None:
                continue
            if record.status is not PlacementStatus.AWARDED or record.job.closure is not None:
                continue
            offer = turn.state.offer_of[turn.identity.key]
            units = record.job.job.units_per_shard
            reason = self._cannot(turn, record, offer.offer.units, units)
            price = placement.price_microcredits_per_unit_hour
            if reason := reason or self._lend(turn, record.job, price, placement.slots):
                message = Failure(award=award_id, shard=placement.shard, reason=reason)
                turn.do(Send(record.job.owner, message))
                continue
            body = Lease(
                award=award_id,
                offer=offer.id,
                shard=placement.shard,
                first_slot=placement.first_slot,
                slots=placement.slots,
                units=units,
            )
            lease = turn.record(body, (award_id, offer.id), tell=(record.job.owner,))
            if lease is not None:
                self._begin_work(turn, turn.state.leases[lease.id])
                ends_at_ms = (placement.first_slot + placement.slots) * turn.identity.genesis.slot_ms
                turn.do(SetTimer(Timer(TimerKind.LEASE_ENDS, award_id, placement.shard), ends_at_ms))

    def _cannot(self, turn: Turn, record: PlacementRecord, offered: int, units: int) -> str:
        """Why we cannot carry out a placement; "" if we can. Only what we bid for binds us."""
        bid, first_slot = record.bid.bid, record.placement.first_slot
        end_slot = first_slot + record.placement.slots
        if first_slot < bid.first_slot or end_slot > bid.first_slot + len(bid.free_units):
            return f"slots {first_slot} to {end_slot} lie outside our bid"
        if self.paused_by and first_slot <= turn.slot:
            return f"paused by {self.paused_by}"
        if end_slot <= turn.slot:
            return f"its slots ended before slot {turn.slot}, which is now"
        if reason := offering.implausible(record, turn.identity.genesis.slot_ms):
            return reason
        leased = max(turn.state.units_leased_during(turn.identity.key, first_slot, end_slot - first_slot))
        if leased + units > offered:
            return f"{offered - leased} of {units} units are free"
        return ""

    def _lend(self, turn: Turn, job: JobRecord, price_microcredits_per_unit_hour: int, slots: int) -> str:
        """Why the owner of a job may not come to owe us a shard of so many slots; "" if it may."""
        duration_ms = slots * turn.identity.genesis.slot_ms
        cost = price_of(price_microcredits_per_unit_hour, job.job.units_per_shard, duration_ms)
        return self.credit.lend(turn, job.owner, cost)

    def _begin_work(self, turn: Turn, lease: LeaseRecord) -> ShardId:
        shard = ShardId(lease.lease.award, lease.lease.shard)
        slot_ms = turn.identity.genesis.slot_ms
        self.works[shard] = Work(lease, slot_ms, max(turn.now_ms, lease.lease.first_slot * slot_ms))
        return shard

    # --- training ---------------------------------------------------------------------------------------------------

    def on_assignment(self, turn: Turn, peer: bytes, message: Assignment) -> None:
        """The lead sends what the worker needs. A stranger cannot start our workers: only the owner of a leased job."""
        shard = ShardId(message.award, message.shard)
        work = self._work_for(shard, peer)
        if work is None:
            return
        if work.ready:
            turn.do(Send(work.owner, Ready(award=shard.award, shard=shard.shard)))
        elif not work.started:
            work.data, work.moments = message.data, message.moments
            self._start(turn, shard, work)

    def on_final(self, turn: Turn) -> None:
        """More of some feed is final: perhaps a deal whose worker waits."""
        for shard, work in self.works.items():
            if self._is_waiting(shard, work):
                self._start(turn, shard, work)

    def ask_for_finality(self, turn: Turn) -> None:
        """The news that a deal is final may have been lost: ask those who have it first."""
        for shard, work in self.works.items():
            if self._is_waiting(shard, work):
                turn.do(Send(work.owner, WantCheckpoint(author=work.owner)))

    def _is_waiting(self, shard: ShardId, work: Work) -> bool:
        return bool(work.data) and not work.started and shard not in self.finishing

    def _start(self, turn: Turn, shard: ShardId, work: Work) -> None:
        """Start the worker once the deal stands: where the network has witnesses, award and lease must be final, so
        that no fork of the buyer's can take back what we work for, nor one of ours what it pays for."""
        if is_confirmed(turn.ledger, work.lease):
            work.started = True
            turn.do(work.start(shard))

    def on_shard_started(self, turn: Turn, event: ShardStarted) -> None:
        work = self._work(event.shard)
        if work is not None:
            work.ready = True
            work.moved_bytes += event.fetched_bytes
            turn.do(Send(work.owner, Ready(award=event.shard.award, shard=event.shard.shard)))

    def on_round_start(self, turn: Turn, peer: bytes, message: RoundStart) -> None:
        """Train each round once, and rounds in order; who asks again for the last one gets its delta again."""
        shard = ShardId(message.award, message.shard)
        work = self._work_for(shard, peer)
        if work is None or not work.ready:
            return
        if message.round > work.asked_round:
            work.asked_round = message.round
            turn.do(TrainRound(shard, message.round, message.parameters))
        elif work.told is not None and message.round == work.told.round:
            turn.do(Send(work.owner, work.told))

    def on_round_trained(self, turn: Turn, event: RoundTrained) -> None:
        """Book the round and tell the lead where its delta is."""
        work = self._work(event.shard)
        if work is None:
            return
        busy_since_ms = work.busy_until_ms
        energy_j = work.book(event)
        work.told = RoundDelta(
            award=event.shard.award,
            shard=event.shard.shard,
            round=event.round,
            delta=self.tickets.issue(turn, event.delta, work.owner),
            loss_millinats=event.loss_millinats,
            tokens=event.tokens,
            duration_ms=max(0, work.busy_until_ms - busy_since_ms),
            energy_j=energy_j,
            carbon_ug=self._expected_carbon_ug(turn, work, energy_j),
        )
        turn.do(Send(work.owner, work.told))
        if work.fills_a_receipt():
            self.partial.add(event.shard)
            turn.do(ReadMeter())

    def on_finish(self, turn: Turn, peer: bytes, message: Finish) -> None:
        shard = ShardId(message.award, message.shard)
        if self._work_for(shard, peer) is not None:
            self._finish(turn, shard, "done")

    def on_shard_failed(self, turn: Turn, event: ShardFailed) -> None:
        work = self._work(event.shard)
        if work is not None:
            message = Failure(award=event.shard.award, shard=event.shard.shard, reason=event.reason[:1024])
            turn.do(Send(work.owner, message))
            self._finish(turn, event.shard, event.reason)

    def on_lease_ends(self, turn: Turn, timer: Timer) -> None:
        """Capacity is bound for the leased slots and not longer."""
        self.on_shard_failed(turn, ShardFailed(ShardId(timer.key, timer.number), "the lease's slots are over"))

    def on_withdrawn(self, turn: Turn, job_id: bytes, shard: ShardId | None, reason: str) -> None:
        """The buyer revoked a placement, or closed the job (`shard` None): stop, and receipt what was done."""
        for mine, work in list(self.works.items()):
            if work.lease.placement.job.id == job_id and shard in (None, mine) and mine not in self.finishing:
                self._finish(turn, mine, reason)
        if shard is None:
            self.declined.pop(job_id, None)

    def on_refolded(self, turn: Turn) -> None:
        """Work whose lease is void, for a fork of the job's owner, ends without a receipt: none would count."""
        for shard, work in list(self.works.items()):
            lease = turn.state.leases.get(work.lease.id)
            if lease is not None:
                work.lease = lease
                continue
            del self.works[shard]
            self.finishing.pop(shard, None)
            self.partial.discard(shard)
            turn.do(StopShard(shard))
            job = work.lease.placement.job.id.hex()
            turn.notify("shard over", job=job, shard=shard.shard, reason="the job's owner signed two histories")

    def _work(self, shard: ShardId) -> Work | None:
        """What we do for a shard, unless it is being wound up."""
        return self.works.get(shard) if shard not in self.finishing else None

    def _work_for(self, shard: ShardId, peer: bytes) -> Work | None:
        """The same, if this peer may direct it."""
        work = self._work(shard)
        return work if work is not None and work.owner == peer else None

    def _expected_carbon_ug(self, turn: Turn, work: Work, energy_j: int) -> int:
        """A running estimate for people, from the forecast; the receipt is reckoned from attestations."""
        offer, forecast = work.lease.placement.bid.offer.offer, self.forecast
        if forecast is None or not forecast.first_slot <= turn.slot < offering.horizon(forecast):
            dirtiest = max(work.lease.placement.bid.bid.grid_g_per_kwh, default=0)
            return carbon_ug(energy_j, 0, 0, dirtiest, 0)
        index = turn.slot - forecast.first_slot
        surplus_w = forecast.surplus_s50_j[index] * 1000 // forecast.slot_ms
        covered_j = energy_j * surplus_w // (offer.peak_w * len(self.works))
        return carbon_ug(energy_j, covered_j, offer.own_g_per_kwh, forecast.grid_g_per_kwh[index], 0)

    # --- receipts ---------------------------------------------------------------------------------------------------

    def _finish(self, turn: Turn, shard: ShardId, reason: str) -> None:
        """Stop the worker and read the meter, so that the last joules are attested before they are receipted."""
        self.finishing[shard] = reason
        self.works[shard].close(turn.now_ms)
        turn.do(StopShard(shard))
        turn.do(ReadMeter())

    def _write_due_receipts(self, turn: Turn) -> None:
        for shard, work in self.works.items():
            if shard in self.partial and shard not in self.finishing:
                self._record_receipt(turn, work, final=False)
        self.partial.clear()
        finished = list(self.finishing.items())
        for shard, reason in finished:
            work = self.works.pop(shard)
            while work.exceeds_a_receipt():
                self._record_receipt(turn, work, final=False)
            self._record_receipt(turn, work, final=True)
            turn.notify("shard over", job=work.lease.placement.job.id.hex(), shard=shard.shard, reason=reason)
        self.finishing.clear()
        if finished:  # capacity is free again: whoever still looks for some should know
            self.bid_for_all(turn)

    def _record_receipt(self, turn: Turn, work: Work, *, final: bool) -> None:
        receipt = write_receipt(turn.state, work, final=final)
        refs = (work.lease.id, *(row.attestation for row in receipt.energy if row.attestation is not None))
        turn.record(receipt, refs, tell=(work.owner,))
