"""Emission factors, watts and overheads that declarations start from."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import TypeAdapter

from node.energy.fuels import FUELS, Fuel, own_g_per_kwh
from node.energy.machines import PUE_PERMILLE, TDP_W, Building, idle_w
from protocol.messages import Carrier, Name


def test_every_fuel_has_its_factors_and_a_life_cycle_holds_what_leaves_the_stack() -> None:
    assert set(FUELS) == set(get_args(Fuel))
    assert all(factor.lifecycle_g_per_kwh > factor.direct_g_per_kwh >= 0 for factor in FUELS.values())


@pytest.mark.parametrize(("carrier", "expected"), [("solar", 41), ("wind", 11), ("hydro", 24), ("grid", 300)])
def test_own_power_emits_what_its_fuel_does_and_the_grids_what_the_grid_does(carrier: str, expected: int) -> None:
    assert own_g_per_kwh(carrier, 300) == expected


def test_every_carrier_but_the_grid_is_a_fuel() -> None:
    assert set(get_args(Carrier)) - {"grid"} <= set(FUELS)


@pytest.mark.parametrize("device", TDP_W)
def test_every_device_can_be_offered_and_draws_less_when_it_waits(device: str) -> None:
    TypeAdapter(Name).validate_python(device)
    assert 0 < idle_w(TDP_W[device]) < TDP_W[device] <= 1000


def test_no_building_draws_less_than_its_machines() -> None:
    assert set(PUE_PERMILLE) == set(get_args(Building))
    assert all(1000 <= pue <= 2000 for pue in PUE_PERMILLE.values())
