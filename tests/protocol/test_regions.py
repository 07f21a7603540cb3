"""Every zone lies in one region, and so does every country that has a grid."""

import csv
from importlib.resources import files

import pytest

from protocol.regions import COUNTRIES, OTHER, REGIONS, region_of

ISO_COUNTRIES_WITHOUT_A_REGION = {"AQ", "BV", "GS", "HM", "TF"}
ISO_COUNTRIES = 249


def test_every_zone_with_figures_has_a_region() -> None:
    rows = csv.DictReader(files("node.energy").joinpath("zones.csv").read_text(encoding="utf-8").splitlines())
    zones = [row["zone"] for row in rows]
    assert len(zones) == 297
    assert [zone for zone in zones if region_of(zone) == OTHER] == []


def test_every_country_is_in_one_region() -> None:
    countries = [country for listed in COUNTRIES.values() for country in listed.split()]
    assert len(countries) == len(set(countries))
    assert len({*countries} - {"XK"} | ISO_COUNTRIES_WITHOUT_A_REGION) == ISO_COUNTRIES
    assert all(len(country) == 2 and country.isupper() for country in countries)


@pytest.mark.parametrize(
    ("zone", "region"),
    [
        ("DE", "europe"),
        ("US-CAL-CISO", "north-america"),
        ("BR-CS", "south-america"),
        ("JP-TK", "asia"),
        ("ZA", "africa"),
        ("AU-NSW", "oceania"),
        ("AQ", "other"),
        ("", "other"),
        ("de", "other"),
        ("DEU", "other"),
    ],
)
def test_region_of(zone: str, region: str) -> None:
    assert region_of(zone) == region
    assert region in REGIONS
