"""From the readings of one source to joules over time: a counter's difference, or power taken as linear in between.

Each stretch begins where the last one ended, at the moments that the source itself names: so stretches add up, whatever
the delay between a device and its reader. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.energy.source import DeviceSignature, Kind, Reading, SourceError
from node.energy.supply import READING_MAX_MS

# Guess, not measured: power that is looked at now and then, and taken as linear in between, says less than a counter.
SAMPLING_UNCERTAINTY_PERMILLE = 50


@dataclass(frozen=True, slots=True)
class Stretch:
    """Joules that flowed from `start_ms` to `end_ms`, and the counter at both ends: the device's own, or one that sums
    what its power came to."""

    start_ms: int
    end_ms: int
    meter_start_j: int
    meter_end_j: int
    uncertainty_permille: int
    start_signature: DeviceSignature | None = None
    end_signature: DeviceSignature | None = None

    @property
    def energy_j(self) -> int:
        return self.meter_end_j - self.meter_start_j


class Flow:
    """What flowed past one meter. `counter_j`: where a sum of powers goes on from, since a counter never falls."""

    def __init__(self, counter_j: int = 0) -> None:
        self._summed_j = counter_j
        self._rest_mj = 0
        self._first: Reading | None = None  # where the present stretch began, and the sum there
        self._first_j = counter_j
        self._last: Reading | None = None

    def advance(self, reading: Reading) -> Stretch | None:
        """The stretch from the last one's end to this reading. None for the first, for one after more than
        READING_MAX_MS, of which nobody knows in which hour it flowed, and for one that says nothing new.

        Raises SourceError for a counter that fell; the next stretch begins at where it fell to.
        """
        self.sample(reading)
        first, last = self._first, self._last
        if first is None or last is None or last.end_ms <= first.end_ms:
            return None
        start_j, self._first, self._first_j = self._first_j, last, self._summed_j
        if reading.kind is Kind.COUNTER:
            return _counted(first, last)
        uncertainty = max(first.uncertainty_permille, last.uncertainty_permille) + SAMPLING_UNCERTAINTY_PERMILLE
        return Stretch(first.end_ms, last.end_ms, start_j, self._summed_j, min(1000, uncertainty))

    def sample(self, reading: Reading) -> None:
        """Take note of a reading within a stretch. A counter knows what happened since; power is summed."""
        last = self._last
        if last is not None and reading.end_ms <= last.end_ms:
            return
        self._last = reading
        if last is None or self._first is None or reading.end_ms - self._first.end_ms > READING_MAX_MS:
            self._first, self._first_j = reading, self._summed_j
        elif reading.kind is Kind.POWER:
            twice_mj = (last.value + reading.value) * (reading.end_ms - last.end_ms) + self._rest_mj
            rise_j, self._rest_mj = divmod(twice_mj, 2000)
            self._summed_j += rise_j


def _counted(first: Reading, last: Reading) -> Stretch:
    if last.value < first.value:
        raise SourceError(
            f"its counter fell from {first.value} J to {last.value} J",
            "A device that was exchanged or reset is another device: give it a new device_id.",
        )
    return Stretch(
        first.end_ms,
        last.end_ms,
        first.value,
        last.value,
        last.uncertainty_permille,
        first.signature,
        last.signature,
    )
