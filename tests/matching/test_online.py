"""A plan in force: only what an event touches is placed anew, and only where that saves more than the move costs."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from node.matching.events import Cause, Event, JobArrived, PeerChanged, PeerLeft, TimePassed
from node.matching.greedy import greedy
from node.matching.load import Load, Placement
from node.matching.moves import moves_carbon
from node.matching.online import InForce
from node.matching.problem import Job, Problem
from node.matching.rest import Rest, split
from tests.matching.builders import broken_limits, drawn, job, peer, problem, recounted_carbon


def in_force(peers: list[dict[str, Any]], jobs: list[Job], move_wh: int | None = None) -> InForce:
    """`move_wh`: what the arrival of one shard takes; None: nothing."""
    moving = {} if move_wh is None else {"move_wh_per_gb": move_wh - 1}  # and 1 Wh for waiting
    of = problem(peers, [replace(each, checkpoint_gb=1) for each in jobs], **moving)
    return InForce(greedy(of, range(len(jobs))))


def where(plan: InForce, name: str) -> list[tuple[int, str]]:
    """(slot, peer) of each cell of a job; nothing if it is not placed."""
    placement = plan.placements.get([each.id for each in plan.jobs].index(name))
    return [] if placement is None else cells(plan.problem, placement)


def cells(of: Problem, placement: Placement) -> list[tuple[int, str]]:
    rows = zip(placement.slots.tolist(), placement.peers.tolist(), strict=True)
    return [(slot, of.peers.ids[row]) for slot, row in rows]


def as_load(plan: InForce) -> Load:
    """All that was placed or done, counted anew from the facts as they are now."""
    load = Load(replace(plan.problem, jobs=tuple(plan.jobs)))
    for index, placement in (plan.spent | plan.placements).items():
        load.add(index, placement)
    return load


def greener(slots: int = 6) -> dict[str, Any]:
    return {"grid": [100] * slots}


# --- what is touched --------------------------------------------------------------------------------------------------


def test_a_peer_that_leaves_moves_its_jobs_and_no_other() -> None:
    plan = in_force([peer("a"), peer("b", **greener()), peer("c")], [job("one", work=6), job("two", work=6)])
    assert {name for _, name in where(plan, "one")} == {"b"}
    before = where(plan, "two")
    (change,) = plan.apply(PeerLeft("b", 2))
    assert (change.job, change.cause) == ("one", Cause.PEER_LEFT)
    assert [name for _, name in where(plan, "one")] == ["b", "b", "c", "c", "c", "c"]
    assert where(plan, "two") == before


def test_a_job_whose_peer_left_is_declined_with_a_reason_if_nobody_can_take_it() -> None:
    plan = in_force([peer("a")], [job("one", work=6)])
    plan.apply(TimePassed(2))
    (change,) = plan.apply(PeerLeft("a", 4))
    assert change.after is None
    assert change.refusal == "no place for 4 shard-slots in slots [2, 6)"
    assert plan.declined == {0: "its peer left: no place for 4 shard-slots in slots [2, 6)"}


def test_a_job_that_would_emit_more_than_its_penalty_is_declined_with_both_numbers() -> None:
    peers = [peer("a"), peer("b", grid=[900] * 6)]
    plan = InForce(greedy(problem(peers, [job("one", work=6)], penalty=50_000), [0]))
    (change,) = plan.apply(PeerLeft("a", 0))
    assert change.refusal == "emits 540000 for 6 shard-slots, which count 300000 undone"


def test_a_declined_job_is_placed_when_room_grows_and_its_work_counts() -> None:
    plan = in_force([peer("a"), peer("b", free=[0] * 6)], [job("one", work=4)])
    plan.apply(TimePassed(2), PeerLeft("a", 2))
    assert cells(plan.problem, plan.spent[0]) == [(0, "a"), (1, "a")]
    (change,) = plan.apply(PeerChanged("b", 3, free=(1, 1, 1)))
    assert (change.cause, change.before) == (Cause.ROOM_GREW, None)
    assert where(plan, "one") == [(0, "a"), (1, "a"), (3, "b"), (4, "b")]


def test_of_two_jobs_on_one_peer_the_last_placed_goes_when_units_are_lost() -> None:
    peers = [peer("a", units=2, free=[2] * 6, **greener()), peer("b")]
    plan = in_force(peers, [job("one", work=6), job("two", work=6)])
    (change,) = plan.apply(PeerChanged("a", 0, free=(1,) * 6))
    assert (change.job, change.cause) == ("two", Cause.UNITS_LOST)
    assert {name for _, name in where(plan, "one")} == {"a"}


def test_a_peer_that_may_take_more_than_it_runs_moves_nobody() -> None:
    plan = in_force([peer("a", units=4, free=[4] * 6)], [job("one", work=6)])
    assert plan.apply(PeerChanged("a", 0, free=(1,) * 6)) == []


def test_a_job_moves_away_from_a_forecast_that_fell() -> None:
    plan = in_force([peer("a", surplus=[100] * 6), peer("b", grid=[200] * 6)], [job("one", work=3)])
    (change,) = plan.apply(PeerChanged("a", 0, surplus=(0,) * 6))
    assert (change.cause, change.saving, change.move) == (Cause.COSTS_CHANGED, 3 * 100 * (360 - 200), 0)
    assert {name for _, name in where(plan, "one")} == {"b"}


def test_a_job_arrives_beside_those_that_are_there() -> None:
    plan = in_force([peer("a", **greener()), peer("b")], [job("one", work=6)])
    (change,) = plan.apply(JobArrived(job("two", work=6)))
    assert (change.job, change.before, change.saving) == ("two", None, -6 * 100 * 360)
    assert {name for _, name in where(plan, "one")} == {"a"}


def test_who_asks_is_looked_at_though_nothing_touched_him() -> None:
    plan = in_force([peer("a"), peer("b")], [job("one", work=6)])
    assert plan.apply(PeerChanged("b", 0, grid=(10,) * 6)) == []
    (change,) = plan.reconsider("one")
    assert (change.cause, change.saving) == (Cause.ASKED, 6 * 100 * 350)


# --- time -------------------------------------------------------------------------------------------------------------


def test_time_that_passes_changes_nothing() -> None:
    plan = in_force([peer("a")], [job("one", work=6)])
    assert plan.apply(TimePassed(3)) == []
    assert plan.apply(TimePassed(1)) == []
    assert plan.now == 3


def test_what_is_done_stays_done_and_only_the_rest_is_placed() -> None:
    plan = in_force([peer("a"), peer("b", grid=[400] * 6)], [job("one", work=4, deadline_slot=6)])
    plan.apply(TimePassed(2))
    plan.apply(PeerLeft("a", 0))  # what it did before now, it did
    assert where(plan, "one") == [(0, "a"), (1, "a"), (2, "b"), (3, "b")]


def test_facts_of_the_past_do_not_change() -> None:
    plan = in_force([peer("a")], [job("one", work=6)])
    plan.apply(TimePassed(3))
    carbon = plan.carbon
    plan.apply(PeerChanged("a", 0, surplus=(100,) * 3, free=(0,) * 3))
    assert plan.carbon == carbon
    assert plan.problem.peers.free[:3, 0].tolist() == [1, 1, 1]


def test_a_finished_job_is_left_alone() -> None:
    plan = in_force([peer("a"), peer("b", **greener())], [job("one", work=2, deadline_slot=2)])
    plan.apply(TimePassed(2))
    assert plan.apply(PeerLeft("b", 2)) == []
    assert plan.reconsider("one") == []


def test_the_rest_of_a_job_stays_in_its_zone() -> None:
    peers = [peer("a", zone=1), peer("b", zone=0, **greener()), peer("c", zone=1, grid=[900] * 6)]
    plan = in_force(peers, [job("one", work=6, same_zone=True)])
    plan.apply(PeerLeft("b", 0))
    assert {name for _, name in where(plan, "one")} == {"a"}
    plan.apply(PeerChanged("b", 0, free=(1,) * 6), TimePassed(3))
    plan.apply(PeerLeft("a", 3))
    assert [name for _, name in where(plan, "one")] == ["a", "a", "a", "c", "c", "c"]


# --- moving -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("move_wh", "goes"), [(4 * 260 - 1, True), (4 * 260, False)], ids=["less", "equal"])
def test_a_running_job_moves_only_if_that_saves_more_than_the_move_costs(move_wh: int, goes: bool) -> None:
    plan = in_force([peer("a"), peer("b", free=[0] * 6, **greener())], [job("one", work=6)], move_wh)
    plan.apply(TimePassed(2))
    plan.apply(PeerChanged("b", 0, free=(1,) * 6))
    changes = plan.reconsider("one")
    assert [(change.saving, change.move) for change in changes] == ([(4 * 100 * 260, 100 * move_wh)] if goes else [])
    assert where(plan, "one")[2:] == [(slot, "b" if goes else "a") for slot in range(2, 6)]


def test_a_job_that_does_not_run_yet_moves_for_any_saving() -> None:
    plan = in_force([peer("a"), peer("b", free=[0] * 6, grid=[359] * 6)], [job("one", work=6)], 10**4)
    plan.apply(PeerChanged("b", 0, free=(1,) * 6))
    assert [(change.saving, change.move) for change in plan.reconsider("one")] == [(600, 0)]


def test_a_gang_that_loses_one_peer_moves_one_shard() -> None:
    """The others would be greener elsewhere, but not by what moving costs."""
    jobs = [job("one", at_least=3, at_most=3, work=18)]
    later = [peer(name, free=[0] * 6, grid=[300] * 6) for name in ("d", "e", "f")]
    plan = in_force([peer("a"), peer("b"), peer("c"), *later], jobs, move_wh=3_000)
    plan.apply(TimePassed(2))
    plan.apply(*(PeerChanged(name, 0, free=(1,) * 6) for name in ("d", "e", "f")))
    (change,) = plan.apply(PeerLeft("b", 2))
    assert change.move == 3_000 * 300
    assert [name for _, name in where(plan, "one")][6:] == ["a", "c", "d"] * 4


def test_one_shard_moves_where_moving_all_does_not_pay() -> None:
    jobs = [job("one", at_least=2, at_most=2, work=12)]
    plan = in_force([peer("a", grid=[250] * 6), peer("b"), peer("c", grid=[900] * 6)], jobs, move_wh=500)
    plan.apply(TimePassed(2))
    plan.apply(PeerChanged("c", 2, grid=(100,) * 4))
    (change,) = plan.reconsider("one")
    assert (change.saving, change.move) == (4 * 100 * 260, 50_000)
    assert [name for _, name in where(plan, "one")][4:] == ["a", "c"] * 4


def test_a_move_that_cannot_be_made_in_time_is_not_made() -> None:
    """8,000 Mbit over 2 Mbit/s take longer than a slot."""
    slow = job("one", work=6, bandwidth_mbps=1)
    plan = in_force([peer("a", bandwidth_mbps=2), peer("b", grid=[359] * 6)], [slow], move_wh=1)
    plan.apply(TimePassed(2))
    (change,) = plan.apply(PeerLeft("b", 2))
    assert (change.after, change.refusal) == (None, "no place for 4 shard-slots in slots [2, 6)")


# --- caps -------------------------------------------------------------------------------------------------------------


def test_what_was_paid_counts_against_the_budget() -> None:
    load = greedy(problem([peer("a", price=100)], [job("one", work=6, budget=1000)]), [0])
    rest = Rest.taken_out(load.problem, load, load.problem.jobs[0], load.placements[0], 2)
    assert (rest.left.work, rest.left.first_slot, rest.left.budget) == (4, 2, 800)


def test_a_job_whose_cap_a_new_forecast_breaks_is_declined_and_what_it_did_stays() -> None:
    plan = in_force([peer("a", **greener())], [job("one", work=6, carbon_max=70_000)])
    plan.apply(TimePassed(2))
    (change,) = plan.apply(PeerChanged("a", 0, grid=(126,) * 6))
    assert (change.after, change.refusal) == (None, "no place for 4 shard-slots in slots [2, 6)")
    assert plan.carbon == 20_000


# --- faults of the caller ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "cause"),
    [
        (PeerLeft("nobody", 0), "peer 'nobody' is none of this plan"),
        (PeerChanged("a", 4, free=(1, 1, 1)), r"free of 'a' in slots \[4, 7\)"),
        (PeerChanged("a", 0, grid=(-1,)), "the least -1"),
        (JobArrived(job("one")), "job 'one' is known already"),
        (JobArrived(job("two", deadline_slot=7)), r"slots \[0, 7\), outside \[0, 6\)"),
    ],
    ids=["peer", "slots", "negative", "job", "deadline"],
)
def test_an_event_that_does_not_fit_is_refused_and_nothing_of_its_batch_happens(event: Event, cause: str) -> None:
    plan = in_force([peer("a")], [job("one", work=6)])
    with pytest.raises(ValueError, match=cause):
        plan.apply(PeerLeft("a", 0), event)
    assert plan.apply(TimePassed(0)) == []
    assert len(where(plan, "one")) == 6


# --- any events -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_after_any_events_limits_hold_the_past_stands_and_carbon_is_what_a_recount_says(seed: int) -> None:
    chance = random.Random(seed)
    of = drawn(seed, peers=25, jobs=14)
    of = replace(of, jobs=tuple(replace(each, checkpoint_gb=chance.randrange(4)) for each in of.jobs))
    later = list(of.jobs[8:])
    of = replace(of, jobs=of.jobs[:8], move_wh_per_gb=chance.choice((None, 30)))
    plan = InForce(greedy(of, range(8)))
    for now in range(of.slots):
        batch: list[Event] = [_any_event(of, chance, now) for _ in range(3)]
        if later and chance.random() < 0.8:
            arriving = later.pop()
            batch.append(JobArrived(arriving))
        before = dict(plan.placements)
        changes = plan.apply(TimePassed(now), *batch)
        changed = {change.job for change in changes}
        for index, placement in before.items():
            if plan.jobs[index].id not in changed:
                assert plan.placements[index] == placement
            done = plan.placements.get(index, plan.spent.get(index))
            assert done is not None
            assert split(done, now)[0] == split(placement, now)[0]
        for change in changes:
            if change.cause is Cause.COSTS_CHANGED:
                assert change.saving > change.move
        whole = as_load(plan)
        moved = sum(moves_carbon(whole.problem, *placed) for placed in whole.placements.items())
        assert plan.carbon == whole.carbon == recounted_carbon(whole) + moved
        for index in plan.spent:
            whole.remove(index)
        broken = broken_limits(whole)
        assert broken == []
        assert set(plan.declined) | set(plan.placements) == set(range(len(plan.jobs)))


def test_the_same_events_give_the_same_changes() -> None:
    def play() -> list[str]:
        chance, of = random.Random(3), drawn(3, peers=25, jobs=14)
        plan = InForce(greedy(of, range(14)))
        return [repr(plan.apply(TimePassed(now), _any_event(of, chance, now))) for now in range(of.slots)]

    assert play() == play()


def _any_event(of: Problem, chance: random.Random, now: int) -> Event:
    row = chance.randrange(len(of.peers.ids))
    name, left = of.peers.ids[row], of.slots - now
    units = int(of.peers.units[row])
    match chance.randrange(4):
        case 0:
            return PeerLeft(name, chance.randrange(now, of.slots))
        case 1:
            return PeerChanged(name, now, free=tuple(chance.randrange(units + 1) for _ in range(left)))
        case 2:
            return PeerChanged(name, now, surplus=tuple(chance.randrange(2000) for _ in range(left)))
        case _:
            return PeerChanged(name, now, grid=tuple(chance.randrange(700) for _ in range(left)))
