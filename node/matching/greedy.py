"""All jobs, one after the other, each where it adds least to the carbon of those before it."""

from __future__ import annotations

from collections.abc import Iterable

from node.matching.load import Load
from node.matching.one.pricing import Priced
from node.matching.one.shortlist import cheapest_now
from node.matching.problem import Problem


def greedy(problem: Problem, order: Iterable[int]) -> Load:
    """Place the jobs in this order; those that do not fit any more, or cost more than their penalty, are declined."""
    load = Load(problem)
    for index in order:
        place(load, index)
    return load


def place(load: Load, index: int) -> Priced | None:
    """Place one more job where it adds least, if it adds less than its penalty; what it cost, or None."""
    priced = offered(load, index)
    if priced is not None:
        load.add(index, priced.placement)
    return priced


def offered(load: Load, index: int) -> Priced | None:
    """Where one more job adds least, if it adds less than its penalty. The load is not changed."""
    priced = cheapest_now(load, index)
    return None if priced is None or priced.cost >= load.problem.declined(load.problem.jobs[index]) else priced
