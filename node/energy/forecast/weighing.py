"""Several guesses at the same hours made one, weighed by how wrong each was before. Pure NumPy.

An origin is a moment at which the guesses were made; they are a day apart, so that each saw the same hour of the day.
The last origin is now. Units are the caller's: errors are compared, never with anything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from node.energy.forecast.history import Hours

MEMORY_DAYS: Final = 30.0  # after which an error's weight has fallen to 1/e: a season
UNTOLD_DAYS: Final = 5  # with fewer days before it, an origin's guesses are no measure
MEASURED_MIN: Final = 5  # errors of a guess before it counts as measured
SQUARE_MIN: Final = 1e-6  # of an error: nothing is trusted without bound
QUANTILES: Final = (0.2, 0.5, 0.8)


@dataclass(frozen=True, slots=True)
class Before:
    """What the average of the guesses said at earlier origins, what came true, and how much each counts; and what it
    says now."""

    said: Hours
    came_true: Hours
    weight: Hours
    says: float


def said_before(guesses: Hours, came_true: Hours, hour: int, near_hours: int) -> Before:
    """`hour` hours from now. [guesses, origins, hours] and [origins, hours], NaN for what is not known (yet).

    Errors at leads that differ by up to `near_hours` are judged together. Only guesses that are made now enter, each
    with the inverse of its mean squared error; one that is not yet measured counts as much as the best of the others.
    """
    origins = came_true.shape[0]
    first = min(UNTOLD_DAYS, (origins - 1) // 2)
    near = slice(max(0, hour - near_hours), hour + near_hours + 1)
    now = guesses[:, -1, hour]
    made = np.isfinite(now)
    guessed = guesses[made, first:-1, near].reshape(int(made.sum()), -1)
    truth = came_true[first:-1, near]
    age_days = np.arange(origins - 2 - first, -1.0, -1.0)
    weight = np.broadcast_to(np.exp(-age_days / MEMORY_DAYS)[:, None], truth.shape).ravel()
    truth = truth.ravel()
    pairs = np.isfinite(guessed) & np.isfinite(truth)
    wrong = np.where(pairs, guessed - truth, 0.0)
    squares = (wrong**2 @ weight) / np.maximum(pairs @ weight, 1e-9) + SQUARE_MIN
    measured = pairs.sum(axis=1) >= MEASURED_MIN
    if not measured.any():
        return Before(np.empty(0), np.empty(0), np.empty(0), float(now[made].mean()))
    trust = 1 / np.where(measured, squares, squares[measured].min())
    usable = pairs[measured].all(axis=0)
    seen = pairs[:, usable]
    trusted = np.where(seen, trust[:, None], 0.0)
    said = (np.where(seen, guessed[:, usable], 0.0) * trusted).sum(axis=0) / trusted.sum(axis=0)
    return Before(said, truth[usable], weight[usable], float(now[made] @ trust / trust.sum()))


def weighted_quantiles(values: Hours, weights: Hours) -> Hours:
    """The 20, 50 and 80 % quantiles of a weighted sample, between its points by their middles."""
    order = np.argsort(values)
    ordered, counted = values[order], weights[order]
    middles = (np.cumsum(counted) - counted / 2) / counted.sum()
    return np.interp(QUANTILES, middles, ordered)
