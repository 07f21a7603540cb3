"""The books of one shard in a provider's hands, and the receipts that are written from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ledger import assurance
from ledger.ledger import Ledger
from ledger.receipts import transfer_ug
from ledger.state import LeaseRecord, State
from node.actions import StartShard
from node.energy.hardware.basis import Basis, told
from node.energy.power import Drawn, Measured, measured_energy, shard_energy
from node.energy.split import Draw, Interval, Surplus, settle_slots, split_by_slot
from node.events import RoundTrained, ShardId
from protocol.direct import RoundDelta, Ticket
from protocol.messages import Blob, Receipt
from protocol.units import slot_of

# One receipt refers to its lease and to its attestations, 16 refs in all, and has 64 rows and rounds at most. The meter
# is read once a slot and a few times more, and one reading may touch two slots: these keep within all of it.
ATTESTATIONS_MAX = 12
SLOTS_MAX = 8
ROUNDS_MAX = 32


class Round(NamedTuple):
    """A round that was trained, with what was moved for it: parameters fetched, the delta served."""

    number: int
    delta: bytes
    inner_steps: int
    tokens: int
    moved_bytes: int


@dataclass(slots=True)
class Work:
    """A leased shard: where its worker stands, and what was done since the last receipt."""

    lease: LeaseRecord
    slot_ms: int
    busy_until_ms: int  # up to here the energy is booked
    data: tuple[Ticket, ...] = ()  # what the lead assigned
    moments: Ticket | None = None
    started: bool = False  # the worker: it waits where the deal is not final yet
    ready: bool = False
    asked_round: int = -1  # the last that the lead asked for
    next_round: int = 0
    told: RoundDelta | None = None  # the last that the lead was told of, in case it did not hear
    draws: dict[int, Draw] = field(default_factory=dict)  # by slot
    bases: dict[int, Basis] = field(default_factory=dict)  # of these draws
    rounds: list[Round] = field(default_factory=list)
    moved_bytes: int = 0  # beside the rounds: data fetched, moments fetched or served

    @property
    def owner(self) -> bytes:
        """The job's owner: the only peer that may direct this work."""
        return self.lease.placement.job.owner

    def served_bytes(self, blob: Blob) -> int:
        """What the lead fetches of us; nothing where we work for ourselves. Each transfer of a job has a provider at
        one end, and is booked there, once: what was lost on the way may be served again."""
        return 0 if self.owner == self.lease.provider else blob.size_bytes

    def start(self, shard: ShardId) -> StartShard:
        """What the worker is to be given."""
        job = self.lease.placement.job
        return StartShard(shard, job.id, job.job.shards, job.job.training, self.data, self.moments)

    def book(self, event: RoundTrained) -> int:
        """Book a round and the wait before it; the joules of both."""
        moved_bytes = event.fetched_bytes + self.served_bytes(event.delta)
        self.rounds.append(Round(event.round, event.delta.sha256, event.inner_steps, event.tokens, moved_bytes))
        self.next_round = event.round + 1
        return self._draw(event.end_ms, event.cpu_ms, event.measured, is_round=True)

    def close(self, now_ms: int) -> None:
        """Book the time since the last round at idle: the unit was held."""
        self._draw(now_ms, 0, None, is_round=False)

    def fills_a_receipt(self) -> bool:
        """Whether it is time for one, so that a lost peer loses little."""
        return len(self.rounds) >= ROUNDS_MAX or len(self.draws) >= SLOTS_MAX

    def exceeds_a_receipt(self) -> bool:
        return len(self.rounds) > ROUNDS_MAX or len(self.draws) > SLOTS_MAX

    def _draw(self, until_ms: int, cpu_ms: int, measured: Measured | None, *, is_round: bool) -> int:
        """Book the time from what is booked to `until_ms` by the device's meter, or where it has no figure by the
        model; the joules."""
        lease = self.lease.lease
        end_ms = min(until_ms, (lease.first_slot + lease.slots) * self.slot_ms)
        if end_ms <= self.busy_until_ms:
            return 0
        offer, wall_ms = self.lease.placement.bid.offer.offer, end_ms - self.busy_until_ms
        if measured is None:
            drawn = Drawn(shard_energy(cpu_ms, wall_ms, offer.idle_w, offer.peak_w, lease.units, offer.pue_permille), 0)
        else:
            drawn = measured_energy(measured, wall_ms, offer.idle_w, lease.units, offer.pue_permille)
        is_modelled_round = is_round and not drawn.measured_j
        split, split_measured = (
            split_by_slot([Interval(self.busy_until_ms, end_ms, energy_j)], self.slot_ms) for energy_j in drawn
        )
        for slot, draw in split.items():
            before = self.draws.get(slot, Draw(0, 0))
            self.draws[slot] = Draw(before.energy_j + draw.energy_j, before.duration_ms + draw.duration_ms)
            measured_j = min(split_measured[slot].energy_j, draw.energy_j)  # each is rounded for itself
            basis = self.bases.setdefault(slot, Basis())
            basis.add(draw.energy_j, measured_j, measured, is_modelled_round=is_modelled_round)
        self.busy_until_ms = end_ms
        return drawn.energy_j


def is_confirmed(ledger: Ledger, lease: LeaseRecord) -> bool:
    """Whether award and lease can never be taken back; in a network without witnesses, whether they are there."""
    placement = lease.placement
    return not ledger.genesis.witnesses or (
        ledger.is_final(placement.job.owner, placement.award) and ledger.is_final(lease.provider, lease.id)
    )


def write_receipt(state: State, work: Work, *, final: bool) -> Receipt:
    """The receipt for the oldest of what is booked, as much as one may carry, drawing on the provider's unclaimed
    attestations. Takes it out of the books: while work `exceeds_a_receipt`, another must follow."""
    lease = work.lease
    offer = lease.placement.bid.offer.offer
    rounds, work.rounds = work.rounds[:ROUNDS_MAX], work.rounds[ROUNDS_MAX:]
    draws = {slot: work.draws.pop(slot) for slot in sorted(work.draws)[:SLOTS_MAX]}
    method, uncertainty_permille, power_source = told([work.bases.pop(slot) for slot in draws])
    rows, _ = settle_slots(
        draws,
        _surpluses(state, lease, set(draws)),
        slot_ms=state.slot_ms,
        unattested_g_per_kwh=max(lease.placement.bid.bid.grid_g_per_kwh, default=0),
        units=lease.lease.units,
        embodied_ug_per_unit_hour=offer.embodied_ug_per_unit_hour,
    )
    moved_bytes = work.moved_bytes + sum(each.moved_bytes for each in rounds)
    work.moved_bytes = 0
    last = lease.receipts[-1].receipt if lease.receipts else None
    first_round = last.first_round + len(last.deltas) if last else rounds[0].number if rounds else 0
    return Receipt(
        lease=lease.id,
        first_round=first_round,
        final=final,
        inner_steps=sum(each.inner_steps for each in rounds),
        tokens=sum(each.tokens for each in rounds),
        busy_ms=sum(draw.duration_ms for draw in draws.values()),
        deltas=tuple(each.delta for each in rounds),
        method=method,
        power_source=power_source,
        uncertainty_permille=uncertainty_permille,
        energy=rows,
        moved_bytes=moved_bytes,
        transfer_ug=transfer_ug(lease, moved_bytes, rows),
    )


def _surpluses(state: State, lease: LeaseRecord, slots: set[int]) -> list[Surplus]:
    """The provider's attestations that touch these slots, the newest few, at an assurance that the network accepts."""
    found: list[Surplus] = []
    auditors = assurance.auditors_of(state, lease.placement.job)
    begins_ms = min(slots, default=0) * state.slot_ms
    for a in reversed(state.attestations_of.get(lease.provider, ())):
        if len(found) == ATTESTATIONS_MAX:
            break
        if a.end_ms <= begins_ms:
            continue  # not the end of the search: of two devices the times need not be in order
        if slots.isdisjoint(range(slot_of(a.start_ms, state.slot_ms), slot_of(a.end_ms - 1, state.slot_ms) + 1)):
            continue
        if assurance.level(a, auditors) >= state.surplus_assurance_min:
            found.append(Surplus(a.id, a.start_ms, a.end_ms, a.remaining_j, a.own_g_per_kwh, a.grid_g_per_kwh))
    return found
