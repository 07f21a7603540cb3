"""The same joules claimed by two owners: what no rule can forbid, for each owner's feed is judged alone, and everybody
can see.

Devices are compared where their ids name a registry (`assurance.comparable`). Two attestations of one device are at
odds if their times overlap; or if the counters they claim overlap, whatever their times: so a claim that was shifted by
an hour, or into another time zone, is found as well. Times are network time, in which an hour is one for everybody.

A finding proves that one of the two is wrong, not which, nor that anybody lied.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ledger.rules import shown
from ledger.state import AttestationRecord, State
from protocol.units import MS_PER_HOUR

Span = Callable[[AttestationRecord], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Double:
    """Two attestations that are at odds: the one whose span begins first, and what overlaps it."""

    first: AttestationRecord
    second: AttestationRecord
    reason: str


def doubles(state: State) -> list[Double]:
    """Every attestation that claims what another owner's claims, once for each way in which it does."""
    of_device: dict[str, list[AttestationRecord]] = defaultdict(list)
    for record in state.attestations.values():
        if ":" in record.device_id:
            of_device[record.device_id].append(record)
    return [double for _, records in sorted(of_device.items()) for double in at_odds(records)]


def at_odds(records: Iterable[AttestationRecord]) -> Iterator[Double]:
    """Those of one device that are."""
    records = list(records)
    if len({record.author for record in records}) < 2:
        return
    for first, second in _overlaps(records, _time):
        last, begins = first.end_ms, second.start_ms
        yield Double(first, second, f"until {last} ms and from {begins} ms: is the meter shared, or a clock wrong?")
    for first, second in _overlaps(records, _counter):
        apart_ms = second.start_ms - first.start_ms
        if _time(first)[0] < _time(second)[1] and _time(second)[0] < _time(first)[1]:
            continue  # said already
        hours, rest_ms = divmod(abs(apart_ms), MS_PER_HOUR)
        likely = "was the meter replaced?" if rest_ms or hours > 24 else f"is a clock {hours} h off, or local time?"
        yield Double(
            first,
            second,
            f"counter up to {first.meter_end_j} J and from {second.meter_start_j} J, {apart_ms} ms later: {likely}",
        )


def described(double: Double) -> str:
    """In words with numbers."""
    first, second = double.first, double.second
    return (
        f"device {first.device_id!r}: {shown(second.author)} claims in attestation {shown(second.id)} what"
        f" {shown(first.author)} claims in {shown(first.id)}: {double.reason}"
    )


def _time(record: AttestationRecord) -> tuple[int, int]:
    return record.start_ms, record.end_ms


def _counter(record: AttestationRecord) -> tuple[int, int]:
    return record.meter_start_j, record.meter_end_j


def _overlaps(records: list[AttestationRecord], span: Span) -> Iterator[tuple[AttestationRecord, AttestationRecord]]:
    """Pairs of different owners, each record with the one that reaches furthest before it: one pass over a sorted list,
    so that a stranger's thousand claims cost no million pairs. Spans of nothing overlap nothing."""
    furthest: dict[bytes, AttestationRecord] = {}  # by owner
    for record in sorted(records, key=lambda r: (*span(r), r.id)):
        start, end = span(record)
        if start == end:
            continue
        others = [other for owner, other in furthest.items() if owner != record.author and span(other)[1] > start]
        if others:
            yield max(others, key=lambda other: (span(other)[1], other.id)), record
        known = furthest.get(record.author)
        if known is None or span(known)[1] < end:
            furthest[record.author] = record
