"""What the grid of a zone emits: the embedded table, for offline starts and for when a live source fails.

`zones.csv` holds annual means for 297 zones, spelt as Electricity Maps spells them: countries, and parts of countries.
All are life-cycle averages in g CO2e per kWh, from two origins (`ORIGINS`), one named in each row:

- `electricity-maps`: of consumption, 2022; the yearly means that umassos/decarbonization-potential (Apache-2.0) holds
  at commit 3493a63. These rows are a part of a database under the ODbL 1.0: whoever passes them on says so.
- `owid`: of generation, by Our World in Data from Ember and the Energy Institute; the newest year that the package
  carbontracker 2.4.7 (MIT) holds, mostly 2023 or 2024. The Central African Republic's 0 g is left out: no mix has that.

Carbon-free shares are of a country's generation, by `owid` too, from the mixes in the package codecarbon 3.3.2 (MIT),
often of an earlier year than the mean; for a part of a country nobody here knows.

`shapes.csv` says how the hours of a day differ: by month and hour of local mean solar time, permille of the day's mean.
Made from hourly life-cycle values of Electricity Maps (as above): all of 2021 and 2022 (NO: 2021), each hour taken at
its middle and shifted by the zone's longitude (ES 3.7 W, US-CAL-CISO 119.5 W, NO 9 E), averaged, and rounded by largest
remainder to a daily mean of exactly 1000. Only these three zones have a trace. Every other zone's shape is a guess, not
measured, by the kind of its generation: US-CAL-CISO's where a fifth or more is solar, else ES's where a tenth is, else
NO's where half is hydro, else level; for parts of countries by hand. South of the equator the months are shifted by
six.

How well the shapes do, one year's shape on the other's hours, with the day's mean known: hourly error 7.5 and 7.0 % of
the mean (ES; a shape without months 8.2 and 7.2, level 12.2 and 9.6), 5.7 and 5.6 % (US-CAL-CISO; 7.7 and 7.3, level
19.4 and 18.3). The six hours of each day that the shape calls cleanest emit 0.84 and 0.88 of the mean (an oracle's:
0.83 and 0.86), 0.72 and 0.73 (0.71 and 0.72). NO, odd days on even ones: error 9.9 % against 9.3 % of level, but the
six hours emit 0.94 of the mean (oracle: 0.89). With the year's mean alone, errors are 23 and 25 % (ES) and 17 and 12 %
(US-CAL-CISO). How months differ in level is left out: it helps the one (13 and 12 %) and harms the other (28 and 27 %).
"""

from __future__ import annotations

import csv
import importlib.resources
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from node.energy.sun import solar_time_ms
from protocol.messages import IntensityKind
from protocol.units import MS_PER_HOUR, ceil_div

Shape = tuple[tuple[int, ...], ...]  # 12 months of 24 hours, permille; each month's mean is 1000

LEVEL: Final[Shape] = ((1000,) * 24,) * 12


class Origin(NamedTuple):
    """Who published a mean, what it is the mean of, and on which terms."""

    name: str
    kind: IntensityKind
    licence: str


ORIGINS: Final[dict[str, Origin]] = {
    "electricity-maps": Origin("Electricity Maps", "avg_lifecycle", "ODbL 1.0"),
    "owid": Origin("Our World in Data", "avg_lifecycle", "CC BY 4.0"),
}


class Grid(NamedTuple):
    """A zone's grid. Without an origin its mean is somebody's word."""

    mean_g_per_kwh: int
    shape: Shape
    is_southern: bool = False  # its summer is in January
    origin: Origin | None = None
    year: int = 0  # of the mean
    carbon_free_permille: int | None = None  # of the generation; None: unknown
    carbon_free_year: int = 0

    @property
    def kind(self) -> IntensityKind:
        return "avg_lifecycle" if self.origin is None else self.origin.kind  # what an operator is asked to declare

    @property
    def provenance(self) -> str:
        if self.origin is None:
            return "annual mean declared by the operator"
        return f"{self.origin.name} annual mean {self.year} ({self.origin.licence}) x shape by solar hour"


def grid_g_per_kwh(grid: Grid, at_ms: int, longitude_decidegrees: int) -> int:
    """Intensity at a moment of network time, g CO2e per kWh, rounded up."""
    return ceil_div(grid.mean_g_per_kwh * shape_permille(grid, at_ms, longitude_decidegrees), 1000)


def shape_permille(grid: Grid, at_ms: int, longitude_decidegrees: int) -> int:
    """What the hour emits beside the mean of its day, by local mean solar time."""
    solar_ms = solar_time_ms(at_ms, longitude_decidegrees)
    month = datetime.fromtimestamp(solar_ms // 1000, UTC).month - 1
    return grid.shape[(month + 6 * grid.is_southern) % 12][solar_ms // MS_PER_HOUR % 24]


def _grids() -> Mapping[str, Grid]:
    months: dict[str, list[tuple[int, ...]]] = {}
    for zone, _, *hours in _rows("shapes.csv"):
        months.setdefault(zone, []).append(tuple(map(int, hours)))
    shapes = {"": LEVEL} | {zone: tuple(shape) for zone, shape in months.items()}
    return {
        zone: Grid(
            mean_g_per_kwh=int(mean),
            shape=shapes[shape],
            is_southern=hemisphere == "S",
            origin=ORIGINS[source],
            year=int(year),
            carbon_free_permille=int(share) if share else None,
            carbon_free_year=int(share_year or 0),
        )
        for zone, mean, year, source, share, share_year, shape, hemisphere in _rows("zones.csv")
    }


def _rows(name: str) -> Iterator[list[str]]:
    text = (importlib.resources.files("node.energy") / name).read_text(encoding="ascii")
    rows = csv.reader(text.splitlines())
    next(rows)  # the header
    return rows


GRIDS: Final = _grids()
