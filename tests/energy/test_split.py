"""From intervals to slots to receipt rows: nothing is lost, nothing is claimed twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.energy import carbon_ug
from node.energy.split import Draw, Interval, Surplus, settle_slots, split_by_slot
from protocol.messages import SlotEnergy

SLOT_MS = 10_000


def surplus(name: str, **changes: Any) -> Surplus:
    valid: dict[str, Any] = {
        "start_ms": 0,
        "end_ms": SLOT_MS,
        "remaining_j": 100,
        "own_g_per_kwh": 11,
        "grid_g_per_kwh": 200,
    }
    return Surplus(attestation=name.encode() * 32, **valid | changes)


def settle(
    draws: dict[int, Draw], *surpluses: Surplus, embodied_ug_per_unit_hour: int = 0
) -> tuple[tuple[SlotEnergy, ...], dict[bytes, int]]:
    return settle_slots(
        draws,
        surpluses,
        slot_ms=SLOT_MS,
        unattested_g_per_kwh=500,
        units=1,
        embodied_ug_per_unit_hour=embodied_ug_per_unit_hour,
    )


@given(
    st.lists(
        st.builds(
            lambda start, length, energy: Interval(start, start + length, energy),
            st.integers(0, 200_000),
            st.integers(1, 100_000),
            st.integers(0, 10**9),
        ),
        max_size=8,
    )
)
def test_no_joule_and_no_millisecond_is_lost_between_slots(intervals: list[Interval]) -> None:
    draws = split_by_slot(intervals, SLOT_MS)
    assert sum(draw.energy_j for draw in draws.values()) == sum(i.energy_j for i in intervals)
    assert sum(draw.duration_ms for draw in draws.values()) == sum(i.end_ms - i.start_ms for i in intervals)
    assert all(draw.energy_j >= 0 for draw in draws.values())


def test_an_interval_divides_in_proportion_to_time() -> None:
    assert split_by_slot([Interval(5_000, 25_000, 101)], SLOT_MS) == {
        0: Draw(25, 5_000),
        1: Draw(50, 10_000),
        2: Draw(26, 5_000),
    }


def test_an_interval_that_ends_with_a_slot_stays_out_of_the_next() -> None:
    assert split_by_slot([Interval(0, SLOT_MS, 7)], SLOT_MS) == {0: Draw(7, SLOT_MS)}


def test_reject_interval_that_does_not_end_after_it_starts() -> None:
    with pytest.raises(ValueError, match="from 5 to 5 ms"):
        split_by_slot([Interval(5, 5, 1)], SLOT_MS)


def test_surplus_is_claimed_first_and_the_rest_counts_as_grid() -> None:
    rows, left = settle({0: Draw(150, SLOT_MS)}, surplus("a"))
    assert [(r.energy_j, r.surplus_j, r.own_g_per_kwh, r.grid_g_per_kwh) for r in rows] == [(150, 100, 11, 200)]
    assert rows[0].carbon_ug == carbon_ug(150, 100, 11, 200, 0)
    assert left == {b"a" * 32: 0}


def test_energy_without_attestation_counts_at_the_stated_grid() -> None:
    rows, _ = settle({3: Draw(150, SLOT_MS)}, surplus("a"))
    assert [(r.slot, r.surplus_j, r.grid_g_per_kwh, r.attestation) for r in rows] == [(3, 0, 500, None)]


def test_an_attestation_over_several_slots_is_claimed_once() -> None:
    rows, left = settle({0: Draw(70, SLOT_MS), 1: Draw(70, SLOT_MS)}, surplus("a", end_ms=2 * SLOT_MS))
    assert [row.surplus_j for row in rows] == [70, 30]
    assert left == {b"a" * 32: 0}


def test_the_attestation_that_ends_first_is_drawn_on_first() -> None:
    late = surplus("a", end_ms=2 * SLOT_MS)
    early = surplus("b", end_ms=SLOT_MS, remaining_j=60)
    rows, left = settle({0: Draw(60, SLOT_MS), 1: Draw(100, SLOT_MS)}, late, early)
    assert [(row.slot, row.attestation, row.surplus_j) for row in rows] == [(0, b"b" * 32, 60), (1, b"a" * 32, 100)]
    assert left == {b"a" * 32: 0, b"b" * 32: 0}


def test_several_attestations_in_a_slot_make_several_rows_and_the_dirtiest_grid_takes_the_rest() -> None:
    dirty, clean = surplus("a", grid_g_per_kwh=300, remaining_j=10), surplus("b", grid_g_per_kwh=200, remaining_j=20)
    rows, _ = settle({0: Draw(100, SLOT_MS)}, dirty, clean)
    assert [(row.attestation, row.energy_j, row.surplus_j) for row in rows] == [
        (b"a" * 32, 80, 10),
        (b"b" * 32, 20, 20),
    ]


def test_an_exhausted_attestation_still_says_what_the_grid_emits() -> None:
    rows, _ = settle({0: Draw(100, SLOT_MS)}, surplus("a", remaining_j=0))
    assert [(row.energy_j, row.surplus_j, row.grid_g_per_kwh) for row in rows] == [(100, 0, 200)]


def test_hardware_is_charged_once_per_slot_for_the_time_it_was_held() -> None:
    both = (surplus("a", remaining_j=10), surplus("b", remaining_j=20))
    rows, _ = settle({0: Draw(100, SLOT_MS // 2), 1: Draw(0, SLOT_MS)}, *both, embodied_ug_per_unit_hour=720_000)
    assert [(row.slot, row.embodied_ug) for row in rows] == [(0, 1000), (0, 0), (1, 2000)]


@given(
    draws=st.dictionaries(st.integers(0, 5), st.builds(Draw, st.integers(0, 300), st.integers(1, SLOT_MS)), max_size=6),
    left_j=st.lists(st.integers(0, 300), min_size=3, max_size=3),
    starts=st.lists(st.integers(0, 4), min_size=3, max_size=3),
)
def test_rows_conserve_energy_and_claims_never_exceed_what_is_left(
    draws: dict[int, Draw], left_j: list[int], starts: list[int]
) -> None:
    surpluses = [
        surplus(name, remaining_j=left, start_ms=start * SLOT_MS, end_ms=(start + 2) * SLOT_MS)
        for name, left, start in zip("abc", left_j, starts, strict=True)
    ]
    rows, left = settle(draws, *surpluses)
    for slot, draw in draws.items():
        assert sum(row.energy_j for row in rows if row.slot == slot) == draw.energy_j
    for given_surplus in surpluses:
        claimed_j = sum(row.surplus_j for row in rows if row.attestation == given_surplus.attestation)
        assert claimed_j + left[given_surplus.attestation] == given_surplus.remaining_j
        assert left[given_surplus.attestation] >= 0
    assert all(row.surplus_j <= row.energy_j for row in rows)
