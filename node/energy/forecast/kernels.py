"""How a grid's intensity hangs together over hours and days: Gaussian processes that explain a history, and go on.

A process says of each two hours how alike the deviations of log intensity from the history's mean are: through the
hour of the day (a daily pattern that changes within days and within weeks), through weather that turns smoothly over
some hours, and through a drift over days. A zone of sun, of wind and of water differ in how much each counts, so there
are several processes, and each counts by how probable it makes the history (its marginal likelihood with the scale
profiled out; Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, sections 2.2, 4.2 and 5.4).

The constants were searched by marginal likelihood on five yearly traces of life-cycle intensity (ES and US-CAL-CISO
2021 and 2022, NO 2021; Electricity Maps, ODbL 1.0, through umassos/decarbonization-potential, Apache-2.0) and rounded
to two digits; the six were chosen greedily for how well they explain the traces together. No trace is contained.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TEMPER: Final = 3.0  # divides log likelihoods: a week's hours are fewer facts than the processes believe
SCALE_MIN: Final = 1e-9  # of the variance of log intensity: a constant history has none


@dataclass(frozen=True, slots=True)
class Process:
    """Shares of the variance, up to a common scale, and the hours over which what they carry fades."""

    smoothness: float  # of the daily pattern, in radians/π of the day
    season: float  # the daily pattern that lasts
    season_h: float
    day: float  # the daily pattern that is different tomorrow
    day_h: float
    weather: float  # smooth (Matérn 3/2)
    weather_h: float
    drift: float  # rough (Ornstein-Uhlenbeck)
    drift_h: float
    noise: float  # of one hour alone

    def alike(self, lag_h: Floats) -> Floats:
        """The covariance of hours that lie `lag_h` apart; the noise is not in it."""
        apart = np.abs(lag_h)
        daily = np.exp(-2 * (np.sin(np.pi * apart / 24) / self.smoothness) ** 2)
        turned = np.sqrt(3) * apart / self.weather_h
        return np.asarray(
            daily * (self.season * np.exp(-apart / self.season_h) + self.day * np.exp(-apart / self.day_h))
            + self.weather * (1 + turned) * np.exp(-turned)
            + self.drift * np.exp(-apart / self.drift_h)
        )


PROCESSES: Final = (
    Process(0.50, 0.46, 660, 0.0061, 16, 0.33, 16, 0.11, 15, 1.5e-05),
    Process(0.81, 0.066, 370, 0.0075, 42, 0.27, 4.0, 0.51, 43, 1.8e-04),
    Process(0.41, 1.6, 1600, 0.0048, 18, 0.16, 5.5, 0.81, 72, 6.1e-04),
    Process(0.62, 0.40, 760, 0.0089, 17, 0.63, 15, 0.15, 18, 1.6e-05),
    Process(0.56, 0.37, 830, 0.052, 25, 0.48, 15, 1.1, 39, 8.7e-04),
    Process(0.45, 1.7, 1600, 0.0071, 16, 0.13, 4.6, 0.77, 83, 6.0e-04),
)


@dataclass(frozen=True, slots=True)
class _Solved:
    """All that depends on the two lengths alone, process by process."""

    whitening: Floats  # [processes, history, history]: makes a history that a process explains white
    log_volume: Floats  # [processes]: half the log determinant of the covariance
    forward: Floats  # [processes, hours, history]: the expected hours, from the history
    variance: Floats  # [processes, hours]: of the hours, at scale 1


@functools.lru_cache(maxsize=16)
def _solved(history_hours: int, hours: int) -> _Solved:
    seen = np.arange(history_hours, dtype=np.float64)
    coming = np.arange(history_hours, history_hours + hours, dtype=np.float64)
    whitenings, volumes, forwards, variances = [], [], [], []
    for process in PROCESSES:
        covariance = process.alike(seen[:, None] - seen) + process.noise * np.eye(history_hours)
        lower = np.linalg.cholesky(covariance)
        whitening = np.linalg.inv(lower)
        across = whitening @ process.alike(seen[:, None] - coming)
        whitenings.append(whitening)
        volumes.append(np.log(np.diag(lower)).sum())
        forwards.append(across.T @ whitening)
        total = process.alike(np.zeros(1)) + process.noise
        variances.append(np.maximum(total - (across**2).sum(axis=0), process.noise))
    return _Solved(np.array(whitenings), np.array(volumes), np.array(forwards), np.array(variances))


def go_on(deviations: Floats, hours: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the `hours` after these deviations of log intensity from their own mean."""
    count = len(deviations)
    solved = _solved(count, hours)
    scale = np.maximum(((solved.whitening @ deviations) ** 2).mean(axis=1), SCALE_MIN)
    likelihood = (-count / 2 * np.log(scale) - solved.log_volume) / TEMPER
    weight = np.exp(likelihood - likelihood.max())
    weight /= weight.sum()
    means = solved.forward @ deviations
    mean = weight @ means
    variance = weight @ (scale[:, None] * solved.variance + (means - mean) ** 2)
    return mean, np.sqrt(variance)
