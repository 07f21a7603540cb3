"""A job's account, and what its energy would have emitted elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.energy import carbon_ug
from ledger.state import JobRecord, LeaseRecord, PlacementRecord, ReceiptRecord
from node.carbon import grid_average_ug, job_account
from protocol.messages import Method, Receipt, SlotEnergy

NOT_READ: Any = None


def row(energy_j: int, surplus_j: int, embodied_ug: int) -> SlotEnergy:
    return SlotEnergy(
        slot=0,
        energy_j=energy_j,
        surplus_j=surplus_j,
        own_g_per_kwh=36,
        grid_g_per_kwh=360,
        embodied_ug=embodied_ug,
        carbon_ug=carbon_ug(energy_j, surplus_j, 36, 360, embodied_ug),
        attestation=b"a" * 32 if surplus_j else None,
    )


def receipt(method: Method, uncertainty_permille: int, *rows: SlotEnergy) -> Receipt:
    return Receipt(
        lease=b"l" * 32,
        first_round=0,
        final=False,
        inner_steps=0,
        tokens=0,
        busy_ms=0,
        deltas=(),
        method=method,
        power_source="declared",
        moved_bytes=0,
        transfer_ug=0,
        uncertainty_permille=uncertainty_permille,
        energy=rows,
    )


def job(*placed: list[Receipt] | None) -> JobRecord:
    """A job with one placement per argument: its receipts, or None for one that was never leased."""
    record = JobRecord(b"j", b"o", NOT_READ, 0)
    for receipts in placed:
        placement = PlacementRecord(b"w", record, NOT_READ, NOT_READ)
        record.placements.append(placement)
        if receipts is not None:
            placement.lease = LeaseRecord(b"l", b"p", NOT_READ, placement)
            placement.lease.receipts = [ReceiptRecord(b"r", placement.lease, r) for r in receipts]
    return record


def test_a_job_without_receipts_has_drawn_nothing() -> None:
    account = job_account(job(None))
    assert (account.energy_j, account.carbon_ug, account.methods) == (0, 0, ())


def test_the_account_adds_up_rows_of_all_receipts_and_what_was_lost() -> None:
    record = job(
        [receipt("modelled", 300, row(100, 60, 5), row(50, 0, 5)), receipt("metered", 20, row(10, 10, 0))],
        None,
    )
    record.placements[1].lost_energy_j, record.placements[1].lost_carbon_ug = 40, 4_000
    account = job_account(record)
    assert (account.energy_j, account.surplus_j, account.embodied_ug) == (200, 70, 10)
    # 36 g/kWh is 10 µg/J: (60 + 10) x 10 + (40 + 50) x 100 + 10 + 4000
    assert account.carbon_ug == 700 + 9_000 + 10 + 4_000
    assert (account.lost_energy_j, account.lost_carbon_ug) == (40, 4_000)
    assert account.methods == ("metered", "modelled")
    assert account.uncertainty_permille == 300


def test_the_grid_average_takes_equal_parts_of_each_grid() -> None:
    assert grid_average_ug(100, [36, 360], embodied_ug=7) == 100 * 55 + 7


def test_the_average_of_no_grids_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        grid_average_ug(100, [], embodied_ug=0)
