"""The files in which Linux shows the energy counters of processors, made up."""

from __future__ import annotations

from pathlib import Path

RANGE_UJ = 262_143_328_850  # as real packages have it


class Powercap:
    """A tree as Linux makes it, of zones with their names."""

    def __init__(self, directory: Path, **names: str) -> None:
        self.path = directory
        for zone, name in (names or {"0": "package-0"}).items():
            self.write(zone, "name", name)
            self.write(zone, "max_energy_range_uj", RANGE_UJ)
            self.set(zone, 0)

    def write(self, zone: str, file: str, content: object) -> None:
        directory = self.path / f"intel-rapl:{zone.replace('_', ':')}"
        directory.mkdir(exist_ok=True)
        (directory / file).write_text(f"{content}\n")

    def set(self, zone: str, energy_uj: object) -> None:
        self.write(zone, "energy_uj", energy_uj)

    def rise(self, zone: str, by_uj: int) -> None:
        path = self.path / f"intel-rapl:{zone}" / "energy_uj"
        path.write_text(f"{int(path.read_text()) + by_uj}\n")
