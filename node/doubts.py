"""What an auditor has against a device: the findings of its last thirty days, looked for once a day. Pure.

Looking costs up to a quarter of a second of a core; what came out counts for a day. A lie of one day is so refused from
the next on, and for as long as the day stays in the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ledger import plausibility
from ledger.mounts import Yield
from ledger.state import AttestationRecord, DeviceKey, State
from protocol.units import MS_PER_HOUR

DAY_MS = 24 * MS_PER_HOUR
WINDOW_MS = (plausibility.WINDOW_DAYS + 1) * DAY_MS
DEVICES_MAX = 10_000  # remembered


@dataclass(slots=True)
class Doubts:
    """Callable as `countersigning.Findings`."""

    looked_at: dict[DeviceKey, tuple[int, tuple[str, ...]]] = field(default_factory=dict)

    def __call__(self, state: State, record: AttestationRecord) -> Sequence[str]:
        """What is hard to believe of the device of this claim, in sentences with numbers and a likely cause."""
        key = (record.author, record.device_id)
        at_ms, sentences = self.looked_at.get(key, (-DAY_MS, ()))
        if record.end_ms - at_ms >= DAY_MS:
            sentences = tuple(f"{f.check}: {f.sentence} ({f.cause})" for f in findings(state, record))
            if len(self.looked_at) >= DEVICES_MAX:
                self.looked_at.clear()
            self.looked_at[key] = record.end_ms, sentences
        return sentences


def findings(state: State, record: AttestationRecord) -> list[plausibility.Finding]:
    """Those of the claims of the last thirty days, this one included. What the meter counted is looked at, the site's
    own use included: it is what the plant must have yielded."""
    declared = state.devices[record.author, record.device_id].device
    if declared.carrier == "storage":
        return []
    yields = [_yield_of(record)]
    for earlier in reversed(state.attestations_of.get(record.author, ())):
        if earlier.end_ms < record.end_ms - WINDOW_MS:
            break
        if earlier.device_id == record.device_id:
            yields.append(_yield_of(earlier))
    device = plausibility.Device(
        carrier=declared.carrier,
        capacity_w=declared.capacity_w,
        latitude_decidegrees=declared.place.latitude_decidegrees,
        longitude_decidegrees=declared.place.longitude_decidegrees,
        tilt_degrees=declared.tilt_degrees,
        azimuth_degrees=declared.azimuth_degrees,
    )
    return plausibility.device_findings(device, yields)


def _yield_of(record: AttestationRecord) -> Yield:
    return Yield(record.start_ms, record.end_ms, record.meter_end_j - record.meter_start_j)
