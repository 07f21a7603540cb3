"""Facts about figures over time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.energy.series import coming, in_order, newest, spans, unix_ms, utc_text, within
from node.energy.source import Kind, Reading, SourceError
from node.energy.watched import AHEAD_MAX_MS


def figure(start_ms: int, end_ms: int, value: int = 100) -> Reading:
    return Reading(Kind.AVG_DIRECT, value, start_ms, end_ms, "grid_mix", 100, "a test")


def test_an_instant_is_the_same_in_every_zone() -> None:
    summer = datetime(2026, 10, 25, 2, 30, tzinfo=timezone(timedelta(hours=2)))
    winter = datetime(2026, 10, 25, 1, 30, tzinfo=timezone(timedelta(hours=1)))
    assert unix_ms(summer) == unix_ms(winter) == 1_792_888_200_000
    assert utc_text(unix_ms(summer) + 59_999) == "2026-10-25T00:30Z"


def test_order_is_by_beginning_and_what_is_said_twice_counts_once() -> None:
    first, second = figure(0, 10), figure(10, 20)
    assert in_order([second, first, second]) == (first, second)


@pytest.mark.parametrize("other", [figure(0, 10, 7), figure(5, 15), figure(0, 30), figure(9, 10)])
def test_refuse_two_figures_for_the_same_time(other: Reading) -> None:
    with pytest.raises(SourceError, match="are both for 1970-01-01T00:00Z"):
        in_order([figure(0, 10), other])


def test_what_comes_begins_with_the_interval_that_lasts() -> None:
    past, present, later = figure(0, 10), figure(10, 20), figure(50, 60)
    assert coming([later, past, present], 10) == (present, later)
    with pytest.raises(SourceError, match="nothing of the time from now on"):
        coming([past], 10)


def test_the_newest_has_begun_by_clocks_that_agree_well_enough() -> None:
    past, next_one, later = figure(0, 300_000), figure(300_000, 600_000), figure(600_000, 900_000)
    assert newest([later, next_one, past], 300_000 - AHEAD_MAX_MS, "it") == past
    assert newest([later, next_one, past], 300_001 - AHEAD_MAX_MS, "it") == next_one
    with pytest.raises(SourceError, match="it has no figure for now"):
        newest([later], 300_000, "it")


def test_within_a_time_is_what_begins_in_it() -> None:
    assert within([figure(0, 10), figure(10, 20), figure(20, 30)], 5, 20) == (figure(10, 20),)
    assert within([], 0, 9) == ()


@given(start=st.integers(0, 10**6), length=st.integers(0, 10**4), longest=st.integers(1, 10**4))
def test_spans_cover_the_time_once_and_none_is_too_long(start: int, length: int, longest: int) -> None:
    pieces = list(spans(start, start + length, longest))
    assert sum(end - begin for begin, end in pieces) == length
    assert all(0 < end - begin <= longest for begin, end in pieces)
    assert [begin for begin, _ in pieces[1:]] == [end for _, end in pieces[:-1]]
