"""What a shard draws, from declared watts and measured processor time, where no meter looks on.

Power is taken as linear in utilisation between idle and peak (Fan, Weber and Barroso, "Power Provisioning for a
Warehouse-sized Computer", ISCA 2007). The idle share is charged for the whole time a unit is held: a reserved core
that waits for a delta still draws.
"""

from __future__ import annotations

from typing import Final

from protocol.messages import Method
from protocol.units import ceil_div

METHOD: Final[Method] = "modelled"
SOURCE = "declared watts x processor time"
# Guess, not measured: declared watts are name-plate figures, and memory, fans and the supply's losses hide in PUE.
UNCERTAINTY_PERMILLE = 300


def shard_energy(cpu_ms: int, wall_ms: int, idle_w: int, peak_w: int, units: int, pue_permille: int) -> int:
    """Joules that a shard drew, rounded up.

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
