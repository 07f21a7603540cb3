"""Facts about recorded instances: equal questions have equal bytes, and the bytes give the plan again."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.matching.bids.demand import Candidate, Demand
from node.matching.bids.match import match
from node.matching.bids.record import CANDIDATES_MAX, INSTANCE_MAX_BYTES, MATCHER, read, record
from protocol.codec import decode, encode
from protocol.errors import LocalError, VerificationFailed

from .builders import candidate, candidate_lists, demand, demands

RECORD = record([candidate("a"), candidate("b")], demand())


@given(candidate_lists(), demands(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_record_gives_the_same_plan_again(peers: list[Candidate], asked: Demand, chance: random.Random) -> None:
    raw = record(peers, asked)
    candidates, again = read(raw)
    assert match(candidates, again) == match(peers, asked)
    shuffled = list(peers)
    chance.shuffle(shuffled)
    assert record(shuffled, asked) == raw


def altered(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The record with one thing changed, still canonical msgpack."""
    value = decode(RECORD, INSTANCE_MAX_BYTES, CANDIDATES_MAX)
    value["candidates"] = [dict(each) for each in value["candidates"]]
    value["demand"] = dict(value["demand"])
    change(value)
    return encode(value)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda v: v.update(matcher="greedy/0"), "made by matcher 'greedy/0'; this program repeats 'greedy/2' only"),
        (lambda v: v.update(extra=1), "a map of matcher, demand and candidates"),
        (lambda v: v.pop("demand"), "a map of matcher, demand and candidates"),
        (lambda v: v.update(candidates=7), "candidates are an array"),
        (lambda v: v.update(candidates=[7]), "candidate 0: a map of fields is expected"),
        (lambda v: v["candidates"][1].update(units=0), "candidate 1: units"),
        (lambda v: v["candidates"][1].update(units=True), "candidate 1: units"),
        (lambda v: v["candidates"][1].update(price_microcredits_per_unit_hour=-1), "candidate 1: price_micro"),
        (lambda v: v["candidates"][1].update(bid=b"short"), "candidate 1: bid"),
        (lambda v: v["candidates"][1].update(colour="green"), "candidate 1: colour"),
        (lambda v: v["candidates"][1].pop("zone"), "candidate 1: zone"),
        (lambda v: v["candidates"][1].update(surplus_j=[1]), "per-slot arrays differ in length"),
        (lambda v: v["demand"].update(mode="ajar"), "demand: mode"),
        (lambda v: v["demand"].update(shards=[]), "demand: shards"),
        (lambda v: v["demand"].update(shards=[1, 1]), "name one index twice"),
        (lambda v: v["demand"].pop("occupied"), "a field is missing"),
        (lambda v: v["candidates"].reverse(), "order of provider and bid"),
    ],
)
def test_reject_what_record_would_not_have_written(change: Callable[[dict[str, Any]], object], cause: str) -> None:
    with pytest.raises(VerificationFailed) as failure:
        read(altered(change))
    assert cause in failure.value.cause
    assert failure.value.code == "HEL-MATCH-001"


@given(st.integers(0, len(RECORD) * 8 - 1))
@settings(max_examples=300, deadline=None)
def test_flipped_bit_is_refused_or_changes_the_question(bit: int) -> None:
    flipped = bytearray(RECORD)
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        candidates, asked = read(bytes(flipped))
    except VerificationFailed:
        return
    assert record(candidates, asked) == flipped != RECORD


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_refused_without_a_traceback(raw: bytes) -> None:
    with pytest.raises(VerificationFailed):
        read(raw)


def test_record_names_its_matcher() -> None:
    assert decode(RECORD)["matcher"] == MATCHER == "greedy/2"


def test_too_many_bids_are_refused_before_anything_is_written() -> None:
    with pytest.raises(LocalError, match="4097 bids, at most 4096") as failure:
        record([candidate()] * (CANDIDATES_MAX + 1), demand())
    assert failure.value.code == "HEL-MATCH-002"


def test_instance_larger_than_the_bound_is_refused_on_both_sides() -> None:
    long = candidate(free_units=(2**52,) * 256, surplus_j=(2**52,) * 256, grid_g_per_kwh=(2**52,) * 256)
    with pytest.raises(LocalError, match="bytes"):
        record([long] * 700, demand())
    with pytest.raises(VerificationFailed, match="exceed the bound"):
        read(bytes(INSTANCE_MAX_BYTES + 1))
