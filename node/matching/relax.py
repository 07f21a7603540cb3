"""What to change so that a declined job would be placed beside those that are: the smallest relaxation.

Each change is tried by pricing the changed job at the present load; only values at which some peer or slot comes in are
tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from node.matching.changes import Axis, Fields, Relaxation, Trials, relax
from node.matching.filters import Filter, first_filters
from node.matching.load import Load
from node.matching.one.pricing import Priced, cheapest
from node.matching.problem import Integers, Job, Problem
from protocol.units import MS_PER_HOUR

TRIALS_MAX = 500  # pricing calls for one job; singles take about 30, pairs a few hundred (measured)
AT_MOST_FACTOR = 4  # how many times more shards at once are proposed (guess, not measured)


def relaxation(load: Load, index: int, trials_max: int = TRIALS_MAX) -> Relaxation | None:
    """The smallest single change that places the job at this load, else the smallest pair; None when it needs none.

    At most `trials_max` pricings; when they run out, what was found so far is given.
    """
    problem, job = load.problem, load.problem.jobs[index]
    if fits(load, job):
        return None
    if not problem.peers.ids:
        return Relaxation((), (), "no peers at all")
    trials = Trials(lambda fields: fits(load, replace(job, **fields)), trials_max)
    return relax(list(axes(problem, job)), trials, lambda: _fallen(load, index))


def fits(load: Load, job: Job) -> bool:
    """Whether this job, in the problem or not, could be placed beside the others, for less than its penalty."""
    priced = price(load, job)
    return priced is not None and priced.cost < load.problem.declined(job)


def price(load: Load, job: Job) -> Priced | None:
    """The cheapest placement of this job beside the others; the load stays as it is."""
    alone = Load(replace(load.problem, jobs=(job,)))
    alone.energy, alone.free = load.energy, load.free
    return cheapest(alone.problem, 0, alone.costs(0))


def axes(problem: Problem, job: Job) -> Iterator[Axis]:
    """Every axis on which this job can give way. Of equal changes the earlier axis is preferred."""
    every = (*_of_time(problem, job), *_of_size(job), *_of_peers(problem, job), *_of_whole(problem, job))
    return (axis for axis in every if axis.values)


def _of_time(problem: Problem, job: Job) -> Iterator[Axis]:
    span = job.deadline_slot - job.first_slot
    hours = problem.slot_s * 1000 / MS_PER_HOUR
    yield Axis(
        "deadline_slot",
        span,
        range(span + 1, problem.slots - job.first_slot + 1),
        lambda number: f"deadline +{number - span} slots ({(number - span) * hours:.3g} h)",
        lambda number: {"deadline_slot": job.first_slot + number},
    )


def _of_size(job: Job) -> Iterator[Axis]:
    """Fewer shards, for as long; less work; the same work with fewer or more at once."""

    def fewer(shards: int) -> Fields:
        scaled = {name: max(1, getattr(job, name) * shards // job.at_most) for name in ("at_least", "work")}
        return {"at_most": shards, **scaled}

    yield Axis(
        "at_most",
        job.at_most,
        range(job.at_most - 1, 0, -1),
        lambda shards: f"shards {job.at_most} -> {shards}",
        fewer,
    )
    step = job.at_most if job.rigid else 1
    yield Axis(
        "work",
        job.work,
        range(job.work - step, job.at_least - 1, -step),
        lambda work: f"work {job.work} -> {work} shard-slots",
        lambda work: {"work": work},
    )
    if not job.block:
        yield _lower(job, "at_least", "at least", " shards at once", np.arange(1, job.at_least))
        yield _higher(job, "at_most", "at most", " shards at once", min(job.work, AT_MOST_FACTOR * job.at_most))
    yield _higher(job, "per_peer", "shards per peer", "", job.at_most)
    if job.per_zone:
        yield _higher(job, "per_zone", "shards per zone", "", job.at_most)


def _of_peers(problem: Problem, job: Job) -> Iterator[Axis]:
    peers = problem.peers
    yield Axis(
        "price_max",
        job.price_max,
        _above(peers.price, job.price_max),
        lambda price: f"price cap {price_text(job.price_max)} -> {price_text(price)} per unit and slot",
        lambda price: {"price_max": price},
    )
    yield _lower(job, "units", "units per shard", "", np.arange(1, job.units))
    yield _lower(job, "memory_gb", "memory", " GB per unit", peers.memory_gb)
    yield _lower(job, "rate", "rate", " per unit", peers.rate)
    yield _lower(job, "reputation", "reputation", "", peers.reputation)
    yield _lower(job, "bandwidth_mbps", "bandwidth", " Mbit/s", peers.bandwidth_mbps)
    if job.link_min_mbps and problem.link_mbps is not None:
        yield _lower(job, "link_min_mbps", "link between zones", " Mbit/s", problem.link_mbps)
    if job.latency_max_ms and problem.latency_ms is not None:
        yield Axis(
            "latency_max_ms",
            job.latency_max_ms,
            _above(problem.latency_ms, job.latency_max_ms),
            lambda ms: f"latency between zones {job.latency_max_ms} -> {ms} ms",
            lambda ms: {"latency_max_ms": ms},
        )


def _of_whole(problem: Problem, job: Job) -> Iterator[Axis]:
    """Caps on the whole job, and what is asked or not asked at all."""
    if job.carbon_max:
        yield Axis(
            "carbon_max",
            job.carbon_max,
            range(job.carbon_max + 1, problem.declined(job)),
            lambda mg: f"carbon cap {job.carbon_max:,} -> {mg:,} mg",
            lambda mg: {"carbon_max": mg},
        )
    if job.budget:
        dearest = int(problem.peers.price.max(initial=0)) * job.units * job.work
        yield Axis(
            "budget",
            job.budget,
            range(job.budget + 1, dearest + 1),
            lambda price: f"budget {price_text(job.budget)} -> {price_text(price)}",
            lambda price: {"budget": price},
        )
    if job.attested:
        yield _given_up("attested", "attested no longer required", {"attested": False})
    if job.same_zone:
        yield _given_up("same_zone", "several zones instead of one", {"same_zone": False})
    own = bool((problem.peers.tenant == job.tenant).any())
    if job.mode == "closed" or (job.mode == "open" and own):
        yield _given_up("mode", f"mode {job.mode} -> hybrid", {"mode": "hybrid"})


def _given_up(field: str, text: str, fields: Fields) -> Axis:
    """What is no matter of degree: counted as a doubling (guess, not measured)."""
    return Axis(field, 1, [2], lambda _: text, lambda _: fields)


def _lower(job: Job, field: str, name: str, unit: str, offered: Integers) -> Axis:
    old = getattr(job, field)
    values = np.unique(offered[offered < old])[::-1].tolist()
    return Axis(field, old, values, lambda value: f"{name} {old} -> {value}{unit}", lambda value: {field: value})


def _higher(job: Job, field: str, name: str, unit: str, most: int) -> Axis:
    old = getattr(job, field)
    values = range(old + 1, most + 1)
    return Axis(field, old, values, lambda value: f"{name} {old} -> {value}{unit}", lambda value: {field: value})


def _above(offered: Integers, old: int) -> list[int]:
    values: list[int] = np.unique(offered[offered > old]).tolist()
    return values


def price_text(micro: int) -> str:
    """Millionths as whole ones, exactly, since what is told to be enough has to be enough: `1.2`."""
    return f"{micro // 1_000_000}.{micro % 1_000_000:06d}".rstrip("0").rstrip(".")


def _fallen(load: Load, index: int) -> str:
    """How the peers fell, by reason."""
    problem = load.problem
    counts = np.bincount(first_filters(problem.peers, problem.jobs[index]), minlength=len(Filter)).tolist()
    refused = [f"{count} refused ({Filter(at).name.lower()})" for at, count in enumerate(counts[:-1]) if count]
    usable = [f"{counts[-1]} suited, with too little room or at more than the penalty"] if counts[-1] else []
    return f"of {len(problem.peers.ids)} peers: {', '.join(refused + usable)}"
