"""Whether a plan keeps every limit, counted again in plain loops: nothing here knows how the plan was found."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise

from node.matching.load import Placement
from node.matching.problem import Job, Problem

_Cells = dict[int, dict[int, int]]  # shards by slot and peer


def violations(problem: Problem, placements: Mapping[int, Placement]) -> list[str]:
    """Every limit that the plan breaks, in words with both numbers; `placements` by job, in the order of placing.

    That order decides what each job adds to the carbon, which a cap is held against.
    """
    found: list[str] = []
    energy: Counter[tuple[int, int]] = Counter()
    units: Counter[tuple[int, int]] = Counter()
    for index, placement in placements.items():
        if not 0 <= index < len(problem.jobs):
            found.append(f"job {index}: there are {len(problem.jobs)} jobs")
            continue
        job, cells = problem.jobs[index], _cells(placement)
        breaches = [*_outside(problem, placement), *_shape(job, cells)]
        if not breaches:
            breaches = [*_peers(problem, job, cells), *_zones(problem, job, cells)]
            breaches += _sums(problem, job, cells, energy)
            for slot, peer, shards in _each(cells):
                units[slot, peer] += shards * job.units
        found += [f"{job.id}: {breach}" for breach in breaches]
    for (slot, peer), taken in units.items():
        if taken > problem.peers.free[slot, peer]:
            free = int(problem.peers.free[slot, peer])
            found.append(f"{problem.peers.ids[peer]}: {taken} units taken in slot {slot}, {free} are free")
    return found


def _cells(placement: Placement) -> _Cells:
    cells: defaultdict[int, dict[int, int]] = defaultdict(dict)
    for slot, peer, shards in _rows(placement):
        cells[slot][peer] = cells[slot].get(peer, 0) + shards
    return dict(sorted(cells.items()))


def _rows(placement: Placement) -> Iterator[tuple[int, int, int]]:
    yield from zip(placement.slots.tolist(), placement.peers.tolist(), placement.shards.tolist(), strict=True)


def _each(cells: _Cells) -> Iterator[tuple[int, int, int]]:
    for slot, on in cells.items():
        for peer, shards in on.items():
            yield slot, peer, shards


def _outside(problem: Problem, placement: Placement) -> Iterator[str]:
    """Cells that are none, or are written in another way than Placement promises."""
    peers = len(problem.peers.ids)
    before = (-1, -1)
    for slot, peer, shards in _rows(placement):
        if not 0 <= slot < problem.slots or not 0 <= peer < peers:
            yield f"slot {slot} and peer {peer} of {problem.slots} slots and {peers} peers"
        if (slot, peer) <= before:
            yield f"slot {slot} and peer {peer} stand after {before}"
        if shards < 1:
            yield f"{shards} shards on peer {peer} in slot {slot}"
        before = slot, peer


def _shape(job: Job, cells: _Cells) -> Iterator[str]:
    """How many shards run when."""
    for slot, on in cells.items():
        count = sum(on.values())
        if not job.first_slot <= slot < job.deadline_slot:
            yield f"slot {slot} outside {job.first_slot} to {job.deadline_slot - 1}"
        if not job.at_least <= count <= job.at_most:
            yield f"{count} shards in slot {slot}, {job.at_least} to {job.at_most} may run"
    work = sum(shards for _, _, shards in _each(cells))
    if work != job.work:
        yield f"{work} shard-slots, the job has {job.work}"
    if job.block and any(slot != before + 1 or cells[slot] != cells[before] for before, slot in pairwise(cells)):
        yield "a block that does not keep its peers for slots in a row"


def _peers(problem: Problem, job: Job, cells: _Cells) -> Iterator[str]:
    """Whether each peer may take the job's shards at all, and how many of them."""
    of = problem.peers
    wanted = (
        ("GB", of.memory_gb, job.memory_gb),
        ("rate", of.rate, job.rate),
        ("units", of.units, job.units),
        ("reputation", of.reputation, job.reputation),
        ("Mbit/s", of.bandwidth_mbps, job.bandwidth_mbps),
        ("attested", of.attested, int(job.attested)),
    )
    tenants = {"open": (0,), "closed": (job.tenant,), "hybrid": (0, job.tenant)}[job.mode]
    for peer in sorted({peer for _, peer, _ in _each(cells)}):
        name = of.ids[peer]
        if int(of.tenant[peer]) not in tenants:
            yield f"{name} is of the pool {int(of.tenant[peer])}, the job may use {tenants}"
        if of.price[peer] > job.price_max:
            yield f"{name} asks {int(of.price[peer])} a unit, the job pays {job.price_max}"
        for what, has, needs in wanted:
            if has[peer] < needs:
                yield f"{name} has {int(has[peer])} {what}, the job needs {needs}"
    for slot, peer, shards in _each(cells):
        if shards > job.per_peer:
            yield f"{shards} shards on {of.ids[peer]} in slot {slot}, {job.per_peer} may be"


def _zones(problem: Problem, job: Job, cells: _Cells) -> Iterator[str]:
    every = {int(problem.peers.zone[peer]) for _, peer, _ in _each(cells)}
    if job.same_zone and len(every) > 1:
        yield f"{len(every)} zones, all shards must be in one"
    for slot, on in cells.items():
        of_zone: Counter[int] = Counter()
        for peer, shards in on.items():
            of_zone[int(problem.peers.zone[peer])] += shards
        for zone, shards in of_zone.items():
            if job.per_zone and shards > job.per_zone:
                yield f"{shards} shards in {problem.zones[zone]} in slot {slot}, {job.per_zone} may be"
            for other in of_zone:
                if other == zone:
                    continue
                pair = f"{problem.zones[zone]} and {problem.zones[other]} in slot {slot}"
                if job.latency_max_ms:
                    latency = None if problem.latency_ms is None else int(problem.latency_ms[zone, other])
                    if latency is None or latency > job.latency_max_ms:
                        yield f"{latency} ms between {pair}, {job.latency_max_ms} may be"
                if job.link_min_mbps:
                    link = None if problem.link_mbps is None else int(problem.link_mbps[zone, other])
                    if link is None or link < job.link_min_mbps:
                        yield f"{link} Mbit/s between {pair}, the job needs {job.link_min_mbps}"


def _sums(problem: Problem, job: Job, cells: _Cells, energy: Counter[tuple[int, int]]) -> Iterator[str]:
    """Budget, moves and carbon; adds the job's energy to that of the jobs before it."""
    of = problem.peers
    price = sum(shards * job.units * int(of.price[peer]) for _, peer, shards in _each(cells))
    if job.budget and price > job.budget:
        yield f"costs {price}, the budget is {job.budget}"
    carbon = 0
    for slot, peer, shards in _each(cells):
        before = energy[slot, peer]
        after = before + shards * _shard_energy(problem, job, peer)
        own, grid = int(of.own[slot, peer]), int(of.grid[slot, peer])
        surplus = int(of.surplus[slot, peer])
        carbon += own * (min(after, surplus) - min(before, surplus))
        carbon += grid * (max(0, after - surplus) - max(0, before - surplus))
        carbon += shards * job.units * int(of.embodied[peer])
        energy[slot, peer] = after
    previous: dict[int, int] | None = None
    for slot, on in cells.items() if problem.move_wh_per_gb is not None and job.checkpoint_gb else ():
        for peer, shards in on.items():
            arriving = 0 if previous is None else max(0, shards - previous.get(peer, 0))
            if arriving:
                bandwidth = int(of.bandwidth_mbps[peer])
                transfer_s = -(-8000 * job.checkpoint_gb // bandwidth) if bandwidth else problem.slot_s + 1
                if transfer_s > problem.slot_s:
                    yield f"moves to {of.ids[peer]} in slot {slot}, which takes longer than a slot"
                    continue
                idle = job.units * int(of.idle_w[peer]) * int(of.pue_permille[peer]) * transfer_s
                move_wh = job.checkpoint_gb * problem.move_wh_per_gb - (-idle // 3_600_000)  # type: ignore[operator]
                carbon += arriving * move_wh * int(of.grid[slot, peer])
        previous = on
    if job.carbon_max and carbon > job.carbon_max:
        yield f"adds {carbon} of carbon, the cap is {job.carbon_max}"


def _shard_energy(problem: Problem, job: Job, peer: int) -> int:
    of = problem.peers
    rate, idle_w, peak_w = int(of.rate[peer]), int(of.idle_w[peer]), int(of.peak_w[peer])
    power = job.units * (idle_w * rate + (peak_w - idle_w) * job.rate) * int(of.pue_permille[peer]) * problem.slot_s
    return -(-power // (rate * 1000 * 3600))
