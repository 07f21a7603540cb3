"""What the forecast's error costs at least: a forecast that nobody could have had, yet of the same kind.

For each lead a linear forecast of log intensity, from the last two days and the same hour of seven days, is fitted by
least squares to the very year that it is then tried on. It has seen every hour that it tells, and may know no more
about them than 55 numbers a lead; a planner on it shows how far above the oracle the last week alone leads, at best
for a linear reading of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from node.study.allocate import Floats
from node.study.lines import HISTORY_HOURS
from node.study.shift import Seen, windows
from node.study.traces import Trace

RIDGE = 1e-3  # of the features' mean square: keeps the fit determined, and costs it nothing


class Hindsight(Seen):
    """A trace whose forecasts were fitted to it."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        hours, leads = len(trace.g), max(windows())
        logs = np.log(np.maximum(trace.g, 1e-3))
        weeks = np.lib.stride_tricks.sliding_window_view(logs, HISTORY_HOURS)[: hours - HISTORY_HOURS]
        level = weeks.mean(axis=1)
        days = (weeks - level[:, None]).reshape(-1, 7, 24)
        last_two = np.concatenate([days[:, day] - days.mean(axis=1) for day in (5, 6)], axis=1)
        self._told = np.empty((hours - HISTORY_HOURS, leads))
        for lead in range(leads):
            features = np.concatenate([days[:, :, lead % 24], last_two], axis=1)
            came = logs[HISTORY_HOURS + lead :] - level[: hours - HISTORY_HOURS - lead]
            self._told[:, lead] = np.exp(level + features @ _fitted(features[: len(came)], came))

    def ahead(self, hour: int, hours: int) -> Floats:
        return np.asarray(self._told[hour - HISTORY_HOURS, :hours])


def _fitted(features: NDArray[np.float64], came: Floats) -> Floats:
    square = features.T @ features
    square += RIDGE * np.trace(square) / len(square) * np.eye(len(square))
    return np.asarray(np.linalg.solve(square, features.T @ came))
