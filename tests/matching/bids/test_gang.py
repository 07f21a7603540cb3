"""Facts about gangs: the engine is asked in parts, near the end of its integers, and for bids far apart in time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.matching.bids import gang
from node.matching.bids.demand import Candidate, Demand
from node.matching.bids.match import match
from node.matching.bids.refusal import Reason, refusal
from node.matching.bids.windows import cost_max

from .builders import candidate, demand

HUNDRED_W_HOUR_UG = 100_000  # micrograms of a shard in a slot for each g/kWh


def widest(asked: Demand, below: int = 0) -> Candidate:
    """A peer whose shard emits as much as can be compared, less a little."""
    grid = cost_max(asked) // HUNDRED_W_HOUR_UG - below
    return candidate(f"peer {below}", units=256, free_units=(256,), surplus_j=(0,), grid_g_per_kwh=(grid,))


@pytest.mark.parametrize("ranks", [1, 3, 256])
def test_the_largest_costs_that_are_admitted_are_still_compared_exactly(ranks: int) -> None:
    asked = demand(slots=1, shards=tuple(range(ranks)), shards_per_peer=ranks)
    peers = [widest(asked, below) for below in range(64)]
    assert {placed.window.candidate.label for placed in match(peers, asked).placements} == {"peer 63"}
    refused = refusal(widest(asked, -1), asked)
    assert refused is not None
    assert refused.reason is Reason.RANGE


def test_what_is_asked_in_parts_is_answered_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = [candidate(f"peer {n}", grid_g_per_kwh=(360, 300 + n, 360, 290 + n, 360, 360)) for n in range(9)]
    asked = demand(shards=(0, 1, 2), slots=1)
    whole = match(peers, asked)
    monkeypatch.setattr(gang, "_CELLS_MAX", 1)
    assert match(peers, asked) == whole
    assert whole.start_slot == asked.first_slot + 3


def test_bids_far_apart_in_time_meet_only_where_both_are() -> None:
    long = demand(shards=(0, 1), deadline_slot=2**53 - 1)
    near, far = candidate("near"), candidate("far", first_slot=2**52)
    assert match([near, far], long).placements == ()
    beside = replace(near, bid=far.provider, provider=far.bid, first_slot=2**52 + 4)
    assert match([near, far, beside], long).start_slot == 2**52 + 4
