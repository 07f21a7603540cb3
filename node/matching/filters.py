"""Hard filters: whether a peer may take shards of a job at all, whatever the time and the load; one reason each.

The order is fixed, and the first filter that does not pass gives the reason: first whether the peer may, then whether
its machine can, then price, standing and evidence.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from node.matching.problem import Integers, Job, Peers


class Filter(enum.IntEnum):
    """What stood in the way, in the order in which they are checked; PASSED comes last."""

    POOL = 0
    MEMORY = 1
    RATE = 2
    UNITS = 3
    PRICE = 4
    REPUTATION = 5
    BANDWIDTH = 6
    ATTESTED = 7
    PASSED = 8


def passes(peers: Peers, job: Job) -> NDArray[np.bool_]:
    """For each peer whether it passes every filter."""
    return np.asarray(_passes(peers, job).all(axis=0))


def first_filters(peers: Peers, job: Job) -> Integers:
    """For each peer the first Filter that it does not pass, or PASSED."""
    passing = _passes(peers, job)
    return np.where(passing.all(axis=0), int(Filter.PASSED), np.argmin(passing, axis=0))


def _passes(peers: Peers, job: Job) -> NDArray[np.bool_]:
    """[filters, peers], in the order of Filter."""
    is_open = peers.tenant == 0
    is_own = peers.tenant == job.tenant
    pool = {"open": is_open, "closed": is_own, "hybrid": is_open | is_own}[job.mode]
    return np.stack(
        (
            pool,
            peers.memory_gb >= job.memory_gb,
            peers.rate >= job.rate,
            peers.units >= job.units,
            peers.price <= job.price_max,
            peers.reputation >= job.reputation,
            peers.bandwidth_mbps >= job.bandwidth_mbps,
            peers.attested >= job.attested,
        )
    )
