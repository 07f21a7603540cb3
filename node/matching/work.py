"""Time as a number that anyone can repeat: units of work, counted from sizes alone, never from a clock.

A unit is about one cost looked at: a shard of some rank on a peer in a slot. Whatever prices a job pays for the cells
that it looks at, and for the call; so the same budget ends at the same point on every machine, slow or fast.
"""

from __future__ import annotations

from node.matching.problem import Job, Problem

# Measured on one core of a server, with a fifth to spare; a slower machine takes longer than the seconds it was given.
UNITS_PER_SECOND = 36_000_000

CALL = 8_000  # what pricing a job takes however few its cells are
_PRUNED = 24  # of so many cells of all peers `shortlist` has a job look at about one
# How many times longer a job takes to price that has a budget, that moves at a cost, or whose zones must be near.
_BUDGET, _MOVES, _NEAR = 6, 24, 4


def units_of(seconds: float) -> int:
    """The work that so much time stands for; none for less than no time."""
    return max(0, round(seconds * UNITS_PER_SECOND))


class Budget:
    """How many units are left. It may go below zero: what was begun is finished."""

    def __init__(self, units: int) -> None:
        self.left = units

    def spend(self, units: int) -> None:
        self.left -= units


def pricing_units(problem: Problem, index: int, peers: int) -> int:
    """What it takes to price this job where it looks at so many peers."""
    job = problem.jobs[index]
    ranks = min(job.per_peer, job.at_most)
    return _effort(problem, job) * (CALL + (job.deadline_slot - job.first_slot) * peers * ranks)


def greedy_units(problem: Problem) -> int:
    """What it takes to place all jobs once, each looking at those peers that may be among its cheapest."""
    peers = len(problem.peers.ids)
    return sum(
        _effort(problem, job) * (CALL + (job.deadline_slot - job.first_slot) * peers // _PRUNED) for job in problem.jobs
    )


def _effort(problem: Problem, job: Job) -> int:
    moves = problem.move_wh_per_gb is not None and job.checkpoint_gb
    near = job.latency_max_ms or job.link_min_mbps
    return (_BUDGET if job.budget else 1) * (_MOVES if moves else 1) * (_NEAR if near else 1)
