"""In which order jobs are admitted. Where there is room for all it matters little; under scarcity it decides who is
declined, and no order is the best for all problems: so several are tried."""

from __future__ import annotations

from collections.abc import Callable

from node.matching.problem import Job, Problem


def arrival(problem: Problem) -> list[int]:
    return list(range(len(problem.jobs)))


def choosiest_first(problem: Problem) -> list[int]:
    """Jobs in one zone first, then by how many cells they could use; ties to the larger, then in the given order."""

    def key(index: int) -> tuple[bool, int, int]:
        job = problem.jobs[index]
        cells = problem.suited_count(index) * (job.deadline_slot - job.first_slot)
        return not job.same_zone, cells, -job.work

    return sorted(range(len(problem.jobs)), key=key)


def tightest_first(problem: Problem) -> list[int]:
    """Those whose window leaves least room for waiting come first."""
    return _sorted(problem, lambda job: job.deadline_slot - job.first_slot - -(-job.work // job.at_most))


def largest_first(problem: Problem) -> list[int]:
    return _sorted(problem, lambda job: -job.work * job.units)


def smallest_first(problem: Problem) -> list[int]:
    return _sorted(problem, lambda job: job.work * job.units)


def neediest_first(problem: Problem) -> list[int]:
    """Those with the largest shards come first: small ones still fit between them."""
    return _sorted(problem, lambda job: (-job.units, -job.work))


ORDERS: tuple[Callable[[Problem], list[int]], ...] = (
    arrival,
    choosiest_first,
    tightest_first,
    largest_first,
    smallest_first,
    neediest_first,
)


def _sorted(problem: Problem, key: Callable[[Job], int | tuple[int, int]]) -> list[int]:
    return sorted(range(len(problem.jobs)), key=lambda index: key(problem.jobs[index]))
