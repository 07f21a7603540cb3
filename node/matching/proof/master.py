"""The last part of a bound: a linear program over what the jobs were seen to take suggests prices, `dual` proves them.

Dantzig and Wolfe's master problem (Operations Research 8, 1960), seen from its dual side, where it is Kelley's method
of cutting planes. Its variables are the prices, and what each job costs at these prices. Whatever a job took at any
prices is a row: the job costs no more than that. So the program promises more than the dual function keeps; where the
promise is broken, the jobs' answers are new rows. Far from what is proved it knows little: prices stay in a box around
the best ones, which grows while promises are kept (Marsten, Hogan and Blankenship, "The Boxstep method", Operations
Research 23, 1975).

What was seen of one slot goes with what was seen of any other. So a job is taken apart where nothing but its work ties
its slots: each slot is a row, and the job's shard-slots have a price, too. As if it could be split, such a job costs a
little less than it does: with few jobs the program may promise less than is proved already, and adds nothing.

HiGHS counts in floats and may say something else in its next version: it only suggests. Prices are rounded, and nothing
counts but what they prove.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from node.matching.load import Placement
from node.matching.problem import Integers
from node.matching.proof.dual import FRACTION, Dual, Prices
from node.matching.proof.prices import Proved
from protocol.errors import LocalError

# Found by trying on 1,000 peers: with 1, or a box four times as wide, the first rounds prove less than is proved.
UNIT_PARTS = 8  # of what a unit costs on average: the scale of its price

# The box's half width: scale of a price >> so many. It halves and doubles by how much of its promise a round keeps.
NARROWER_AT_FIRST = 7
BROKEN_PERCENT = 10
KEPT_PERCENT = 50

ITERATIONS_MAX = 5_000  # of the simplex method in one round; what it has by then is a suggestion as well
COARSE = 1000 * FRACTION  # the program counts in grams, since its tolerances are absolute


def require_solver() -> Any:
    """The module of HiGHS, which only this file uses. Raises LocalError where it is not installed."""
    try:
        import highspy
    except ImportError as error:
        raise LocalError(
            "HEL-MATCH-010",
            f"a bound is polished with HiGHS, which is not installed: {error}",
            "pip install 'heliotrope[solver]', or take the bound without it: it is lower by some tenths of a percent.",
        ) from None
    return highspy


def polish(dual: Dual, proved: Proved, seen: Iterable[Mapping[int, Placement]], rounds: int) -> Proved:
    """The best that is proved after so many rounds, each one linear program and one pricing of every job.

    `seen`: what jobs took at prices like those of `proved`, or in a plan. Raises LocalError without HiGHS.
    """
    master = _Master(dual, require_solver())
    best, narrower = proved, NARROWER_AT_FIRST
    scale = _scale(dual, proved.bound)
    for placements in (*seen, dual.at(proved.prices).placements):
        master.learn(placements)
    for _ in range(rounds):
        suggestion = master.suggest(best.prices, scale >> narrower)
        if suggestion is None:
            break
        promised, prices = suggestion
        answer = dual.at(prices)
        gain = answer.bound - best.bound
        if not master.learn(answer.placements) and gain <= 0:
            break  # nothing in the box proves more
        kept_percent = 100 * gain / max(1.0, promised - best.bound)
        if kept_percent < BROKEN_PERCENT:
            narrower += 1
        elif kept_percent > KEPT_PERCENT:
            narrower = max(0, narrower - 1)
        best = max(best, Proved(answer.bound, prices), key=lambda one: one.bound)
    return best


class _Master:
    """The linear program. Prices are flat: those of units in all cells, then those of surplus."""

    def __init__(self, dual: Dual, highspy: Any) -> None:
        self._problem, self._dual = dual.problem, dual
        self._inf, status = highspy.kHighsInf, highspy.HighsModelStatus
        self._usable = (status.kOptimal, status.kIterationLimit)
        self._highs = _quiet(highspy)
        options = {"threads": 1, "random_seed": 1, "solver": "simplex", "simplex_iteration_limit": ITERATIONS_MAX}
        for name, value in options.items():
            self._highs.setOptionValue(name, value)
        self._highs.changeObjectiveSense(highspy.ObjSense.kMaximize)
        of = self._problem.peers
        self._highest = _flat(dual.highest)
        self._there = _flat(Prices(of.free, of.surplus))
        self._column = np.full(len(self._there), -1)  # of each price; -1: no job was seen to take any of it
        self._priced: Integers = np.zeros(0, np.int64)
        self._seen: set[tuple[int, bytes, bytes, bytes]] = set()
        penalties = [FRACTION * self._problem.declined(job) / COARSE for job in self._problem.jobs]
        self._columns(np.ones(len(penalties)), np.zeros(len(penalties)), np.array(penalties))
        # The column of a shard-slot's price, for each job that is taken apart; its slots' columns follow.
        self._apart: dict[int, int] = {}
        for index, job in enumerate(self._problem.jobs):
            if not job.same_zone and not job.block:
                slots = job.deadline_slot - job.first_slot
                at = self._apart[index] = self._highs.getNumCol()
                # A slot costs nothing where the job does not use it: no more than 0.
                self._columns(np.zeros(1 + slots), np.full(1 + slots, -self._inf), np.array([self._inf] + slots * [0]))
                self._row(0.0, [index, *range(at, at + 1 + slots)], [1, -job.work, *slots * [-1]])

    def learn(self, placements: Mapping[int, Placement]) -> int:
        """Rows for what these jobs take; how many of them are new."""
        before = len(self._seen)
        for index, whole in placements.items():
            for part in _slots(whole) if index in self._apart else (whole,):
                key = (index, part.slots.tobytes(), part.peers.tobytes(), part.shards.tobytes())
                if key not in self._seen:
                    self._seen.add(key)
                    self._take(index, part)
        return len(self._seen) - before

    def suggest(self, center: Prices, radius: Integers) -> tuple[float, Prices] | None:
        """The bound that the best prices promise within the radius [all prices] of the center, and these prices; None
        if HiGHS fails."""
        prices = _flat(center)
        self._price(np.flatnonzero(prices))
        at, radius = self._priced, np.maximum(1, radius)[self._priced]
        low = np.maximum(0, prices[at] - radius)
        high = np.minimum(self._highest[at], prices[at] + radius)
        columns = self._column[at].astype(np.int32)
        self._highs.changeColsBounds(len(at), columns, low / COARSE, high / COARSE)
        self._highs.run()
        if self._highs.getModelStatus() not in self._usable:
            return None
        values = np.array(self._highs.getSolution().col_value)[columns]
        prices[at] = np.clip(np.rint(values * COARSE).astype(np.int64), low, high)
        promised = self._highs.getInfo().objective_function_value * COARSE / FRACTION
        return promised, Prices(*prices.reshape(2, *center.unit.shape))

    def _take(self, index: int, part: Placement) -> None:
        """The row of what this job took, all of it or that of one slot."""
        job, suited, of = self._problem.jobs[index], self._problem.suited[index], self._problem.peers
        rows, cells = np.searchsorted(suited.peers, part.peers), (part.slots, part.peers)
        energy = part.shards * suited.energy[rows]
        spared = np.minimum(energy, of.surplus[cells])
        grid = FRACTION * (of.grid[cells] * energy + suited.embodied[rows] * part.shards)
        cost = int((grid - self._dual.highest.surplus[cells] * spared).sum())
        units = part.slots * len(of.ids) + part.peers
        prices = np.concatenate((units, units + of.free.size))
        taken = np.concatenate((part.shards * job.units, spared))
        some = (taken > 0) & (self._highest[prices] > 0)
        prices, taken = prices[some], taken[some]
        self._price(prices)
        own, factors = [index], [1]
        if index in self._apart:
            own = [self._apart[index], self._apart[index] + 1 + int(part.slots[0]) - job.first_slot]
            factors = [int(part.shards.sum()), 1]
        self._row(cost / COARSE, [*own, *self._column[prices].tolist()], [*factors, *(-taken).tolist()])

    def _price(self, prices: Integers) -> None:
        """Columns for those of these prices that have none: each unit or Wh that there is pays them."""
        new = prices[self._column[prices] < 0]
        self._column[new] = self._highs.getNumCol() + np.arange(len(new))
        self._priced = np.concatenate((self._priced, new))
        self._columns(-self._there[new].astype(float), np.zeros(len(new)), np.zeros(len(new)))

    def _columns(self, gains: Any, low: Any, high: Any) -> None:
        count, none = len(gains), np.zeros(0, np.int32)
        if count:
            self._highs.addCols(count, gains, low, high, 0, np.zeros(count, np.int32), none, np.zeros(0))

    def _row(self, most: float, columns: list[int], factors: list[int]) -> None:
        self._highs.addRow(-self._inf, most, len(columns), np.array(columns, np.int32), np.array(factors, np.float64))


def _quiet(highspy: Any) -> Any:
    """A solver that prints nothing: as it is, its constructor prints a line when it enables callbacks, before anybody
    can ask for silence. None is used here."""
    solver = type("Quiet", (highspy.Highs,), {"enableCallbacks": lambda self: None})()
    solver.setOptionValue("output_flag", False)
    return solver


def _scale(dual: Dual, bound: int) -> Integers:
    """The range of each price: of a unit's, a part of what a unit costs on average; of surplus, all that it may be."""
    units = max(1, sum(job.work * job.units for job in dual.problem.jobs))
    usual = np.full_like(dual.highest.unit, FRACTION * bound // (UNIT_PARTS * units))
    return _flat(Prices(np.minimum(usual, dual.highest.unit), dual.highest.surplus))


def _flat(prices: Prices) -> Integers:
    return np.concatenate([table.ravel() for table in prices])


def _slots(placement: Placement) -> Iterator[Placement]:
    """What it takes in each slot."""
    starts = np.flatnonzero(np.diff(placement.slots, prepend=-1)).tolist()
    for start, end in zip(starts, [*starts[1:], len(placement.slots)], strict=True):
        yield Placement(placement.slots[start:end], placement.peers[start:end], placement.shards[start:end])
