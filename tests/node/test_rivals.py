"""Which jobs a requester knows to ask at the same time as its own, and which of them go first."""

from __future__ import annotations

import pytest

from node.actions import Match
from node.events import Timer, TimerFired, TimerKind
from node.market.question import RIVALS_WITHIN_MS
from node.market.run import Phase
from node.matching.bids.demand import Demand
from node.sim.world import World
from tests.sim.worlds import LEAD, WIND, job, run_of, world


@pytest.fixture
def demo() -> World:
    return world()


def asked(demo: World, name: str, job_id: bytes) -> Demand:
    """What a lead asks the matching when bidding ends now."""
    timer = Timer(TimerKind.BIDS_CLOSE, job_id, run_of(demo, job_id, name).rematch)
    (question,) = [a for a in demo.node(name).handle(TimerFired(timer), demo.now_ms) if isinstance(a, Match)]
    return question.demand


def test_of_two_jobs_at_once_one_names_the_other(demo: World) -> None:
    jobs = {name: demo.submit(name, job(demo, name=name)) for name in (LEAD, WIND)}
    demo.run(1_000)
    rivals = {name: [rival.job for rival in asked(demo, name, job_id).rivals] for name, job_id in jobs.items()}
    assert rivals in ({LEAD: [jobs[WIND]], WIND: []}, {LEAD: [], WIND: [jobs[LEAD]]})


@pytest.mark.parametrize(("apart_ms", "are_rivals"), [(RIVALS_WITHIN_MS, True), (RIVALS_WITHIN_MS + 1, False)])
def test_only_jobs_whose_bidding_ends_about_now_are_rivals(demo: World, apart_ms: int, are_rivals: bool) -> None:
    closes_at_ms = demo.now_ms + 1_000 + apart_ms
    for number in range(6):
        demo.submit(WIND, job(demo, name=f"other {number}", bids_close_at_ms=closes_at_ms))
    mine = demo.submit(LEAD, job(demo, name="mine"))
    demo.run(1_000)
    assert bool(asked(demo, LEAD, mine).rivals) is are_rivals


def test_a_job_that_trains_waits_for_nobody(demo: World) -> None:
    mine = demo.submit(LEAD, job(demo, name="mine"))
    for number in range(4):
        demo.submit(WIND, job(demo, name=f"other {number}"))
    demo.run(1_000)
    assert len(asked(demo, LEAD, mine).rivals) > 0
    run = run_of(demo, mine)
    run.phase, run.matching = Phase.TRAINING, False
    assert asked(demo, LEAD, mine).rivals == ()
