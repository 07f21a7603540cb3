"""Plans as files of JSON lines (FORMAT.md): written the same on every machine, and read with every limit checked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

import numpy as np

from node.matching.filters import Filter, first_filters
from node.matching.lines import malformed, objects, quoted
from node.matching.load import Load, Placement
from node.matching.problem import Integers, Job, Problem
from protocol.errors import VerificationFailed


def plan_lines(load: Load) -> Iterator[str]:
    """One line for each placed job, in the order of placing; slots rise, and within them the peers' rows."""
    ids = load.problem.peers.ids
    for index, placement in load.placements.items():
        slots: dict[str, dict[str, int]] = {}
        cells = zip(placement.slots.tolist(), placement.peers.tolist(), placement.shards.tolist(), strict=True)
        for slot, peer, shards in cells:
            slots.setdefault(str(slot), {})[ids[peer]] = shards
        yield json.dumps({"job": load.problem.jobs[index].id, "slots": slots}, separators=(",", ":"))


def read_plan(problem: Problem, lines: Iterable[bytes | str]) -> Load:
    """The plan in these lines, recounted. Raises Malformed (checks 1 and 2), or VerificationFailed with the first
    limit that a line breaks:

    3 a known job, once · 4 a slot of the job's, written plainly · 5 a known peer · 6 that the job may have ·
    7 one to mpp shards on it · 8 kmin to kmax shards in a slot · 9 at most mpz of them in a zone · 10 one zone, if so
    asked · 11 K × H shard-slots · 12 free units · 13 zones within latency and link · 14 budget · 15 carbon cap
    """
    load = Load(problem)
    jobs = {job.id: index for index, job in enumerate(problem.jobs)}
    peers = {peer: row for row, peer in enumerate(problem.peers.ids)}
    for line, row in objects(lines):
        if row.keys() != {"job", "slots"} or type(row["slots"]) is not dict:
            raise malformed(line, "", 2, "not an object of `job` and `slots`, the second an object of its own")
        index = jobs.get(row["job"]) if isinstance(row["job"], str) else None
        if index is None or index in load.placements:
            _refuse(line, 3, f"job {quoted(row['job'])} is {'unknown' if index is None else 'on a line already'}")
        placement = _placement(problem, index, row["slots"], peers, line)
        _check_units(load, index, placement, line)
        before = load.carbon
        load.add(index, placement)
        cap, added = problem.jobs[index].carbon_max, load.carbon - before
        if cap and added > cap:
            _refuse(line, 15, f"{added} mg are over the cap of {cap}")
    return load


def _placement(problem: Problem, index: int, slots: dict[str, Any], peers: dict[str, int], line: int) -> Placement:
    job = problem.jobs[index]
    window = {str(slot): slot for slot in range(job.first_slot, job.deadline_slot)}
    cells: list[tuple[int, int, int]] = []
    for text, on in slots.items():
        if text not in window:
            _refuse(line, 4, f"slot {quoted(text)} is not in [{job.first_slot}, {job.deadline_slot})")
        if type(on) is not dict:
            raise malformed(line, f"slots.{text}", 2, f"{quoted(on)} is not an object of shards by peer")
        if not on:
            _refuse(line, 8, f"0 shards in slot {text}: a slot without any is left out")
        for peer, shards in on.items():
            if peer not in peers:
                _refuse(line, 5, f"peer {quoted(peer)} is unknown")
            if type(shards) is not int or not 1 <= shards <= job.per_peer:
                _refuse(line, 7, f"{quoted(shards)} shards on {quoted(peer)}, not 1 to {job.per_peer}")
            cells.append((window[text], peers[peer], shards))
    cells.sort()
    placement = Placement(*np.array(cells, np.int64).reshape(-1, 3).T.copy())
    # First, since what is not suited has no bound on its price.
    if len(unsuited := np.setdiff1d(placement.peers, problem.suited[index].peers)):
        peer = int(unsuited[0])
        reason = Filter(int(first_filters(problem.peers, job)[peer])).name.lower()
        _refuse(line, 6, f"{problem.peers.ids[peer]} is not for this job: {reason}")
    _check_shape(problem, job, placement, line)
    return placement


def _check_shape(problem: Problem, job: Job, placement: Placement, line: int) -> None:
    """The limits that the job sets on itself."""
    zones = problem.peers.zone[placement.peers]
    for slot in np.unique(placement.slots).tolist():
        here = placement.slots == slot
        count = int(placement.shards[here].sum())
        if not job.at_least <= count <= job.at_most:
            _refuse(line, 8, f"{count} shards in slot {slot}, not {job.at_least} to {job.at_most}")
        used = np.unique(zones[here])
        in_zone = max(int(placement.shards[here & (zones == zone)].sum()) for zone in used)
        if job.per_zone and in_zone > job.per_zone:
            _refuse(line, 9, f"{in_zone} shards in one zone in slot {slot}, at most {job.per_zone}")
        _check_between(problem, job, used, line)
    if job.same_zone and len(np.unique(zones)) > 1:
        _refuse(line, 10, f"{len(np.unique(zones))} zones, and the job asks for one")
    work = int(placement.shards.sum())
    if work != job.work:
        _refuse(line, 11, f"{work} shard-slots instead of {job.work}")
    price = int((placement.shards * job.units * problem.peers.price[placement.peers]).sum())
    if job.budget and price > job.budget:
        _refuse(line, 14, f"a price of {price} is over the budget of {job.budget}")


def _check_between(problem: Problem, job: Job, zones: Integers, line: int) -> None:
    """Between any two of these zones. A zone is always near itself."""
    others = ~np.eye(len(zones), dtype=np.bool_)
    if job.latency_max_ms and problem.latency_ms is not None:
        worst = int(problem.latency_ms[np.ix_(zones, zones)].max(where=others, initial=0))
        if worst > job.latency_max_ms:
            _refuse(line, 13, f"{worst} ms between two zones, at most {job.latency_max_ms}")
    if job.link_min_mbps and problem.link_mbps is not None:
        worst = int(problem.link_mbps[np.ix_(zones, zones)].min(where=others, initial=job.link_min_mbps))
        if worst < job.link_min_mbps:
            _refuse(line, 13, f"{worst} Mbit/s between two zones, at least {job.link_min_mbps}")


def _check_units(load: Load, index: int, placement: Placement, line: int) -> None:
    job = load.problem.jobs[index]
    free = load.free[placement.slots, placement.peers]
    wanted = placement.shards * job.units
    for at in np.flatnonzero(wanted > free)[:1].tolist():
        peer, slot = load.problem.peers.ids[int(placement.peers[at])], placement.slots[at]
        _refuse(line, 12, f"{wanted[at]} units of {peer} in slot {slot}, where {free[at]} are free")


def _refuse(line: int, check: int, complaint: str) -> NoReturn:
    raise VerificationFailed(
        "HEL-MATCH-004",
        f"the plan does not keep to the instance: line {line}: check {check}: {complaint}",
        "Do not use this plan; node/matching/FORMAT.md says what the checks ask for.",
    )
