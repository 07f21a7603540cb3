"""Where zones lie: known towns are in theirs, slips of the pen are not, and the seams of the map hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.places import describe_far, far_from_zone, zone_cells
from protocol.messages import Place

TOWNS = [
    ("AR", -54.8, -68.3),  # Ushuaia
    ("AU-NSW", -33.9, 151.2),
    ("AU-TAS", -42.9, 147.3),
    ("BR-CS", -23.5, -46.6),
    ("CA-ON", 43.7, -79.4),
    ("CA-QC", 45.5, -73.6),
    ("CL-SEN", -23.7, -70.4),
    ("CN", 31.2, 121.5),
    ("DE", 54.0, 6.6),  # a wind farm, 45 km off Borkum
    ("DK-BHM", 55.1, 14.7),
    ("DK-DK1", 55.5, 8.5),
    ("DK-DK2", 55.7, 12.6),
    ("ES", 28.1, -15.4),  # Las Palmas
    ("FJ", -18.1, 178.4),
    ("FJ", -16.8, -180.0),  # Taveuni, on the antimeridian
    ("FR", 41.9, 8.7),  # Ajaccio
    ("GB", 60.2, -1.1),  # Lerwick
    ("GB", 55.0, 2.8),  # the turbines farthest out, on the Dogger Bank
    ("GB-NIR", 54.6, -5.9),
    ("GL", 64.2, -51.7),
    ("IN-UP", 26.8, 80.9),
    ("IN-WE", 19.1, 72.9),
    ("IS", 64.1, -21.9),
    ("IT-SAR", 39.2, 9.1),
    ("IT-SIC", 35.5, 12.6),  # Lampedusa
    ("JP-TK", 35.7, 139.7),
    ("KI", 1.9, -157.4),
    ("NO-NO4", 69.7, 18.9),
    ("NO-NO5", 60.4, 5.3),
    ("NZ", -44.0, -176.5),  # Chatham
    ("RU", 64.4, -173.2),  # Chukotka, beyond the antimeridian
    ("SE-SE1", 67.9, 20.2),
    ("SE-SE4", 55.6, 13.0),
    ("SG", 1.3, 103.8),
    ("US", 64.8, -147.7),  # Fairbanks
    ("US-CAL-CISO", 37.8, -122.4),
    ("US-FLA-FPL", 25.8, -80.2),
    ("US-HI-OA", 21.3, -157.9),
    ("US-NW-BPAT", 45.6, -121.2),
    ("US-TEX-ERCO", 30.3, -97.7),
    ("ZA", -33.9, 18.4),
]


def place(zone: str, latitude: float, longitude: float) -> Place:
    return Place(zone=zone, latitude_decidegrees=round(latitude * 10), longitude_decidegrees=round(longitude * 10))


@pytest.mark.parametrize(("zone", "latitude", "longitude"), TOWNS)
def test_a_town_lies_in_its_zone(zone: str, latitude: float, longitude: float) -> None:
    assert not far_from_zone(place(zone, latitude, longitude))


@pytest.mark.parametrize(
    ("zone", "latitude", "longitude", "slip"),
    [
        ("DE", 13.4, 52.5, "swapped"),
        ("US-CAL-CISO", 37.8, 122.4, "sign of the longitude"),
        ("AU-NSW", 33.9, 151.2, "sign of the latitude"),
        ("JP-TK", 3.6, 14.0, "degrees where tenths"),
        ("FR", 0.0, 0.0, "is it the zone"),
        ("AU-NSW", -31.95, 115.9, "is it the zone"),  # Perth
        ("NO-NO5", 69.7, 18.9, "is it the zone"),  # Tromsø
        ("DK-DK1", 53.5, -5.0, "is it the zone"),  # the Irish Sea: that of another zone
        ("ES", 90.0, 0.0, "is it the zone"),
    ],
)
def test_a_place_elsewhere_is_far_and_the_likeliest_slip_is_named(
    zone: str, latitude: float, longitude: float, slip: str
) -> None:
    elsewhere = place(zone, latitude, longitude)
    assert far_from_zone(elsewhere)
    said = describe_far(elsewhere)
    assert slip in said
    assert zone in said
    assert str(elsewhere.latitude_decidegrees) in said


def test_nobody_can_say_of_a_zone_that_is_not_listed() -> None:
    assert not far_from_zone(place("ZZ", 0, 0))


@pytest.mark.parametrize("zone", ["FJ", "NZ", "RU", "US", "ES"])
@given(latitude=st.integers(-900, 900))
def test_180_degrees_east_are_180_degrees_west(zone: str, latitude: int) -> None:
    edges = [Place(zone=zone, latitude_decidegrees=latitude, longitude_decidegrees=sign * 1800) for sign in (1, -1)]
    assert far_from_zone(edges[0]) == far_from_zone(edges[1])


def test_every_cell_lies_on_the_globe_and_no_zone_is_empty() -> None:
    for zone, rows in zone_cells().items():
        assert rows, zone
        assert all(-90 <= latitude < 90 and 0 < bits < 1 << 360 for latitude, bits in rows.items()), zone


@pytest.mark.parametrize("zone", ["DK-DK1", "NO-NO4", "IS", "GL", "SG"])
def test_100_km_off_the_coast_pass_at_every_latitude(zone: str) -> None:
    """A cell is grown by whole cells: no row of a zone is narrower than two margins of 100 km."""
    for latitude, bits in zone_cells()[zone].items():
        assert bits.bit_count() >= 3, (zone, latitude)
