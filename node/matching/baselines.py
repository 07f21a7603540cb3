"""What a plan is measured against: other policies at the same problem, within the same limits.

A policy places one job at a load, whatever order the jobs come in; a baseline is a policy over all jobs in the order of
their arrival. Each prices the job exactly, by `pricing`, and only prefers something else than the carbon that the job
adds, so the difference is due to the preference alone. All but `greedy` place whatever fits, at any carbon: they know
no penalty. A job whose carbon cap the preferred placement breaks is declined.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from node.matching.greedy import offered
from node.matching.load import Costs, Load, Placement
from node.matching.one.market import Market, affordable
from node.matching.one.pricing import cheapest, preferred
from node.matching.one.ranking import rank
from node.matching.problem import NEVER, Integers, Job, Problem

Policy = Callable[[Load, int, int], Placement | None]
"""(load, job, seed) -> where this policy places the job, or None where nothing fits. The load is not changed."""

Baseline = Callable[[Problem, int], Load]
"""(problem, seed) -> a plan."""


def by_price(load: Load, index: int, seed: int = 0) -> Placement | None:
    """The cheapest peers, as early as they are free: what a market blind to carbon does.

    A shard costs its price times the number of slots, plus its slot: of equally dear ones the earlier is taken.
    """
    del seed
    problem, job = load.problem, load.problem.jobs[index]
    price = problem.peers.price[problem.suited[index].peers] * job.units
    return _prefer(load, index, price * problem.slots + _slots(job)[:, None])


def at_random(load: Load, index: int, seed: int) -> Placement | None:
    """Any peers in any slots: every cell draws a lot, and the lowest lots that fit are taken."""
    slots, peers = len(_slots(load.problem.jobs[index])), len(load.problem.suited[index].peers)
    cells = np.arange(slots * peers).reshape(slots, peers)
    lots = splitmix64(cells, (seed << 32) + index) >> np.uint64(44)
    return _prefer(load, index, lots.astype(np.int64))


def start_now(load: Load, index: int, seed: int = 0) -> Placement | None:
    """As early as it fits, and in each slot on the peers that are greenest in it: green in space, blind in time."""
    del seed
    return _prefer(load, index, _soonest(load.costs(index).carbon))


def greenest_static(load: Load, index: int, seed: int = 0) -> Placement | None:
    """As early as it fits, on the peers that are greenest when it arrives; another steps in while one is not free."""
    del seed
    return _prefer(load, index, _soonest(_at_arrival(load.costs(index).carbon)))


def suspend_resume(load: Load, index: int, seed: int = 0) -> Placement | None:
    """Runs on fixed peers while their carbon is at or below a threshold, and is suspended above it.

    The peers are those on which `greenest_static` starts. The threshold is the lowest percentile of their carbon over
    the job's slots with which the work is done by the deadline. Where they are not free for that, any may step in.
    (Wiesner et al., "Let's Wait Awhile: How Temporal Workload Shifting Can Reduce Carbon Emissions in the Cloud", 2021,
    arXiv:2110.13234: there the grid's intensity, on one site without limits; here what the shards add, which sees the
    peers' own surplus too.)
    """
    static = greenest_static(load, index, seed)
    if static is None:
        return None
    costs, suited = load.costs(index), load.problem.suited[index]
    at_start = static.slots == static.slots[0]
    gang = np.zeros(len(suited.peers), np.int64)  # shards on each suited peer
    gang[np.searchsorted(suited.peers, static.peers[at_start])] = static.shards[at_start]
    ranks = np.arange(len(costs.carbon))[:, None, None]
    level = np.where(ranks < gang, costs.carbon, 0).sum(axis=(0, 2))
    preference = _soonest(_at_arrival(costs.carbon))

    def below(threshold: int, room: Integers) -> Placement | None:
        return _prefer(load, index, preference, np.where(level[:, None] <= threshold, room, 0))

    thresholds = np.unique(level).tolist()
    for room in (np.minimum(costs.room, gang), costs.room):
        # More slots never fit less.
        at = bisect_left(thresholds, True, key=lambda threshold: below(threshold, room) is not None)
        if at < len(thresholds):
            return below(thresholds[at], room)
    return static


def carbonscaler(load: Load, index: int, seed: int = 0) -> Placement | None:
    """Each next shard goes to the slot in which it adds least: first the `at_least` of a slot together, at their mean,
    then one by one up to `at_most`, until the work is done.

    (Hanafy et al., "CarbonScaler: Leveraging Cloud Workload Elasticity for Optimizing Carbon-Efficiency", 2023,
    doi:10.1145/3626788, arXiv:2302.08681: marginal capacity per unit of carbon, of equal servers at one site; here the
    shards are equal and what a server adds differs, so the greenest peers of all sites come first.) The work must come
    out exactly: a first group that is more than what is left replaces the dearest single shards. Jobs for which it does
    not come out, and those with limits that the paper does not know (block, moves, budget, latency, links), are priced
    exactly, as in `greedy`.
    """
    del seed
    problem, job, suited = load.problem, load.problem.jobs[index], load.problem.suited[index]
    costs = load.costs(index)
    zones, price = problem.peers.zone[suited.peers], problem.peers.price[suited.peers] * job.units
    simple = not (job.block or job.budget or job.latency_max_ms or job.link_min_mbps or problem.move_wh_per_gb)
    best: tuple[int, Integers, Integers] | None = None
    for rows in _groups(job, zones) if simple else ():
        order = rank(Market(job, affordable(job, costs), zones, price).only(rows))
        counts = _scale(job, order.sums)
        if counts is None:
            continue
        used = [(slot, count) for slot, count in enumerate(counts) if count]
        cost = sum(int(order.sums[slot, count - 1]) for slot, count in used)
        if best is None or cost < best[0]:
            chosen = np.concatenate([order.rows(slot, count) for slot, count in used])
            best = cost, np.repeat(_slots(job), counts) + job.first_slot, suited.peers[rows[chosen]]
    if best is None:
        priced = cheapest(problem, index, costs)
        return priced and priced.placement
    return Placement.of_shards(best[1], best[2], len(problem.peers.ids))


def greenest(load: Load, index: int, seed: int = 0) -> Placement | None:
    """Where it adds least, if that is less than its penalty: the step of the engine's own `greedy`."""
    del seed
    priced = offered(load, index)
    return priced and priced.placement


def arrivals(problem: Problem) -> list[int]:
    """The jobs by their first slot, then in the order of the problem."""
    return sorted(range(len(problem.jobs)), key=lambda index: problem.jobs[index].first_slot)


def place_all(policy: Policy, problem: Problem, seed: int = 0) -> Load:
    """A plan by this policy, the jobs in the order of their arrival."""
    load = Load(problem)
    for index in arrivals(problem):
        placement = policy(load, index, seed)
        if placement is None:
            continue
        before = load.carbon
        load.add(index, placement)
        if 0 < problem.jobs[index].carbon_max < load.carbon - before:
            load.remove(index)
    return load


BASELINES: Mapping[str, Baseline] = {
    "random": partial(place_all, at_random),
    "cheapest": partial(place_all, by_price),
    "greenest-static": partial(place_all, greenest_static),
    "suspend-resume": partial(place_all, suspend_resume),
    "carbonscaler": partial(place_all, carbonscaler),
    "greedy": partial(place_all, greenest),
}


def splitmix64(numbers: Integers, seed: int) -> NDArray[np.uint64]:
    """64 bits for each number below 2^32, the same on every machine: the output of the generator with this seed at this
    place of its sequence. (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014,
    doi:10.1145/2660193.2660195.)"""
    state = np.uint64(seed % 2**64) + (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _prefer(load: Load, index: int, preference: Integers, room: Integers | None = None) -> Placement | None:
    """The placement with the least sum of preferences, [slots, suited] or with a first axis for the rank."""
    costs = load.costs(index)
    preference = np.broadcast_to(preference, costs.carbon.shape)
    priced = preferred(load.problem, index, Costs(preference, costs.room if room is None else room))
    return priced and priced.placement


def _at_arrival(carbon: Integers) -> Integers:
    """[ranks, slots, suited], in every slot what it is in the first."""
    return np.broadcast_to(carbon[:, :1], carbon.shape)


def _soonest(preference: Integers) -> Integers:
    """[ranks, slots, suited], so that an earlier slot is always preferred, and within one slot what was before."""
    slots = np.arange(preference.shape[1])[:, None]
    return preference + (int(preference.max(initial=0)) + 1) * slots


def _slots(job: Job) -> Integers:
    """The slots of the job's time, counted from its first."""
    return np.arange(job.deadline_slot - job.first_slot)


def _groups(job: Job, zones: Integers) -> list[Integers]:
    """The rows of the suited peers that may work together: those of each zone if it must be one, else all."""
    if job.same_zone:
        return [np.flatnonzero(zones == zone) for zone in np.unique(zones)]
    return [np.arange(len(zones))]


def _scale(job: Job, sums: Integers) -> list[int] | None:
    """How many shards run in each slot, by marginal allocation, where 1, 2, … shards of a slot cost `sums` [slots,
    any]; None if the work does not come out."""
    group = job.at_least
    steps = []  # (marginal cost of one shard times `group`, slot, shards before it, shards)
    for slot, row in enumerate(sums.tolist()):
        most = sum(cost < NEVER for cost in row)
        if most >= group:
            steps.append((row[group - 1], slot, 0, group))
            steps += [((row[n] - row[n - 1]) * group, slot, n, 1) for n in range(group, most)]
    running = [0] * len(sums)
    left, single_slots, passed = job.work, [], []
    for _, slot, before, shards in sorted(steps):
        if shards > left or running[slot] != before:
            passed += [slot] if before == 0 else []
            continue
        running[slot] += shards
        left -= shards
        single_slots += [slot] if before else []
    if left and passed and len(single_slots) >= group - left:
        for slot in single_slots[len(single_slots) - (group - left) :]:
            running[slot] -= 1
        running[passed[0]] = group
        left = 0
    return None if left else running
