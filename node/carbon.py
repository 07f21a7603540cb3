"""A job's account: what it drew and emitted by its receipts, and what the same energy would have emitted elsewhere.

The headline is location-based and hourly: every joule at the intensity of the place and slot where it was drawn. The
arithmetic is that of `ledger/energy.py`. What another choice of peers would have cost is predicted by the matching.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.energy import carbon_ug
from ledger.state import JobRecord, PlacementRecord
from protocol.messages import Method, Receipt
from protocol.units import ceil_div


@dataclass(frozen=True, slots=True)
class Account:
    """Totals of a job. `carbon_ug` includes `embodied_ug`, and both `lost` figures are part of the totals."""

    energy_j: int
    surplus_j: int
    embodied_ug: int
    carbon_ug: int
    lost_energy_j: int  # reported for placements that were revoked, beyond what receipts account for
    lost_carbon_ug: int
    methods: tuple[Method, ...]  # how the energy was found; say it beside every gram
    uncertainty_permille: int  # the worst of the receipts': errors of one method do not average out


def job_account(job: JobRecord) -> Account:
    """Add up a job. Receipts of revoked and of refused work count too: the energy was spent."""
    receipts = [receipt for placement in job.placements for receipt in _receipts(placement)]
    rows = [row for receipt in receipts for row in receipt.energy]
    lost = [_lost(placement) for placement in job.placements]
    lost_energy_j, lost_carbon_ug = sum(energy_j for energy_j, _ in lost), sum(carbon_ug for _, carbon_ug in lost)
    return Account(
        energy_j=sum(row.energy_j for row in rows) + lost_energy_j,
        surplus_j=sum(row.surplus_j for row in rows),
        embodied_ug=sum(row.embodied_ug for row in rows),
        carbon_ug=sum(row.carbon_ug for row in rows) + lost_carbon_ug,
        lost_energy_j=lost_energy_j,
        lost_carbon_ug=lost_carbon_ug,
        methods=tuple(sorted({receipt.method for receipt in receipts})),
        uncertainty_permille=max((receipt.uncertainty_permille for receipt in receipts), default=0),
    )


def _receipts(placement: PlacementRecord) -> list[Receipt]:
    return [record.receipt for record in placement.lease.receipts] if placement.lease is not None else []


def _lost(placement: PlacementRecord) -> tuple[int, int]:
    """Joules and micrograms that a provider had reported when it was revoked, and never receipted.

    Its receipts may come before the revocation, after it, or not at all, so what counts is the difference, whatever the
    order. Carbon that was only reported is taken in proportion.
    """
    receipted_j = sum(row.energy_j for receipt in _receipts(placement) for row in receipt.energy)
    lost_energy_j = max(0, placement.lost_energy_j - receipted_j)
    if not lost_energy_j:
        return 0, 0
    return lost_energy_j, ceil_div(placement.lost_carbon_ug * lost_energy_j, placement.lost_energy_j)


def grid_average_ug(energy_j: int, intensities_g_per_kwh: Sequence[int], embodied_ug: int) -> int:
    """The counterfactual: `energy_j` drawn from the grids of the given intensities in equal parts, with the same
    hardware. Micrograms, rounded up. Raises ValueError if no intensity is given."""
    if not intensities_g_per_kwh:
        raise ValueError("the average of no grids: give at least one intensity")
    total_ug = sum(carbon_ug(energy_j, 0, 0, g_per_kwh, 0) for g_per_kwh in intensities_g_per_kwh)
    return ceil_div(total_ug, len(intensities_g_per_kwh)) + embodied_ug
