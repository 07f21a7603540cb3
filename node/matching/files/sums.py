"""How great the numbers of an instance may be together: check 19 of FORMAT.md.

Whatever is placed, no sum of 64-bit integers wraps around. One unit draws at most e = ceil(peak_w × pue_m × slot_s /
3,600,000) Wh in a slot, and a shard that moves there as much again while it waits; at the worst intensity there may be,
that makes c = 2 × e × INTENSITY_MAX + emb mg.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node.matching.files.fields import INTENSITY_MAX
from node.matching.problem import CARBON_MAX

SUMS_MAX = 2**62  # of penalties, of prices, and of what energy is a quotient of: 64-bit integers end at twice this
KEYS_MAX = 2**60  # of cost, rank and peer in one integer, as `pricing` sorts them, and of a job's cost: its NEVER
CELLS_MAX = 2**26  # of a job's dynamic program in `pricing`, 8 bytes each
COSTS_MAX = 2**28  # of the shards of a job that might run somewhere, 8 bytes each

Complaint = tuple[str, str]  # the field of the line that went too far, and what came of it


class Sums:
    """What the lines so far add up to at most. Each line is refused that could take a sum over its bound."""

    def __init__(self, meta: Mapping[str, Any]) -> None:
        self._meta = meta
        self._carbon = 0  # of all peers in all slots, and of all moves
        self._dearest = 0  # the carbon of one shard that takes all of a peer
        self._dearest_move = 0
        self._units = 1
        self._ranks = 1  # most shards of one job on one peer, if the units allow
        self._work = 1
        self._penalty = 0

    def peer(self, row: Mapping[str, Any]) -> Complaint | None:
        """One more peer."""
        power = row["peak_w"] * row["pue_m"] * self._meta["slot_s"]
        if (product := row["n"] * row["rate"] * power) > SUMS_MAX:
            return "rate", f"n × peak_w × rate × pue_m × slot_s is {product}, over {SUMS_MAX}"
        carbon = row["n"] * (2 * -(-power // 3_600_000) * INTENSITY_MAX + row["emb"])
        self._carbon += carbon * self._meta["slots"]
        self._dearest = max(self._dearest, carbon)
        self._units = max(self._units, row["n"])
        return self._over("n")

    def job(self, row: Mapping[str, Any], work: int) -> Complaint | None:
        """One more job, with the shard-slots of its work."""
        width = max(row["dl"] - row["arr"], row["kmax"] - row["kmin"] + 1)
        if work * width > CELLS_MAX:
            return "H", f"{work} shard-slots by {width} slots or counts are {work * width} cells, over {CELLS_MAX}"
        if (price := work * row["g"] * row["price"]) > SUMS_MAX:
            return "price", f"K × H × g × price is {price}, over {SUMS_MAX}"
        self._penalty += work * self._meta["penalty_mg"]
        if self._penalty > SUMS_MAX:
            return "H", f"with this job all penalties are {self._penalty} mg, over {SUMS_MAX}"
        move = row["ckpt_gb"] * self._meta.get("move_wh_per_gb", 0) * INTENSITY_MAX
        self._carbon += move * work
        self._dearest_move = max(self._dearest_move, move)
        self._ranks = max(self._ranks, min(row["mpp"], row["kmax"]))
        self._work = max(self._work, work)
        return self._over("ckpt_gb" if move else "mpp")

    def _over(self, field: str) -> Complaint | None:
        if self._carbon >= CARBON_MAX:
            return field, f"with this line a plan might come to {self._carbon} mg, over {CARBON_MAX}"
        shards = min(self._ranks, self._units) * max(1, self._meta["n_peers"])
        key = (self._dearest + self._dearest_move) * max(shards, self._work)
        if key >= KEYS_MAX:
            return field, f"with this line a shard's cost × ranks × peers, or × work, may be {key}, over {KEYS_MAX}"
        if (cells := shards * self._meta["slots"]) > COSTS_MAX:
            return field, f"with this line ranks × peers × slots may be {cells}, over {COSTS_MAX}"
        return None
