"""Facts about turns among bids: what is left to rivals, and that a record keeps them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from node.matching.bids.demand import RIVALS_MAX, Candidate, Demand
from node.matching.bids.match import match
from node.matching.bids.record import INSTANCE_MAX_BYTES, read, record
from node.matching.bids.refusal import Reason
from node.matching.bids.turns import told, yielded
from protocol.codec import decode, encode
from protocol.errors import VerificationFailed

from .builders import candidate, candidate_lists, demand, demands, digest

GREEN = candidate("green", grid_g_per_kwh=(50,) * 6)
BROWN = candidate("brown")


def rival(name: str = "rival", **changes: object) -> Demand:
    return demand(job=digest(name), **changes)


def chosen(candidates: tuple[Candidate, ...], asked: Demand) -> set[str]:
    return {placed.window.candidate.label for placed in match(yielded(candidates, asked), asked).placements}


def test_the_greenest_is_left_to_the_rival_whose_turn_is_first() -> None:
    assert chosen((GREEN, BROWN), demand(slots=6)) == {"green"}
    assert chosen((GREEN, BROWN), demand(slots=6, rivals=(rival(slots=6),))) == {"brown"}


def test_rivals_take_their_turns_one_after_the_other() -> None:
    rivals = (rival(slots=6), rival("another", slots=6))
    peers = (GREEN, BROWN, candidate("browner", grid_g_per_kwh=(500,) * 6))
    assert chosen(peers, demand(slots=6, rivals=rivals)) == {"browner"}


def test_a_rival_leaves_units_and_surplus_as_they_were_beyond_what_it_takes() -> None:
    peer = candidate(units=2, free_units=(2,) * 6, surplus_j=(500_000,) * 6)
    (left,) = yielded((peer,), demand(rivals=(rival(slots=2),)))
    assert left == replace(peer, free_units=(1, 1, 2, 2, 2, 2), surplus_j=(140_000, 140_000, *(500_000,) * 4))


def test_if_rivals_leave_nothing_they_are_not_yielded_to() -> None:
    assert yielded((GREEN,), demand(slots=6, rivals=(rival(slots=6),))) == (GREEN,)


def test_who_is_left_to_rivals_is_told_so() -> None:
    asked = demand(slots=6, rivals=(rival(slots=6),))
    plan = told(match(yielded((GREEN, BROWN), asked), asked), (GREEN, BROWN))
    (left,) = [choice for choice in plan.choices if choice.candidate.label == "green"]
    assert left.refusal is not None
    assert left.refusal.reason is Reason.RIVALS
    assert left.refusal.text.endswith("(longest 0), when jobs whose turn is first have theirs")


def test_who_could_not_anyway_is_told_why_not() -> None:
    small = candidate("small", memory_mb=1, grid_g_per_kwh=(10,) * 6)
    asked = demand(rivals=(rival(memory_mb=0),))
    plan = told(match(yielded((small, BROWN), asked), asked), (small, BROWN))
    assert {choice.refusal.reason for choice in plan.choices if choice.refusal} == {Reason.MEMORY}


def test_a_rival_that_nobody_can_serve_takes_nothing() -> None:
    assert yielded((GREEN, BROWN), demand(rivals=(rival(memory_mb=10**6),))) == (GREEN, BROWN)


@given(candidate_lists(), demands(), st.lists(demands(), max_size=3))
@settings(max_examples=100, deadline=None)
def test_a_record_keeps_the_rivals_and_gives_the_same_plan_again(
    peers: list[Candidate], asked: Demand, rivals: list[Demand]
) -> None:
    asked = replace(asked, rivals=tuple(rivals))
    raw = record(peers, asked)
    candidates, again = read(raw)
    assert again == asked
    assert match(yielded(candidates, again), again) == match(yielded(peers, asked), asked)


def test_reject_a_rival_with_rivals_of_its_own() -> None:
    with pytest.raises(ValidationError, match="a rival names rivals of its own"):
        demand(rivals=(rival(rivals=(rival(),)),))


def test_reject_more_rivals_than_are_matched() -> None:
    with pytest.raises(ValidationError, match=f"at most {RIVALS_MAX} items"):
        demand(rivals=(rival(),) * (RIVALS_MAX + 1))


@pytest.mark.parametrize(
    ("rivals", "cause"),
    [(7, "with an array of rivals"), ((7,), "rival 0: a map"), (({"job": b"j"},), "rival 0: ")],
    ids=["no array", "no map", "fields missing"],
)
def test_reject_a_record_with_faulty_rivals(rivals: object, cause: str) -> None:
    value = decode(record([GREEN], demand()), INSTANCE_MAX_BYTES, 4096)
    assert isinstance(value, dict)
    with pytest.raises(VerificationFailed, match=cause):
        read(encode(value | {"demand": value["demand"] | {"rivals": rivals}}))
