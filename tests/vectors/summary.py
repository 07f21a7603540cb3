"""What follows from entries, in words that any implementation has: fact by fact, ids and keys in hexadecimal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from ledger.state import State

Fact = tuple[str, Any]


class HasId(Protocol):
    @property
    def id(self) -> bytes: ...


def summary(state: State) -> dict[str, Any]:
    """Every fact by its name; the names are sorted."""
    return dict(sorted((*_verdicts(state), *_jobs(state), *_certificates(state), *_credit(state))))


def _verdicts(state: State) -> Iterator[Fact]:
    for entry_id, reason in state.voids.items():
        yield f"void {entry_id.hex()}", int(reason.removeprefix("check ").partition(":")[0])


def _jobs(state: State) -> Iterator[Fact]:
    for provider, offer in state.offer_of.items():
        yield f"latest offer of {provider.hex()}", offer.id.hex()
    for entry_id, attestation in state.attestations.items():
        yield (
            f"attestation {entry_id.hex()}",
            {"assurance": attestation.assurance, "remaining_j": attestation.remaining_j},
        )
    for (owner, device_id), device in state.devices.items():
        auditors = [auditor.hex() for auditor in device.auditors]
        yield f"device {device_id} of {owner.hex()}", {"latest": device.id.hex(), "auditors": auditors}
    for (owner, device_id), store in state.stores.items():
        heap = {"held_j": store.held_j, "held_g_j_per_kwh": store.held_g_j_per_kwh, "assurance": store.assurance}
        yield f"store {device_id} of {owner.hex()}", heap | {"charged_until_ms": store.charged_until_ms}
    for entry_id, job in state.jobs.items():
        bids = {provider.hex(): bid.id.hex() for provider, bid in sorted(job.bids.items())}
        yield f"job {entry_id.hex()}", {"status": job.status.value, "latest_bids": bids}
    for (award, shard), placement in state.placements.items():
        yield (
            f"placement of shard {shard} by {award.hex()}",
            {"status": placement.status.value, "lease": _id(placement.lease)},
        )
    for entry_id, lease in state.leases.items():
        receipts = [receipt.id.hex() for receipt in lease.receipts]
        yield (
            f"lease {entry_id.hex()}",
            {"units": lease.lease.units, "end_slot": lease.end_slot, "receipts": receipts},
        )
    for entry_id, receipt in state.receipts.items():
        accepted = None if receipt.settlement is None else receipt.settlement.accepted
        iou = None if receipt.iou is None else receipt.iou.hex()
        yield f"receipt {entry_id.hex()}", {"accepted": accepted, "iou": iou}
    for (debtor, creditor), microcredits in state.owed_microcredits.items():
        yield f"owed by {debtor.hex()} to {creditor.hex()}", microcredits


def _certificates(state: State) -> Iterator[Fact]:
    for (entry_id, index), lot in state.lots.items():
        held = {"holder": lot.holder.hex(), "energy_j": lot.energy_j, "status": lot.status.value}
        parent = None if lot.parent is None else _lot(*lot.parent)
        yield _lot(entry_id, index), held | {"attestation": lot.attestation.id.hex(), "parent": parent}
    for entry_id, cancelled in state.cancellations.items():
        lot = cancelled.lot
        uses = {"beneficiary": cancelled.beneficiary.hex(), "allocated_j": cancelled.allocated_j}
        yield f"cancellation {entry_id.hex()}", {"lot": _lot(lot.entry, lot.index)} | uses
    for entry_id, matched in state.allocations.items():
        ends = {"cancellation": matched.cancellation.id.hex(), "receipt": matched.receipt.id.hex()}
        yield f"allocation {entry_id.hex()}", ends | {"row": matched.row, "energy_j": matched.energy_j}
    for (receipt_id, row), energy_j in state.allocated_j.items():
        yield f"matched with row {row} of {receipt_id.hex()}", energy_j


def _credit(state: State) -> Iterator[Fact]:
    for (debtor, creditor, unit), account in state.accounts.items():
        yield (
            f"account of {debtor.hex()} with {creditor.hex()} in {unit}",
            {
                "limit": None if account.limit is None else account.limit.limit,
                "latest_limit": _id(account.limit),
                "promised": None if account.iou is None else account.iou.total,
                "latest_iou": _id(account.iou),
                "discharged": None if account.discharge is None else account.discharge.total,
                "latest_discharge": _id(account.discharge),
                "waiting": [settlement.hex() for settlement in account.pending],
            },
        )


def _lot(entry_id: bytes, index: int) -> str:
    return f"lot {index} of {entry_id.hex()}"


def _id(record: HasId | None) -> str | None:
    return None if record is None else record.id.hex()
