"""The matcher: for every start slot the greenest gang, and of those the greenest; exact for one job at a time.

Pure and in integers: the same candidates and demand give the same plan on every machine, in whatever order the
candidates come. The engine for many jobs prices the gang (`gang`); what is here keeps an account of every candidate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from node.matching.bids import windows
from node.matching.bids.demand import Candidate, Demand, Window
from node.matching.bids.gang import Gang, gang, greenest
from node.matching.bids.plan import Choice, Plan, Verdict, assign
from node.matching.bids.refusal import Sifted, sift
from node.matching.bids.relax import relaxation


def match(candidates: Sequence[Candidate], demand: Demand) -> Plan:
    """The plan with the least total carbon, in micrograms, among all that place every shard of the demand.

    Ties go to the earlier start, then to the lower price, then to the lower bid id. When nothing fits, the plan has no
    placements and says what would help; it never raises for what a bid or a job holds.
    """
    sifted = sift(candidates, demand)
    chosen = gang(sifted.starts, sifted.starts.slots())
    if not chosen:
        return Plan(demand, (), _choices(sifted, ()), relaxation(candidates, demand))
    return Plan(demand, assign(demand, chosen), _choices(sifted, chosen))


def _choices(sifted: Sifted, chosen: Gang) -> tuple[Choice, ...]:
    """Every candidate with its verdict: the chosen, the rest from greenest to brownest, the refused."""
    taken: defaultdict[bytes, list[Window]] = defaultdict(list)
    for window in chosen:
        taken[window.candidate.bid].append(window)
    each = windows.greenest(sifted.starts, chosen[0].first_slot if chosen else None)
    others = sorted((window for window in each if window.candidate.bid not in taken), key=greenest)
    left = Verdict.OUTBID if chosen else Verdict.INCOMPLETE
    refused = sorted(sifted.refused, key=lambda pair: pair[0].bid)
    return (
        *(Choice(mine[0].candidate, Verdict.CHOSEN, tuple(mine)) for mine in taken.values()),
        *(Choice(window.candidate, left, (window,)) for window in others),
        *(Choice(candidate, Verdict.REFUSED, refusal=refusal) for candidate, refusal in refused),
    )
