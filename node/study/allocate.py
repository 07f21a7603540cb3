"""How wide to run in each hour of one price series, so that the work gets done for the least grams: exact.

Throughput is concave and linear between whole widths, so an hour offers its widths as units of falling yield, each at
price / yield per hour of work; the cheapest units that add up to the work are the optimum, the last of them in part
(CarbonScaler's marginal allocation, Hanafy et al., 2023, with fractions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Done beyond what is asked: another's sum over the same widths may round differently. 4 ms of an hour.
WORK_MARGIN = 1e-6
YIELD_MIN = 1e-6  # what adds less work per hour than this, or than this share of the first unit, is not worth a number


@dataclass(frozen=True, slots=True)
class Throughput:
    """Work per hour at each whole width from 0; concave, linear in between."""

    at: tuple[float, ...]
    yields: Floats  # work that each further unit of width adds; only those that add any

    @classmethod
    def of(cls, at: Sequence[float]) -> Throughput:
        """Raises ValueError unless `at` begins with 0, is concave, and width 1 does some work."""
        steps = np.diff(np.asarray(at, dtype=np.float64))
        if len(steps) < 1 or at[0] != 0 or steps[0] < YIELD_MIN:
            raise ValueError(f"throughput starts with 0 at width 0 and at least {YIELD_MIN} at width 1")
        if (np.diff(steps) > 1e-9 * steps[0]).any():
            raise ValueError("throughput is concave: no unit of width adds more than the one before")
        return cls(tuple(at), steps[steps > YIELD_MIN * steps[0]])

    def work(self, widths: Floats) -> float:
        return float(np.interp(widths, np.arange(len(self.at)), np.array(self.at)).sum())


def allocate(prices: Floats, throughput: Throughput, work: float) -> Floats:
    """The width of each hour, real. All hours at their most if even that does not do the work.

    Equal prices go to the earlier hour, so that nothing is put off for nothing.
    """
    hours, units = len(prices), len(throughput.yields)
    if work <= 0:
        return np.zeros(hours)
    order, done, last = _cheapest(prices, throughput, work)
    taken = np.zeros(hours * units)
    taken[order[:last]] = 1.0
    if last < len(order):
        unit = order[last]
        missing = work - (done[last - 1] if last else 0.0)
        taken[unit] = min(1.0, missing / throughput.yields[unit % units])  # rounding may say a hair more than all of it
    return np.asarray(taken.reshape(hours, units).sum(axis=1))


def marginal(prices: Floats, throughput: Throughput, work: float) -> float:
    """Grams that a little more work would cost: price / yield of the last unit taken, or of the dearest one."""
    order, _, last = _cheapest(prices, throughput, work)
    hour, unit = divmod(int(order[min(last, len(order) - 1)]), len(throughput.yields))
    return float(prices[hour] / throughput.yields[unit])


def _cheapest(prices: Floats, throughput: Throughput, work: float) -> tuple[NDArray[np.intp], Floats, int]:
    """All units, the cheapest per work first; the work done by each and those before; the first that does it all."""
    order = np.argsort((prices[:, None] / throughput.yields).ravel(), kind="stable")
    done = np.cumsum(throughput.yields[order % len(throughput.yields)])
    return order, done, int(np.searchsorted(done, work))
