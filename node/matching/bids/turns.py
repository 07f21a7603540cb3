"""Turns among bids: what the rivals whose turn comes first are expected to take is left to them.

Providers bid for every job with all that they have, and refuse at the lease what is gone by then; to hold units from
the bid on was refused, since asking costs nothing, and one who asks much would hold all. So jobs that ask at once take
turns instead (`node.matching.rivals`): a soft reservation that ends with the rivals' matching, and binds nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from node.matching.bids.demand import Candidate, Demand, Window
from node.matching.bids.gang import Gang, fits, gang
from node.matching.bids.plan import Choice, Plan
from node.matching.bids.refusal import Reason, refusal, sift


def yielded(candidates: Sequence[Candidate], demand: Demand) -> tuple[Candidate, ...]:
    """The candidates with what the rivals of the demand leave of their units and surplus, if each takes its greenest
    gang in turn; as they are if nothing would be left for the demand: being refused is better than not asking."""
    left = {candidate.bid: candidate for candidate in candidates}
    for rival in demand.rivals:
        for window in _greenest_gang(tuple(left.values()), rival):
            left[window.candidate.bid] = _without(left[window.candidate.bid], window, rival.units_per_shard)
    every = tuple(candidates)
    return tuple(left.values()) if demand.rivals and fits(tuple(left.values()), demand) else every


def told(plan: Plan, candidates: Sequence[Candidate]) -> Plan:
    """A plan that was made from what rivals leave of these candidates, with them as the reason where they are it."""
    asked = {candidate.bid: candidate for candidate in candidates}
    return replace(
        plan, choices=tuple(_told(choice, asked[choice.candidate.bid], plan.demand) for choice in plan.choices)
    )


def _told(choice: Choice, asked: Candidate, demand: Demand) -> Choice:
    if choice.refusal is None or choice.candidate == asked or refusal(asked, demand) is not None:
        return choice
    text = f"{choice.refusal.text}, when jobs whose turn is first have theirs"
    return replace(choice, refusal=replace(choice.refusal, reason=Reason.RIVALS, text=text))


def _greenest_gang(candidates: Sequence[Candidate], demand: Demand) -> Gang:
    starts = sift(candidates, demand).starts
    return gang(starts, starts.slots())


def _without(candidate: Candidate, window: Window, units: int) -> Candidate:
    """What a shard in this window leaves."""
    energy_j = window.energy_j // window.slots
    start = window.first_slot - candidate.first_slot
    taken = range(start, start + window.slots)
    return replace(
        candidate,
        free_units=tuple(
            max(0, free - units) if row in taken else free for row, free in enumerate(candidate.free_units)
        ),
        surplus_j=tuple(
            max(0, surplus - energy_j) if row in taken else surplus for row, surplus in enumerate(candidate.surplus_j)
        ),
    )
