"""What an auditor has against a device: the findings of its last thirty days, looked for once a day. Pure.

Looking costs up to a quarter of a second of a core; what came out counts for a day. A lie of one day is so refused from
the next on, and for as long as the day stays in the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ledger.doubts import WINDOW_MS, findings, said
from ledger.solar import DAY_MS
from ledger.state import AttestationRecord, DeviceKey, State

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
            found = findings(state, key, record.end_ms - WINDOW_MS, record.start_ms, record)
            sentences = tuple(f"{finding.check}: {said(finding)}" for finding in found)
            if len(self.looked_at) >= DEVICES_MAX:
                self.looked_at.clear()
            self.looked_at[key] = record.end_ms, sentences
        return sentences
