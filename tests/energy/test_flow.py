"""Facts about joules from readings: stretches add up, and what nobody knows is not made up."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.energy.flow import SAMPLING_UNCERTAINTY_PERMILLE, Flow
from node.energy.source import DeviceSignature, Kind, Reading, SourceError
from node.energy.supply import READING_MAX_MS
from tests.energy.scripted import AT_MS, reading


def counter(value: int, at_ms: int) -> Reading:
    return reading(value, at_ms, Kind.COUNTER)


def test_a_counter_gives_its_difference_between_the_moments_it_names() -> None:
    flow = Flow()
    assert flow.advance(counter(1000, AT_MS)) is None
    stretch = flow.advance(counter(1600, AT_MS + 60_000))
    assert stretch is not None
    assert (stretch.start_ms, stretch.end_ms) == (AT_MS, AT_MS + 60_000)
    assert (stretch.meter_start_j, stretch.meter_end_j, stretch.energy_j) == (1000, 1600, 600)


def test_a_counter_that_stands_still_in_time_says_nothing_new() -> None:
    flow = Flow()
    flow.advance(counter(1000, AT_MS))
    assert flow.advance(counter(1000, AT_MS)) is None
    stretch = flow.advance(counter(1100, AT_MS + 1000))
    assert stretch is not None
    assert stretch.start_ms == AT_MS


def test_after_a_gap_nobody_knows_when_it_flowed() -> None:
    flow = Flow()
    flow.advance(counter(1000, AT_MS))
    assert flow.advance(counter(9000, AT_MS + READING_MAX_MS + 1)) is None
    stretch = flow.advance(counter(9500, AT_MS + READING_MAX_MS + 1001))
    assert stretch is not None
    assert stretch.energy_j == 500


def test_a_counter_that_fell_is_a_fault_and_counting_begins_anew() -> None:
    flow = Flow()
    flow.advance(counter(1000, AT_MS))
    with pytest.raises(SourceError, match="fell from 1000 J to 10 J"):
        flow.advance(counter(10, AT_MS + 1000))
    stretch = flow.advance(counter(30, AT_MS + 2000))
    assert stretch is not None
    assert stretch.energy_j == 20


def test_power_is_taken_as_linear_and_summed_from_where_the_ledger_stands() -> None:
    flow = Flow(counter_j=5000)
    flow.advance(reading(100, AT_MS))
    stretch = flow.advance(reading(300, AT_MS + 10_000))
    assert stretch is not None
    assert (stretch.meter_start_j, stretch.energy_j) == (5000, 2000)
    assert stretch.uncertainty_permille == 20 + SAMPLING_UNCERTAINTY_PERMILLE


@given(st.lists(st.tuples(st.integers(1, 60_000), st.integers(0, 10_000)), min_size=2, max_size=30))
def test_stretches_of_power_add_up_to_the_integral(samples: list[tuple[int, int]]) -> None:
    flow, at_ms, readings = Flow(), AT_MS, []
    for step_ms, power_w in samples:
        at_ms += step_ms
        readings.append(reading(power_w, at_ms))
    stretches = [stretch for r in readings if (stretch := flow.advance(r)) is not None]
    exact = sum((a.value + b.value) * (b.end_ms - a.end_ms) for a, b in pairwise(readings)) // 2000
    assert stretches[-1].meter_end_j == exact
    assert all(earlier.meter_end_j == later.meter_start_j for earlier, later in pairwise(stretches))


def test_power_that_is_looked_at_in_between_is_summed_finer() -> None:
    flow = Flow()
    flow.advance(reading(0, AT_MS))
    flow.sample(reading(1000, AT_MS + 10_000))
    flow.sample(reading(1000, AT_MS + 20_000))
    stretch = flow.advance(reading(0, AT_MS + 30_000))
    assert stretch is not None
    assert (stretch.start_ms, stretch.end_ms, stretch.energy_j) == (AT_MS, AT_MS + 30_000, 20_000)


def test_a_look_at_a_counter_in_between_changes_nothing() -> None:
    flow = Flow()
    flow.advance(counter(1000, AT_MS))
    flow.sample(counter(5000, AT_MS + 10_000))
    stretch = flow.advance(counter(9000, AT_MS + 20_000))
    assert stretch is not None
    assert (stretch.start_ms, stretch.energy_j) == (AT_MS, 8000)


def test_a_devices_own_signatures_go_with_its_counter() -> None:
    flow = Flow()
    first, second = (DeviceSignature(bytes(32), bytes([n]) * 64) for n in (1, 2))
    flow.advance(Reading(Kind.COUNTER, 1, AT_MS, AT_MS, "metered", 0, "test", first))
    stretch = flow.advance(Reading(Kind.COUNTER, 2, AT_MS + 1, AT_MS + 1, "metered", 0, "test", second))
    assert stretch is not None
    assert (stretch.start_signature, stretch.end_signature) == (first, second)
