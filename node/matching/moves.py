"""Moves: shards that arrive on a peer where they did not run in the job's slot before.

In each slot that a job uses, but its first, a shard on a peer beyond those of this job on the same peer in the job's
used slot before arrives. Its checkpoint is transferred, and its units wait for that at idle power; both count at the
grid's intensity there and then. A transfer that takes longer than a slot is forbidden. Blocks never move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from node.matching.problem import NEVER, Integers, Job, Problem

if TYPE_CHECKING:
    from node.matching.load import Placement

_MEGABITS_PER_GB = 8000


def arrivals(problem: Problem, index: int) -> Integers | None:
    """Carbon of one shard that arrives, [slots of the job, suited]; NEVER where the transfer takes longer than a slot.
    None where moving costs nothing."""
    job = problem.jobs[index]
    return _arrivals(problem, job, problem.suited[index].peers) if are_counted(problem, job) else None


def moves_carbon(problem: Problem, index: int, placement: Placement) -> int:
    """Carbon of all arrivals within a placement of this job; NEVER if one of them is forbidden."""
    job = problem.jobs[index]
    if not are_counted(problem, job):
        return 0
    used, slots = np.unique(placement.slots, return_inverse=True)
    peers, columns = np.unique(placement.peers, return_inverse=True)
    shards = np.zeros((len(used), len(peers)), np.int64)
    shards[slots, columns] = placement.shards
    return arriving(shards, _arrivals(problem, job, peers)[used - job.first_slot])


def arriving(shards: Integers, each: Integers) -> int:
    """The sum over all arrivals where `shards` [used slots, rows] run and one arrival costs `each`, of that shape."""
    count = np.maximum(0, shards[1:] - shards[:-1])
    cost = np.where(count > 0, each[1:], 0)
    return NEVER if (cost >= NEVER).any() else int((count * cost).sum())


def are_counted(problem: Problem, job: Job) -> bool:
    """Whether moving shards of this job costs something."""
    return problem.move_wh_per_gb is not None and job.checkpoint_gb > 0 and not job.block


def _arrivals(problem: Problem, job: Job, peers: Integers) -> Integers:
    of = problem.peers
    bandwidth = of.bandwidth_mbps[peers]
    transfer_s = -(-_MEGABITS_PER_GB * job.checkpoint_gb // np.maximum(1, bandwidth))
    forbidden = (transfer_s > problem.slot_s) | (bandwidth < 1)
    transfer_s = np.where(forbidden, 0, transfer_s)
    waiting_wh = -(-job.units * of.idle_w[peers] * of.pue_permille[peers] * transfer_s // (1000 * 3600))
    energy_wh = job.checkpoint_gb * (problem.move_wh_per_gb or 0) + waiting_wh
    return np.where(forbidden, NEVER, of.grid[job.first_slot : job.deadline_slot, peers] * energy_wh)
