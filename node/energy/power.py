"""What a shard draws: as the meter in the hardware tells it, or from declared watts and measured processor time.

In the model power is linear in utilisation between idle and peak (Fan, Weber and Barroso, "Power Provisioning for a
Warehouse-sized Computer", ISCA 2007). The idle share is charged for the whole time a unit is held: a reserved core that
waits for a delta still draws. A meter sees the device alone: the building's overhead (PUE) comes on top either way, and
no shard draws less than its idle units are declared to, since every receipt is held against that.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, Protocol

from protocol.messages import Method
from protocol.units import ceil_div

METHOD: Final[Method] = "modelled"
SOURCE = "declared watts x processor time"
# Guess, not measured: declared watts are name-plate figures, and memory, fans and the supply's losses hide in PUE.
UNCERTAINTY_PERMILLE = 300

PowerName = Literal["declared", "nvml", "rapl"]


class PowerMeter(Protocol):
    """The energy counter of a machine's hardware. Called by one thread at a time."""

    name: str  # for people and the ledger: what is measured, and what it covers
    uncertainty_permille: int
    period_s: float  # it must be read at least so often

    def read_uj(self, at_ms: int) -> int:
        """Microjoules drawn since some moment before the first reading. `at_ms`: now, by a clock that never jumps.

        Raises SourceError where it cannot tell what was drawn since the last reading; the next one counts from there.
        """


class Measured(NamedTuple):
    """One worker's part of what a meter saw in the last `duration_ms`."""

    energy_mj: int
    duration_ms: int
    uncertainty_permille: int
    source: str


class Drawn(NamedTuple):
    """What a shard drew, overhead included, and how much of it was measured."""

    energy_j: int
    measured_j: int


def shard_energy(cpu_ms: int, wall_ms: int, idle_w: int, peak_w: int, units: int, pue_permille: int) -> int:
    """Joules that a shard drew by the model, rounded up.

    `cpu_ms` is processor time summed over the shard's `units`, `wall_ms` how long they were held; watts are per unit.
    Processor time beyond units x wall time is charged as it comes: it was drawn.

    Raises ValueError if peak_w is below idle_w, or a time is negative.
    """
    if peak_w < idle_w:
        raise ValueError(f"peak_w {peak_w} is below idle_w {idle_w}")
    if cpu_ms < 0 or wall_ms < 0:
        raise ValueError(f"times cannot be negative: cpu_ms {cpu_ms}, wall_ms {wall_ms}")
    at_device_mj = idle_w * units * wall_ms + (peak_w - idle_w) * cpu_ms
    return ceil_div(at_device_mj * pue_permille, 1_000_000)


def measured_energy(measured: Measured, wall_ms: int, idle_w: int, units: int, pue_permille: int) -> Drawn:
    """What a shard drew by its meter in `wall_ms`, rounded up. The time before the meter looked on counts at the
    declared idle power. A figure below what idle units are declared to draw is raised to that, and none of it counts
    as measured any more."""
    unseen_mj = idle_w * units * max(0, wall_ms - measured.duration_ms)
    energy_j = ceil_div((measured.energy_mj + unseen_mj) * pue_permille, 1_000_000)
    floor_j = shard_energy(0, wall_ms, idle_w, idle_w, units, pue_permille)
    if energy_j < floor_j:
        return Drawn(floor_j, 0)
    return Drawn(energy_j, energy_j - ceil_div(unseen_mj * pue_permille, 1_000_000))
