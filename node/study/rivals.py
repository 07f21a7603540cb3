"""What else one could do with a job, told as much as our planner: each gives the width of each hour of a window.

Sources: start now; suspend and resume below a quantile of the past week (Wiesner et al., Let's Wait Awhile, 2021);
CarbonScaler's marginal allocation (Hanafy et al., 2023) on yesterday's hours and on the mean shape of seven days; and
the oracle, which knows the hours to come.
"""

from __future__ import annotations

import math

import numpy as np

from node.study.allocate import Floats, Throughput, allocate
from node.study.lines import HISTORY_HOURS


def start_now(hours: int, work: float) -> Floats:
    """Width 1 until the work is done."""
    return np.clip(work - np.arange(hours), 0.0, 1.0)


def suspend_resume(trace: Floats, arrival: int, hours: int, work: float) -> Floats:
    """Width 1 while the last hour known is below the quantile of the past week that leaves hours enough; always, once
    no slack is left."""
    threshold = np.quantile(trace[arrival - HISTORY_HOURS : arrival], min(1.0, work / hours))
    widths, left = np.zeros(hours), work
    for hour in range(hours):
        if left > 0 and (trace[arrival + hour - 1] <= threshold or hours - hour <= math.ceil(left)):
            widths[hour] = min(1.0, left)
            left -= widths[hour]
    return widths


def persistence(trace: Floats, arrival: int, hours: int, throughput: Throughput, work: float) -> Floats:
    return allocate(np.resize(trace[arrival - 24 : arrival], hours), throughput, work)


def mean_shape(trace: Floats, arrival: int, hours: int, throughput: Throughput, work: float) -> Floats:
    week = trace[arrival - HISTORY_HOURS : arrival].reshape(-1, 24)
    return allocate(np.resize(week.mean(axis=0), hours), throughput, work)


def oracle(trace: Floats, arrival: int, hours: int, throughput: Throughput, work: float) -> Floats:
    return allocate(trace[arrival : arrival + hours], throughput, work)
