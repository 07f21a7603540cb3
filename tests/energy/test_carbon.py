"""A job's account, and what its energy would have emitted elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from node.accounts.carbon import Account, counterfactuals, grid_average_ug
from protocol.messages import SlotEnergy
from tests.builders import slot_energy
from tests.energy.accounts import Accounted, own_row


def test_a_job_without_receipts_has_drawn_nothing() -> None:
    account = Accounted().account
    assert (account.energy_j, account.carbon_ug, account.methods, account.uncertainty_permille) == (0, 0, (), 0)


def test_the_account_adds_up_rows_of_all_receipts_and_what_was_lost() -> None:
    scene = Accounted()
    surplus = scene.attest()
    scene.receipt(own_row(surplus, energy_j=6000, surplus_j=4000), slot_energy(energy_j=2000, embodied_ug=5))
    scene.receipt(own_row(surplus, energy_j=3000, surplus_j=3000), method="metered", uncertainty_permille=20)
    scene.lose(energy_j=500, carbon_ug=50_000)
    account = scene.account
    assert (account.energy_j, account.surplus_j) == (11_500, 7000)
    assert account.embodied_ug == 20_000 + 5 + 20_000
    # 36 g/kWh is 10 µg/J, the grid ten times as much; each receipt moved 0.36 J, rounded up to 1
    assert account.transfer_ug == 2 * 100
    assert account.carbon_ug == 70_000 + 400_000 + 40_005 + 200 + 50_000
    assert (account.lost_energy_j, account.lost_carbon_ug) == (500, 50_000)
    assert account.methods == ("metered", "modelled")
    assert account.uncertainty_permille == 250


def test_refused_work_is_spent_and_redundant_and_its_tokens_do_not_count() -> None:
    scene = Accounted()
    scene.receipt(slot_energy(), tokens=70, inner_steps=7)
    refused = scene.receipt(slot_energy(energy_j=9000), tokens=30, inner_steps=3)
    scene.history.settlement(refused, accepted=False)
    account = scene.account
    assert (account.energy_j, account.tokens, account.inner_steps) == (15_000, 70, 7)
    assert (account.redundant_j, account.redundant_ug) == (9000, 900_000 + 20_000 + 100)


def test_idle_power_and_overhead_are_parts_of_the_energy() -> None:
    scene = Accounted(idle_w=20, pue_permille=1500)
    scene.receipt(slot_energy(energy_j=9000), busy_ms=60_000)
    assert (scene.account.idle_j, scene.account.overhead_j) == (2 * 20 * 60 * 3 // 2, 3000)


def test_what_a_lost_peer_never_receipted_has_an_unknown_error() -> None:
    scene = Accounted()
    scene.lose(energy_j=500, carbon_ug=50_000)
    assert scene.account.uncertainty_permille == 1000


def test_the_account_says_what_told_the_draw() -> None:
    scene = Accounted()
    for source in ("nvml", "declared", "nvml"):
        scene.receipt(slot_energy(), power_source=source)
    assert scene.account.power_sources == ("declared", "nvml")


# --- counterfactuals --------------------------------------------------------------------------------------------------


def drawn(*rows: SlotEnergy) -> Account:
    scene = Accounted()
    scene.receipt(*rows)
    return scene.account


def summary(energy_j: int, **baselines_ug: int) -> dict[str, Any]:
    return {"energy_j": energy_j, "baselines": {name: {"carbon_ug": ug} for name, ug in baselines_ug.items()}}


def test_baselines_are_scaled_to_the_joules_drawn_and_move_the_same_bytes() -> None:
    account = drawn(slot_energy(energy_j=9000))
    otherwise = counterfactuals(account, summary(6000, cheapest=500_000, grid_average=400_001, start_now=0))
    assert otherwise == {"cheapest": 750_100, "grid_average": 600_102, "start_now": 100}


def test_a_job_that_was_never_placed_has_no_counterfactual() -> None:
    assert counterfactuals(Accounted().account, summary(0)) == {}


def test_a_baseline_that_is_the_plan_itself_saves_nothing() -> None:
    """One formula on both sides: what was predicted, drawn as predicted, emits what was predicted."""
    account = drawn(slot_energy())
    predicted = summary(account.energy_j, same=account.carbon_ug - account.transfer_ug)
    assert counterfactuals(account, predicted) == {"same": account.carbon_ug}


def test_the_grid_average_takes_equal_parts_of_each_grid() -> None:
    assert grid_average_ug(100, [36, 360], embodied_ug=7) == 100 * 55 + 7


def test_the_average_of_no_grids_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        grid_average_ug(100, [], embodied_ug=0)
