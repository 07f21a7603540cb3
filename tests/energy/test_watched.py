"""Facts about a source under watch: pauses after failures, stale and future figures, and what people are told."""

from __future__ import annotations

import pytest

from node.energy.source import SourceError
from node.energy.watched import AHEAD_MAX_MS, BACKOFF_MAX_MS, BACKOFF_MS, Watched
from tests.energy.scripted import AT_MS, STALE_MS, Scripted, reading, watched


def test_a_good_answer_passes() -> None:
    source = Scripted()
    assert watched(source).read(AT_MS) == reading()


def test_a_failed_source_is_left_alone_longer_each_time_and_never_for_ever() -> None:
    source = Scripted(SourceError("it sleeps", "wake it"))
    under_watch = watched(source)
    now_ms, pauses_ms = AT_MS, []
    for failures in range(1, 20):
        with pytest.raises(SourceError, match="it sleeps"):
            under_watch.read(now_ms)
        health = under_watch.health
        assert (health.failures, health.is_well, health.remedy) == (failures, False, "wake it")
        pauses_ms.append(health.retry_at_ms - now_ms)
        with pytest.raises(SourceError, match=r"it sleeps \(asked again in \d+ s\)"):
            under_watch.read(health.retry_at_ms - 1)
        assert source.asked == failures
        now_ms = health.retry_at_ms
    assert BACKOFF_MS <= pauses_ms[0] <= BACKOFF_MS * 5 // 4
    assert pauses_ms[1] > pauses_ms[0]
    assert all(BACKOFF_MAX_MS <= pause <= BACKOFF_MAX_MS * 5 // 4 for pause in pauses_ms[-5:])


def test_a_source_that_asks_for_a_pause_gets_it() -> None:
    under_watch = watched(Scripted(SourceError("too often", "wait", retry_after_ms=3_600_000)))
    with pytest.raises(SourceError):
        under_watch.read(AT_MS)
    assert under_watch.health.retry_at_ms == AT_MS + 3_600_000


def test_the_first_good_answer_ends_the_pauses() -> None:
    source = Scripted(SourceError("it sleeps", "wake it"))
    under_watch = watched(source)
    with pytest.raises(SourceError):
        under_watch.read(AT_MS)
    source.outcome = reading(at_ms=AT_MS + 60_000)
    under_watch.read(AT_MS + 60_000)
    assert under_watch.health.is_well
    assert under_watch.health.last_reading == source.outcome
    source.outcome = SourceError("it sleeps", "wake it")
    with pytest.raises(SourceError):
        under_watch.read(AT_MS + 61_000)
    assert under_watch.health.failures == 1
    assert under_watch.health.last_reading is not None


def test_a_figure_stands_until_it_may_be_asked_for_again() -> None:
    source = Scripted()
    under_watch = Watched("energy.grid (test)", source, STALE_MS, refresh_ms=240_000)
    assert under_watch.read(AT_MS) == reading()
    source.outcome = reading(200, AT_MS + 240_000)
    assert under_watch.read(AT_MS + 239_999) == reading()
    assert source.asked == 1
    assert under_watch.read(AT_MS + 240_000) == source.outcome
    assert under_watch.read(AT_MS + 200_000) == source.outcome  # a clock set back asks at once
    assert source.asked == 3


def test_a_figure_that_grows_stale_is_asked_for_before_its_time() -> None:
    source = Scripted()
    under_watch = Watched("energy.grid (test)", source, STALE_MS, refresh_ms=3_600_000)
    under_watch.read(AT_MS)
    source.outcome = reading(200, AT_MS + STALE_MS + 1)
    assert under_watch.read(AT_MS + STALE_MS + 1) == source.outcome


def test_a_failure_is_never_covered_by_the_figure_before_it() -> None:
    source = Scripted()
    under_watch = Watched("energy.grid (test)", source, STALE_MS, refresh_ms=60_000)
    under_watch.read(AT_MS)
    source.outcome = SourceError("it sleeps", "wake it")
    for later_ms in (60_000, 60_001):
        with pytest.raises(SourceError, match="it sleeps"):
            under_watch.read(AT_MS + later_ms)


def test_a_fault_of_a_sources_program_is_a_silent_source() -> None:
    source = Scripted(KeyError("secret"))
    under_watch = watched(source)
    for later_ms in (0, 1):
        with pytest.raises(SourceError, match="a fault of its program: KeyError"):
            under_watch.read(AT_MS + later_ms)
    assert source.asked == 1
    assert not under_watch.health.is_well


def test_refuse_a_stale_figure() -> None:
    assert watched(Scripted()).read(AT_MS + STALE_MS) == reading()
    with pytest.raises(SourceError, match="newest figure is 601 s old, 600 s are allowed"):
        watched(Scripted()).read(AT_MS + STALE_MS + 1000)


def test_refuse_a_figure_from_the_future() -> None:
    ahead = reading(at_ms=AT_MS + AHEAD_MAX_MS)
    assert watched(Scripted(ahead)).read(AT_MS) == ahead
    with pytest.raises(SourceError, match="3600 s ahead of this clock"):
        watched(Scripted(reading(at_ms=AT_MS + 3_600_000))).read(AT_MS)
