"""What a shard draws and what that emits: the formulas that matching, receipts and audit share. Pure, integers only.

In words: a shard's carbon in a slot is the energy covered by the peer's own surplus at the intensity of that source,
plus the rest at the intensity of the grid where the peer stands, plus the share of the hardware's making that falls
into the slot. The energy includes idle power and the building's overhead (PUE). What the networks between peers draw
for the bytes of a shard comes on top. Every result is rounded up: a cost is never rounded in favour of the one who
causes it. `protocol/CARBON.md` works through examples by hand.

Who may claim how much surplus is decided in `transitions`; what a kilowatt-hour emits comes from `node/energy`.
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.units import BYTES_PER_GB, J_PER_KWH, MS_PER_HOUR, UG_PER_G, ceil_div

# Fixed-line core and access networks: 0.06 kWh/GB in 2015, halved about every two years since 2000 (Aslan, Mayers,
# Koomey and France, "Electricity Intensity of Internet Data Transmission", Journal of Industrial Ecology 2018). Taken
# three halvings on, 0.0075 kWh/GB; further ones nobody has measured. It is an average by volume, not what one more byte
# costs, and the literature is far apart: `node/accounts/carbon.py` shows between what bounds.
TRANSFER_J_PER_GB = 27_000


def shard_energy_j(
    *, units: int, idle_w: int, peak_w: int, unit_rate_tps: int, job_rate_tps: int, pue_permille: int, duration_ms: int
) -> int:
    """Joules that one shard draws in `duration_ms` on `units` units, overhead included, rounded up.

    Power rises linearly from idle to peak with the share of the unit's rate that the job asks for: all shards of a job
    run at its pace, and a faster unit is capped. A job rate of 0 means "as fast as it goes", which is peak power; so
    does a rate beyond the unit's own, since nothing runs faster than it can.
    """
    pace_tps = min(job_rate_tps or unit_rate_tps, unit_rate_tps)
    power_w_times_rate = idle_w * unit_rate_tps + (peak_w - idle_w) * pace_tps
    return ceil_div(units * power_w_times_rate * pue_permille * duration_ms, unit_rate_tps * 1000 * 1000)


def idle_energy_j(*, units: int, idle_w: int, pue_permille: int, duration_ms: int) -> int:
    """Joules that idle units draw while they are held, overhead included, rounded down: no shard draws less."""
    return units * idle_w * pue_permille * duration_ms // 1_000_000


def transfer_energy_j(moved_bytes: int, j_per_gb: int = TRANSFER_J_PER_GB) -> int:
    """Joules that the networks between two peers draw for so many bytes, rounded up."""
    return ceil_div(moved_bytes * j_per_gb, BYTES_PER_GB)


def embodied_ug(units: int, embodied_ug_per_unit_hour: int, duration_ms: int) -> int:
    """Micrograms of the making of `units` units that fall into `duration_ms`, in proportion to time, rounded up."""
    return ceil_div(units * embodied_ug_per_unit_hour * duration_ms, MS_PER_HOUR)


def carbon_ug(energy_j: int, surplus_j: int, own_g_per_kwh: int, grid_g_per_kwh: int, embodied_ug: int) -> int:
    """Micrograms of CO2e of `energy_j` in one slot, of which up to `surplus_j` is the peer's own, rounded up.

    Own surplus counts at its own intensity, but never as browner than the grid: a peer with a brown source would use
    the grid, and a marginal cost that fell with use would reward drawing more. 1 g/kWh is 10/36 µg/J.
    """
    covered_j = min(energy_j, surplus_j)
    emitted = covered_j * min(own_g_per_kwh, grid_g_per_kwh) + (energy_j - covered_j) * grid_g_per_kwh
    return ceil_div(emitted * UG_PER_G, J_PER_KWH) + embodied_ug


def emitted_ug(energy_j: int, covering: Iterable[tuple[int, int]], rest_g_per_kwh: int, embodied_ug: int = 0) -> int:
    """Micrograms of `energy_j` of which `covering` has (energy_j, g_per_kwh) parts, the first drawn on first, and the
    rest is at `rest_g_per_kwh`; rounded up once. `carbon_ug` is the case of one part, no browner than the grid."""
    emitted, left_j = 0, energy_j
    for part_j, g_per_kwh in covering:
        covered_j = min(part_j, left_j)
        emitted += covered_j * g_per_kwh
        left_j -= covered_j
    return ceil_div((emitted + left_j * rest_g_per_kwh) * UG_PER_G, J_PER_KWH) + embodied_ug


def intensity_g_per_kwh(carbon_ug: int, energy_j: int) -> int:
    """The mean intensity of `energy_j` > 0 that emitted `carbon_ug`, in whole g/kWh, rounded down.

    Down, so that energy at exactly the intensity of a cap stays within it although its carbon was rounded up.
    """
    return carbon_ug * J_PER_KWH // (energy_j * UG_PER_G)
