"""The devnet's sites: the demo's five, and the same others every time."""

from __future__ import annotations

import pytest

from node.devnet.sites import NETWORK_TIME_MS, Site, sites
from node.energy.profile import Profile
from node.energy.supply import Forecast, SupplyReading
from protocol.messages import Offer

SLOT_MS = 10_000
DEMO_MS = 10 * 60_000  # longer than any demo


def reading(site: Site) -> SupplyReading:
    return Profile(site.energy).read(NETWORK_TIME_MS, NETWORK_TIME_MS + DEMO_MS)


def forecast(site: Site) -> Forecast:
    return Profile(site.energy).forecast(NETWORK_TIME_MS // SLOT_MS, DEMO_MS // SLOT_MS, SLOT_MS)


def intensity_g_per_kwh(site: Site) -> int:
    """What the first joule of a shard emits there."""
    read = reading(site)
    return read.own_g_per_kwh if read.energy_j else read.grid_g_per_kwh


def test_at_the_demos_hour_one_sun_is_up_and_the_other_is_down() -> None:
    noon, _, _, _, night = sites(5, seed=0)
    assert (noon.energy.carrier, night.energy.carrier) == ("solar", "solar")
    assert reading(noon).energy_j > 0
    assert reading(night).energy_j == 0


def test_the_cheapest_of_the_demos_sites_are_the_dirtiest() -> None:
    by_price = sorted(sites(5, seed=0), key=lambda site: site.price_microcredits_per_unit_hour)
    by_intensity = sorted(sites(5, seed=0), key=intensity_g_per_kwh)
    assert {site.name for site in by_price[:2]} == {site.name for site in by_intensity[3:]}
    assert 8 * intensity_g_per_kwh(by_intensity[2]) < intensity_g_per_kwh(by_intensity[3])


@pytest.mark.parametrize("site", sites(3, seed=0), ids=lambda site: site.name)
def test_a_green_site_carries_its_shard_even_on_a_bad_day(site: Site) -> None:
    needed_j = site.units * site.peak_w * site.pue_permille * SLOT_MS // 1_000_000
    assert min(forecast(site).surplus_s20_j) >= needed_j


def test_a_seed_draws_the_same_sites_every_time_and_more_change_none() -> None:
    assert sites(3, seed=1) == sites(50, seed=1)[:3]
    assert sites(12, seed=1) == sites(50, seed=1)[:12]
    assert sites(12, seed=1) != sites(12, seed=2)
    assert sites(5, seed=1) == sites(5, seed=2)
    assert len({site.name for site in sites(50, seed=1)}) == 50


@pytest.mark.parametrize("site", sites(25, seed=42), ids=lambda site: site.name)
def test_every_site_makes_a_valid_offer(site: Site) -> None:
    Offer(
        device=site.device,
        units=site.units,
        memory_mb=site.memory_mb,
        rate_tps=site.rate_tps,
        idle_w=site.idle_w,
        peak_w=site.peak_w,
        pue_permille=site.pue_permille,
        embodied_ug_per_unit_hour=site.embodied_ug_per_unit_hour,
        bandwidth_mbps=site.bandwidth_mbps,
        price_microcredits_per_unit_hour=site.price_microcredits_per_unit_hour,
        tenant="",
        place=site.energy.place,
        carrier=site.energy.carrier,
        capacity_w=site.energy.capacity_w,
        own_g_per_kwh=site.energy.own_g_per_kwh,
    )
    assert site.peak_w >= site.idle_w
