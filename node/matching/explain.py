"""Why a plan is as it is: for each placed job what it saves, for each declined one what would place it, and for every
peer that a job refused one reason with numbers.

Counts are exact and few; the reasons themselves are a table of jobs times peers, which `refusals` gives job by job.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from node.matching.baselines import by_price, start_now
from node.matching.changes import Relaxation
from node.matching.filters import Filter, first_filters
from node.matching.load import Load, Placement
from node.matching.problem import Integers, Job, Problem
from node.matching.relax import TRIALS_MAX, price_text, relaxation
from protocol.units import J_PER_WH, ceil_div, format_carbon, format_energy

ROOM = len(Filter)  # passed every filter, but never had the units free: the one reason that depends on the load
REASONS = {int(each): each.name.lower() for each in Filter if each is not Filter.PASSED} | {ROOM: "room"}
CELLS_MAX = 500_000_000  # priced for all declined jobs together: some ten seconds (measured), whatever the size
JOBS_SHOWN = 20  # to people, of the declined and of the placed each

# (name, field of the peers, field of the job, unit) of the filters that compare two numbers.
_NUMBERS = {
    Filter.MEMORY: ("memory", "memory_gb", "memory_gb", " GB per unit"),
    Filter.RATE: ("rate", "rate", "rate", " per unit"),
    Filter.UNITS: ("units", "units", "units", " per shard"),
    Filter.REPUTATION: ("reputation", "reputation", "reputation", ""),
    Filter.BANDWIDTH: ("bandwidth", "bandwidth_mbps", "bandwidth_mbps", " Mbit/s"),
}


def explain(load: Load, only: Collection[int] | None = None, cells_max: int = CELLS_MAX) -> dict[str, Any]:
    """Every job, or only these, in the order of the problem; JSON values only, all keys always there.

    `jobs`: each has job, verdict (placed, declined), shard_slots, peers, carbon_mg, energy_wh, own_wh, own_permille,
    price_microusd, slots, zones, baselines and relaxation; None for the figures of a declined job, and for the
    relaxation of a placed one. peers: chosen, outbid (of a placed job), incomplete (of a declined one), and refused,
    a count for each reason. relaxation: text, trials, and changes and instead, lists of {field, value, permille,
    text}. All trials together price at most `cells_max` cells of a peer and a slot, the declined jobs in their order.
    `plan`: jobs, declined_jobs, declined_shard_slots, and the sums of the others over `jobs`.

    A job's figures are what it added at its own load: that of the jobs before it in the plan. Its baselines are
    carbon_mg, saving_mg and saving_permille (of the baseline; negative where that is greener) at the same load:
    cheapest, what the placement of least price, as early as it is free, would have added; start_now, what the greenest
    placement without waiting would have added; grid_average, its energy in each slot at the mean grid intensity of all
    peers suited to it, each counted once, rounded up, and the making of the same hardware. No carbon cap binds them.
    """
    shown = set(range(len(load.problem.jobs)) if only is None else only)
    jobs = dict(_placed(load, shown))
    trials_left = cells_max // max(1, load.free.size)
    for index in load.declined:
        if index in shown:
            found = _relaxation(load, index, min(TRIALS_MAX, trials_left))
            trials_left -= found["trials"]
            jobs[index] = _row(load, index) | {"relaxation": found}
    return _with_totals([jobs[index] for index in sorted(jobs)])


def refusals(load: Load, index: int) -> Iterator[dict[str, Any]]:
    """Each peer that this job refused: peer, reason, offered and wanted (None where it has no numbers), text."""
    problem, job = load.problem, load.problem.jobs[index]
    reasons = _reasons(load, index)
    for row in np.flatnonzero(np.isin(reasons, list(REASONS))).tolist():
        offered, wanted, text = _reason(load, job, row, int(reasons[row]))
        yield {
            "peer": problem.peers.ids[row],
            "reason": REASONS[int(reasons[row])],
            "offered": offered,
            "wanted": wanted,
            "text": text,
        }


def lines(explanation: Mapping[str, Any], shown: int = JOBS_SHOWN) -> Iterator[str]:
    """The plan, then the declined jobs, then those that save most; at most `shown` of either, and how many are not."""
    plan, jobs = explanation["plan"], explanation["jobs"]
    placed = [row for row in jobs if row["verdict"] == "placed"]
    declined = [row for row in jobs if row["verdict"] == "declined"]
    yield f"{len(placed)} of {plan['jobs']} jobs placed: {_totals_text(plan)}"
    yield from _savings(plan["baselines"])
    yield f"refusals by reason, over all jobs: {_counts_text(plan['refused'])}"
    for row in declined[:shown]:
        yield f"{row['job']} declined: {row['relaxation']['text']}"
        yield f"  {_peers_text(row['peers'])}"
    yield from _more(len(declined) - shown, "declined")
    placed.sort(key=lambda row: -row["baselines"]["cheapest"]["saving_mg"])
    for row in placed[:shown]:
        slots = row["slots"]
        when = f"{len(slots)} slots from {slots[0]} to {slots[-1]}"
        yield f"{row['job']} placed: {_totals_text(row)}, {when}, {_zones_text(row)}"
        yield from _savings(row["baselines"])
        yield f"  {_peers_text(row['peers'])}"
    yield from _more(len(placed) - shown, "placed, which save less")


def _reasons(load: Load, index: int) -> Integers:
    """For each peer the first Filter that refused it, ROOM, or Filter.PASSED."""
    problem, job = load.problem, load.problem.jobs[index]
    reasons = first_filters(problem.peers, job)
    room = load.free[job.first_slot : job.deadline_slot].max(axis=0, initial=0)
    reasons[(reasons == Filter.PASSED) & (room < job.units)] = ROOM
    if index in load.placements:
        reasons[load.placements[index].peers] = Filter.PASSED
    return reasons


def _reason(load: Load, job: Job, row: int, reason: int) -> tuple[int | None, int | None, str]:
    peers = load.problem.peers
    if reason == Filter.POOL:
        tenant = int(peers.tenant[row])
        pool = f"private pool of tenant {tenant}" if tenant else "open pool"
        return None, None, f"{pool}; the job's mode is {job.mode} of tenant {job.tenant}"
    if reason == Filter.ATTESTED:
        return 0, 1, "its energy is not attested, which the job asks for"
    if reason == Filter.PRICE:
        price = int(peers.price[row])
        text = f"price {price_text(price)} above the cap {price_text(job.price_max)} per unit and slot"
        return price, job.price_max, text
    if reason == ROOM:
        most = int(load.free[job.first_slot : job.deadline_slot, row].max(initial=0))
        return most, job.units, f"room: at most {most} of {job.units} units free in slots {_window(job)}"
    name, of_peer, of_job, unit = _NUMBERS[Filter(reason)]
    offered, wanted = int(getattr(peers, of_peer)[row]), getattr(job, of_job)
    return offered, wanted, f"{name}: {offered} of {wanted}{unit} needed"


def _placed(load: Load, shown: set[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The plan once more from the start, so that each job meets the load at which it was placed."""
    at = Load(load.problem)
    for index, placement in load.placements.items():
        if index in shown:
            yield index, _row(load, index) | _figures(at, index, placement)
        at.add(index, placement)


def _figures(at: Load, index: int, placement: Placement) -> dict[str, Any]:
    problem, job, suited = at.problem, at.problem.jobs[index], at.problem.suited[index]
    of_suited = np.searchsorted(suited.peers, placement.peers)
    cells = placement.slots, placement.peers
    energy = placement.shards * suited.energy[of_suited]
    own = np.minimum(energy, np.maximum(0, problem.peers.surplus[cells] - at.energy[cells]))
    carbon = _added(at, index, placement)
    against = {
        "cheapest": _added(at, index, by_price(at, index) or placement),
        "grid_average": _grid_average(problem, index, placement, energy),
        "start_now": _added(at, index, start_now(at, index) or placement),
    }
    return {
        "carbon_mg": carbon,
        "energy_wh": int(energy.sum()),
        "own_wh": int(own.sum()),
        "own_permille": _permille(int(own.sum()), int(energy.sum())),
        "price_microusd": int((placement.shards * problem.peers.price[placement.peers]).sum()) * job.units,
        "slots": np.unique(placement.slots).tolist(),
        "zones": [problem.zones[zone] for zone in np.unique(problem.peers.zone[placement.peers]).tolist()],
        "baselines": {name: _saving(carbon, otherwise) for name, otherwise in against.items()},
    }


def _added(at: Load, index: int, placement: Placement) -> int:
    before = at.carbon
    at.add(index, placement)
    added = at.carbon - before
    at.remove(index)
    return added


def _grid_average(problem: Problem, index: int, placement: Placement, energy: Integers) -> int:
    suited = problem.suited[index]
    slots, slot_of = np.unique(placement.slots, return_inverse=True)
    intensities = problem.peers.grid[slots[:, None], suited.peers].sum(axis=1).tolist()
    emitted = 0
    for place, intensity in enumerate(intensities):
        emitted += ceil_div(int(energy[slot_of == place].sum()) * intensity, len(suited.peers))
    making = placement.shards * suited.embodied[np.searchsorted(suited.peers, placement.peers)]
    return emitted + int(making.sum())


def _row(load: Load, index: int) -> dict[str, Any]:
    """What there is to say of any job; the figures of a placed one, and the relaxation of another, come on top."""
    job, placement = load.problem.jobs[index], load.placements.get(index)
    counts = np.bincount(_reasons(load, index), minlength=ROOM + 1).tolist()
    chosen = 0 if placement is None else len(np.unique(placement.peers))
    others = counts[Filter.PASSED] - chosen
    return {
        "job": job.id,
        "verdict": "declined" if placement is None else "placed",
        "shard_slots": job.work,
        "peers": {
            "chosen": chosen,
            "outbid": 0 if placement is None else others,
            "incomplete": others if placement is None else 0,
            "refused": {name: counts[reason] for reason, name in REASONS.items()},
        },
        **dict.fromkeys(("carbon_mg", "energy_wh", "own_wh", "own_permille", "price_microusd", "slots", "zones")),
        "baselines": None,
        "relaxation": None,
    }


def _relaxation(load: Load, index: int, trials_max: int) -> dict[str, Any]:
    found = relaxation(load, index, trials_max) or Relaxation((), (), "it fits as it is")
    said = {
        name: [
            {"field": change.field, "value": change.value, "permille": change.permille, "text": change.text}
            for change in changes
        ]
        for name, changes in (("changes", found.changes), ("instead", found.instead))
    }
    return {"text": found.text, "trials": found.trials, **said}


def _with_totals(jobs: list[dict[str, Any]]) -> dict[str, Any]:
    placed = [row for row in jobs if row["verdict"] == "placed"]
    declined = [row for row in jobs if row["verdict"] == "declined"]
    sums = {name: sum(row[name] for row in placed) for name in ("carbon_mg", "energy_wh", "own_wh", "price_microusd")}
    names = ("cheapest", "grid_average", "start_now")
    against = {name: sum(row["baselines"][name]["carbon_mg"] for row in placed) for name in names}
    plan = {
        "jobs": len(jobs),
        "declined_jobs": len(declined),
        "declined_shard_slots": sum(row["shard_slots"] for row in declined),
        **sums,
        "own_permille": _permille(sums["own_wh"], sums["energy_wh"]),
        "refused": {name: sum(row["peers"]["refused"][name] for row in jobs) for name in REASONS.values()},
        "baselines": {name: _saving(sums["carbon_mg"], otherwise) for name, otherwise in against.items()},
    }
    return {"plan": plan, "jobs": jobs}


def _saving(carbon: int, otherwise: int) -> dict[str, int]:
    saving = otherwise - carbon
    return {"carbon_mg": otherwise, "saving_mg": saving, "saving_permille": _permille(saving, otherwise)}


def _permille(part: int, whole: int) -> int:
    return part * 1000 // whole if whole else 0


def _window(job: Job) -> str:
    return f"{job.first_slot} to {job.deadline_slot - 1}"


def _totals_text(row: Mapping[str, Any]) -> str:
    carbon, energy = format_carbon(row["carbon_mg"] * 1000), format_energy(row["energy_wh"] * J_PER_WH)
    return f"{carbon} for {energy}, {row['own_permille'] / 10:.3g} % own surplus"


def _savings(baselines: Mapping[str, Any] | None) -> Iterator[str]:
    for name, against in (baselines or {}).items():
        carbon = format_carbon(against["carbon_mg"] * 1000)
        yield f"  against {carbon} {name.replace('_', ' ')}: {against['saving_permille'] / 10:.3g} % saved"


def _peers_text(peers: Mapping[str, Any]) -> str:
    chosen = f"{peers['chosen']} peers chosen, {peers['outbid']} outbid"
    said = chosen if peers["chosen"] else f"{peers['incomplete']} peers could take a part of it"
    return f"{said}; refused: {_counts_text(peers['refused'])}"


def _counts_text(refused: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in refused.items() if count) or "none"


def _zones_text(row: Mapping[str, Any]) -> str:
    zones = row["zones"]
    return ", ".join(zones[:4]) + (f" and {len(zones) - 4} more zones" if len(zones) > 4 else "")


def _more(count: int, what: str) -> Iterator[str]:
    if count > 0:
        yield f"… and {count} more {what}"
