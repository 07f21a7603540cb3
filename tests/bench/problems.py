"""Problems of any size, drawn from a seed: grids and sun by zone and hour, peers with and without a surplus, jobs of
all kinds. The mix is invented; what matters is that no two peers are alike, and that the sun moves."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from node.matching.problem import Integers, Job, Peers, Problem

ZONES = 32
HOURS = np.arange(24)
SUN_PERCENT = np.maximum(0, 100 - 3 * (HOURS - 12) ** 2)  # by the hour at the place

# memory GB, rate, idle W, peak W, price in microcredits, embodied mg: per unit, the latter two per hour
DEVICES = np.array(
    [
        (24, 40, 25, 350, 200_000, 3_000),
        (24, 80, 25, 450, 350_000, 3_500),
        (48, 90, 40, 350, 700_000, 4_500),
        (80, 80, 60, 400, 1_200_000, 6_000),
        (80, 200, 75, 700, 2_000_000, 7_000),
        (192, 260, 120, 750, 2_400_000, 8_000),
    ],
    np.int64,
)
# memory GB, rate, price_max
KINDS = ((16, 20, 500_000), (24, 30, 900_000), (48, 60, 1_500_000), (80, 70, 3_000_000))


class _Chance:
    """Whole columns at once, equal on every machine: NumPy's own generators may change between versions."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def below(self, bound: int | Integers, *shape: int) -> Integers:
        count = int(np.prod(shape))
        drawn = np.frombuffer(self.random.randbytes(4 * count), "<u4").astype(np.int64)
        return drawn.reshape(shape) % bound

    def percent(self, percent: int, *shape: int) -> NDArray[np.bool_]:
        return np.asarray(self.below(100, *shape) < percent)


def drawn(seed: int, peers: int, shards: int, slots: int) -> Problem:
    """Slots are hours. All jobs together have so many shards, each for some hours."""
    chance = _Chance(seed)
    of = _peers(chance, peers, slots)
    jobs: list[Job] = []
    while shards > 0:
        size = min(shards, 2 ** chance.random.randrange(6))
        jobs.append(_job(chance.random, len(jobs), size, slots))
        shards -= size
    return Problem(slots, 3600, 10**7, tuple(f"zone {n}" for n in range(ZONES)), of, tuple(jobs))


def _peers(chance: _Chance, count: int, slots: int) -> Peers:
    zone = chance.below(ZONES, count)
    device = chance.below(len(DEVICES), count)
    memory_gb, rate, idle_w, peak_w, price, embodied = DEVICES[device].T
    units = 2 ** chance.below(4, count)
    pue_permille = 1080 + chance.below(400, count)

    clean, solar_percent = 30 + chance.below(600, ZONES), chance.below(40, ZONES)
    sun = SUN_PERCENT[(np.arange(slots)[:, None] + chance.below(24, ZONES)) % 24]  # [slots, zones]
    grid = (clean * (100 - solar_percent * sun // 100) // 100)[:, zone]

    kind = chance.below(100, count)  # a fifth has panels, a tenth turbines, the rest nothing
    installed_wh = units * peak_w * pue_permille // 1000 * (20 + chance.below(100, count)) // 100
    output = np.where(kind < 20, sun[:, zone], np.where(kind < 30, chance.below(101, slots, count), 0))
    part_time = chance.percent(30, count) & chance.percent(50, slots, count)
    return Peers(
        ids=tuple(f"p{n}" for n in range(count)),
        zone=zone,
        units=units,
        memory_gb=memory_gb,
        rate=rate,
        idle_w=idle_w,
        peak_w=peak_w,
        pue_permille=pue_permille,
        price=price * (70 + chance.below(80, count)) // 100,
        reputation=400 + chance.below(601, count),
        bandwidth_mbps=50 + chance.below(2000, count),
        attested=chance.below(2, count),
        tenant=np.where(chance.percent(85, count), 0, 1 + chance.below(10, count)),
        embodied=embodied,
        device=tuple(f"device {n}" for n in device.tolist()),
        free=np.where(part_time, chance.below(2, slots, count) * units // 2, units),
        surplus=installed_wh * output // 100,
        own=np.minimum(np.where(kind < 20, 20, 11), grid),
        grid=grid,
    )


def _job(chance: random.Random, number: int, size: int, slots: int) -> Job:
    below = chance.randrange
    memory_gb, rate, price_max = chance.choice(KINDS)
    length = 1 + below(max(1, slots // 2))
    first = below(slots - length + 1)
    elastic, together = chance.random() < 0.5, size <= 8 and chance.random() < 0.1
    limits: dict[str, Any] = {"same_zone": together}
    if size >= 4 and not together and chance.random() < 0.25:
        limits["per_zone"] = size // 2
    return Job(
        id=f"j{number}",
        tenant=1 + below(10),
        mode=chance.choice(("open", "open", "open", "hybrid")),
        at_least=max(1, size // 2) if elastic else size,
        at_most=2 * size if elastic else size,
        work=size * length,
        units=chance.choice((1, 1, 2, 4)),
        memory_gb=memory_gb,
        rate=rate + below(3) * 5,
        first_slot=first,
        deadline_slot=first + length + below(slots - length - first + 1),
        price_max=price_max,
        reputation=below(800),
        bandwidth_mbps=chance.choice((50, 100, 400)),
        attested=chance.random() < 0.15,
        per_peer=chance.choice((1, 4)),
        **limits,
    )
