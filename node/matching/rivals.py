"""Many requesters at once, none of whom sees what the others are about to take.

If each takes the best, all take the same, and most are refused. But jobs are public before they are matched. So all who
ask at once have turns, in an order that anyone can repeat, and each works out what those before it will take, and
leaves that to them: a soft reservation, which nobody grants and which lasts as long as the rivals are asked about. Who
does not keep to it wins nothing lasting: a provider still takes whoever comes first, and refuses the next. Whatever a
requester won it keeps, unless another place is much better; only what was refused is sought again.

Refused: a seeded pick among the nearly best. It needs no more than the number of rivals, but they still meet, and all
of them pay for greener peers that nobody takes; `make bench BENCH=rivals` shows both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from node.matching.greedy import place
from node.matching.load import Load, Placement
from node.matching.one.pricing import cheapest, preferred
from node.matching.rest import NOWHERE, reluctant, shards_at

BEFORE_MAX = 64  # looked at by one requester; each costs as much time as its own job
KEPT_PERMILLE = 400  # of a shard's mean cost, for each refusal so far: what must be saved to give a won one back


def turn(job: str, epoch: int) -> bytes:
    """When a job's turn is among those that ask in this epoch: the lowest first. None has the first turn for ever."""
    return sha256(f"{epoch} {job}".encode()).digest()


def before(job: str, others: Iterable[str], epoch: int) -> list[str]:
    """The other jobs whose turn comes before this one's, in order; the first BEFORE_MAX of them."""
    turns = sorted((turn(other, epoch), other) for other in others)
    return [other for when, other in turns if when < turn(job, epoch)][:BEFORE_MAX]


def choose(
    view: Load, index: int, rivals: Sequence[int] = (), won: Placement = NOWHERE, refusals: int = 0
) -> Placement | None:
    """Where a job goes if its rivals go first, in this order; None if it fits nowhere, even without them.

    `view` is what one requester knows, without what it holds itself, `won`; it is used up. `refusals`: how often a part
    of the job was refused; the more often, the more it keeps, so that rivals come to an end.
    """
    problem = view.problem
    ahead = [rival for rival in rivals if place(view, rival)]
    costs = view.costs(index)
    anew = cheapest(problem, index, costs)
    if anew is None and ahead:
        for rival in ahead:
            view.remove(rival)
        return choose(view, index, (), won, refusals)
    if anew is None or not len(won.slots):
        return anew.placement if anew else None
    price = -(-anew.cost * KEPT_PERMILLE * refusals // (1000 * problem.jobs[index].work))
    again = preferred(problem, index, reluctant(problem, index, costs, shards_at(problem, won), price))
    return (again or anew).placement
