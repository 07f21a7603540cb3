"""The books of one shard in a provider's hands, and the receipt that is written from them."""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.state import LeaseRecord, State
from node.energy.power import METHOD, UNCERTAINTY_PERMILLE, shard_energy
from node.energy.split import Interval, Surplus, settle_slots, split_by_slot
from node.events import RoundTrained
from protocol.messages import RECEIPT_ROUNDS_MAX, Receipt
from protocol.units import slot_of

ATTESTATIONS_MAX = 12  # a receipt refers to its lease and to these: below the 16 refs of an entry


@dataclass(slots=True)
class Work:
    """What was done under a lease since its last receipt."""

    lease: LeaseRecord
    slot_ms: int
    started_ms: int
    busy_until_ms: int = 0  # up to here the energy is booked
    assigned: bool = False
    next_round: int | None = None
    intervals: list[Interval] = field(default_factory=list)
    deltas: list[bytes] = field(default_factory=list)
    inner_steps: int = 0
    tokens: int = 0

    def __post_init__(self) -> None:
        self.busy_until_ms = self.started_ms

    @property
    def owner(self) -> bytes:
        """The job's owner: the only peer that may direct this work."""
        return self.lease.placement.job.owner

    def book(self, event: RoundTrained) -> int:
        """Book a round and the wait before it; the joules of both."""
        energy_j = self._draw(event.end_ms, event.cpu_ms)
        self.deltas.append(event.delta.sha256)
        self.next_round = event.round + 1
        self.inner_steps += event.inner_steps
        self.tokens += event.tokens
        return energy_j

    def close(self, now_ms: int) -> None:
        """Book the time since the last round at idle: the unit was held."""
        self._draw(now_ms, 0)

    def is_full(self) -> bool:
        """Whether a receipt should be written before more is booked."""
        slots = {slot for i in self.intervals for slot in (slot_of(i.start_ms, self.slot_ms), slot_of(i.end_ms, self.slot_ms))}
        return len(self.deltas) >= RECEIPT_ROUNDS_MAX or len(slots) >= ATTESTATIONS_MAX - 2

    def _draw(self, until_ms: int, cpu_ms: int) -> int:
        lease = self.lease
        end_ms = min(until_ms, (lease.lease.first_slot + lease.lease.slots) * self.slot_ms)
        if end_ms <= self.busy_until_ms:
            return 0
        offer = lease.placement.bid.offer.offer
        energy_j = shard_energy(
            cpu_ms, end_ms - self.busy_until_ms, offer.idle_w, offer.peak_w, lease.lease.units, offer.pue_permille
        )
        self.intervals.append(Interval(self.busy_until_ms, end_ms, energy_j))
        self.busy_until_ms = end_ms
        return energy_j


def write_receipt(state: State, work: Work, *, final: bool) -> Receipt:
    """The receipt for everything booked, drawing on the provider's unclaimed attestations; empties the books."""
    lease = work.lease
    offer = lease.placement.bid.offer.offer
    draws = split_by_slot(work.intervals, state.slot_ms)
    rows, _ = settle_slots(
        draws,
        _surpluses(state, lease.provider, set(draws)),
        slot_ms=state.slot_ms,
        unattested_g_per_kwh=max(lease.placement.bid.bid.grid_g_per_kwh, default=0),
        units=lease.lease.units,
        embodied_ug_per_unit_hour=offer.embodied_ug_per_unit_hour,
    )
    done = [r.receipt for r in lease.receipts]
    start_ms = work.intervals[0].start_ms if work.intervals else work.busy_until_ms
    first_round = done[-1].first_round + len(done[-1].deltas) if done else (work.next_round or 0) - len(work.deltas)
    receipt = Receipt(
        lease=lease.id,
        first_round=first_round,
        final=final,
        inner_steps=work.inner_steps,
        tokens=work.tokens,
        busy_ms=work.busy_until_ms - start_ms,
        deltas=tuple(work.deltas),
        method=METHOD,
        uncertainty_permille=UNCERTAINTY_PERMILLE,
        energy=rows,
    )
    work.intervals, work.deltas, work.inner_steps, work.tokens = [], [], 0, 0
    return receipt


def _surpluses(state: State, provider: bytes, slots: set[int]) -> list[Surplus]:
    """The provider's attestations that touch these slots, the newest few; what counts as surplus is what the network's
    assurance allows."""
    found: list[Surplus] = []
    for record in reversed(state.attestations_of.get(provider, ())):
        a = record.attestation
        if slot_of(a.end_ms - 1, state.slot_ms) < min(slots, default=0) or len(found) == ATTESTATIONS_MAX:
            break
        if slots.isdisjoint(range(slot_of(a.start_ms, state.slot_ms), slot_of(a.end_ms - 1, state.slot_ms) + 1)):
            continue
        remaining_j = record.remaining_j if record.assurance >= state.surplus_assurance_min else 0
        found.append(
            Surplus(record.id, a.start_ms, a.end_ms, remaining_j, a.own_g_per_kwh, a.grid_g_per_kwh)
        )
    return found
