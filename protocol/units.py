"""Units: the integers on the wire, and how people see them."""

from __future__ import annotations

J_PER_WH = 3_600
J_PER_KWH = 3_600_000
UG_PER_G = 1_000_000
BYTES_PER_GB = 1_000_000_000
MS_PER_HOUR = 3_600_000
MICROCREDITS_PER_CREDIT = 1_000_000


def slot_of(time_ms: int, slot_ms: int) -> int:
    """The slot that a moment of network time falls in."""
    return time_ms // slot_ms


def ceil_div(numerator: int, denominator: int) -> int:
    """Integer division rounded up: a cost is never rounded in favour of the one who causes it."""
    return -(-numerator // denominator)


def format_energy(energy_j: int) -> str:
    """Joules as people read them: `12.3 Wh`, `4.56 kWh`, `7.89 MWh`."""
    wh = energy_j / J_PER_WH
    for bound, unit in ((1e6, "MWh"), (1e3, "kWh")):
        if wh >= bound:
            return f"{wh / bound:.3g} {unit}"
    return f"{wh:.3g} Wh"


def format_carbon(carbon_ug: int) -> str:
    """Micrograms as people read them: `850 µg`, `12.4 mg`, `3.21 g`, `1.5 kg`, `2 t`."""
    for bound, unit in ((1e12, "t"), (1e9, "kg"), (1e6, "g"), (1e3, "mg")):
        if carbon_ug >= bound:
            return f"{carbon_ug / bound:.3g} {unit}"
    return f"{carbon_ug} µg"


def format_picograms(carbon_pg: int) -> str:
    """Picograms as people read them, for carbon per piece of work: `15 pg`, `15.4 ng`, `5.49 µg`, `12.4 mg`."""
    for bound, unit in ((1e9, "mg"), (1e6, "µg"), (1e3, "ng")):
        if carbon_pg >= bound:
            return f"{carbon_pg / bound:.3g} {unit}"
    return f"{carbon_pg} pg"


def format_credits(amount_microcredits: int) -> str:
    """Microcredits as credits: `0.0125 credits`."""
    return f"{amount_microcredits / MICROCREDITS_PER_CREDIT:.6g} credits"


def format_clock(time_ms: int) -> str:
    """The hour of day of a network time, UTC: `13:05`."""
    minutes = time_ms // 60_000 % 1440
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
