"""Candidates and demands that are valid by default, and Hypothesis strategies for many of them.

Energies are whole multiples of 18 J in the strategies' hourly slots, so carbon is exact and sums can be compared.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from node.matching.bids.demand import Candidate, Demand

HOUR_MS = 3_600_000
FIRST_SLOT = 100


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def candidate(label: str = "sol", **changes: Any) -> Candidate:
    """A peer that draws 100 W for a shard: 360 kJ in an hour, which a 360 g/kWh grid makes 36 g."""
    fields: dict[str, Any] = {
        "bid": digest(f"bid {label}"),
        "provider": digest(f"provider {label}"),
        "label": label,
        "device": "cpu",
        "units": 1,
        "memory_mb": 16_384,
        "rate_tps": 1000,
        "idle_w": 20,
        "peak_w": 100,
        "pue_permille": 1000,
        "embodied_ug_per_unit_hour": 0,
        "bandwidth_mbps": 100,
        "price_microcredits_per_unit_hour": 200_000,
        "tenant": "",
        "newcomer": False,
        "zone": "DE",
        "own_g_per_kwh": 36,
        "first_slot": FIRST_SLOT,
        "free_units": (1,) * 6,
        "surplus_j": (0,) * 6,
        "grid_g_per_kwh": (360,) * 6,
    }
    return Candidate(**fields | changes)


def demand(**changes: Any) -> Demand:
    """One shard for two of six slots, on anything."""
    fields: dict[str, Any] = {
        "job": digest("job"),
        "mode": "open",
        "tenant": "",
        "shards": (0,),
        "slots": 2,
        "first_slot": FIRST_SLOT,
        "deadline_slot": FIRST_SLOT + 6,
        "units_per_shard": 1,
        "memory_mb": 8192,
        "rate_tps": 0,
        "bandwidth_mbps": 50,
        "price_max_microcredits_per_unit_hour": 500_000,
        "carbon_max_g_per_kwh": 0,
        "slot_ms": HOUR_MS,
    }
    return Demand(**fields | changes)


@st.composite
def candidate_lists(draw: st.DrawFn, most: int = 4) -> list[Candidate]:
    """Up to `most` peers with few distinct values, so that ties and refusals are common."""
    found = []
    for index in range(draw(st.integers(0, most))):
        slots = draw(st.integers(0, 5))

        def per_slot(values: list[int], slots: int = slots) -> tuple[int, ...]:
            return tuple(draw(st.lists(st.sampled_from(values), min_size=slots, max_size=slots)))

        found.append(
            candidate(
                f"peer {index}",
                units=draw(st.sampled_from([1, 2, 4])),
                memory_mb=draw(st.sampled_from([4096, 16_384])),
                peak_w=draw(st.sampled_from([50, 100, 250])),
                pue_permille=draw(st.sampled_from([1000, 1250])),
                embodied_ug_per_unit_hour=draw(st.sampled_from([0, 3_000_000])),
                price_microcredits_per_unit_hour=draw(st.sampled_from([0, 200_000, 900_000])),
                tenant=draw(st.sampled_from(["", "", "acme", "other"])),
                own_g_per_kwh=draw(st.sampled_from([0, 36, 500])),
                first_slot=FIRST_SLOT + draw(st.integers(-2, 3)),
                free_units=per_slot([0, 1, 2, 4]),
                surplus_j=per_slot([0, 180_000, 360_000, 900_000]),
                grid_g_per_kwh=per_slot([0, 20, 360, 700]),
            )
        )
    return found


@st.composite
def demands(draw: st.DrawFn) -> Demand:
    return demand(
        mode=draw(st.sampled_from(["open", "closed", "hybrid"])),
        tenant=draw(st.sampled_from(["", "acme"])),
        shards=tuple(range(draw(st.integers(1, 3)))),
        slots=draw(st.integers(1, 3)),
        deadline_slot=FIRST_SLOT + draw(st.integers(0, 6)),
        units_per_shard=draw(st.sampled_from([1, 2])),
        memory_mb=draw(st.sampled_from([0, 8192])),
        price_max_microcredits_per_unit_hour=draw(st.sampled_from([100_000, 500_000, 1_000_000])),
        carbon_max_g_per_kwh=draw(st.sampled_from([0, 0, 100, 400])),
        shards_per_peer=draw(st.integers(1, 2)),
        occupied=draw(st.sampled_from([(), (digest("provider peer 0"),)])),
        excluded=draw(st.sampled_from([(), ((digest("provider peer 1"), "lost"),)])),
    )


def peer_carbon_ug(peer: Candidate, asked: Demand, start: int, shards: int) -> Fraction:
    """Recount, from the format's words and not from the engine: `shards` shards on one peer, exact."""
    total = Fraction(0)
    for slot in range(start, start + asked.slots):
        at = slot - peer.first_slot
        energy_wh = Fraction(shards * asked.units_per_shard * peer.peak_w * peer.pue_permille * asked.slot_ms)
        energy_wh /= 1000 * HOUR_MS
        surplus_wh = Fraction(peer.surplus_j[at], 3600)
        own, grid = min(peer.own_g_per_kwh, peer.grid_g_per_kwh[at]), peer.grid_g_per_kwh[at]
        total += 1000 * (own * min(energy_wh, surplus_wh) + grid * max(Fraction(0), energy_wh - surplus_wh))
        total += Fraction(shards * asked.units_per_shard * peer.embodied_ug_per_unit_hour * asked.slot_ms, HOUR_MS)
    return total
