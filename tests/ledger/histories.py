"""Whole histories by chance: honest ones, and ones where anybody signs anything."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from ledger.state import JobRecord, LeaseRecord, PlacementRecord, PlacementStatus, State
from protocol.envelope import Entry
from protocol.identity import KeyPair
from protocol.messages import SlotEnergy
from tests.builders import FIRST_SLOT, SLOT_MS, History, digest, keypair, slot_energy

OWNERS = [keypair(n) for n in range(2)]
PROVIDERS = [keypair(n) for n in range(2, 5)]


def honest_history(chance: random.Random, steps: int) -> History:
    """Each step is something that an honest peer might do now; entries of different authors cross as on a network."""
    history = History()
    for provider in PROVIDERS:
        history.offer(provider, units=chance.randint(2, 6))
    while len(history.entries) < steps:
        chance.choice(HONEST)(history, chance)
        if chance.random() < 0.1:
            history.now_ms += chance.randint(1, SLOT_MS)
    return history


def any_history(chance: random.Random, steps: int) -> History:
    """The same, with every second step an entry whose author, references and numbers are chosen blindly."""
    history = honest_history(chance, 10)
    while len(history.entries) < steps:
        chance.choice(HONEST)(history, chance)
        chance.choice(BLIND)(history, chance)
        history.now_ms += chance.randint(0, SLOT_MS // 4)
    return history


# --- honest acts: each does nothing where there is no occasion --------------------------------------------------------


def _renew_offer(history: History, chance: random.Random) -> None:
    if chance.random() < 0.2:
        history.offer(chance.choice(PROVIDERS), units=chance.randint(2, 6))


def _attest(history: History, chance: random.Random) -> None:
    provider = chance.choice(PROVIDERS)
    newest = history.state.newest_of_device.get((provider.public, "inverter"))
    if newest is None or newest.end_ms <= history.now_ms // SLOT_MS * SLOT_MS - SLOT_MS:
        history.attestation(provider, energy_j=chance.randint(0, 30_000))


def _ask(history: History, chance: random.Random) -> None:
    if len(history.state.jobs) < 3:
        history.job(chance.choice(OWNERS), shards=chance.randint(1, 3), units_per_shard=chance.randint(1, 2))


def _bid(history: History, chance: random.Random) -> None:
    if jobs := _open_jobs(history.state):
        history.bid(chance.choice(PROVIDERS), _named(history, chance.choice(jobs).id))


def _award(history: History, chance: random.Random) -> None:
    for job in _open_jobs(history.state):
        missing = [shard for shard in range(job.job.shards) if shard not in job.live()]
        bids = [_named(history, bid.id) for bid in job.bids.values()]
        if missing and bids:
            count = chance.randint(1, len(missing))
            placed = [history.placement(chance.choice(bids), shard=shard) for shard in missing[:count]]
            history.award(_named(history, job.id), *placed)
            return


def _lease(history: History, chance: random.Random) -> None:
    for (award, shard), placed in _placements(history, chance):
        provider, units = placed.placement.provider, placed.job.job.units_per_shard
        free = history.state.offer_of[provider].offer.units - max(
            history.state.units_leased(provider, slot) for slot in range(FIRST_SLOT, FIRST_SLOT + 3)
        )
        if placed.lease is None and free >= units:
            history.lease(_named(history, award), shard)
            return


def _revoke(history: History, chance: random.Random) -> None:
    over = (PlacementStatus.REVOKED, PlacementStatus.SETTLED)
    for (award, shard), placed in _placements(history, chance):
        if placed.status not in over and chance.random() < 0.2:
            history.revocation(_named(history, award), shard)
            return


def _receipt(history: History, chance: random.Random) -> None:
    for _, placed in _placements(history, chance):
        lease = placed.lease
        if lease is not None and not any(r.receipt.final for r in lease.receipts):
            rows = _rows(history, lease, chance)
            history.receipt(_named(history, lease.id), *rows, final=chance.random() < 0.5)
            return


def _settle(history: History, chance: random.Random) -> None:
    unsettled = [r for r in history.state.receipts.values() if r.settlement is None]
    if unsettled:
        history.settlement(_named(history, chance.choice(unsettled).id), accepted=chance.random() < 0.8)


def _close(history: History, chance: random.Random) -> None:
    jobs = [job for job in history.state.jobs.values() if job.closure is None]
    if jobs and chance.random() < 0.1:
        history.closure(_named(history, chance.choice(jobs).id))


HONEST: tuple[Callable[[History, random.Random], None], ...] = (
    _renew_offer,
    _attest,
    _ask,
    _bid,
    _award,
    _lease,
    _revoke,
    _receipt,
    _settle,
    _close,
)


def _rows(history: History, lease: LeaseRecord, chance: random.Random) -> tuple[SlotEnergy, ...]:
    """One row of grid energy, and one that claims from an attestation what is left of it."""
    rows = [slot_energy(energy_j=chance.randint(0, 9000))]
    for record in history.state.attestations_of.get(lease.provider, ()):
        slot = record.start_ms // SLOT_MS
        if record.remaining_j and lease.lease.first_slot <= slot < lease.lease.first_slot + lease.lease.slots:
            energy_j = chance.randint(1, 9000)
            surplus_j = chance.randint(0, min(energy_j, record.remaining_j))
            rows.append(slot_energy(slot=slot, energy_j=energy_j, surplus_j=surplus_j, attestation=record.id))
            break
    return tuple(rows)


# --- blind acts: mostly void, now and then not ------------------------------------------------------------------------


def _blind_offer(history: History, chance: random.Random) -> None:
    history.offer(_anyone(chance), idle_w=chance.randint(0, 200), units=chance.randint(1, 3))


def _blind_attestation(history: History, chance: random.Random) -> None:
    start_ms = chance.randrange(history.now_ms + SLOT_MS)
    meter_j = chance.randint(0, 40_000)
    history.attestation(_anyone(chance), start_ms=start_ms, energy_j=chance.randint(0, 40_000), meter_start_j=meter_j)


def _blind_bid(history: History, chance: random.Random) -> None:
    offer = chance.choice([*history.state.offers])
    lost = (digest("never delivered"),) if chance.random() < 0.02 else ()  # its author's feed waits from here on
    history.bid(_anyone(chance), _any_entry(history, chance, "job"), *lost, offer=offer)


def _blind_award(history: History, chance: random.Random) -> None:
    placed = [
        history.placement(
            _any_entry(history, chance, "bid"),
            shard=chance.randint(0, 3),
            first_slot=chance.randint(FIRST_SLOT - 1, FIRST_SLOT + 9),
            slots=chance.randint(1, 5),
        )
        for _ in range(chance.randint(1, 3))
    ]
    history.award(_any_entry(history, chance, "job"), *placed, author=chance.choice(OWNERS))


def _blind_lease(history: History, chance: random.Random) -> None:
    for (award, shard), _ in _placements(history, chance)[:1]:
        changes: dict[str, Any] = {"units": chance.randint(1, 4)} if chance.random() < 0.3 else {}
        history.lease(_named(history, award), shard, author=chance.choice(PROVIDERS), **changes)


def _blind_revocation(history: History, chance: random.Random) -> None:
    if chance.random() < 0.3:
        history.revocation(_any_entry(history, chance, "award"), chance.randint(0, 3), author=chance.choice(OWNERS))


def _blind_receipt(history: History, chance: random.Random) -> None:
    if not history.state.leases or not history.state.attestations:
        return
    lease = chance.choice([*history.state.leases.values()])
    claimed = chance.choice([None, *history.state.attestations])
    row = slot_energy(
        slot=chance.randint(FIRST_SLOT, FIRST_SLOT + 9), surplus_j=chance.randint(0, 6000), attestation=claimed
    )
    author = history.keys[lease.provider] if chance.random() < 0.8 else _anyone(chance)
    history.receipt(_named(history, lease.id), row, author=author, final=chance.random() < 0.3)


def _blind_settlement(history: History, chance: random.Random) -> None:
    if history.state.receipts:
        receipt = _named(history, chance.choice([*history.state.receipts]))
        changes: dict[str, Any] = {"amount_microcredits": chance.randint(0, 9)} if chance.random() < 0.3 else {}
        history.settlement(receipt, author=_anyone(chance), **changes)


def _blind_closure(history: History, chance: random.Random) -> None:
    if chance.random() < 0.1:
        history.closure(_any_entry(history, chance, "job"), author=_anyone(chance))


BLIND: tuple[Callable[[History, random.Random], None], ...] = (
    _blind_offer,
    _blind_attestation,
    _blind_bid,
    _blind_award,
    _blind_lease,
    _blind_revocation,
    _blind_receipt,
    _blind_settlement,
    _blind_closure,
)


def _anyone(chance: random.Random) -> KeyPair:
    return chance.choice([*OWNERS, *PROVIDERS])


def _open_jobs(state: State) -> list[JobRecord]:
    return [job for job in state.jobs.values() if job.closure is None]


def _placements(history: History, chance: random.Random) -> list[tuple[tuple[bytes, int], PlacementRecord]]:
    placements = [*history.state.placements.items()]
    return chance.sample(placements, len(placements))


def _named(history: History, entry_id: bytes) -> Entry:
    return next(entry for entry in history.entries if entry.id == entry_id)


def _any_entry(history: History, chance: random.Random, kind: str) -> Entry:
    """One of this kind if there is one, else any."""
    return chance.choice([entry for entry in history.entries if entry.kind == kind] or history.entries)
