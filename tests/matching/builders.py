"""Problems in arrays that are valid by default, problems drawn from a seed, and a recount that shares no code with the
engine."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from node.matching.load import Load
from node.matching.problem import Job, Peers, Problem

PER_SLOT = frozenset({"free", "surplus", "own", "grid"})


def job(name: str = "job", **changes: Any) -> Job:
    """One shard of one unit for two of six slots, on anything open."""
    fields: dict[str, Any] = {
        "id": name,
        "tenant": 1,
        "mode": "open",
        "at_least": 1,
        "at_most": 1,
        "work": 2,
        "units": 1,
        "memory_gb": 24,
        "rate": 10,
        "first_slot": 0,
        "deadline_slot": 6,
        "price_max": 1_000_000,
        "reputation": 500,
        "bandwidth_mbps": 100,
        "attested": False,
        "per_peer": 1,
    }
    return Job(**fields | changes)


def peer(name: str = "sol", **changes: Any) -> dict[str, Any]:
    """A peer of one unit that draws 100 Wh for a shard in a slot, free in six slots, on a grid of 360 g/kWh."""
    fields: dict[str, Any] = {
        "ids": name,
        "zone": 0,
        "units": 1,
        "memory_gb": 24,
        "rate": 10,
        "idle_w": 20,
        "peak_w": 100,
        "pue_permille": 1000,
        "price": 500_000,
        "reputation": 800,
        "bandwidth_mbps": 1000,
        "attested": 0,
        "tenant": 0,
        "embodied": 0,
        "device": "gpu",
        "free": [1] * 6,
        "surplus": [0] * 6,
        "own": [20] * 6,
        "grid": [360] * 6,
    }
    return fields | changes


def problem(peers: Sequence[dict[str, Any]], jobs: Sequence[Job], **changes: Any) -> Problem:
    """Peers as `peer` makes them, all of as many slots."""
    slots = len(peers[0]["free"]) if peers else 6
    columns: dict[str, Any] = {}
    for name in peer():
        values = [one[name] for one in peers]
        if name in ("ids", "device"):
            columns[name] = tuple(values)
        elif name in PER_SLOT:
            columns[name] = np.ascontiguousarray(np.array(values, np.int64).reshape(len(peers), slots).T)
        else:
            columns[name] = np.array(values, np.int64)
    zones = tuple(f"zone {number}" for number in range(1 + max((one["zone"] for one in peers), default=0)))
    fields: dict[str, Any] = {
        "slots": slots,
        "slot_s": 3600,
        "penalty": 10**7,
        "zones": zones,
        "peers": Peers(**columns),
    }
    return Problem(**fields | {"jobs": tuple(jobs)} | changes)


def drawn(seed: int, peers: int = 40, jobs: int = 12, slots: int = 8) -> Problem:
    """Peers and jobs of all kinds, from this seed."""
    chance = random.Random(seed)
    below = chance.randrange
    rows = []
    for number in range(peers):
        units, idle_w, own = 1 + below(8), below(100), below(40)
        rows.append(
            peer(
                f"p{number}",
                zone=below(4),
                units=units,
                memory_gb=chance.choice((24, 48, 80)),
                rate=10 + below(40),
                idle_w=idle_w,
                peak_w=idle_w + 1 + below(500),
                pue_permille=1000 + below(500),
                price=100_000 + below(900_000),
                reputation=300 + below(701),
                bandwidth_mbps=50 + below(2000),
                attested=below(2),
                tenant=chance.choice((0, 0, 0, 1, 2)),
                embodied=below(5000),
                free=[below(units + 1) for _ in range(slots)],
                surplus=[chance.choice((0, below(2000))) for _ in range(slots)],
                own=[own] * slots,
                grid=[own + below(600) for _ in range(slots)],
            )
        )
    return problem(rows, [_drawn_job(chance, number, slots) for number in range(jobs)])


def _drawn_job(chance: random.Random, number: int, slots: int) -> Job:
    below = chance.randrange
    size, length = 1 + below(6), 1 + below(slots // 2)
    elastic = chance.random() < 0.5
    first = below(slots - length + 1)
    return job(
        f"j{number}",
        tenant=1 + below(2),
        mode=chance.choice(("open", "open", "closed", "hybrid")),
        at_least=max(1, size // 2) if elastic else size,
        at_most=2 * size if elastic else size,
        work=size * length,
        units=chance.choice((1, 1, 2, 4)),
        memory_gb=chance.choice((16, 24, 48)),
        rate=1 + below(20),
        first_slot=first,
        deadline_slot=first + length + below(slots - length - first + 1),
        price_max=500_000 + below(900_000),
        reputation=below(600),
        bandwidth_mbps=chance.choice((50, 100, 400)),
        attested=chance.random() < 0.15,
        per_peer=chance.choice((1, 1, 4)),
        per_zone=0 if chance.random() < 0.7 else max(1, size),
        same_zone=chance.random() < 0.2,
    )


def broken_limits(load: Load) -> list[str]:
    """Every limit of the problem that this plan breaks, counted from the placements alone."""
    of, broken = load.problem.peers, []
    units: Counter[tuple[int, int]] = Counter()
    for index, placement in load.placements.items():
        asked = load.problem.jobs[index]
        per_slot: Counter[int] = Counter()
        per_zone: Counter[tuple[int, int]] = Counter()
        zones = set()
        for slot, row, shards in zip(*(getattr(placement, name).tolist() for name in placement.__slots__), strict=True):
            per_slot[slot] += shards
            per_zone[slot, int(of.zone[row])] += shards
            units[slot, row] += shards * asked.units
            zones.add(int(of.zone[row]))
            tenants = {"open": {0}, "closed": {asked.tenant}, "hybrid": {0, asked.tenant}}[asked.mode]
            fits = {
                "slot": asked.first_slot <= slot < asked.deadline_slot,
                "shards per peer": 1 <= shards <= asked.per_peer,
                "pool": int(of.tenant[row]) in tenants,
                "memory": of.memory_gb[row] >= asked.memory_gb,
                "rate": of.rate[row] >= asked.rate,
                "units": of.units[row] >= asked.units,
                "price": of.price[row] <= asked.price_max,
                "reputation": of.reputation[row] >= asked.reputation,
                "bandwidth": of.bandwidth_mbps[row] >= asked.bandwidth_mbps,
                "attested": of.attested[row] >= asked.attested,
            }
            broken += [f"{asked.id}: {name} on {of.ids[row]}" for name, holds in fits.items() if not holds]
        broken += [f"{asked.id}: {n} shards" for n in per_slot.values() if not asked.at_least <= n <= asked.at_most]
        broken += [f"{asked.id}: {n} in a zone" for n in per_zone.values() if 0 < asked.per_zone < n]
        if per_slot.total() != asked.work:
            broken.append(f"{asked.id}: {per_slot.total()} shard-slots of {asked.work}")
        if asked.same_zone and len(zones) > 1:
            broken.append(f"{asked.id}: zones {zones}")
    broken += [f"{cell}: {used} units" for cell, used in units.items() if used > of.free[cell]]
    return broken


def recounted_carbon(load: Load) -> int:
    """The plan's carbon, summed cell by cell."""
    of, total = load.problem.peers, 0
    energy: defaultdict[tuple[int, int], int] = defaultdict(int)
    for index, placement in load.placements.items():
        asked = load.problem.jobs[index]
        for slot, row, shards in zip(placement.slots, placement.peers, placement.shards, strict=True):
            idle, peak, rate = int(of.idle_w[row]), int(of.peak_w[row]), int(of.rate[row])
            power = asked.units * (idle * rate + (peak - idle) * asked.rate) * int(of.pue_permille[row])
            wh = -(-power * load.problem.slot_s // (rate * 1000 * 3600))
            energy[int(slot), int(row)] += int(shards) * wh
            total += int(shards) * asked.units * int(of.embodied[row])
    for cell, wh in energy.items():
        own = min(wh, int(of.surplus[cell]))
        total += own * int(of.own[cell]) + (wh - own) * int(of.grid[cell])
    return total
