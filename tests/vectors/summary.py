"""What follows from entries, in words that any implementation has: fact by fact, ids and keys in hexadecimal."""

from __future__ import annotations

from typing import Any

from ledger.state import State


def summary(state: State) -> dict[str, Any]:
    """Every fact by its name; the names are sorted."""
    facts: dict[str, Any] = {}
    for entry_id, reason in state.voids.items():
        facts[f"void {entry_id.hex()}"] = int(reason.removeprefix("check ").partition(":")[0])
    for provider, offer in state.offer_of.items():
        facts[f"latest offer of {provider.hex()}"] = offer.id.hex()
    for entry_id, attestation in state.attestations.items():
        facts[f"attestation {entry_id.hex()}"] = {
            "assurance": attestation.assurance,
            "remaining_j": attestation.remaining_j,
        }
    for entry_id, job in state.jobs.items():
        bids = {provider.hex(): bid.id.hex() for provider, bid in sorted(job.bids.items())}
        facts[f"job {entry_id.hex()}"] = {"status": job.status.value, "latest_bids": bids}
    for (award, shard), placement in state.placements.items():
        facts[f"placement of shard {shard} by {award.hex()}"] = {
            "status": placement.status.value,
            "lease": None if placement.lease is None else placement.lease.id.hex(),
        }
    for entry_id, lease in state.leases.items():
        facts[f"lease {entry_id.hex()}"] = {
            "units": lease.lease.units,
            "end_slot": lease.end_slot,
            "receipts": [receipt.id.hex() for receipt in lease.receipts],
        }
    for entry_id, receipt in state.receipts.items():
        settled = None if receipt.settlement is None else receipt.settlement.accepted
        facts[f"receipt {entry_id.hex()}"] = {"accepted": settled}
    for (debtor, creditor), microcredits in state.owed_microcredits.items():
        facts[f"owed by {debtor.hex()} to {creditor.hex()}"] = microcredits
    return dict(sorted(facts.items()))
