"""A job's account: what it drew and emitted by its receipts, and what other choices would have emitted. Pure.

The headline is location-based and hourly: every joule at the intensity of the place and slot where it was drawn, by the
formulas of `ledger/energy.py`. Other ways to tell the same stand beside it in `node/accounts/figures.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.energy import idle_energy_j, transfer_energy_j
from ledger.state import JobRecord, PlacementRecord, ReceiptRecord
from protocol.messages import Method, Receipt
from protocol.units import J_PER_KWH, UG_PER_G, ceil_div

UNKNOWN_PERMILLE = 1000  # the error of what was reported by a provider that never said how it measured


@dataclass(frozen=True, slots=True)
class Account:
    """Totals of a job. `carbon_ug` includes `embodied_ug` and `transfer_ug`; what was lost is part of the totals."""

    energy_j: int  # drawn by the providers, idle power and overhead included
    surplus_j: int
    idle_j: int  # of it, what the units' declared idle power comes to in the time they were held, with overhead
    overhead_j: int  # of it, the buildings' (PUE)
    redundant_j: int  # of it, for work that was lost or refused: what is needed of it is done again
    embodied_ug: int
    carbon_ug: int
    lost_energy_j: int  # reported for placements that were revoked, beyond what receipts account for
    lost_carbon_ug: int
    redundant_ug: int  # with what was lost
    moved_bytes: int
    transfer_j: int  # drawn by networks; not in `energy_j`
    transfer_ug: int
    tokens: int  # of receipts that were not refused
    inner_steps: int
    methods: tuple[Method, ...]  # how the energy was found; say it beside every gram
    power_sources: tuple[str, ...]
    uncertainty_permille: int  # the worst of the receipts': errors of one method do not average out


def job_account(job: JobRecord) -> Account:
    """Add up a job. Receipts of revoked and of refused work count too: the energy was spent."""
    records = list(receipts_of(job))
    receipts = [record.receipt for record in records]
    rows = [row for receipt in receipts for row in receipt.energy]
    refused = [record.receipt for record in records if not _counts(record)]
    lost = [_lost(placement) for placement in job.placements]
    lost_energy_j, lost_carbon_ug = sum(energy_j for energy_j, _ in lost), sum(carbon_ug for _, carbon_ug in lost)
    no_receipt_permille = UNKNOWN_PERMILLE if lost_energy_j else 0
    return Account(
        energy_j=sum(row.energy_j for row in rows) + lost_energy_j,
        surplus_j=sum(row.surplus_j for row in rows),
        idle_j=sum(map(_idle_j, records)),
        overhead_j=sum(map(_overhead_j, records)),
        redundant_j=lost_energy_j + sum(row.energy_j for receipt in refused for row in receipt.energy),
        embodied_ug=sum(row.embodied_ug for row in rows),
        carbon_ug=sum(map(receipt_ug, receipts)) + lost_carbon_ug,
        lost_energy_j=lost_energy_j,
        lost_carbon_ug=lost_carbon_ug,
        redundant_ug=lost_carbon_ug + sum(map(receipt_ug, refused)),
        moved_bytes=sum(receipt.moved_bytes for receipt in receipts),
        transfer_j=sum(transfer_energy_j(receipt.moved_bytes) for receipt in receipts),
        transfer_ug=sum(receipt.transfer_ug for receipt in receipts),
        tokens=sum(record.receipt.tokens for record in records if _counts(record)),
        inner_steps=sum(record.receipt.inner_steps for record in records if _counts(record)),
        methods=tuple(sorted({receipt.method for receipt in receipts})),
        power_sources=tuple(sorted({receipt.power_source for receipt in receipts})),
        uncertainty_permille=max((receipt.uncertainty_permille for receipt in receipts), default=no_receipt_permille),
    )


def receipt_ug(receipt: Receipt) -> int:
    """Micrograms of one receipt, its transfers included."""
    return sum(row.carbon_ug for row in receipt.energy) + receipt.transfer_ug


def receipts_of(job: JobRecord) -> Iterator[ReceiptRecord]:
    """All receipts of all placements."""
    return (record for p in job.placements if p.lease is not None for record in p.lease.receipts)


def _counts(record: ReceiptRecord) -> bool:
    """Whether its work was not refused."""
    return record.settlement is None or record.settlement.accepted


def _idle_j(record: ReceiptRecord) -> int:
    lease = record.lease
    offer = lease.placement.bid.offer.offer
    return idle_energy_j(
        units=lease.lease.units,
        idle_w=offer.idle_w,
        pue_permille=offer.pue_permille,
        duration_ms=record.receipt.busy_ms,
    )


def _overhead_j(record: ReceiptRecord) -> int:
    pue_permille = record.lease.placement.bid.offer.offer.pue_permille
    energy_j = sum(row.energy_j for row in record.receipt.energy)
    return energy_j - ceil_div(energy_j * 1000, pue_permille)


def _lost(placement: PlacementRecord) -> tuple[int, int]:
    """Joules and micrograms that a provider had reported when it was revoked, and never receipted.

    Its receipts may come before the revocation, after it, or not at all, so what counts is the difference, whatever the
    order. Carbon that was only reported is taken in proportion.
    """
    receipts = placement.lease.receipts if placement.lease is not None else []
    receipted_j = sum(row.energy_j for record in receipts for row in record.receipt.energy)
    lost_energy_j = max(0, placement.lost_energy_j - receipted_j)
    if not lost_energy_j:
        return 0, 0
    return lost_energy_j, ceil_div(placement.lost_carbon_ug * lost_energy_j, placement.lost_energy_j)


# --- counterfactuals --------------------------------------------------------------------------------------------------


def counterfactuals(account: Account, summary: Mapping[str, Any]) -> dict[str, int]:
    """Micrograms that each baseline of a job's first matching would have emitted, by name: cheapest, grid_average,
    start_now (at once, instead of waiting). `summary` is as of `node.matching.bids.explain.summary`.

    Baselines were priced by the formulas of the account, at the forecasts that the choice was made by. They are scaled
    to the joules really drawn, lost work and all, so that a longer run looks neither greener nor dirtier than it was;
    and the same bytes are moved, whoever trains.
    """
    predicted_j = summary["energy_j"]
    if not predicted_j:
        return {}
    return {
        name: ceil_div(baseline["carbon_ug"] * account.energy_j, predicted_j) + account.transfer_ug
        for name, baseline in summary["baselines"].items()
    }


def grid_average_ug(energy_j: int, intensities_g_per_kwh: Sequence[int], embodied_ug: int) -> int:
    """`energy_j` drawn from the grids of the given intensities in equal parts, with the same hardware. Micrograms,
    rounded up. Raises ValueError if no intensity is given."""
    if not intensities_g_per_kwh:
        raise ValueError("the average of no grids: give at least one intensity")
    emitted = energy_j * sum(intensities_g_per_kwh) * UG_PER_G
    return ceil_div(emitted, len(intensities_g_per_kwh) * J_PER_KWH) + embodied_ug
