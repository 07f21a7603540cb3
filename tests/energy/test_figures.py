"""A job's carbon told in several ways: side by side, never blended, each with what is not known."""

from __future__ import annotations

import random

import pytest

from node.accounts.figures import Carbon, Rate, Score, Share
from tests.builders import slot_energy
from tests.energy.accounts import Accounted, own_row

MAKING_UG, TRANSFER = 20_000, Carbon(100, 17, 787)  # of one receipt, as the builders make it: 1 J of networks


def test_a_job_without_receipts_has_no_figure_but_nothing() -> None:
    told = Accounted().report
    assert told.location == told.market == Carbon(0, 0, 0)
    assert (told.carbon_free, told.marginal, told.sci_per_token, told.sci_per_step, told.shares) == (None,) * 4 + ((),)


# --- location and market ------------------------------------------------------------------------------------------


def test_without_certificates_the_market_is_the_place() -> None:
    scene = Accounted()
    scene.receipt(own_row(scene.attest(), surplus_j=2000), slot_energy())
    told = scene.report
    assert told.market == told.location
    assert told.location.carbon_ug == told.account.carbon_ug


def test_a_certificate_moves_the_market_figure_alone() -> None:
    scene = Accounted()
    scene.certify(scene.receipt(slot_energy()), 2000, own_g_per_kwh=18)
    told = scene.report
    assert told.location.carbon_ug == 600_000 + MAKING_UG + 100
    assert told.market.carbon_ug == 2000 * 5 + 4000 * 100 + MAKING_UG + 100
    assert told.certified_j == 2000


def test_a_certificate_browner_than_the_grid_counts_as_brown_as_it_is() -> None:
    scene = Accounted()
    scene.certify(scene.receipt(slot_energy()), 2000, own_g_per_kwh=720)
    told = scene.report
    assert told.market.carbon_ug == told.location.carbon_ug + 2000 * 100
    assert told.market.least_ug <= told.market.carbon_ug <= told.market.most_ug


def test_a_certificate_of_another_job_is_not_ours() -> None:
    scene = Accounted()
    ours, others = Accounted(), scene.receipt(slot_energy())
    scene.certify(others, 2000)
    ours.receipt(slot_energy())
    assert (ours.report.certified_j, scene.report.certified_j) == (0, 2000)


# --- bounds -------------------------------------------------------------------------------------------------------


def test_bounds_take_every_error_at_its_worst_at_once() -> None:
    scene = Accounted()
    surplus = scene.attest(uncertainty_permille=100)
    scene.receipt(own_row(surplus, surplus_j=4000), uncertainty_permille=500)
    # 3,000 J all covered, at 10 µg/J; and 9,000 J, of which 3,600 are covered, the rest at 100 µg/J
    assert scene.report.location == Carbon(
        40_000 + 200_000 + MAKING_UG + TRANSFER.carbon_ug,
        30_000 + MAKING_UG + TRANSFER.least_ug,
        36_000 + 540_000 + MAKING_UG + TRANSFER.most_ug,
    )


def test_errors_of_several_receipts_do_not_average_out() -> None:
    one, three = Accounted(), Accounted()
    one.receipt(slot_energy())
    for _ in range(3):
        three.receipt(slot_energy())
    once, thrice = one.report.location, three.report.location
    assert 0 <= 3 * once.most_ug - thrice.most_ug < 3  # rounded once instead of three times
    assert 0 <= thrice.least_ug - 3 * once.least_ug < 3


def test_an_attestation_of_no_energy_states_the_error_of_the_grid() -> None:
    scene = Accounted()
    silent = scene.attest(energy_j=0, uncertainty_permille=200)
    scene.receipt(own_row(silent, surplus_j=0), uncertainty_permille=0)
    told = scene.report.location
    assert told.carbon_ug - told.least_ug == 120_000 + 100 - TRANSFER.least_ug
    assert told.most_ug - told.carbon_ug == 120_000 + TRANSFER.most_ug - 100


def test_what_was_lost_is_as_uncertain_as_the_worst_receipt() -> None:
    scene = Accounted()
    scene.receipt(slot_energy(), uncertainty_permille=0)
    before = scene.report.location
    scene.receipt_of_neighbour(slot_energy(energy_j=0, embodied_ug=0))  # of nothing, ± 25 %
    scene.lose(energy_j=500, carbon_ug=40_000)
    after = scene.report.location
    assert after.most_ug - before.most_ug == 50_000
    assert after.least_ug - before.least_ug == 30_000


@pytest.mark.parametrize("seed", range(20))
def test_every_figure_lies_within_its_bounds(seed: int) -> None:
    draw = random.Random(seed)
    scene = Accounted()
    surplus = scene.attest(
        uncertainty_permille=draw.randrange(1001),
        own_g_per_kwh=draw.randrange(800),
        grid_g_per_kwh=draw.randrange(800),
        carrier=draw.choice(["hydro", "grid"]),
        marginal_g_per_kwh=draw.choice([None, draw.randrange(1200)]),
        carbon_free_permille=draw.choice([None, draw.randrange(1001)]),
    )
    own, grid = surplus.body["own_g_per_kwh"], surplus.body["grid_g_per_kwh"]
    mixed = own_row(surplus, surplus_j=draw.randrange(4000), own_g_per_kwh=own, grid_g_per_kwh=grid)
    receipt = scene.receipt(mixed, slot_energy(), uncertainty_permille=draw.randrange(1001))
    scene.certify(receipt, draw.randrange(1, 2000), own_g_per_kwh=draw.randrange(800))
    scene.lose(energy_j=draw.randrange(3000), carbon_ug=draw.randrange(10**6))
    told = scene.report
    for carbon in (told.location, told.market, *([told.marginal] if told.marginal else [])):
        assert carbon.least_ug <= carbon.carbon_ug <= carbon.most_ug
    score, rate = told.carbon_free, told.sci_per_token
    assert score is not None
    assert rate is not None
    assert 0 <= score.least_permille <= score.carbon_free_permille <= score.most_permille <= 1000
    assert score.carbon_free_permille + score.unknown_permille <= 1001  # one is rounded down, the other up
    assert rate.least_pg <= rate.carbon_pg <= rate.most_pg
    assert sum(share.energy_j for share in told.shares) == told.account.energy_j - told.account.lost_energy_j


# --- the 24/7 score -----------------------------------------------------------------------------------------------


def test_own_surplus_and_the_grids_share_match_what_was_drawn() -> None:
    scene = Accounted()
    surplus = scene.attest(carbon_free_permille=250, uncertainty_permille=0)
    scene.receipt(own_row(surplus, surplus_j=2000), uncertainty_permille=0)
    assert scene.report.carbon_free == Score(500, 500, 500, 0)


def test_what_nobody_knows_counts_as_nothing_and_is_said() -> None:
    scene = Accounted()
    surplus = scene.attest(uncertainty_permille=0)
    scene.receipt(own_row(surplus, surplus_j=2000), slot_energy(energy_j=2000), uncertainty_permille=0)
    assert scene.report.carbon_free == Score(250, 250, 1000, 750)


def test_surplus_of_a_source_that_is_not_carbon_free_matches_nothing() -> None:
    scene = Accounted()
    scene.receipt(own_row(scene.attest(carrier="grid", carbon_free_permille=0)))
    score = scene.report.carbon_free
    assert score is not None
    assert score.carbon_free_permille == 0


def test_what_was_lost_is_unknown() -> None:
    scene = Accounted()
    scene.receipt(own_row(scene.attest(uncertainty_permille=0)), uncertainty_permille=0)
    scene.lose(energy_j=6000, carbon_ug=600_000)
    assert scene.report.carbon_free == Score(500, 500, 1000, 500)


# --- marginal, SCI, sources ---------------------------------------------------------------------------------------


def test_the_marginal_figure_speaks_only_of_what_is_known() -> None:
    scene = Accounted()
    surplus = scene.attest(marginal_g_per_kwh=720)
    scene.receipt(own_row(surplus, surplus_j=2000), slot_energy())
    told = scene.report
    assert told.marginal is not None
    assert (told.marginal.carbon_ug, told.marginal_known_j) == (2000 * 10 + 4000 * 200, 6000)


def test_without_a_marginal_intensity_there_is_no_marginal_figure() -> None:
    scene = Accounted()
    scene.receipt(own_row(scene.attest()), slot_energy())
    assert (scene.report.marginal, scene.report.marginal_known_j) == (None, 0)


def test_sci_divides_all_grams_by_the_work_that_counts() -> None:
    scene = Accounted()
    scene.receipt(slot_energy(embodied_ug=0), tokens=1000, inner_steps=0, uncertainty_permille=0)
    scene.history.settlement(scene.receipt(slot_energy(embodied_ug=0), tokens=9000), accepted=False)
    told = scene.report
    assert told.sci_per_step is None
    assert told.sci_per_token is not None
    assert told.sci_per_token.carbon_pg == 1_200_200 * 10**6 // 1000


def test_sci_is_rounded_up_and_its_lower_bound_down() -> None:
    scene = Accounted()
    scene.receipt(slot_energy(energy_j=0, embodied_ug=1), deltas=(), moved_bytes=0, tokens=3, uncertainty_permille=0)
    assert scene.report.sci_per_token == Rate(333_334, 333_333, 333_334)


def test_joules_are_told_by_source_and_method() -> None:
    scene = Accounted()
    surplus = scene.attest(source="inverter", intensity_source="a table")
    scene.receipt(own_row(surplus, surplus_j=2000), slot_energy(energy_j=5000))
    assert scene.report.shares == (
        Share("grid_mix", "the bid's dirtiest slot", None, 5000, 500_000),
        Share("grid_mix", "a table", None, 4000, 400_000),
        Share("metered", "inverter", 1, 2000, 20_000),
    )
