"""Whole histories by chance: honest ones, and ones where anybody signs anything."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from ledger.certificates import drawn_beyond_surplus_j
from ledger.state import JobRecord, LeaseRecord, LotRecord, LotStatus, PlacementRecord, PlacementStatus, State
from protocol.envelope import Entry
from protocol.identity import KeyPair
from protocol.messages import SlotEnergy
from protocol.units import MS_PER_HOUR
from tests.builders import FIRST_SLOT, SLOT_MS, History, digest, keypair, slot_energy

OWNERS = [keypair(n) for n in range(2)]
PROVIDERS = [keypair(n) for n in range(2, 5)]


def honest_history(chance: random.Random, steps: int) -> History:
    """Each step is something that an honest peer might do now; entries of different authors cross as on a network."""
    history = History()
    history.keys |= {key.public: key for key in (*OWNERS, *PROVIDERS)}
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
            left_ms = lease.lease.slots * SLOT_MS - sum(r.receipt.busy_ms for r in lease.receipts)
            busy_ms = chance.randint(0, min(SLOT_MS, left_ms))
            history.receipt(_named(history, lease.id), *rows, final=chance.random() < 0.5, busy_ms=busy_ms)
            return


def _settle(history: History, chance: random.Random) -> None:
    unsettled = [r for r in history.state.receipts.values() if r.settlement is None]
    if unsettled:
        history.settlement(_named(history, chance.choice(unsettled).id), accepted=chance.random() < 0.8)


def _close(history: History, chance: random.Random) -> None:
    jobs = [job for job in history.state.jobs.values() if job.closure is None]
    if jobs and chance.random() < 0.1:
        history.closure(_named(history, chance.choice(jobs).id))


def _certify(history: History, chance: random.Random) -> None:
    left = [record for record in history.state.attestations.values() if record.remaining_j]
    if left:
        record = chance.choice(left)
        energy_j = chance.randint(1, record.remaining_j)
        holder = chance.choice(PROVIDERS).public
        history.certificate(_named(history, record.id), energy_j=energy_j, holder=holder)


def _split(history: History, chance: random.Random) -> None:
    lots = [lot for lot in _held(history.state) if lot.energy_j > 1]
    if lots:
        lot = chance.choice(lots)
        part_j = chance.randint(1, lot.energy_j - 1)
        history.split(_named(history, lot.entry), part_j, lot.energy_j - part_j, index=lot.index)


def _transfer(history: History, chance: random.Random) -> None:
    if lots := _held(history.state):
        lot = chance.choice(lots)
        others = [key for key in (*OWNERS, *PROVIDERS) if key.public != lot.holder]
        history.transfer(_named(history, lot.entry), chance.choice(others), index=lot.index)


def _cancel(history: History, chance: random.Random) -> None:
    if lots := _held(history.state):
        lot = chance.choice(lots)
        history.cancellation(_named(history, lot.entry), chance.choice(PROVIDERS), index=lot.index)


def _match(history: History, chance: random.Random) -> None:
    for cancelled in history.state.cancellations.values():
        for receipt in history.state.receipts.values():
            if receipt.lease.provider != cancelled.beneficiary:
                continue
            for number, row in enumerate(receipt.receipt.energy):
                drawn_j = drawn_beyond_surplus_j(row) - history.state.allocated_j.get((receipt.id, number), 0)
                energy_j = min(drawn_j, cancelled.lot.energy_j - cancelled.allocated_j)
                same_hour = row.slot * SLOT_MS // MS_PER_HOUR == cancelled.lot.attestation.start_ms // MS_PER_HOUR
                if energy_j > 0 and same_hour:
                    names = (_named(history, cancelled.id), _named(history, receipt.id))
                    history.allocation(*names, row=number, energy_j=chance.randint(1, energy_j))
                    return


def _lend(history: History, chance: random.Random) -> None:
    waiting = [key for key, account in history.state.accounts.items() if account.pending]
    if waiting:
        debtor, creditor, _ = chance.choice(waiting)
        history.credit_limit(history.keys[creditor], history.keys[debtor], chance.randint(0, 50_000))


def _promise(history: History, chance: random.Random) -> None:
    for account in history.state.accounts.values():
        if account.limit is None or not account.pending:
            continue
        settlement = _named(history, chance.choice([*account.pending]))
        paid = account.discharge.total if account.discharge else 0
        before = account.iou.total if account.iou else 0
        if before + settlement.body["amount_microcredits"] - paid <= account.limit.limit:
            history.iou(_named(history, account.limit.id), settlement)
            return


def _pay(history: History, chance: random.Random) -> None:
    ious = [account.iou for account in history.state.accounts.values() if account.iou is not None]
    if ious:
        iou = chance.choice(ious)
        last = history.state.accounts[iou.account].discharge
        history.discharge(_named(history, iou.id), chance.randint(last.total if last else 1, iou.total))


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
    _certify,
    _split,
    _transfer,
    _cancel,
    _match,
    _lend,
    _promise,
    _pay,
)


def _rows(history: History, lease: LeaseRecord, chance: random.Random) -> tuple[SlotEnergy, ...]:
    """One row of grid energy, and one that claims from an attestation what is left of it."""
    rows = [slot_energy(energy_j=chance.randint(2400, 9000))]  # two units draw 2400 J at idle
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


def _blind_certificate(history: History, chance: random.Random) -> None:
    attestation = _any_entry(history, chance, "attestation")
    author = history.keys[attestation.author] if chance.random() < 0.7 else _anyone(chance)
    holder = _anyone(chance).public
    history.certificate(attestation, author=author, energy_j=chance.randint(1, 20_000), holder=holder)


def _blind_spending(history: History, chance: random.Random) -> None:
    """Split, transfer or cancel any lot, by anybody; now and then one that nobody made."""
    if history.state.lots:
        lot = chance.choice([*history.state.lots.values()])
        made = _named(history, lot.entry)
        index = lot.index if chance.random() < 0.9 else lot.index + 1
        author = history.keys[lot.holder] if chance.random() < 0.7 else _anyone(chance)
        match chance.randrange(3):
            case 0:
                part_j = chance.randint(1, lot.energy_j)
                whole_j = lot.energy_j + chance.randint(0, 1)
                history.split(made, part_j, max(1, whole_j - part_j), index=index, author=author)
            case 1:
                history.transfer(made, _anyone(chance), index=index, author=author)
            case _:
                history.cancellation(made, _anyone(chance), index=index, author=author)


def _blind_match(history: History, chance: random.Random) -> None:
    cancellation = _any_entry(history, chance, "cancellation")
    receipt = _any_entry(history, chance, "receipt")
    history.allocation(cancellation, receipt, row=chance.randint(0, 1), energy_j=chance.randint(1, 6000))


def _blind_limit(history: History, chance: random.Random) -> None:
    history.credit_limit(_anyone(chance), _anyone(chance), chance.randint(0, 20_000))


def _blind_iou(history: History, chance: random.Random) -> None:
    limits = [_named(history, record.id) for record in history.state.credit_limits.values()]
    settlements = [entry for entry in history.entries if entry.kind == "settlement"]
    if limits and settlements:
        named = chance.choices(settlements, k=chance.randint(1, 2))
        changes: dict[str, Any] = {"total": chance.randint(1, 20_000)} if chance.random() < 0.3 else {}
        if sum(entry.body["amount_microcredits"] for entry in named):
            history.iou(chance.choice(limits), *named, author=_anyone(chance), **changes)


def _blind_discharge(history: History, chance: random.Random) -> None:
    ious = [entry for entry in history.entries if entry.kind == "iou"]
    if ious:
        history.discharge(chance.choice(ious), chance.randint(1, 20_000), author=_anyone(chance))


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
    _blind_certificate,
    _blind_spending,
    _blind_match,
    _blind_limit,
    _blind_iou,
    _blind_discharge,
)


def _anyone(chance: random.Random) -> KeyPair:
    return chance.choice([*OWNERS, *PROVIDERS])


def _held(state: State) -> list[LotRecord]:
    return [lot for lot in state.lots.values() if lot.status is LotStatus.HELD]


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
