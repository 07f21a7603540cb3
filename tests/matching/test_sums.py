"""What the reader lets through is counted exactly: against integers without end, with fields up to their bounds."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest

from node.json_lines import Malformed
from node.matching.files.fields import FIELDS, Series, Whole
from node.matching.files.instance import read
from node.matching.greedy import greedy
from node.matching.load import Load

from .instances import Row, generated, lines

# What makes numbers great; nobody is kept away by it.
GREAT = {
    "meta": ("slot_s",),
    "zone": ("ci",),
    "peer": ("peak_w", "pue_m", "emb", "cig", "rate"),
}
WELCOME = {"pool": "open", "vram": 0, "rate": 0, "price": 2**40, "rep": 0, "bw": 0, "att": 0}
PEERS, JOBS, SLOTS = 6, 4, 3


def counted(rows: list[Row], load: Load) -> int:
    """The carbon of a plan in Python's integers, which have no end."""
    zones = {row["id"]: row for row in rows if row["kind"] == "zone"}
    peers = [row for row in rows if row["kind"] == "peer"]
    jobs = [row for row in rows if row["kind"] == "job"]
    energy: defaultdict[tuple[int, int], int] = defaultdict(int)
    total = 0
    for index, placed in load.placements.items():
        job = jobs[index]
        for slot, at, shards in zip(
            *(each.tolist() for each in (placed.slots, placed.peers, placed.shards)), strict=True
        ):
            peer = peers[at]
            power = peer["idle_w"] * peer["rate"] + (peer["peak_w"] - peer["idle_w"]) * job["rate"]
            wh = -(-job["g"] * power * peer["pue_m"] * rows[0]["slot_s"] // (peer["rate"] * 3_600_000))
            energy[at, slot] += shards * wh
            total += shards * job["g"] * peer["emb"]
    for (at, slot), wh in energy.items():
        grid = zones[peers[at]["zone"]]["ci"][slot]
        own = min(wh, peers[at]["s50"][slot])
        total += own * min(peers[at]["cig"], grid) + (wh - own) * grid
    return total


def great(chance: random.Random) -> list[Row]:
    """An instance in which everybody may run everything, with some of its numbers up to their bounds."""
    rows = generated(chance.getrandbits(20), PEERS, JOBS, SLOTS)
    for row in rows:
        if row["kind"] == "job":
            row.update(WELCOME)
        elif row["kind"] == "peer":
            row["pool"] = 0
    for kind, names in GREAT.items():
        for name in names:
            field = FIELDS[kind][name]
            assert isinstance(field, Whole | Series)
            value = field.high >> chance.randrange(field.high.bit_length())
            for row in rows:
                if row["kind"] == kind:
                    row[name] = [value] * SLOTS if isinstance(field, Series) else max(field.low, value)
    return rows


@pytest.mark.parametrize("part", range(4))
def test_whatever_is_read_is_counted_exactly(chance: random.Random, part: int) -> None:
    placed = 0
    while placed < 100:
        rows = great(chance)
        rows[0]["penalty_mg"] = 2 ** chance.randint(40, 53)
        try:
            problem = read(lines(rows))
        except Malformed:
            continue
        load = greedy(problem, range(len(problem.jobs)))
        assert load.carbon == counted(rows, load)
        assert load.objective == load.carbon + sum(problem.declined(problem.jobs[index]) for index in load.declined)
        placed += len(load.placements)
