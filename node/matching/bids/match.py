"""The matcher: for every start slot the greenest gang, and of those the greenest; exact for one job at a time.

Pure and in integers: the same candidates and demand give the same plan on every machine, in whatever order the
candidates come. Several jobs at once are another problem, which this is one step of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from node.matching.bids.demand import Candidate, Demand, Window
from node.matching.bids.gang import Gang, gangs, greenest, total_carbon_ug
from node.matching.bids.plan import Choice, Plan, Verdict, assign
from node.matching.bids.refusal import Sifted, sift
from node.matching.bids.relax import relaxation


def match(candidates: Sequence[Candidate], demand: Demand) -> Plan:
    """The plan with the least total carbon, in micrograms, among all that place every shard of the demand.

    Ties go to the earlier start, then to the lower price, then to the lower bid id. When nothing fits, the plan has no
    placements and says what would help; it never raises for what a bid or a job holds.
    """
    sifted = sift(candidates, demand)
    every = gangs(sifted.windows, len(demand.shards), greenest)
    if not every:
        return Plan(demand, (), _choices(sifted, ()), relaxation(candidates, demand))
    gang = min(every, key=total_carbon_ug)  # the first of equals, and earlier starts come first
    return Plan(demand, assign(demand, gang), _choices(sifted, gang))


def _choices(sifted: Sifted, gang: Gang) -> tuple[Choice, ...]:
    """Every candidate with its verdict: the chosen, the rest from greenest to brownest, the refused."""
    start = gang[0].first_slot if gang else None
    taken: defaultdict[bytes, list[Window]] = defaultdict(list)
    for window in gang:
        taken[window.candidate.bid].append(window)
    best: dict[bytes, Window] = {}
    for window in sifted.windows:
        known = best.get(window.candidate.bid)
        if known is None or _interest(window, start) < _interest(known, start):
            best[window.candidate.bid] = window
    others = sorted((window for bid, window in best.items() if bid not in taken), key=greenest)
    left = Verdict.OUTBID if gang else Verdict.INCOMPLETE
    refused = sorted(sifted.refused, key=lambda pair: pair[0].bid)
    return (
        *(Choice(windows[0].candidate, Verdict.CHOSEN, tuple(windows)) for windows in taken.values()),
        *(Choice(window.candidate, left, (window,)) for window in others),
        *(Choice(candidate, Verdict.REFUSED, refusal=refusal) for candidate, refusal in refused),
    )


def _interest(window: Window, start: int | None) -> tuple[int, ...]:
    """Which of a candidate's windows says most: the one at the chosen start, else the greenest, else the earliest."""
    return int(window.first_slot != start), window.rank, window.carbon_ug, window.first_slot
