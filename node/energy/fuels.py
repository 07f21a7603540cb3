"""What a kilowatt-hour emits by the fuel that it is made from.

Medians of IPCC AR5, working group III, annex III (Schlömer and others, 2014), table A.III.2: life cycle with the making
of the plant and its fuel, albedo left out; direct is what leaves the stack. Burnt biomass counts as nothing at the
stack, by the convention of inventories. Oil is not in that table: its life cycle is the median of the IPCC's special
report on renewables (2011, annex II, table A.II.4); its direct emissions are those of residual oil, 77.4 kg CO2 a GJ
(IPCC 2006 guidelines, volume 2, table 2.2), at an efficiency of 38 %: guess.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Fuel = Literal[
    "coal",
    "oil",
    "gas",
    "biomass",
    "geothermal",
    "nuclear",
    "ocean",
    "hydro",
    "solar",
    "solar_utility",
    "solar_concentrated",
    "wind",
    "wind_offshore",
]


class Factor(NamedTuple):
    """Grams of CO2e per kWh at the plant."""

    lifecycle_g_per_kwh: int
    direct_g_per_kwh: int


FUELS: Final[dict[Fuel, Factor]] = {
    "coal": Factor(820, 760),  # pulverised
    "oil": Factor(840, 733),
    "gas": Factor(490, 370),  # combined cycle
    "biomass": Factor(230, 0),  # dedicated crops
    "geothermal": Factor(38, 0),
    "nuclear": Factor(12, 0),
    "ocean": Factor(17, 0),
    "hydro": Factor(24, 0),
    "solar": Factor(41, 0),  # on a roof
    "solar_utility": Factor(48, 0),
    "solar_concentrated": Factor(27, 0),
    "wind": Factor(11, 0),  # onshore
    "wind_offshore": Factor(12, 0),
}


def own_g_per_kwh(carrier: str, grid_g_per_kwh: int) -> int:
    """Life cycle of a site's own source; the grid's where it has none."""
    return next((factor.lifecycle_g_per_kwh for fuel, factor in FUELS.items() if fuel == carrier), grid_g_per_kwh)
