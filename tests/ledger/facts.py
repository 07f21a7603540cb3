"""A ledger as plain values that can be compared: everything that follows from its entries, in no order of arrival."""

from __future__ import annotations

from typing import Any

from ledger.ledger import Ledger
from ledger.state import Account, JobRecord, LeaseRecord, PlacementRecord, StoreRecord


def facts(ledger: Ledger) -> dict[str, Any]:
    """All of the state but the order in which dictionaries were filled; records stand as their ids."""
    state = ledger.state
    return {
        "heads": ledger.head_list(),
        "count": ledger.count,
        "missing": ledger.missing_refs(),
        "positions": ledger.positions.keys(),
        "frozen_from": state.frozen_from,
        "aside": state.aside,
        "forked": state.forked,
        "voids": state.voids,
        "offers": {key: (r.provider, r.offer) for key, r in state.offers.items()},
        "offer_of": {key: r.id for key, r in state.offer_of.items()},
        "attestations": state.attestations,
        "attestations_of": {key: [r.id for r in records] for key, records in state.attestations_of.items()},
        "newest_of_device": {key: r.id for key, r in state.newest_of_device.items()},
        "devices": {key: (r.id, r.owner, r.device, r.auditors) for key, r in state.devices.items()},
        "stores": {key: _store(r) for key, r in state.stores.items()},
        "jobs": {key: _job(r) for key, r in state.jobs.items()},
        "bids": {
            key: (r.provider, r.bid, r.offer.id, r.time_ms, r.reliability_permille) for key, r in state.bids.items()
        },
        "tracks": {key: (list(r.due.items()), r.observations) for key, r in state.tracks.items()},
        "placements": {key: _placement(r) for key, r in state.placements.items()},
        "leases": {key: _lease(r) for key, r in state.leases.items()},
        "leases_of": {key: [r.id for r in records] for key, records in state.leases_of.items()},
        "receipts": {key: (r.lease.id, r.receipt, r.settlement, r.iou) for key, r in state.receipts.items()},
        "first_settled": state.first_settled,
        "owed": state.owed_microcredits,
        "lots": {
            key: (r.entry, r.index, r.holder, r.energy_j, r.attestation.id, r.parent, r.status)
            for key, r in state.lots.items()
        },
        "cancellations": {
            key: (r.id, r.lot.entry, r.lot.index, r.beneficiary, r.allocated_j)
            for key, r in state.cancellations.items()
        },
        "allocations": {
            key: (r.id, r.cancellation.id, r.receipt.id, r.row, r.energy_j) for key, r in state.allocations.items()
        },
        "allocated_j": state.allocated_j,
        "accounts": {key: _account(r) for key, r in state.accounts.items()},
        "credit_limits": state.credit_limits,
        "ious": state.ious,
        "discharges": state.discharges,
    }


def _store(r: StoreRecord) -> Any:
    charges = [(c.id, c.attestation.id, c.is_of_lot, c.energy_j, c.kept_j) for c in r.charges]
    heap = r.held_j, r.held_g_j_per_kwh, r.assurance, r.charged_until_ms
    return *heap, charges, [a.id for a in r.discharges]


def _job(r: JobRecord) -> Any:
    bids = {provider: bid.id for provider, bid in r.bids.items()}
    placements = [(p.award, p.placement.shard) for p in r.placements]
    awards = r.awards, r.award_seqs
    return r.owner, r.job, r.time_ms, bids, placements, awards, r.closure, r.status, sorted(r.live())


def _placement(r: PlacementRecord) -> Any:
    lease = r.lease.id if r.lease else None
    return (
        *(r.award, r.job.id, r.placement, r.bid.id, r.status, lease),
        *(r.revocation_reason, r.lost_energy_j, r.lost_carbon_ug),
    )


def _lease(r: LeaseRecord) -> Any:
    return r.provider, r.lease, r.placement.award, [receipt.id for receipt in r.receipts], r.released_at_slot


def _account(r: Account) -> Any:
    return r.limit, r.iou, r.discharge, [(settlement, receipt.id) for settlement, receipt in r.pending.items()]
