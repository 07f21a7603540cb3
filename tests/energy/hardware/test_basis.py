"""What a receipt may call metered."""

from __future__ import annotations

from node.energy.hardware.basis import Basis, told
from node.energy.power import SOURCE, Measured

RAPL = Measured(0, 0, 100, "RAPL package-0")


def basis(*booked: tuple[int, int, Measured | None, bool]) -> Basis:
    """Of (energy_j, measured_j, by whom, is_modelled_round)."""
    made = Basis()
    for energy_j, measured_j, measured, is_modelled_round in booked:
        made.add(energy_j, measured_j, measured, is_modelled_round=is_modelled_round)
    return made


ROUND = (100, 100, RAPL, False)
MODELLED_ROUND = (100, 0, None, True)


def test_measured_rounds_are_metered() -> None:
    assert told([basis(ROUND, ROUND), basis(ROUND)]) == ("metered", 100, "RAPL package-0")


def test_declared_rounds_are_modelled() -> None:
    assert told([basis(MODELLED_ROUND)]) == ("modelled", 300, SOURCE)


def test_nothing_at_all_is_modelled() -> None:
    assert told([]) == ("modelled", 300, SOURCE)


def test_one_modelled_round_makes_all_of_it_modelled() -> None:
    mixed = told([basis(ROUND, ROUND, ROUND), basis((1, 0, None, True))])
    assert mixed == ("modelled", 300, f"{SOURCE}; in part RAPL package-0")


def test_a_round_raised_to_declared_idle_is_modelled() -> None:
    assert told([basis(ROUND, (60, 0, RAPL, True))])[0] == "modelled"


def test_a_wait_at_declared_power_raises_the_uncertainty_by_its_weight() -> None:
    # (100 J x 10 % + 25 J x 30 %) / 125 J = 14 %
    waited = told([basis(ROUND, (25, 0, None, False))])
    assert waited == ("metered", 140, "waits at declared watts; RAPL package-0")


def test_a_part_of_a_round_too_short_for_a_joule_is_measured_all_the_same() -> None:
    assert told([basis(ROUND), basis((0, 0, RAPL, False))]) == ("metered", 100, "RAPL package-0")


def test_where_waits_are_the_greater_part_it_is_modelled() -> None:
    assert told([basis(ROUND, (100, 0, None, False))])[0] == "modelled"


def test_every_meter_is_named_once_and_within_the_bound() -> None:
    other = RAPL._replace(source="x" * 200)
    method, _, source = told([basis(ROUND, (1, 1, other, False)), basis(ROUND)])
    assert (method, len(source), source.count("RAPL")) == ("metered", 128, 1)
