"""The embedded table: every row is sound and says where it is from, and the shapes are those of the traces."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

import pytest
from pydantic import TypeAdapter

from ledger.places import zone_cells
from node.energy.fuels import FUELS
from node.energy.sun import DAY_MS
from node.energy.zones import GRIDS, LEVEL, ORIGINS, Grid, grid_g_per_kwh, shape_permille
from protocol.messages import Name, Zone
from protocol.units import MS_PER_HOUR

TRACES = Path(__file__).resolve().parents[3] / "shared/data"
JANUARY_MS = 1_767_225_600_000  # 2026-01-01 00:00 UTC
JULY_MS = 1_782_864_000_000  # 2026-07-01 00:00 UTC


def test_two_hundred_zones_and_more_are_embedded() -> None:
    assert len(GRIDS) >= 200
    assert {"ES", "DE", "US-CAL-CISO", "NA", "AU-NSW", "NO-NO5", "IN", "KE"} <= set(GRIDS)


@pytest.mark.parametrize("zone", GRIDS)
def test_every_zone_has_a_mean_that_a_mix_can_have_and_says_where_it_is_from(zone: str) -> None:
    grid = GRIDS[zone]
    TypeAdapter(Zone).validate_python(zone)
    TypeAdapter(Name).validate_python(grid.provenance)
    assert min(FUELS.values()).lifecycle_g_per_kwh <= grid.mean_g_per_kwh <= 1400
    assert grid.kind == "avg_lifecycle"
    assert grid.origin in ORIGINS.values()
    assert 2009 <= grid.year <= 2026
    assert str(grid.year) in grid.provenance
    assert (grid.carbon_free_permille is None) == (grid.carbon_free_year == 0)
    assert 0 <= (grid.carbon_free_permille or 0) <= 1000


def test_a_declared_mean_has_nobody_elses_name() -> None:
    assert Grid(300, LEVEL).provenance == "annual mean declared by the operator"


def test_a_cleaner_country_has_a_larger_carbon_free_share() -> None:
    shares = [(g.carbon_free_permille, g.mean_g_per_kwh) for g in GRIDS.values() if g.carbon_free_permille is not None]
    clean = [mean for share, mean in shares if share >= 900]
    dirty = [mean for share, mean in shares if share <= 100]
    assert len(shares) >= 200
    assert 3 * fmean(clean) < fmean(dirty)


def test_every_embedded_zone_has_its_cells_and_no_other_has() -> None:
    assert set(zone_cells()) == set(GRIDS)


def test_the_south_is_where_the_cells_are() -> None:
    for zone, grid in GRIDS.items():
        latitudes = list(zone_cells()[zone])
        if min(latitudes) > 1 or max(latitudes) < -2:  # clear of the equator, with the cells' margin
            assert grid.is_southern == (max(latitudes) < 0), zone


def test_every_month_of_every_shape_has_a_mean_of_one() -> None:
    assert {tuple(map(sum, grid.shape)) for grid in GRIDS.values()} == {(24_000,) * 12}
    assert {len(hours) for grid in GRIDS.values() for hours in grid.shape} == {24}


def test_a_summers_day_is_longer_than_a_winters_in_either_hemisphere() -> None:
    """The sun is in the sky of California at six in the evening of July; in Adelaide, with its shape, in January."""
    evening_ms = 18 * MS_PER_HOUR
    california, adelaide = GRIDS["US-CAL-CISO"], GRIDS["AU-SA"]
    assert california.shape == adelaide.shape
    assert shape_permille(california, JULY_MS + evening_ms, 0) < shape_permille(california, JANUARY_MS + evening_ms, 0)
    assert shape_permille(adelaide, JANUARY_MS + evening_ms, 0) == shape_permille(california, JULY_MS + evening_ms, 0)


def test_the_month_turns_at_solar_midnight() -> None:
    shape = tuple((month,) * 24 for month in range(12))
    last_ms = JULY_MS - 1
    assert [shape_permille(Grid(1, shape), at_ms, 0) for at_ms in (last_ms, last_ms + 1)] == [5, 6]
    assert shape_permille(Grid(1, shape), last_ms, 1) == 6  # 0.1 degree east it is July already
    assert shape_permille(Grid(1, shape, is_southern=True), last_ms, 0) == 11


def test_a_days_hours_keep_their_mean() -> None:
    spain = GRIDS["ES"]
    for day in range(0, 365, 30):
        hours = [grid_g_per_kwh(spain, JANUARY_MS + day * DAY_MS + hour * MS_PER_HOUR, 0) for hour in range(24)]
        assert fmean(hours) == pytest.approx(spain.mean_g_per_kwh, abs=1)  # each is rounded up


# --- against the traces -------------------------------------------------------------------------------------------


def trace(zone: str, *years: int) -> Iterator[tuple[int, float]]:
    """Middle of each hour, and its life-cycle intensity."""
    for year in years:
        with (TRACES / f"ci_{zone}_{year}.csv").open() as file:
            for row in csv.DictReader(file):
                start = datetime.fromisoformat(row["ts_utc"]).replace(tzinfo=UTC)
                yield round(start.timestamp()) * 1000 + MS_PER_HOUR // 2, float(row["gco2e_per_kwh_lca"])


@pytest.mark.skipif(not TRACES.exists(), reason="no traces in ../shared/data: SHAPES NOT COMPARED WITH THEIR ORIGIN")
@pytest.mark.parametrize(
    ("zone", "years", "longitude_decidegrees"),
    [("ES", (2021, 2022), -37), ("US-CAL-CISO", (2021, 2022), -1195), ("NO", (2021,), 90)],
)
def test_a_shape_is_the_traces_mean_by_month_and_hour(
    zone: str, years: tuple[int, ...], longitude_decidegrees: int
) -> None:
    values: dict[tuple[int, int], list[float]] = {}
    for middle_ms, intensity in trace(zone, *years):
        solar_ms = middle_ms + longitude_decidegrees * 24_000  # the earth turns by 0.1 degree in 24 s
        month = datetime.fromtimestamp(solar_ms / 1000, UTC).month - 1
        values.setdefault((month, solar_ms // MS_PER_HOUR % 24), []).append(intensity)
    for month, hours in enumerate(GRIDS[zone].shape):
        means = [fmean(values[month, hour]) for hour in range(24)]
        assert all(abs(permille - 1000 * mean / fmean(means)) < 1 for permille, mean in zip(hours, means, strict=True))
