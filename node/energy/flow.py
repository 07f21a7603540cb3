"""From the readings of one source to joules over time: a counter's difference, or power taken as linear in between.

Each stretch begins where the last one ended, at the moments that the source itself names: so stretches add up, whatever
the delay between a device and its reader. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.energy.source import DeviceSignature, Kind, Reading, SourceError
from node.energy.supply import READING_MAX_MS

# Guess, not measured: power read once per slot and taken as linear says less than a counter.
SAMPLING_UNCERTAINTY_PERMILLE = 100


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
        self._last: Reading | None = None

    def advance(self, reading: Reading) -> Stretch | None:
        """The stretch from the last reading to this one. None for the first, for one after more than READING_MAX_MS, of
        which nobody knows in which hour it flowed, and for one that says nothing new.

        Raises SourceError for a counter that fell; the next stretch begins at where it fell to.
        """
        last = self._last
        if last is not None and reading.end_ms <= last.end_ms:
            return None
        self._last = reading
        if last is None or reading.end_ms - last.end_ms > READING_MAX_MS:
            return None
        if reading.kind is Kind.COUNTER:
            return self._counted(last, reading)
        return self._summed(last, reading)

    def _counted(self, last: Reading, reading: Reading) -> Stretch:
        if reading.value < last.value:
            raise SourceError(
                f"its counter fell from {last.value} J to {reading.value} J",
                "A device that was exchanged or reset is another device: give it a new device_id.",
            )
        return Stretch(
            last.end_ms,
            reading.end_ms,
            last.value,
            reading.value,
            reading.uncertainty_permille,
            last.signature,
            reading.signature,
        )

    def _summed(self, last: Reading, reading: Reading) -> Stretch:
        twice_mj = (last.value + reading.value) * (reading.end_ms - last.end_ms) + self._rest_mj
        rise_j, self._rest_mj = divmod(twice_mj, 2000)
        start_j, self._summed_j = self._summed_j, self._summed_j + rise_j
        uncertainty = min(
            1000, max(last.uncertainty_permille, reading.uncertainty_permille) + SAMPLING_UNCERTAINTY_PERMILLE
        )
        return Stretch(last.end_ms, reading.end_ms, start_j, self._summed_j, uncertainty)
