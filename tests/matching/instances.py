"""Instances of the file format: lines valid by default, one field changed per test; and whole ones from a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from typing import Any

from node.matching.files.instance import Surplus, read
from node.matching.problem import Problem

Row = dict[str, Any]
SLOTS = 4


def zone(number: int = 0, slots: int = SLOTS, **changes: Any) -> Row:
    row = {"kind": "zone", "id": number, "name": f"zone-{number}", "utc": 0, "ci": [100 + 50 * number] * slots}
    return row | changes


def peer(number: int = 0, slots: int = SLOTS, **changes: Any) -> Row:
    """Two units of 400 W at most, half the time's energy from an own surplus of 300 Wh a slot."""
    units = changes.get("n", 2)
    row = {
        "kind": "peer",
        "id": f"p{number}",
        "op": number,
        "zone": 0,
        "gpu": "a100-40",
        "n": units,
        "vram": 40,
        "rate": 80,
        "idle_w": 50,
        "peak_w": 400,
        "pue_m": 1200,
        "price": 900_000,
        "rep": 900,
        "bw": 1000,
        "att": 1,
        "pool": 0,
        "emb": 5000,
        "cig": 20,
        "avail": [units] * slots,
        "s50": [300] * slots,
        "s20": [200] * slots,
    }
    return row | changes


def job(number: int = 0, slots: int = SLOTS, **changes: Any) -> Row:
    """Two shards for two slots, at any time."""
    row = {
        "kind": "job",
        "id": f"j{number}",
        "tenant": 1,
        "pool": "open",
        "K": 2,
        "kmin": 2,
        "kmax": 2,
        "H": min(2, slots),
        "g": 1,
        "vram": 24,
        "rate": 60,
        "arr": 0,
        "dl": slots,
        "price": 1_000_000,
        "rep": 500,
        "bw": 100,
        "att": 0,
        "mpp": 1,
        "same_zone": 0,
        "mpz": 0,
        "red": 1,
        "ckpt_gb": 14,
    }
    return row | changes


def instance(
    peers: Sequence[Row] = (), jobs: Sequence[Row] = (), zones: Sequence[Row] | None = None, **meta: Any
) -> list[Row]:
    """The rows of an instance, the meta line first: zones from line 2 on, then peers, then jobs."""
    slots = meta.get("slots", SLOTS)
    head = {
        "kind": "meta",
        "version": 1,
        "seed": 1,
        "slots": slots,
        "slot_s": 3600,
        "penalty_mg": 8_640_000,
        "n_peers": len(peers),
        "n_jobs": len(jobs),
        "n_shards": sum(each["K"] for each in jobs),
    }
    return [head | meta, *([zone(0, slots)] if zones is None else zones), *peers, *jobs]


def lines(rows: Iterable[Row]) -> list[bytes]:
    return [json.dumps(row, separators=(",", ":")).encode() for row in rows]


def problem(rows: Iterable[Row], surplus: Surplus = "s50") -> Problem:
    return read(lines(rows), surplus)


def generated(seed: int, peers: int, jobs: int, slots: int = 24) -> list[Row]:
    """Peers of all sizes in ten zones, and jobs of every kind; only `random()` is asked, which Python keeps stable."""
    chance = random.Random(f"instance {seed}").random

    def below(end: int) -> int:
        return int(chance() * end)

    def one_of(values: Sequence[Any]) -> Any:
        return values[below(len(values))]

    zones = [zone(z, slots, ci=[20 + below(60) * (z + 1) for _ in range(slots)]) for z in range(10)]
    return instance(
        [_peer(number, slots, below, one_of) for number in range(peers)],
        [_job(number, slots, below, one_of) for number in range(jobs)],
        zones,
        seed=seed,
        slots=slots,
    )


def _peer(number: int, slots: int, below: Any, one_of: Any) -> Row:
    units, peak = one_of((1, 2, 4, 8)), one_of((300, 450, 700))
    sun = one_of((0, 0, 0, 1, 2)) * units * peak // 2
    median = [below(sun + 1) for _ in range(slots)]
    return peer(
        number,
        slots,
        n=units,
        zone=below(10),
        vram=one_of((24, 48, 80)),
        rate=one_of((80, 110, 200)),
        peak_w=peak,
        pue_m=1000 + below(500),
        price=400_000 + below(1_200_000),
        rep=below(1001),
        bw=below(2000),
        att=below(2),
        pool=one_of((0, 0, 0, 0, 1, 2)),
        emb=3000 + below(5000),
        cig=one_of((11, 20)),
        avail=[max(0, units - below(3)) for _ in range(slots)],
        s50=median,
        s20=[energy * 3 // 4 for energy in median],
    )


def _job(number: int, slots: int, below: Any, one_of: Any) -> Row:
    shards, redundancy, length = one_of((1, 2, 4, 8)), one_of((1, 1, 1, 2)), 1 + below(slots // 2)
    first = below(slots - length + 1)
    elastic = shards > 1 and below(2)
    same_zone = below(8) == 0
    return job(
        number,
        slots,
        tenant=1 + below(2),
        pool=one_of(("open", "open", "open", "hybrid", "hybrid", "closed")),
        K=shards * redundancy,
        kmin=(shards // 2 if elastic else shards) * redundancy,
        kmax=(shards * 2 if elastic else shards) * redundancy,
        H=length,
        g=one_of((1, 1, 2, 4)),
        vram=one_of((16, 24, 48)),
        rate=one_of((30, 60, 100)),
        arr=first,
        dl=first + length + below(slots - first - length + 1),
        price=700_000 + below(1_500_000),
        rep=below(600),
        bw=one_of((50, 100, 400)),
        att=one_of((0, 0, 0, 1)),
        mpp=1 if redundancy == 2 else one_of((1, 4)),
        same_zone=int(same_zone),
        mpz=0 if same_zone else one_of((0, 0, 0, shards)),
        red=redundancy,
    )
