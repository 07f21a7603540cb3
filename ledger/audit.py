"""What must hold in every state, computed a second time from the records and not from the running totals.

`violations(state) == []` is asserted after every step in the tests, and by `heliotrope ledger verify`.
"""

from __future__ import annotations

from collections import Counter

from ledger.energy import carbon_ug
from ledger.receipts import amount_due
from ledger.state import PlacementStatus, State
from ledger.transitions import pool_allows


def violations(state: State) -> list[str]:
    """Every broken promise, in words with numbers; empty for a sound state."""
    return [
        *_oversold_slots(state),
        *_surplus_claimed_twice(state),
        *_shards_placed_twice(state),
        *_wrong_carbon(state),
        *_wrong_pools(state),
        *_wrong_amounts(state),
    ]


def _oversold_slots(state: State) -> list[str]:
    """Capacity: in no slot do a provider's leases bind more units than the offer that the last of them names."""
    found = []
    for provider, leases in state.leases_of.items():
        bound: Counter[int] = Counter()
        offered: dict[int, int] = {}
        for record in leases:
            end_slot = record.lease.first_slot + record.lease.slots
            if record.released_at_slot is not None:
                end_slot = min(end_slot, record.released_at_slot)
            for slot in range(record.lease.first_slot, end_slot):
                bound[slot] += record.lease.units
                offered[slot] = state.offers[record.lease.offer].offer.units
        found += [
            f"{provider.hex()[:8]} oversold slot {slot}: {units} of {offered[slot]} units"
            for slot, units in sorted(bound.items())
            if units > offered[slot]
        ]
    return found


def _surplus_claimed_twice(state: State) -> list[str]:
    """Energy: the surplus claimed from an attestation is at most what it attests."""
    claimed: Counter[bytes] = Counter()
    for record in state.receipts.values():
        for row in record.receipt.energy:
            if row.attestation is not None:
                claimed[row.attestation] += row.surplus_j
    return [
        f"attestation {r.id.hex()[:8]}: {claimed[r.id]} J claimed of {r.energy_j} J, {r.remaining_j} J left"
        for r in state.attestations.values()
        if r.remaining_j < 0 or r.remaining_j != r.energy_j - claimed[r.id]
    ]


def _shards_placed_twice(state: State) -> list[str]:
    """Awards: a shard has one live placement at most."""
    found = []
    for job in state.jobs.values():
        live = Counter(p.placement.shard for p in job.placements if p.status is not PlacementStatus.REVOKED)
        found += [f"job {job.id.hex()[:8]}: shard {s} placed {n} times" for s, n in sorted(live.items()) if n > 1]
    return found


def _wrong_carbon(state: State) -> list[str]:
    """Carbon: every row of every receipt follows from its joules and intensities."""
    return [
        f"receipt {record.id.hex()[:8]}: carbon_ug {row.carbon_ug} in slot {row.slot}"
        for record in state.receipts.values()
        for row in record.receipt.energy
        if row.carbon_ug
        != carbon_ug(row.energy_j, row.surplus_j, row.own_g_per_kwh, row.grid_g_per_kwh, row.embodied_ug)
    ]


def _wrong_pools(state: State) -> list[str]:
    """Pools: no job runs on a peer that its mode excludes."""
    return [
        f"job {p.job.id.hex()[:8]}: mode {p.job.job.mode} on tenant {p.bid.offer.offer.tenant!r}"
        for p in state.placements.values()
        if not pool_allows(p.job.job.mode, p.job.job.tenant, p.bid.offer.offer.tenant)
    ]


def _wrong_amounts(state: State) -> list[str]:
    """Credit: what is owed is the sum of what was settled, each at the bid's price."""
    owed: Counter[tuple[bytes, bytes]] = Counter()
    for record in state.receipts.values():
        if record.settlement is not None and record.settlement.accepted:
            owed[record.lease.placement.job.owner, record.lease.provider] += amount_due(record)
    booked = Counter(state.owed_microcredits)
    return [
        f"{debtor.hex()[:8]} owes {creditor.hex()[:8]} {booked[debtor, creditor]}, settled: {owed[debtor, creditor]}"
        for debtor, creditor in sorted(owed.keys() | booked.keys())
        if booked[debtor, creditor] != owed[debtor, creditor]
    ]
