"""The sites of a devnet as data: the demo's five, then as many more as a seed draws.

The demo's network clock stands at NETWORK_TIME_MS: noon of the longest day in Valencia, ten in the evening in Sydney.
The cheapest sites are the gas grid and the solar site at night, so cheapest-first and greenest-first disagree. Watts,
prices and the making of hardware are guesses, not measured; they differ between sites no more than they must.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from node.energy.fuels import own_g_per_kwh
from node.energy.machines import PUE_PERMILLE
from node.energy.supply import EnergyConfig
from node.energy.zones import GRIDS
from protocol.messages import Carrier

NETWORK_TIME_MS: Final = 1_782_043_200_000  # 2026-06-21 12:00 UTC


@dataclass(frozen=True, slots=True)
class Site:
    """One node's power and machine. Fields of the machine are named and meant as in an Offer; a unit is a CPU core."""

    name: str
    energy: EnergyConfig
    price_microcredits_per_unit_hour: int
    device: str = "cpu"
    units: int = 1
    memory_mb: int = 2048
    rate_tps: int = 20_000
    idle_w: int = 6
    peak_w: int = 18
    pue_permille: int = PUE_PERMILLE["small"]
    embodied_ug_per_unit_hour: int = 700_000  # a server of 1 t CO2e, 32 cores, five years
    bandwidth_mbps: int = 100


def sites(count: int, seed: int) -> tuple[Site, ...]:
    """The first `count` sites of the devnet with this seed. The demo's come first; asking for more changes none."""
    return DEMO_SITES[:count] + tuple(_drawn_site(index, seed) for index in range(len(DEMO_SITES), count))


def _site(
    name: str, zone: str, latitude: float, longitude: float, carrier: Carrier, capacity_w: int, price: int
) -> Site:
    return Site(
        name=name,
        energy=EnergyConfig(
            device_id=f"{name}-meter",
            zone=zone,
            latitude=latitude,
            longitude=longitude,
            carrier=carrier,
            capacity_w=capacity_w,
            own_g_per_kwh=own_g_per_kwh(carrier, GRIDS[zone].mean_g_per_kwh),
            base_load_w=capacity_w // 10 if carrier == "solar" else 0,
            seed=int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big"),
        ),
        price_microcredits_per_unit_hour=price,
    )


DEMO_SITES: Final = (
    _site("valencia-solar", "ES", 39.5, -0.4, "solar", 500, 60_000),
    _site("esbjerg-wind", "DK-DK1", 55.5, 8.5, "wind", 1000, 50_000),
    _site("bergen-hydro", "NO-NO5", 60.4, 5.3, "hydro", 400, 45_000),
    _site("singapore-gas", "SG", 1.3, 103.8, "grid", 0, 15_000),
    _site("sydney-solar", "AU-NSW", -33.9, 151.2, "solar", 500, 20_000),
)

# (place, zone, degrees north, degrees east), all around the clock
_PLACES: Final = (
    ("vienna", "AT", 48.2, 16.4),
    ("adelaide", "AU-SA", -34.9, 138.6),
    ("saopaulo", "BR-CS", -23.6, -46.6),
    ("montreal", "CA-QC", 45.5, -73.6),
    ("antofagasta", "CL-SEN", -23.7, -70.4),
    ("berlin", "DE", 52.5, 13.4),
    ("lyon", "FR", 45.8, 4.8),
    ("glasgow", "GB", 55.9, -4.3),
    ("dublin", "IE", 53.3, -6.3),
    ("mumbai", "IN-WE", 19.1, 72.9),
    ("tokyo", "JP-TK", 35.7, 139.7),
    ("wellington", "NZ", -41.3, 174.8),
    ("warsaw", "PL", 52.2, 21.0),
    ("lisbon", "PT", 38.7, -9.1),
    ("stockholm", "SE-SE3", 59.3, 18.1),
    ("fresno", "US-CAL-CISO", 36.7, -119.8),
    ("austin", "US-TEX-ERCO", 30.3, -97.7),
    ("montevideo", "UY", -34.9, -56.2),
    ("capetown", "ZA", -33.9, 18.4),
)
_CARRIERS: Final[tuple[Carrier, ...]] = ("solar", "wind", "hydro", "grid")


def _drawn_site(index: int, seed: int) -> Site:
    """Place, carrier, capacity and price drawn from a hash of seed and index: the same on every machine."""
    digest = hashlib.sha256(f"site {seed} {index}".encode()).digest()
    draw = [int.from_bytes(digest[at : at + 8], "big") for at in range(0, 32, 8)]
    place, zone, latitude, longitude = _PLACES[draw[0] % len(_PLACES)]
    carrier = _CARRIERS[draw[1] % len(_CARRIERS)]
    capacity_w = 0 if carrier == "grid" else 200 + 50 * (draw[2] % 17)
    price = 10_000 + 1000 * (draw[3] % 61)
    return _site(f"{place}-{carrier}-{index}", zone, latitude, longitude, carrier, capacity_w, price)
