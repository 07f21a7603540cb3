"""Time as a number that anyone can repeat: units of work, counted from sizes alone, never from a clock.

A unit is about one cost looked at: a shard of some rank on a peer in a slot. Whatever prices a job pays for the cells
that it looks at, and for the call; so the same budget ends at the same point on every machine, slow or fast.
"""

from __future__ import annotations

from node.matching.problem import Problem

# Measured on one core of a server, with a fifth to spare; a slower machine takes longer than the seconds it was given.
UNITS_PER_SECOND = 36_000_000

CALL = 8_000  # what pricing a job takes however few its cells are
_PRUNED = 24  # of so many cells of all peers `shortlist` has a job look at about one
_HARD = 16  # how often a job with a budget or with moves that cost something is priced anew until it fits


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
    units = CALL + (job.deadline_slot - job.first_slot) * peers * ranks
    hard = job.budget or (problem.move_wh_per_gb is not None and job.checkpoint_gb)
    return units * _HARD if hard else units


def greedy_units(problem: Problem) -> int:
    """What it takes to place all jobs once, each looking at those peers that may be among its cheapest."""
    slots = sum(job.deadline_slot - job.first_slot for job in problem.jobs)
    return CALL * len(problem.jobs) + slots * len(problem.peers.ids) // _PRUNED
