"""Instances: the problem of many jobs in a file of JSON lines (FORMAT.md), read whole, and refused where it is wrong.

What is refused carries line, field, number of the check, value and bound. Checks 1 to 5 are `lines`' and `fields`', the
others are here. A job that nobody can run is well formed: it is declined and explained, not refused. Peers are kept
column by column, so that a hundred thousand of them need little more memory than the arrays that they become.
"""

from __future__ import annotations

import operator
from array import array
from collections.abc import Iterable
from itertools import count
from typing import Any, Literal, NoReturn

import numpy as np

from node.matching.fields import FIELDS, INTENSITY_MAX, ZONES_MAX, Series, Whole, complaint
from node.matching.lines import malformed, objects, quoted
from node.matching.problem import CARBON_MAX, Integers, Job, Peers, Problem

Surplus = Literal["s50", "s20"]

SUMS_MAX = 2**62  # of energy's numerator, of penalties and of prices: 64-bit integers end at twice this
KEYS_MAX = 2**60  # of cost, rank and peer in one integer, as `pricing` sorts them, and of a job's costs: its NEVER
CELLS_MAX = 2**26  # of a job's dynamic program in `pricing`, 8 bytes each
COSTS_MAX = 2**28  # of the shards of a job that might run somewhere, 8 bytes each: a thousand times what files had

# `op` is not kept: nothing here asks who operates a peer.
_SCALARS = tuple(name for name, field in FIELDS["peer"].items() if isinstance(field, Whole) and name != "op")
_SERIES = tuple(name for name, field in FIELDS["peer"].items() if isinstance(field, Series))


def read(lines: Iterable[bytes | str], surplus: Surplus = "s50") -> Problem:
    """The problem in these lines, with this column as the forecast of surplus. Raises Malformed."""
    reader = _Reader(surplus)
    for reader.line, row in objects(lines):
        reader.take(row)
    return reader.problem()


class _Reader:
    """What was read so far; `line` is where."""

    def __init__(self, surplus: Surplus) -> None:
        self.line = 0
        self.meta: dict[str, Any] = {}
        self.zones: dict[int, dict[str, Any]] = {}
        self.peers: dict[str, int] = {}  # and the jobs, by id, and the line
        self.jobs: dict[str, int] = {}
        self.asks: list[Job] = []
        self.columns = {name: array("q") for name in (*_SCALARS, "avail", surplus)}
        self.devices: list[str] = []
        self.surplus = surplus
        self.sums = _Sums(self)

    def refuse(self, check: int, field: str, complaint: str, line: int = 0) -> NoReturn:
        raise malformed(line or self.line, field, check, complaint)

    def take(self, row: dict[str, Any]) -> None:
        """One more line."""
        kind = row.get("kind")
        if not isinstance(kind, str) or kind not in FIELDS:
            self.refuse(2, "kind", f"{quoted(kind)} is none of {', '.join(FIELDS)}")
        if (kind == "meta") == bool(self.meta):
            self.refuse(2, "kind", "the meta line stands first and once")
        if found := complaint(kind, row, self.meta.get("slots", 0)):
            field, (check, text) = found
            self.refuse(check, field, text)
        {"meta": self._meta, "zone": self._zone, "peer": self._peer, "job": self._job}[kind](row)

    def _meta(self, row: dict[str, Any]) -> None:
        self.meta = row

    def _zone(self, row: dict[str, Any]) -> None:
        if row["id"] in self.zones:
            self.refuse(6, "id", f"zone {row['id']} stands on line {self.zones[row['id']]['line']} already")
        if len(self.zones) == ZONES_MAX:
            self.refuse(16, "kind", f"more than {ZONES_MAX} zones")
        self.zones[row["id"]] = {**row, "line": self.line}

    def _peer(self, row: dict[str, Any]) -> None:
        self._count(row, self.peers, "n_peers")
        if row["idle_w"] > row["peak_w"]:
            self.refuse(8, "idle_w", f"{row['idle_w']} is above the peak_w of {row['peak_w']}")
        if max(row["avail"]) > row["n"]:
            self.refuse(9, "avail", f"{max(row['avail'])} are free of the n of {row['n']}")
        if any(map(operator.gt, row["s20"], row["s50"])):
            slot, low, median = next(each for each in zip(count(), row["s20"], row["s50"]) if each[1] > each[2])
            self.refuse(10, "s20", f"{low} in slot {slot} is above the s50 of {median}: a 20 % quantile is not")
        self.sums.peer(row)
        for name, column in self.columns.items():
            if name in _SERIES:
                column.extend(row[name])
            else:
                column.append(row[name])
        self.devices.append(row["gpu"])

    def _job(self, row: dict[str, Any]) -> None:
        self._count(row, self.jobs, "n_jobs")
        slots, first, deadline = self.meta["slots"], row["arr"], row["dl"]
        if not first < deadline <= slots:
            self.refuse(11, "dl", f"{deadline} is not above the arr of {first} and at most the slots of {slots}")
        if row["kmin"] > row["kmax"]:
            self.refuse(12, "kmin", f"{row['kmin']} is above the kmax of {row['kmax']}")
        for name in ("K", "kmin", "kmax"):
            if row[name] % row["red"]:
                self.refuse(13, name, f"{row[name]} includes the red of {row['red']}, and is no multiple of it")
        work = row["K"] * row["H"]
        if -(-work // row["kmax"]) * row["kmin"] > work:
            self.refuse(14, "H", f"no number of slots with {row['kmin']} to {row['kmax']} shards makes {work}")
        if row["pool"] == "closed" and not row["tenant"]:
            self.refuse(15, "tenant", "0 owns no peers, and the pool is closed")
        self.sums.job(row, work)
        self.asks.append(
            Job(
                id=row["id"],
                tenant=row["tenant"],
                mode=row["pool"],
                at_least=row["kmin"],
                at_most=row["kmax"],
                work=work,
                units=row["g"],
                memory_gb=row["vram"],
                rate=row["rate"],
                first_slot=first,
                deadline_slot=deadline,
                price_max=row["price"],
                reputation=row["rep"],
                bandwidth_mbps=row["bw"],
                attested=bool(row["att"]),
                per_peer=row["mpp"],
                per_zone=row["mpz"],
                same_zone=bool(row["same_zone"]),
                checkpoint_gb=row["ckpt_gb"],
                carbon_max=row.get("carbon_max_mg", 0),
                budget=row.get("budget_microusd", 0),
                latency_max_ms=row.get("latency_max_ms", 0),
                link_min_mbps=row.get("link_min_mbps", 0),
            )
        )

    def _count(self, row: dict[str, Any], known: dict[str, int], total: str) -> None:
        if row["id"] in known:
            self.refuse(6, "id", f"{quoted(row['id'])} stands on line {known[row['id']]} already")
        if len(known) == self.meta[total]:
            self.refuse(16, "kind", f"more lines of this kind than the meta line's {total} of {self.meta[total]}")
        known[row["id"]] = self.line

    def problem(self) -> Problem:
        """All of it; what only the whole file can tell is checked here."""
        if not self.meta:
            self.refuse(2, "kind", "there is no meta line", 1)
        for total, known in (("n_peers", self.peers), ("n_jobs", self.jobs)):
            if len(known) != self.meta[total]:
                self.refuse(16, total, f"{self.meta[total]}, where the file has {len(known)}", 1)
        latency_ms, link_mbps = self._between_zones("latency_ms"), self._between_zones("link_mbps")
        for job, line in zip(self.asks, self.jobs.values(), strict=True):
            if job.latency_max_ms and latency_ms is None:
                self.refuse(18, "latency_max_ms", "the zones have no latency_ms", line)
            if job.link_min_mbps and link_mbps is None:
                self.refuse(18, "link_min_mbps", "the zones have no link_mbps", line)
        return Problem(
            slots=self.meta["slots"],
            slot_s=self.meta["slot_s"],
            penalty=self.meta["penalty_mg"],
            zones=tuple(zone["name"] for zone in self.zones.values()),
            peers=self._peers(),
            jobs=tuple(self.asks),
            move_wh_per_gb=self.meta.get("move_wh_per_gb"),
            latency_ms=latency_ms,
            link_mbps=link_mbps,
        )

    def _between_zones(self, name: str) -> Integers | None:
        """[zones, zones], or None where no zone has it. Check 17: all have it, for all, the same there and back."""
        if not any(name in zone for zone in self.zones.values()):
            return None
        for zone in self.zones.values():
            if len(zone.get(name, ())) != len(self.zones):
                complaint = f"{len(zone.get(name, ()))} numbers, where the file has {len(self.zones)} zones"
                self.refuse(17, name, complaint, zone["line"])
        table = np.array([zone[name] for zone in self.zones.values()], np.int64)
        if len(odd := np.argwhere(table != table.T)):
            here, there = odd[0].tolist()
            complaint = f"{table[here, there]} at index {there}, and {table[there, here]} the other way round"
            self.refuse(17, name, complaint, list(self.zones.values())[here]["line"])
        return table

    def _peers(self) -> Peers:
        slots = self.meta["slots"]
        row_of_zone = {zone: row for row, zone in enumerate(self.zones)}
        for zone, line in zip(self.columns["zone"], self.peers.values(), strict=True):
            if zone not in row_of_zone:
                self.refuse(7, "zone", f"there is no zone {zone}", line)
        zone_rows = np.array([row_of_zone[zone] for zone in self.columns.pop("zone")], np.int64)
        grid = np.array([zone["ci"] for zone in self.zones.values()], np.int64).reshape(-1, slots)
        grid = np.ascontiguousarray(grid[zone_rows].T)

        def column(name: str) -> Integers:
            return np.array(self.columns.pop(name), np.int64)

        def table(name: str) -> Integers:
            return np.ascontiguousarray(column(name).reshape(len(self.peers), slots).T)

        return Peers(
            ids=tuple(self.peers),
            zone=zone_rows,
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
            device=tuple(self.devices),
            free=table("avail"),
            surplus=table(self.surplus),
            own=np.minimum(column("cig"), grid),
            grid=grid,
        )


class _Sums:
    """Check 19: whatever is placed, no sum of 64-bit integers wraps around.

    One unit draws at most e = ceil(peak_w × pue_m × slot_s / 3,600,000) Wh in a slot, and a shard that moves there as
    much again while it waits; with the worst intensity there may be, c = 2 × e × INTENSITY_MAX + emb mg. Then
    n × peak_w × rate × pue_m × slot_s, of which the energy of a shard is a quotient, stays up to SUMS_MAX; the carbon
    of all peers in all slots, n × c each, and of all moves, below CARBON_MAX; the dearest shard times the shard-slots of
    a job, or times the ranks and peers, below KEYS_MAX; all penalties together, and a job's price, up to SUMS_MAX. CELLS_MAX and COSTS_MAX keep a
    small file from asking for all memory.
    """

    def __init__(self, reader: _Reader) -> None:
        self.reader = reader
        self.carbon = 0
        self.dearest = 0  # carbon of one shard that takes all of a peer
        self.dearest_move = 0
        self.units = 0
        self.ranks = 1
        self.work = 1
        self.penalty = 0

    def peer(self, row: dict[str, Any]) -> None:
        meta, units = self.reader.meta, row["n"]
        power = row["peak_w"] * row["pue_m"] * meta["slot_s"]
        if units * row["rate"] * power > SUMS_MAX:
            self._refuse("rate", f"n × peak_w × rate × pue_m × slot_s is {units * row['rate'] * power}", SUMS_MAX)
        carbon = units * (2 * -(-power // 3_600_000) * INTENSITY_MAX + row["emb"])
        self.carbon += carbon * meta["slots"]
        self.dearest = max(self.dearest, carbon)
        self.units = max(self.units, units)
        self._check("n")

    def job(self, row: dict[str, Any], work: int) -> None:
        width = max(row["dl"] - row["arr"], row["kmax"] - row["kmin"] + 1)
        if work * width > CELLS_MAX:
            self._refuse("H", f"{work} shard-slots by {width} slots or counts are {work * width} cells", CELLS_MAX)
        if work * row["g"] * row["price"] > SUMS_MAX:
            self._refuse("price", f"K × H × g × price is {work * row['g'] * row['price']}", SUMS_MAX)
        self.penalty += work * self.reader.meta["penalty_mg"]
        if self.penalty > SUMS_MAX:
            self._refuse("H", f"with this job all penalties are {self.penalty} mg", SUMS_MAX)
        move = row["ckpt_gb"] * self.reader.meta.get("move_wh_per_gb", 0) * INTENSITY_MAX
        self.carbon += move * work
        self.dearest_move = max(self.dearest_move, move)
        self.ranks = max(self.ranks, min(row["mpp"], row["kmax"]))
        self.work = max(self.work, work)
        self._check("ckpt_gb" if move else "mpp")

    def _check(self, field: str) -> None:
        if self.carbon >= CARBON_MAX:
            self._refuse(field, f"with this line a plan might come to {self.carbon} mg", CARBON_MAX)
        shards = min(self.ranks, max(1, self.units)) * max(1, self.reader.meta["n_peers"])
        keys = (self.dearest + self.dearest_move) * max(shards, self.work)
        if keys >= KEYS_MAX:
            self._refuse(field, f"with this line a shard's cost × ranks × peers, or × work, may be {keys}", KEYS_MAX)
        if (cells := shards * self.reader.meta["slots"]) > COSTS_MAX:
            self._refuse(field, f"with this line ranks × peers × slots might come to {cells}", COSTS_MAX)

    def _refuse(self, field: str, complaint: str, bound: int) -> NoReturn:
        self.reader.refuse(19, field, f"{complaint}, over {bound}")
