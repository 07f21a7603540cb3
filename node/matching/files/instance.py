"""Instances: the problem of many jobs in a file of JSON lines (FORMAT.md), read whole, and refused where it is wrong.

What is refused carries line, field, number of the check, value and bound. Checks 1 to 5 are `lines`' and `fields`', 19
is `sums`', the others are here. A job that nobody can run is well formed: it is declined and explained, not refused.
Peers are kept column by column, so that a hundred thousand of them need little more memory than their arrays.
"""

from __future__ import annotations

import operator
from array import array
from collections.abc import Iterable
from itertools import count
from typing import Any, Literal, NoReturn

import numpy as np

from node.json_lines import quoted
from node.matching.files.fields import FIELDS, ZONES_MAX, Series, Whole, complaint
from node.matching.files.lines import malformed, objects
from node.matching.files.sums import Sums
from node.matching.problem import Integers, Job, Peers, Problem

Surplus = Literal["s50", "s20"]

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
        self.sums = Sums(row)

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
        if found := self.sums.peer(row):
            self.refuse(19, *found)
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
        if found := self.sums.job(row, work):
            self.refuse(19, *found)
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
