"""RAPL: the energy counters of Intel and AMD processors, as Linux shows them in /sys/class/powercap.

Every zone is a directory intel-rapl:N (or intel-rapl:N:M below it) with `name`, `energy_uj` and `max_energy_range_uj`,
where the counter begins again. Packages and, where there are any, their memories are added up; cores and graphics are
inside a package, and "psys" is around it: they would count twice.
https://docs.kernel.org/power/powercap/powercap.html

Only root may read the counters since it was shown that they betray what a processor computes (PLATYPUS, CVE-2020-8694).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from node.energy.source import SourceError

POWERCAP = Path("/sys/class/powercap")
# A package draws less; how soon a counter may come round unseen follows from it.
POWER_MAX_W = 1000
# Guess, not measured: it counts the whole package, other programs included, and neither disks nor the power supply.
UNCERTAINTY_PERMILLE = 100
FILE_CHARACTERS_MAX = 64


@dataclass(slots=True)
class _Zone:
    path: Path
    range_uj: int
    last_uj: int | None = None  # as the counter stood


class RaplMeter:
    """All packages of this machine."""

    uncertainty_permille = UNCERTAINTY_PERMILLE
    period_s = 60.0

    def __init__(self, powercap: Path = POWERCAP) -> None:
        """Raises SourceError if there are no counters, or they may not be read."""
        self._zones: list[_Zone] = []
        names = []
        for path in sorted(powercap.glob("intel-rapl:*")):
            name = _read(path / "name")
            if name.startswith("package") or name == "dram":
                names.append(name)
                self._zones.append(_Zone(path, _number(path / "max_energy_range_uj")))
        if not self._zones:
            raise SourceError(
                f"no energy counter of a processor in {powercap}",
                'Load the module intel_rapl_msr; virtual machines have none: say power = "declared" there.',
            )
        self.name = f"RAPL {', '.join(dict.fromkeys(names))} (all programs)"[:100]
        self._at_ms: int | None = None
        self._total_uj = 0
        for zone in self._zones:
            _number(zone.path / "energy_uj")

    def read_uj(self, at_ms: int) -> int:
        """Raises SourceError also after so long that a counter may have come round unseen."""
        now_uj = [_number(zone.path / "energy_uj") for zone in self._zones]
        waited_ms = 0 if self._at_ms is None else at_ms - self._at_ms
        risen_uj = 0
        for zone, uj in zip(self._zones, now_uj, strict=True):
            if zone.last_uj is not None:
                risen_uj += uj - zone.last_uj + (zone.range_uj if uj < zone.last_uj else 0)
            zone.last_uj = uj
        self._at_ms = at_ms
        allowed_ms = min(zone.range_uj for zone in self._zones) // (POWER_MAX_W * 1000)
        if waited_ms > allowed_ms:
            raise SourceError(
                f"{waited_ms} ms since the last reading; after {allowed_ms} ms a counter may have come round unseen",
                "See whether the machine slept, or is overloaded.",
            )
        self._total_uj += risen_uj
        return self._total_uj


def _number(path: Path) -> int:
    said = _read(path)
    if not said.isascii() or not said.isdigit() or int(said) >= 2**63:
        raise SourceError(f"{path} says {said[:24]!r}, which is no counter", 'See dmesg, or say power = "declared".')
    return int(said)


def _read(path: Path) -> str:
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            return file.read(FILE_CHARACTERS_MAX).strip()
    except PermissionError:
        raise SourceError(
            f"{path} may be read by root alone",
            "Let this user's group read it, at each boot: chgrp GROUP and chmod g+r on every intel-rapl:*/energy_uj"
            " (no other program's: the counters betray secrets).",
        ) from None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}", "See dmesg.") from None
