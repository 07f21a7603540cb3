"""What is hard to believe in a ledger: `plausibility`, asked about devices that are declared in it.

A device that is not declared has neither place nor carrier here: nobody countersigns for it, and nobody looks.

What the meter counted is looked at, the site's own use included: that is what the plant must have yielded. Interval by
interval the rules have judged what was claimed; a counter that moves in large steps may say more, and means no lie.
"""

from __future__ import annotations

from collections.abc import Iterable

from ledger.mounts import Yield
from ledger.plausibility import WINDOW_DAYS, Device, Finding, device_findings
from ledger.rules import shown
from ledger.solar import DAY_MS
from ledger.state import AttestationRecord, DeviceKey, State

WINDOW_MS = (WINDOW_DAYS + 1) * DAY_MS
JUDGED_BY_RULES = frozenset({"night", "clear sky"})


def doubts(state: State, records: Iterable[AttestationRecord]) -> list[str]:
    """What speaks against the devices behind these attestations, from a month before the first until the last: of each
    kind of finding the worst."""
    spans: dict[DeviceKey, tuple[int, int]] = {}
    for record in records:
        key = (record.author, record.device_id)
        first_ms, last_ms = spans.get(key, (record.start_ms, record.end_ms))
        spans[key] = min(first_ms, record.start_ms), max(last_ms, record.end_ms)
    return [
        f"device {key[1]!r} of {shown(key[0])}: {said(finding)}"
        for key, (first_ms, last_ms) in sorted(spans.items())
        for finding in _worst(findings(state, key, first_ms - WINDOW_MS, last_ms))
    ]


def findings(
    state: State, key: DeviceKey, since_ms: int, until_ms: int, claim: AttestationRecord | None = None
) -> list[Finding]:
    """Those of a device's claims between two moments, and of one that is not in the ledger yet; none if the device is
    not declared, or stores."""
    record = state.devices.get(key)
    if record is None:
        return []
    d, carrier = record.device, record.device.carrier
    if carrier == "storage":
        return []
    place = (d.place.latitude_decidegrees, d.place.longitude_decidegrees)
    device = Device(carrier, d.capacity_w, *place, d.tilt_degrees, d.azimuth_degrees)
    owner, device_id = key
    yields = [] if claim is None else [_counted(claim)]
    for earlier in reversed(state.attestations_of.get(owner, ())):
        if earlier.device_id == device_id and earlier.end_ms <= until_ms:
            if earlier.start_ms < since_ms:
                break
            yields.append(_counted(earlier))
    return [finding for finding in device_findings(device, yields) if finding.check not in JUDGED_BY_RULES]


def said(finding: Finding) -> str:
    """For people."""
    return f"{finding.sentence} ({finding.cause})"


def _counted(record: AttestationRecord) -> Yield:
    return Yield(record.start_ms, record.end_ms, record.meter_end_j - record.meter_start_j)


def _worst(found: Iterable[Finding]) -> list[Finding]:
    """Of each kind the one with the largest value: a long lie is told once."""
    worst: dict[str, Finding] = {}
    for finding in found:
        known = worst.setdefault(finding.check, finding)
        if abs(finding.value) > abs(known.value):
            worst[finding.check] = finding
    return list(worst.values())
