"""What the grid of a zone emits: a small embedded table for the demo, the examples and offline starts.

Annual means: 2022, g CO2e per kWh, life cycle, by Electricity Maps, published under the Open Database Licence 1.0
(attribution, share-alike), taken from the yearly means that umassos/decarbonization-potential (Apache-2.0) holds at
commit 3493a63. Zones are spelt as Electricity Maps spells them.

Shapes: permille of the mean for each hour of local mean solar time, from hourly life-cycle values of the same origin:
all hours of 2021 and 2022 (NO: 2021), shifted by the zone's longitude (ES 3.7 W, US-CAL-CISO 119.5 W, NO 9 E), averaged
by hour and rounded by largest remainder to a mean of exactly 1000. Seasons are averaged away. Only three zones have a
trace; every other zone's shape is a guess, not measured: that of ES where solar power is a tenth of the supply or more,
that of NO where water rules, level elsewhere.

Mean times shape against the traces themselves: hourly error 24 to 26 % (ES), 13 to 18 % (US-CAL-CISO).
"""

from __future__ import annotations

from typing import NamedTuple

from node.energy.sun import solar_time_ms
from protocol.units import MS_PER_HOUR, ceil_div

SOURCE = "Electricity Maps annual mean 2022 (ODbL 1.0) x shape by solar hour"

Shape = tuple[int, ...]  # 24 permille values, mean 1000
# fmt: off
SPAIN: Shape = (
    1061, 1067, 1076, 1088, 1113, 1128, 1101, 1033, 953, 901, 873, 856,
    849, 845, 855, 887, 949, 1010, 1045, 1057, 1061, 1069, 1066, 1057,
)
CALIFORNIA: Shape = (
    1173, 1166, 1165, 1169, 1170, 1145, 1052, 905, 782, 731, 717, 712,
    713, 723, 750, 822, 949, 1076, 1155, 1174, 1183, 1195, 1192, 1181,
)
NORWAY: Shape = (
    1028, 1060, 1085, 1090, 1067, 1040, 1008, 984, 980, 989, 996, 1005,
    1030, 1043, 1025, 993, 960, 930, 918, 919, 935, 951, 968, 996,
)
LEVEL: Shape = (1000,) * 24
# fmt: on


class Grid(NamedTuple):
    """A zone's grid."""

    mean_g_per_kwh: int
    shape: Shape


GRIDS: dict[str, Grid] = {
    "AT": Grid(245, NORWAY),
    "AU-NSW": Grid(593, SPAIN),
    "AU-SA": Grid(180, CALIFORNIA),
    "AU-TAS": Grid(27, NORWAY),
    "BR-CS": Grid(102, NORWAY),
    "CA-ON": Grid(59, LEVEL),
    "CA-QC": Grid(28, NORWAY),
    "CH": Grid(152, NORWAY),
    "CL-SEN": Grid(212, CALIFORNIA),
    "DE": Grid(481, SPAIN),
    "DK-DK1": Grid(201, LEVEL),
    "ES": Grid(211, SPAIN),
    "FI": Grid(147, LEVEL),
    "FR": Grid(99, LEVEL),
    "GB": Grid(235, LEVEL),
    "IE": Grid(397, LEVEL),
    "IN-WE": Grid(615, SPAIN),
    "IT-NO": Grid(375, SPAIN),
    "JP-TK": Grid(555, SPAIN),
    "KR": Grid(491, LEVEL),
    "NL": Grid(398, SPAIN),
    "NO-NO2": Grid(53, NORWAY),
    "NO-NO5": Grid(31, NORWAY),
    "NZ": Grid(96, NORWAY),
    "PL": Grid(819, LEVEL),
    "PT": Grid(223, SPAIN),
    "SE-SE3": Grid(23, LEVEL),
    "SG": Grid(492, LEVEL),
    "US-CAL-CISO": Grid(264, CALIFORNIA),
    "US-MIDA-PJM": Grid(425, LEVEL),
    "US-NW-BPAT": Grid(96, NORWAY),
    "US-TEX-ERCO": Grid(402, LEVEL),
    "UY": Grid(96, NORWAY),
    "ZA": Grid(704, LEVEL),
}


def grid_g_per_kwh(grid: Grid, at_ms: int, longitude_decidegrees: int) -> int:
    """Intensity at a moment of network time, g CO2e per kWh, rounded up."""
    hour = solar_time_ms(at_ms, longitude_decidegrees) // MS_PER_HOUR % 24
    return ceil_div(grid.mean_g_per_kwh * grid.shape[hour], 1000)
