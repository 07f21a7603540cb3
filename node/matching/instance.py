"""Instances and plans as files of JSON lines: the format of FORMAT.md."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from node.matching.load import Load
from node.matching.problem import Integers, Job, Peers, Problem


def read(lines: Iterable[bytes | str], surplus: str = "s50") -> Problem:
    rows: dict[str, list[Any]] = {"meta": [], "zone": [], "peer": [], "job": []}
    for line in lines:
        row = json.loads(line)
        rows[row["kind"]].append(row)
    meta = rows["meta"][0]
    zone_row = {zone["id"]: at for at, zone in enumerate(rows["zone"])}
    peers = rows["peer"]

    def column(name: str) -> Integers:
        return np.array([peer[name] for peer in peers], np.int64)

    def table(name: str) -> Integers:
        return np.ascontiguousarray(
            np.array([peer[name] for peer in peers], np.int64).reshape(len(peers), meta["slots"]).T
        )

    zone = np.array([zone_row[peer["zone"]] for peer in peers], np.int64)
    grid = np.array([z["ci"] for z in rows["zone"]], np.int64)
    grid = np.ascontiguousarray(grid.reshape(-1, meta["slots"])[zone].T)
    jobs = tuple(
        Job(
            id=j["id"],
            tenant=j["tenant"],
            mode=j["pool"],
            at_least=j["kmin"],
            at_most=j["kmax"],
            work=j["K"] * j["H"],
            units=j["g"],
            memory_gb=j["vram"],
            rate=j["rate"],
            first_slot=j["arr"],
            deadline_slot=j["dl"],
            price_max=j["price"],
            reputation=j["rep"],
            bandwidth_mbps=j["bw"],
            attested=bool(j["att"]),
            per_peer=j["mpp"],
            per_zone=j["mpz"],
            same_zone=bool(j["same_zone"]),
            checkpoint_gb=j["ckpt_gb"],
        )
        for j in rows["job"]
    )
    return Problem(
        meta["slots"],
        meta["slot_s"],
        meta["penalty_mg"],
        tuple(z["name"] for z in rows["zone"]),
        Peers(
            ids=tuple(peer["id"] for peer in peers),
            zone=zone,
            units=column("n"),
            memory_gb=column("vram"),
            rate=column("rate"),
            idle_w=column("idle_w"),
            peak_w=column("peak_w"),
            pue_permille=column("pue_m"),
            price=column("price"),
            reputation=column("rep"),
            bandwidth_mbps=column("bw"),
            attested=column("att"),
            tenant=column("pool"),
            embodied=column("emb"),
            device=tuple(peer["gpu"] for peer in peers),
            free=table("avail"),
            surplus=table(surplus),
            own=np.minimum(column("cig"), grid),
            grid=grid,
        ),
        jobs,
    )


def plan_lines(load: Load) -> Iterable[str]:
    """The plan as `recount.py` reads it: one line per placed job, slots and peers in order."""
    ids = load.problem.peers.ids
    for index, placement in sorted(load.placements.items()):
        slots: dict[str, dict[str, int]] = {}
        for slot, peer, shards in zip(
            placement.slots.tolist(), placement.peers.tolist(), placement.shards.tolist(), strict=True
        ):
            slots.setdefault(str(slot), {})[ids[peer]] = shards
        yield json.dumps({"job": load.problem.jobs[index].id, "slots": slots}, separators=(",", ":"))
