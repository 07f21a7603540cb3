"""Figures over time, as services list them: moments in UTC, put in order, without overlap. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import pairwise

from node.energy.source import Reading, SourceError
from node.energy.watched import AHEAD_MAX_MS


def unix_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def utc_text(at_ms: int) -> str:
    """`2026-06-21T12:00Z`: to the minute, as services read it; rounded down."""
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%dT%H:%MZ}"


def in_order(readings: Iterable[Reading]) -> tuple[Reading, ...]:
    """By beginning; what is said twice alike counts once.

    Raises SourceError where two figures speak of the same time: neither is better than the other, and a service that
    slips into local time says the hour twice in which clocks go back.
    """
    ordered = sorted(dict.fromkeys(readings), key=lambda reading: reading.start_ms)
    for before, after in pairwise(ordered):
        if after.start_ms < before.end_ms:
            raise SourceError(
                f"two of its figures, {before.value} and {after.value} {after.unit}, are both for"
                f" {utc_text(after.start_ms)}",
                "Look at the source itself: it may mix up local time and UTC.",
            )
    return tuple(ordered)


def coming(readings: Iterable[Reading], now_ms: int) -> tuple[Reading, ...]:
    """Those that have not ended, in order. Raises SourceError as `in_order`, and if there is none."""
    ahead = in_order(reading for reading in readings if reading.end_ms > now_ms)
    if not ahead:
        raise SourceError("its forecast says nothing of the time from now on", "It is asked again by itself, later.")
    return ahead


def within(readings: Iterable[Reading], start_ms: int, end_ms: int) -> tuple[Reading, ...]:
    """Those that begin within the time, in order. Raises SourceError as `in_order`."""
    return in_order(reading for reading in readings if start_ms <= reading.start_ms < end_ms)


def newest(readings: Iterable[Reading], now_ms: int, name: str) -> Reading:
    """The last that has begun, by clocks that agree well enough. Raises SourceError as `in_order`, and if none has."""
    begun = within(readings, 0, now_ms + AHEAD_MAX_MS)
    if not begun:
        raise SourceError(
            f"{name} has no figure for now", "It is asked again by itself, later; see whether the service knows it."
        )
    return begun[-1]


def spans(start_ms: int, end_ms: int, longest_ms: int) -> Iterator[tuple[int, int]]:
    """The time cut into pieces that a service answers at once."""
    for begins_ms in range(start_ms, end_ms, longest_ms):
        yield begins_ms, min(begins_ms + longest_ms, end_ms)
