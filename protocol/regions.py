"""Regions: which part of the world an energy zone lies in. Adverts are gossiped, and providers looked for, by region.

A region is as large as a continent: few enough to listen to several, and wide enough that a buyer close by finds
most offers within the latency that its job allows.
"""

from __future__ import annotations

OTHER = "other"

# ISO 3166-1 alpha-2, and XK for Kosovo, by the United Nations' M49 regions (the Americas parted at Panama's southern
# border, the Caribbean north). Where a grid belongs to its neighbour's, the grid decides: Cyprus is Europe's. Lands
# without a grid of anybody's (Antarctica, Bouvet Island, ...) are `OTHER`, as is every word that is no country.
COUNTRIES = {
    "africa": """
        AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW IO KE KM LR LS LY MA MG ML MR MU MW MZ NA
        NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW""",
    "asia": """
        AE AF AM AZ BD BH BN BT CN GE HK ID IL IN IQ IR JO JP KG KH KP KR KW KZ LA LB LK MM MN MO MV MY NP OM PH PK PS
        QA SA SG SY TH TJ TL TM TR TW UZ VN YE""",
    "europe": """
        AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI LT LU LV MC MD ME MK
        MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK""",
    "north-america": """
        AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX NI PA PM PR SV SX TC TT
        US VC VG VI""",
    "oceania": "AS AU CC CK CX FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TO TV UM VU WF WS",
    "south-america": "AR BO BR CL CO EC FK GF GY PE PY SR UY VE",
}
REGIONS = (*COUNTRIES, OTHER)

_REGION_OF = {country: region for region, countries in COUNTRIES.items() for country in countries.split()}


def region_of(zone: str) -> str:
    """The region of an Electricity Maps zone, by the country code that it begins with; `OTHER` where it has none."""
    return _REGION_OF.get(zone.partition("-")[0], OTHER)
