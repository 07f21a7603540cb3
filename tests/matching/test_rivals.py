"""Many requesters at once: who goes first, what that leaves, and what is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from node.matching.greedy import greedy
from node.matching.load import Load, Placement
from node.matching.rivals import BEFORE_MAX, before, choose
from tests.bench.rivalry import Hearing, Rivalry, best, in_turn
from tests.matching.builders import drawn, job, peer, problem

FRESH = Hearing(late_permille=0, unheard_permille=0)


def peers_of(of: Load, placement: Placement | None) -> set[str]:
    assert placement is not None
    return {of.problem.peers.ids[row] for row in placement.peers.tolist()}


def test_of_two_jobs_one_comes_before_the_other_whoever_asks() -> None:
    assert [before("a", ["b"], 7), before("b", ["a"], 7)] in ([["b"], []], [[], ["a"]])


def test_turns_change_with_the_epoch() -> None:
    assert {tuple(before("a", ["b"], epoch)) for epoch in range(20)} == {(), ("b",)}


def test_turns_are_one_order_for_all_who_know_the_same_jobs() -> None:
    names = [f"j{number}" for number in range(9)]
    ahead = {name: before(name, set(names) - {name}, 1) for name in names}
    order = sorted(names, key=lambda name: len(ahead[name]))
    assert [ahead[name] for name in order] == [order[:place] for place in range(9)]


def test_no_more_rivals_are_looked_at_than_there_is_time_for() -> None:
    names = [f"j{number}" for number in range(300)]
    assert max(len(before(name, names, 1)) for name in names[:20]) == BEFORE_MAX


def test_a_job_leaves_the_greenest_peer_to_the_rival_before_it() -> None:
    of = problem([peer("green", grid=[50] * 6), peer("brown")], [job("one", work=6), job("two", work=6)])
    view = Load(of)
    assert peers_of(view, choose(Load(of), 0)) == {"green"}
    assert peers_of(view, choose(Load(of), 0, rivals=[1])) == {"brown"}


def test_a_rival_that_leaves_nothing_is_not_yielded_to() -> None:
    """Being refused is better than not asking."""
    of = problem([peer("only")], [job("one", work=6), job("two", work=6)])
    assert peers_of(Load(of), choose(Load(of), 0, rivals=[1])) == {"only"}


def test_a_job_that_fits_nowhere_chooses_nothing() -> None:
    of = problem([peer("a", free=[0] * 6)], [job("one")])
    assert choose(Load(of), 0) is None


@pytest.mark.parametrize(("grid", "stays"), [(300, True), (200, False)], ids=["little", "much"])
def test_what_was_won_is_given_back_only_for_a_much_better_place(grid: int, stays: bool) -> None:
    """400 permille of what a shard costs there must be saved: 120 of 300 g/kWh, or 80 of 200."""
    of = problem([peer("won"), peer("other", grid=[grid] * 6)], [job("one", work=6)])
    held = greedy(problem([peer("won")], [job("one", work=6)]), [0]).placements[0]
    assert peers_of(Load(of), choose(Load(of), 0, won=held, refusals=1)) == ({"won"} if stays else {"other"})


def test_what_was_refused_is_sought_beside_what_was_won() -> None:
    of = problem([peer("a"), peer("b", free=[0] * 6), peer("c")], [job("one", at_least=2, at_most=2, work=12)])
    won = Placement(np.arange(6), np.zeros(6, np.int64), np.ones(6, np.int64))
    assert peers_of(Load(of), choose(Load(of), 0, won=won, refusals=1)) == {"a", "c"}


@pytest.mark.parametrize("seed", range(4))
def test_with_fresh_views_nobody_who_keeps_to_the_turns_is_refused(seed: int) -> None:
    of = drawn(seed, peers=60, jobs=10)
    of = replace(of, jobs=tuple(of.jobs[index] for index in greedy(of, range(10)).placements))
    outcome = Rivalry(of, (), seed, FRESH).play(in_turn)
    assert (outcome.refused, outcome.rounds) == (0, 1)


def test_over_stale_views_turns_are_refused_less_and_end_sooner_than_all_who_take_the_best() -> None:
    outcomes = {}
    for policy in (best, in_turn):
        refused = rounds = 0
        for seed in range(4):
            of = drawn(seed, peers=60, jobs=14)
            of = replace(of, jobs=tuple(of.jobs[index] for index in greedy(of, range(14)).placements))
            outcome = Rivalry(of, of.jobs[:2], seed).play(policy)
            refused, rounds = refused + outcome.refused, rounds + outcome.rounds
        outcomes[policy] = refused, rounds
    assert outcomes[in_turn] < outcomes[best]


def test_a_rivalry_repeats_itself_from_its_seed() -> None:
    of = drawn(5, peers=40, jobs=8)
    assert Rivalry(of, of.jobs[:2], 5).play(in_turn) == Rivalry(of, of.jobs[:2], 5).play(in_turn)
