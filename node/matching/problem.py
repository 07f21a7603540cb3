"""The problem of many jobs on many peers: arrays per peer and slot, jobs, and who is suited to whom.

Everything is a 64-bit integer. Arrays over slots and peers have the shape [slots, peers], so that one slot of all peers
lies together. Carbon is counted in one unit throughout, which the instance chooses (milligrams in a file); energy in
another, so that one unit of energy at 1 g/kWh is one unit of carbon (watt-hours and milligrams).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from node.matching.filters import passes
from node.matching.footprint import Footprint
from node.matching.recent import Recent

Integers = NDArray[np.int64]
Mode = Literal["open", "closed", "hybrid"]

# Costs stay below this with everything that is added to them, so that no sum of 64-bit integers wraps around.
CARBON_MAX = 2**53

# The cost of what is not possible: more than any sum of costs, and still far from where 64 bits end.
NEVER = 2**60

KEPT_BYTES_MAX = 2**29  # of what is found once for a job or a class of jobs, each kind


@dataclass(frozen=True, slots=True, eq=False)
class Peers:
    """All peers, one per row; arrays over slots are [slots, peers]. `zone` is a row of `Problem.zones`."""

    ids: tuple[str, ...]
    zone: Integers
    units: Integers
    memory_gb: Integers  # per unit, like rate, power, price and embodied carbon
    rate: Integers
    idle_w: Integers
    peak_w: Integers
    pue_permille: Integers
    price: Integers  # per unit and slot
    reputation: Integers
    bandwidth_mbps: Integers
    attested: Integers  # 0 or 1
    tenant: Integers  # whose private peers; 0: open to all
    embodied: Integers  # carbon of the making of one unit, per slot
    device: tuple[str, ...]
    free: Integers  # units, per slot
    surplus: Integers  # energy, per slot
    own: Integers  # carbon of one unit of energy from the peer's own surplus, per slot; never above `grid`
    grid: Integers  # carbon of one unit of energy from the grid, per slot


@dataclass(frozen=True, slots=True)
class Job:
    """What a job asks for. A placement has 0 or `at_least`..`at_most` shards in each slot of [first_slot,
    deadline_slot), and `work` shard-slots in all.

    `block`: the shards start together, and each stays for work / at_most consecutive slots where it started.
    """

    id: str
    tenant: int
    mode: Mode
    at_least: int
    at_most: int
    work: int
    units: int  # per shard
    memory_gb: int  # per unit, like rate and price
    rate: int
    first_slot: int
    deadline_slot: int  # the last slot + 1
    price_max: int
    reputation: int
    bandwidth_mbps: int
    attested: bool
    per_peer: int  # most shards on one peer in one slot
    per_zone: int = 0  # most shards in one zone in one slot; 0: no limit
    same_zone: bool = False  # all shards of all slots in one zone
    block: bool = False
    checkpoint_gb: int = 0
    carbon_max: int = 0  # of the whole job, as it adds to what was placed before it; 0: no cap
    budget: int = 0  # of the whole job, in units of price; 0: no cap
    latency_max_ms: int = 0  # between any two zones that it runs in in one slot; 0: any
    link_min_mbps: int = 0  # likewise

    @property
    def rigid(self) -> bool:
        """Whether every slot that is used has the same number of shards."""
        return self.at_least == self.at_most


@dataclass(frozen=True, slots=True, eq=False)
class Suited:
    """The peers that may take shards of one job, in rising order, with what one shard costs there in one slot."""

    peers: Integers
    energy: Integers
    embodied: Integers


@dataclass(frozen=True, eq=False)
class Problem:
    """Peers and jobs. `penalty`: carbon that one declined shard-slot counts as; `slot_s`: how long a slot is.

    `move_wh_per_gb` None: moving a shard costs nothing. `latency_ms` and `link_mbps` are [zones, zones], symmetric.
    """

    slots: int
    slot_s: int
    penalty: int
    zones: tuple[str, ...]
    peers: Peers
    jobs: tuple[Job, ...]
    move_wh_per_gb: int | None = None
    latency_ms: Integers | None = None
    link_mbps: Integers | None = None

    @functools.cached_property
    def suited(self) -> Sequence[Suited]:
        """Who may take the shards of each job, in the order of `jobs`; each is found when it is first asked for."""
        return _SuitedToEach(self)

    @functools.cached_property
    def _footprints(self) -> Recent[Footprint]:
        return Recent(KEPT_BYTES_MAX)

    @functools.cached_property
    def _passing(self) -> Recent[NDArray[np.uint8]]:
        return Recent(KEPT_BYTES_MAX)

    def footprint(self, job: Job) -> Footprint:
        """What one shard of this job takes on every peer."""

        def find() -> tuple[Footprint, int]:
            footprint = Footprint(self.peers, job, self.slot_s)
            return footprint, footprint.bytes_about

        return self._footprints.get((job.units, job.rate), find)

    def passing(self, index: int) -> NDArray[np.bool_]:
        """For each peer whether it may take shards of this job."""

        def find() -> tuple[NDArray[np.uint8], int]:
            bits = np.packbits(passes(self.peers, self.jobs[index]))
            return bits, bits.nbytes

        return np.unpackbits(self._passing.get(index, find), count=len(self.peers.ids)).view(np.bool_)

    def suited_count(self, index: int) -> int:
        """How many peers may take shards of this job; without making the list of them."""
        return int(np.count_nonzero(self.passing(index)))

    def declined(self, job: Job) -> int:
        """Carbon that declining this job counts as."""
        return self.penalty * job.work


class _SuitedToEach(Sequence[Suited]):
    """By job. A thousand jobs on a hundred thousand peers take half a gigabyte, and most are never asked for."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._found: Recent[Suited] = Recent(KEPT_BYTES_MAX)

    def __len__(self) -> int:
        return len(self._problem.jobs)

    @overload
    def __getitem__(self, index: int) -> Suited: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Suited]: ...
    def __getitem__(self, index: int | slice) -> Suited | Sequence[Suited]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        return self._found.get(at, lambda: self._find(at))

    def _find(self, at: int) -> tuple[Suited, int]:
        peers = np.flatnonzero(self._problem.passing(at))
        footprint = self._problem.footprint(self._problem.jobs[at])
        return Suited(peers, footprint.energy[peers], footprint.embodied[peers]), 3 * peers.nbytes
