"""Which zones a job may use together in one slot: those that are pairwise within its limits of latency and bandwidth.

The largest such sets are the maximal cliques of a graph, found by Bron and Kerbosch's algorithm with a pivot (1973;
the pivot of Tomita, Tanaka and Takahashi 2006).
"""

from __future__ import annotations

import functools

import numpy as np

from node.matching.problem import Integers, Job, Problem

# Graphs of 64 zones may have 3^21 maximal cliques; real distances have a few dozen.
CLIQUES_MAX = 256
VISITS_MAX = 16 * CLIQUES_MAX


def together(problem: Problem, job: Job, zones: Integers) -> tuple[Integers, ...] | None:
    """For each largest set of zones within the job's limits the rows whose zone is in it; None if all zones are.

    `zones` [rows]: the zone of each. Beyond CLIQUES_MAX sets, or VISITS_MAX steps to them, only some are looked at, at
    least one with each zone: what is found then keeps the limits, and may not be the cheapest.
    """
    if job.same_zone or not (job.latency_max_ms or job.link_min_mbps):
        return None
    used = np.unique(zones)
    near = within_limits(problem, job)[np.ix_(used, used)]
    if near.all():
        return None
    neighbours = tuple(
        sum(1 << int(other) for other in np.flatnonzero(row)) & ~(1 << at) for at, row in enumerate(near)
    )
    return tuple(np.flatnonzero(np.isin(zones, used[members])) for members in _largest(neighbours))


def within_limits(problem: Problem, job: Job) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """[zones, zones]: whether both may be used in one slot. A zone always may with itself; what nobody measured is not
    within any limit."""
    near = np.ones((len(problem.zones), len(problem.zones)), np.bool_)
    if job.latency_max_ms:
        near &= problem.latency_ms is not None and problem.latency_ms <= job.latency_max_ms
    if job.link_min_mbps:
        near &= problem.link_mbps is not None and problem.link_mbps >= job.link_min_mbps
    return near & near.T | np.eye(len(near), dtype=np.bool_)


@functools.lru_cache(maxsize=1024)  # jobs with the same limits ask again at every pricing
def _largest(neighbours: tuple[int, ...]) -> tuple[list[int], ...]:
    """The maximal cliques in rising order; where they are too many, one for each member, grown from the lowest on."""
    cliques = _cliques(neighbours)
    if cliques is None:
        cliques = [_grown(neighbours, member) for member in range(len(neighbours))]
    return tuple(sorted(_members(clique) for clique in set(cliques)))


def _cliques(neighbours: tuple[int, ...]) -> list[int] | None:
    """Every maximal clique as the bits of an integer, or None if there are too many to look for."""
    found: list[int] = []
    # To visit: a clique, what it may still take, and what would only find again what was found.
    stack = [(0, (1 << len(neighbours)) - 1, 0)]
    for _ in range(VISITS_MAX):
        if not stack:
            return found if len(found) <= CLIQUES_MAX else None
        clique, open_to, seen = stack.pop()
        if not open_to:
            found += [clique] if not seen else []
            continue
        pivot = max(_members(open_to | seen), key=lambda member: (open_to & neighbours[member]).bit_count())
        for member in _members(open_to & ~neighbours[pivot]):
            near = neighbours[member]
            stack.append((clique | 1 << member, open_to & near, seen & near))
            open_to &= ~(1 << member)
            seen |= 1 << member
    return None


def _grown(neighbours: tuple[int, ...], member: int) -> int:
    clique, open_to = 1 << member, neighbours[member]
    while open_to:
        lowest = open_to & -open_to
        clique |= lowest
        open_to &= neighbours[lowest.bit_length() - 1]
    return clique


def _members(bits: int) -> list[int]:
    return [at for at in range(bits.bit_length()) if bits >> at & 1]
