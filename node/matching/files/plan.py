"""Plans as files of JSON lines (FORMAT.md): written the same on every machine, and read with every limit checked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

import numpy as np

from node.json_lines import quoted
from node.matching.check import violations
from node.matching.files.lines import malformed, objects
from node.matching.load import Load, Placement
from node.matching.problem import Problem
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
    """The plan in these lines, recounted. Raises Malformed (checks 1 and 2), or VerificationFailed:

    3 each job is known, and on one line · 4 each slot is one of the job's, written plainly, and holds shards ·
    5 each peer is known · 6 shards are 1 to mpp · 7 the plan keeps every limit of the instance
    """
    jobs = {job.id: index for index, job in enumerate(problem.jobs)}
    peers = {peer: row for row, peer in enumerate(problem.peers.ids)}
    placements: dict[int, Placement] = {}
    for line, row in objects(lines):
        if row.keys() != {"job", "slots"} or type(row["slots"]) is not dict:
            raise malformed(line, "", 2, "not an object of `job` and `slots`, the second an object of its own")
        index = jobs.get(row["job"]) if isinstance(row["job"], str) else None
        if index is None or index in placements:
            reason = "unknown" if index is None else "on a line already"
            _refuse(3, f"line {line}: job {quoted(row['job'])} is {reason}")
        placements[index] = _placement(problem, index, row["slots"], peers, line)
    if found := violations(problem, placements):
        _refuse(7, f"{found[0]}; {len(found)} in all")
    load = Load(problem)
    for index, placement in placements.items():
        load.add(index, placement)
    return load


def _placement(problem: Problem, index: int, slots: dict[str, Any], peers: dict[str, int], line: int) -> Placement:
    job = problem.jobs[index]
    window = {str(slot): slot for slot in range(job.first_slot, job.deadline_slot)}
    cells: list[tuple[int, int, int]] = []
    for text, on in slots.items():
        if type(on) is not dict:
            raise malformed(line, "slots", 2, f"{quoted(on)} is not an object of shards by peer")
        if text not in window or not on:
            where = f"[{job.first_slot}, {job.deadline_slot})"
            _refuse(4, f"line {line}: slot {quoted(text)} is not in {where}, or holds no shards")
        for peer, shards in on.items():
            if peer not in peers:
                _refuse(5, f"line {line}: peer {quoted(peer)} is unknown")
            if type(shards) is not int or not 1 <= shards <= job.per_peer:
                _refuse(6, f"line {line}: {quoted(shards)} shards on {quoted(peer)}, not 1 to {job.per_peer}")
            cells.append((window[text], peers[peer], shards))
    return Placement(*np.array(sorted(cells), np.int64).reshape(-1, 3).T.copy())


def _refuse(check: int, complaint: str) -> NoReturn:
    raise VerificationFailed(
        "HEL-MATCH-004",
        f"the plan does not keep to the instance: check {check}: {complaint}",
        "Do not use this plan; node/matching/files/FORMAT.md says what the checks ask for.",
    )
