"""What is hard to believe in a ledger: `plausibility`, asked about devices that are declared in it.

A device that is not declared has neither place nor carrier here: nobody countersigns for it, and nobody looks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ledger import plausibility, solar
from ledger.mounts import Block, Yield
from ledger.plausibility import WINDOW_DAYS, Device, Finding
from ledger.rules import shown
from ledger.state import AttestationRecord, DeviceKey, State

DEVICES_MAX = 256  # whose past days an auditor keeps: a megabyte each
WINDOW_MS = WINDOW_DAYS * solar.DAY_MS


def doubts(state: State, records: Iterable[AttestationRecord]) -> list[str]:
    """What speaks against the devices behind these attestations, from a window before the first until the last."""
    spans: dict[DeviceKey, tuple[int, int]] = {}
    for record in records:
        key = (record.author, record.device_id)
        first_ms, last_ms = spans.get(key, (record.start_ms, record.end_ms))
        spans[key] = min(first_ms, record.start_ms), max(last_ms, record.end_ms)
    found = []
    for key, (first_ms, last_ms) in sorted(spans.items()):
        device = declared(state, key)
        if device is not None:
            yields = [y for y in yields_since(state, key, first_ms - WINDOW_MS) if y.end_ms <= last_ms]
            worst = _worst(plausibility.device_findings(device, yields))
            found += [f"device {key[1]!r} of {shown(key[0])}: {said(finding)}" for finding in worst]
    return found


def declared(state: State, key: DeviceKey) -> Device | None:
    """The device as its owner declares it; None if it is not declared, or stores."""
    record = state.devices.get(key)
    if record is None:
        return None
    d, carrier = record.device, record.device.carrier
    if carrier == "storage":
        return None
    place = (d.place.latitude_decidegrees, d.place.longitude_decidegrees)
    return Device(carrier, d.capacity_w, *place, d.tilt_degrees, d.azimuth_degrees)


def yields_since(state: State, key: DeviceKey, since_ms: int) -> list[Yield]:
    """What was attested of a device from then on, in order of time."""
    owner, device_id = key
    found = []
    for record in reversed(state.attestations_of.get(owner, ())):
        if record.device_id == device_id:
            if record.start_ms < since_ms:
                break
            found.append(Yield(record.start_ms, record.end_ms, record.energy_j))
    return found[::-1]


def said(finding: Finding) -> str:
    """For people."""
    return f"{finding.sentence} ({finding.cause})"


def _worst(findings: Iterable[Finding]) -> list[Finding]:
    """Of each kind the one that exceeds its bound by most: a long lie is told once."""
    worst: dict[str, Finding] = {}
    for finding in findings:
        known = worst.setdefault(finding.check, finding)
        if abs(finding.value) > abs(known.value):
            worst[finding.check] = finding
    return list(worst.values())


@dataclass(slots=True)
class Watch:
    """An auditor's memory of devices, so that each claim costs a look at its day and its month, not at all of them:
    the blocks of days that are over, by device and its declaration, those asked about last at the end."""

    known: dict[tuple[DeviceKey, Device], dict[int, list[Block]]] = field(default_factory=dict)

    def findings(self, state: State, record: AttestationRecord) -> tuple[str, ...]:
        """What speaks against a claim that is to be signed, with those of the device that went before it."""
        key = (record.author, record.device_id)
        device = declared(state, key)
        if device is None or device.capacity_w == 0:
            return ()
        claim = Yield(record.start_ms, record.end_ms, record.energy_j)
        today = device.day(claim.mid_ms)
        if device.carrier != "solar":
            since_ms = record.end_ms - WINDOW_MS
            return tuple(map(said, plausibility.device_findings(device, [*yields_since(state, key, since_ms), claim])))
        past = self._past(key, device)
        first = max([today - WINDOW_DAYS + 1, *(day + 1 for day in past if day < today)])
        days = plausibility.by_day(device, [*yields_since(state, key, device.begins_at_ms(first)), claim])
        past |= {day: plausibility.blocks(device, yields) for day, yields in days.items() if day < today}
        for day in [day for day in past if day <= today - WINDOW_DAYS]:
            del past[day]
        window = [past[day] for day in sorted(past) if day < today]
        window.append(plausibility.blocks(device, days[today]))
        found = [*plausibility.day_findings(device, days[today]), *plausibility.window_findings(device, window)]
        return tuple(map(said, found))

    def _past(self, key: DeviceKey, device: Device) -> dict[int, list[Block]]:
        past = self.known.pop((key, device), {})
        self.known[key, device] = past
        while len(self.known) > DEVICES_MAX:
            del self.known[next(iter(self.known))]
        return past
