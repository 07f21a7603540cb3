"""The selling half of a node: offers its capacity, attests its energy, bids, leases, trains and receipts.

What is decided here is decided from the ledger and from this node's own worker and meter. The tensors are elsewhere:
a worker trains when asked to (`StartShard`, `TrainRound`) and reports back as an event.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.energy import carbon_ug
from ledger.state import JobStatus, LeaseRecord
from ledger.transitions import pool_allows
from node.energy.source import Forecast
from node.events import (
    MeterFailed,
    MeterRead,
    Publish,
    ReadMeter,
    RoundTrained,
    Send,
    SetTimer,
    SetTimeout,
    ShardFailed,
    ShardId,
    ShardStarted,
    StartShard,
    StopShard,
    Timer,
    TimerKind,
    TrainRound,
)
from node.receipts import Work, write_receipt
from node.tickets import TicketOffice
from node.turn import Turn
from protocol import adverts
from protocol.adverts import Advert
from protocol.direct import Assignment, Failure, Finish, Ready, RoundDelta, RoundStart
from protocol.messages import ARRAY_MAX, Attestation, Award, Bid, Lease, Offer

ADVERTISE_EVERY_MS = 10_000  # guess, not measured: NETWORK.md's cost per message allows it for some hundred peers
ADVERT_LIFETIME_MS = 600_000
ADVERT_SLOTS_MAX = 64
ATTESTATIONS_SHOWN = 4


@dataclass(slots=True)
class Provider:
    """`offer` is what the operator configured; None for a node that only buys."""

    offer: Offer | None
    tickets: TicketOffice
    addresses: tuple[str, ...] = ()
    forecast: Forecast | None = None
    works: dict[ShardId, Work] = field(default_factory=dict)
    finishing: dict[ShardId, str] = field(default_factory=dict)  # wait for the meter, then for their final receipt
    partial: set[ShardId] = field(default_factory=set)  # wait for the meter, then for a receipt so far

    # --- offering ---------------------------------------------------------------------------------------------------

    def on_started(self, turn: Turn, addresses: tuple[str, ...]) -> None:
        """Declare the offer where it is new; receipt what a crash interrupted; begin to advertise."""
        if self.offer is None:
            return
        self.addresses = addresses
        known = turn.state.offer_of.get(turn.identity.key)
        if known is None or known.offer != self.offer:
            turn.record(self.offer, ())
        for lease in turn.state.leases_of.get(turn.identity.key, ()):
            if not any(r.receipt.final for r in lease.receipts):
                self._begin_work(turn, lease)
                self._finish(turn, ShardId(lease.lease.award, lease.lease.shard), "the node was restarted")
        turn.do(ReadMeter())
        turn.do(SetTimeout(Timer(TimerKind.ADVERTISE), 0))

    def on_meter(self, turn: Turn, event: MeterRead) -> None:
        """Attest what the meter said, and write the receipts that waited for it."""
        self.forecast = event.forecast
        r = event.reading
        assert self.offer is not None
        newest = turn.state.newest_of_device.get((turn.identity.key, r.device_id))
        if newest is None or r.start_ms >= newest.attestation.end_ms:
            turn.record(
                Attestation(
                    device_id=r.device_id,
                    carrier=r.carrier,
                    method=r.method,
                    start_ms=r.start_ms,
                    end_ms=r.end_ms,
                    energy_j=r.energy_j,
                    meter_start_j=r.meter_start_j,
                    meter_end_j=r.meter_end_j,
                    capacity_w=r.capacity_w,
                    place=self.offer.place,
                    own_g_per_kwh=r.own_g_per_kwh,
                    grid_g_per_kwh=r.grid_g_per_kwh,
                    intensity_kind=r.intensity_kind,
                    intensity_source=r.intensity_source,
                    uncertainty_permille=r.uncertainty_permille,
                ),
                (),
            )
        self._write_due_receipts(turn)

    def on_meter_failed(self, turn: Turn, event: MeterFailed) -> None:
        """Go on at grid mix: no attestation, so nothing counts as surplus."""
        turn.notify("energy source failed", reason=event.reason)
        self.forecast = None
        self._write_due_receipts(turn)

    def on_advertise(self, turn: Turn) -> None:
        self.advertise(turn)
        turn.do(SetTimeout(Timer(TimerKind.ADVERTISE), ADVERTISE_EVERY_MS))

    def advertise(self, turn: Turn) -> None:
        """Say what is on offer now, as soon as there is a forecast."""
        if self.offer is not None and self.forecast is not None and self._horizon(self.forecast) > turn.slot:
            turn.do(Publish(turn.identity.topics.adverts, self._advert(turn, self.offer, self.forecast)))

    def _advert(self, turn: Turn, offer: Offer, forecast: Forecast) -> bytes:
        first, count = turn.slot, min(ADVERT_SLOTS_MAX, self._horizon(forecast) - turn.slot)
        advert = Advert(
            number=turn.now_ms,
            expires_at_ms=turn.now_ms + ADVERT_LIFETIME_MS,
            label=turn.identity.label,
            offer=offer,
            free_units=offer.units - turn.state.units_leased(turn.identity.key, first),
            first_slot=first,
            surplus_s50_j=self._left_over(turn, forecast.surplus_s50_j, first, count),
            surplus_s20_j=self._left_over(turn, forecast.surplus_s20_j, first, count),
            grid_g_per_kwh=self._window(forecast.grid_g_per_kwh, first, count),
            attestations=self._newest_attestations(turn),
            addresses=self.addresses,
        )
        return adverts.seal(turn.identity.keypair, turn.identity.network, advert)

    def _newest_attestations(self, turn: Turn) -> tuple[bytes, ...]:
        records = turn.state.attestations_of.get(turn.identity.key, [])
        return tuple(record.id for record in records[-ATTESTATIONS_SHOWN:])

    def _horizon(self, forecast: Forecast) -> int:
        return forecast.first_slot + len(forecast.grid_g_per_kwh)

    def _window(self, values: tuple[int, ...], first: int, count: int) -> tuple[int, ...]:
        assert self.forecast is not None
        offset = first - self.forecast.first_slot
        return values[max(0, offset) : max(0, offset + count)]

    def _left_over(self, turn: Turn, surplus_j: tuple[int, ...], first: int, count: int) -> tuple[int, ...]:
        """Forecast surplus less what running leases are expected to draw."""
        window = self._window(surplus_j, first, count)
        spoken_for = [
            (p.first_slot, p.first_slot + p.slots, p.energy_j // p.slots)
            for lease in turn.state.leases_of.get(turn.identity.key, ())
            if lease.released_at_slot is None
            for p in (lease.placement.placement,)
        ]
        return tuple(
            max(0, value - sum(energy_j for start, end, energy_j in spoken_for if start <= first + i < end))
            for i, value in enumerate(window)
        )

    # --- bidding and leasing ----------------------------------------------------------------------------------------

    def on_job(self, turn: Turn, job_id: bytes) -> None:
        """Bid for a job, with our present facts. The buyer's matching judges whether we fit, and says why not."""
        record = turn.state.jobs.get(job_id)
        offer = turn.state.offer_of.get(turn.identity.key)
        if record is None or offer is None or self.forecast is None or record.status is not JobStatus.OPEN:
            return
        job = record.job
        if not pool_allows(job.mode, job.tenant, offer.offer.tenant):
            turn.notify("no bid", job=job_id.hex(), reason=f"mode {job.mode} excludes our pool {offer.offer.tenant!r}")
            return
        first = max(job.first_slot, turn.slot)
        count = min(job.deadline_slot, self._horizon(self.forecast)) - first
        if count <= 0:
            turn.notify("no bid", job=job_id.hex(), reason="its window lies outside our forecast")
            return
        count = min(count, ARRAY_MAX)
        shown = self._newest_attestations(turn)
        bid = Bid(
            job=job_id,
            offer=offer.id,
            price_microcredits_per_unit_hour=offer.offer.price_microcredits_per_unit_hour,
            first_slot=first,
            free_units=tuple(
                max(0, offer.offer.units - turn.state.units_leased(turn.identity.key, slot))
                for slot in range(first, first + count)
            ),
            surplus_s50_j=self._left_over(turn, self.forecast.surplus_s50_j, first, count),
            surplus_s20_j=self._left_over(turn, self.forecast.surplus_s20_j, first, count),
            grid_g_per_kwh=self._window(self.forecast.grid_g_per_kwh, first, count),
            attestations=shown,
        )
        turn.record(bid, (job_id, offer.id, *shown), tell=record.owner)

    def on_award(self, turn: Turn, award_id: bytes, owner: bytes, award: Award) -> None:
        """Countersign what was placed on us; say so at once where we cannot."""
        offer = turn.state.offer_of.get(turn.identity.key)
        for placement in award.placements:
            record = turn.state.placements[award_id, placement.shard]
            if placement.provider != turn.identity.key or offer is None or record.lease is not None:
                continue
            end_slot = placement.first_slot + placement.slots
            units = record.job.job.units_per_shard
            free = min(
                offer.offer.units - turn.state.units_leased(turn.identity.key, slot)
                for slot in range(placement.first_slot, end_slot)
            )
            if free < units:
                reason = f"{free} of {units} units are free"
                turn.do(Send(owner, Failure(award=award_id, shard=placement.shard, reason=reason)))
                continue
            body = Lease(
                award=award_id,
                offer=offer.id,
                shard=placement.shard,
                first_slot=placement.first_slot,
                slots=placement.slots,
                units=units,
            )
            lease = turn.record(body, (award_id, offer.id), tell=owner)
            if lease is not None:
                self._begin_work(turn, turn.state.leases[lease.id])
                ends_at_ms = end_slot * turn.identity.genesis.slot_ms
                turn.do(SetTimer(Timer(TimerKind.LEASE_ENDS, award_id, placement.shard), ends_at_ms))

    def _begin_work(self, turn: Turn, lease: LeaseRecord) -> None:
        shard = ShardId(lease.lease.award, lease.lease.shard)
        first_ms = lease.lease.first_slot * turn.identity.genesis.slot_ms
        self.works[shard] = Work(lease, turn.identity.genesis.slot_ms, max(turn.now_ms, first_ms))

    # --- training ---------------------------------------------------------------------------------------------------

    def on_assignment(self, turn: Turn, peer: bytes, message: Assignment) -> None:
        """The lead sends what the worker needs. A stranger cannot start our workers: only the owner of a leased job."""
        shard = ShardId(message.award, message.shard)
        work = self._work_for(shard, peer)
        if work is not None and not work.assigned:
            work.assigned = True
            job = work.lease.placement.job
            turn.do(StartShard(shard, job.id, job.job.shards, job.job.training, message.data))

    def on_shard_started(self, turn: Turn, event: ShardStarted) -> None:
        work = self.works.get(event.shard)
        if work is not None:
            turn.do(Send(work.owner, Ready(award=event.shard.award, shard=event.shard.shard)))

    def on_round_start(self, turn: Turn, peer: bytes, message: RoundStart) -> None:
        shard = ShardId(message.award, message.shard)
        if self._work_for(shard, peer) is not None:
            turn.do(TrainRound(shard, message.round, message.parameters))

    def on_round_trained(self, turn: Turn, event: RoundTrained) -> None:
        """Book the round and tell the lead where its delta is."""
        work = self.works.get(event.shard)
        if work is None or event.shard in self.finishing:
            return
        energy_j = work.book(event)
        turn.do(
            Send(
                work.owner,
                RoundDelta(
                    award=event.shard.award,
                    shard=event.shard.shard,
                    round=event.round,
                    delta=self.tickets.issue(turn, event.delta, work.owner),
                    loss_millinats=event.loss_millinats,
                    tokens=event.tokens,
                    seconds_ms=event.end_ms - event.start_ms,
                    energy_j=energy_j,
                    carbon_ug=self._expected_carbon_ug(turn, work, energy_j),
                ),
            )
        )
        if work.is_full():
            self.partial.add(event.shard)
            turn.do(ReadMeter())

    def on_finish(self, turn: Turn, peer: bytes, message: Finish) -> None:
        shard = ShardId(message.award, message.shard)
        if self._work_for(shard, peer) is not None:
            self._finish(turn, shard, "done")

    def on_shard_failed(self, turn: Turn, event: ShardFailed) -> None:
        work = self.works.get(event.shard)
        if work is not None and event.shard not in self.finishing:
            message = Failure(award=event.shard.award, shard=event.shard.shard, reason=event.reason[:1024])
            turn.do(Send(work.owner, message))
            self._finish(turn, event.shard, event.reason)

    def on_lease_ends(self, turn: Turn, timer: Timer) -> None:
        """Capacity is bound for the leased slots and not longer."""
        shard = ShardId(timer.key, timer.number)
        if shard in self.works and shard not in self.finishing:
            self.on_shard_failed(turn, ShardFailed(shard, "the lease's slots are over"))

    def on_withdrawn(self, turn: Turn, job_id: bytes, shard: ShardId | None, reason: str) -> None:
        """The buyer revoked a placement, or closed the job (`shard` None): stop, and receipt what was done."""
        for mine, work in list(self.works.items()):
            if work.lease.placement.job.id == job_id and shard in (None, mine) and mine not in self.finishing:
                self._finish(turn, mine, reason)

    def _work_for(self, shard: ShardId, peer: bytes) -> Work | None:
        work = self.works.get(shard)
        return work if work is not None and work.owner == peer and shard not in self.finishing else None

    def _expected_carbon_ug(self, turn: Turn, work: Work, energy_j: int) -> int:
        """A running estimate from the forecast, for people; the receipt is reckoned from attestations."""
        if self.forecast is None:
            return 0
        offer = work.lease.placement.bid.offer.offer
        index = min(max(0, turn.slot - self.forecast.first_slot), len(self.forecast.grid_g_per_kwh) - 1)
        surplus_w = self.forecast.surplus_s50_j[index] * 1000 // self.forecast.slot_ms
        covered = min(energy_j, energy_j * surplus_w // max(1, offer.peak_w * max(1, len(self.works))))
        return carbon_ug(energy_j, covered, offer.own_g_per_kwh, self.forecast.grid_g_per_kwh[index], 0)

    # --- receipts ---------------------------------------------------------------------------------------------------

    def _finish(self, turn: Turn, shard: ShardId, reason: str) -> None:
        """Stop the worker and read the meter, so that the last joules are attested before they are receipted."""
        self.finishing[shard] = reason
        self.works[shard].close(turn.now_ms)
        turn.do(StopShard(shard))
        turn.do(ReadMeter())

    def _write_due_receipts(self, turn: Turn) -> None:
        for shard in self.partial - self.finishing.keys():
            self._record_receipt(turn, self.works[shard], final=False)
        self.partial.clear()
        for shard, reason in list(self.finishing.items()):
            work = self.works.pop(shard)
            self._record_receipt(turn, work, final=True)
            del self.finishing[shard]
            turn.notify("shard over", job=work.lease.placement.job.id.hex(), shard=shard.shard, reason=reason)

    def _record_receipt(self, turn: Turn, work: Work, *, final: bool) -> None:
        receipt = write_receipt(turn.state, work, final=final)
        refs = (work.lease.id, *(row.attestation for row in receipt.energy if row.attestation is not None))
        turn.record(receipt, refs, tell=work.owner)
