"""Facts about the matcher: optimal for one job, within every limit, the same whatever the order of the bids."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from node.matching.bids.demand import Candidate, Demand
from node.matching.bids.match import match
from node.matching.bids.plan import Plan, Verdict
from node.matching.bids.refusal import refusal

from .builders import FIRST_SLOT, candidate, candidate_lists, demand, demands, digest, peer_carbon_ug


def most_shards(peer: Candidate, asked: Demand, start: int) -> int:
    """How many shards a peer can take from a start, counted slot by slot; carbon caps are left to the caller."""
    if refusal(peer, replace(asked, carbon_max_g_per_kwh=0)):
        return 0
    rooms = []
    for slot in range(start, start + asked.slots):
        at = slot - peer.first_slot
        free = peer.free_units[at] if 0 <= at < len(peer.free_units) and slot < asked.deadline_slot else 0
        rooms.append(min(free, peer.units) // asked.units_per_shard)
    return min(*rooms, asked.shards_per_peer - asked.occupied.count(peer.provider), len(asked.shards))


def brute_force_ug(peers: list[Candidate], asked: Demand) -> Fraction | None:
    """The least carbon over every start and every way to spread the shards; None when there is none."""
    best: Fraction | None = None
    for start in range(asked.first_slot, asked.deadline_slot - asked.slots + 1):
        for counts in product(*(range(most_shards(peer, asked, start) + 1) for peer in peers)):
            if sum(counts) == len(asked.shards):
                pairs = zip(peers, counts, strict=True)
                total = sum((peer_carbon_ug(peer, asked, start, n) for peer, n in pairs if n), Fraction(0))
                best = total if best is None else min(best, total)
    return best


@given(candidate_lists(), demands())
@settings(max_examples=300, deadline=None)
def test_no_other_plan_is_greener(peers: list[Candidate], asked: Demand) -> None:
    asked = replace(asked, carbon_max_g_per_kwh=0)
    plan = match(peers, asked)
    assert (plan.carbon_ug if plan.placements else None) == brute_force_ug(peers, asked)


@given(candidate_lists(), demands(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_order_of_bids_does_not_matter(peers: list[Candidate], asked: Demand, chance: random.Random) -> None:
    shuffled = list(peers)
    chance.shuffle(shuffled)
    assert match(shuffled, asked) == match(peers, asked)


def check_limits(plan: Plan, peers: list[Candidate], asked: Demand) -> None:
    """Everything that a plan promises, recounted from the bids."""
    assert {choice.candidate.bid for choice in plan.choices} == {peer.bid for peer in peers}
    assert len(plan.choices) == len(peers)
    if not plan.placements:
        assert plan.relaxation is not None
        assert plan.relaxation.text
        return
    assert plan.relaxation is None
    assert sorted(placed.shard for placed in plan.placements) == sorted(asked.shards)
    load = Counter(placed.window.candidate.provider for placed in plan.placements)
    for placed in plan.placements:
        peer, window = placed.window.candidate, placed.window
        assert window.first_slot == plan.start_slot
        assert asked.first_slot <= window.first_slot
        assert window.first_slot + asked.slots <= asked.deadline_slot
        assert load[peer.provider] + asked.occupied.count(peer.provider) <= asked.shards_per_peer
        for slot in range(window.first_slot, window.first_slot + asked.slots):
            free = peer.free_units[slot - peer.first_slot]
            assert load[peer.provider] * asked.units_per_shard <= min(free, peer.units)
        assert asked.carbon_max_g_per_kwh == 0 or window.intensity_g_per_kwh <= asked.carbon_max_g_per_kwh
        assert peer.price_microcredits_per_unit_hour <= asked.price_max_microcredits_per_unit_hour
        assert peer.provider not in dict(asked.excluded)
        assert peer.tenant in {"open": {""}, "closed": {asked.tenant}, "hybrid": {"", asked.tenant}}[asked.mode]


@given(candidate_lists(most=6), demands(), st.sampled_from([1, 7_919, 10_000, 3_600_000]), st.sampled_from([0, 333]))
@settings(max_examples=300, deadline=None)
def test_every_limit_holds(peers: list[Candidate], asked: Demand, slot_ms: int, rate_tps: int) -> None:
    asked = replace(asked, slot_ms=slot_ms, rate_tps=rate_tps)
    check_limits(match(peers, asked), peers, asked)


extreme = st.sampled_from([0, 1, 2**53 - 1])
at_least_one = st.sampled_from([1, 2**53 - 1])


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_number_that_a_bid_may_hold_stops_the_matcher(data: st.DataObject) -> None:
    peers = [
        candidate(
            f"peer {index}",
            **{
                name: data.draw(at_least_one) for name in ("units", "memory_mb", "rate_tps", "peak_w", "bandwidth_mbps")
            },
            **{name: data.draw(extreme) for name in ("idle_w", "embodied_ug_per_unit_hour", "own_g_per_kwh")},
            price_microcredits_per_unit_hour=data.draw(extreme),
            first_slot=data.draw(st.sampled_from([0, FIRST_SLOT, 2**53 - 1])),
            free_units=(data.draw(extreme),) * 6,
            surplus_j=(data.draw(extreme),) * 6,
            grid_g_per_kwh=(data.draw(extreme),) * 6,
        )
        for index in range(2)
    ]
    asked = demand(
        shards=tuple(range(data.draw(st.sampled_from([1, 2, 256])))),
        shards_per_peer=data.draw(st.sampled_from([1, 2, 256])),
        occupied=(digest("provider peer 0"),) * data.draw(st.sampled_from([0, 1, 256])),
        units_per_shard=data.draw(st.sampled_from([1, 1024])),
        memory_mb=data.draw(extreme),
        rate_tps=data.draw(extreme),
        deadline_slot=data.draw(st.sampled_from([0, FIRST_SLOT + 1, FIRST_SLOT + 6, 2**53 - 1])),
        carbon_max_g_per_kwh=data.draw(extreme),
        slot_ms=data.draw(st.sampled_from([1, 3_600_000])),
    )
    plan = match(peers, asked)
    assert [placed.placement() for placed in plan.placements] or plan.relaxation


def test_waits_for_the_sun() -> None:
    sunny = candidate(surplus_j=(0, 0, 0, 360_000, 360_000, 0))
    plan = match([sunny], demand())
    assert plan.start_slot == FIRST_SLOT + 3
    assert plan.carbon_ug == 2 * 3_600_000  # two hours of 100 W at 36 g/kWh


def test_second_shard_on_a_peer_finds_the_surplus_taken() -> None:
    windy = candidate("windy", units=2, free_units=(2,) * 6, surplus_j=(360_000,) * 6)
    hydro = candidate("hydro", grid_g_per_kwh=(72,) * 6)
    plan = match([windy, hydro], demand(shards=(0, 1), shards_per_peer=2))
    assert [placed.window.candidate.label for placed in plan.placements] == ["windy", "hydro"]
    alone = match([windy], demand(shards=(0, 1), shards_per_peer=2))
    assert [placed.window.carbon_ug for placed in alone.placements] == [7_200_000, 72_000_000]


def test_a_newcomer_is_given_a_quarter_of_a_job_however_green_it_is() -> None:
    greenest = candidate("new", newcomer=True, units=8, free_units=(8,) * 6, grid_g_per_kwh=(1,) * 6)
    known = candidate("known", units=8, free_units=(8,) * 6)
    asked = demand(shards=tuple(range(8)), shards_per_peer=8)
    labels = Counter(placed.window.candidate.label for placed in match([greenest, known], asked).placements)
    assert labels == {"new": 2, "known": 6}
    assert (
        match([replace(greenest, newcomer=False), known], asked).carbon_ug < match([greenest, known], asked).carbon_ug
    )


def test_ties_go_to_the_earlier_start_then_the_lower_price_then_the_lower_bid() -> None:
    twins = [candidate("a"), candidate("b"), candidate("c", price_microcredits_per_unit_hour=100_000)]
    plan = match(twins, demand(shards=(0, 1)))
    assert plan.start_slot == FIRST_SLOT
    lower = min(twins[:2], key=lambda twin: twin.bid)
    assert [placed.window.candidate.label for placed in plan.placements] == ["c", lower.label]


def test_all_of_one_zone_and_device_are_paid_the_highest_bid_among_the_chosen() -> None:
    asked = {"a": 100_000, "b": 300_000, "elsewhere": 50_000, "other": 70_000, "browner": 400_000}
    changes: dict[str, dict[str, Any]] = {
        "elsewhere": {"zone": "FR"},
        "other": {"device": "gpu"},
        "browner": {"grid_g_per_kwh": (700,) * 6},
    }
    peers = [candidate(n, price_microcredits_per_unit_hour=p, **changes.get(n, {})) for n, p in asked.items()]
    plan = match(peers, demand(shards=(0, 1, 2, 3)))
    paid = {p.window.candidate.label: p.placement().price_microcredits_per_unit_hour for p in plan.placements}
    assert paid == {"a": 300_000, "b": 300_000, "elsewhere": 50_000, "other": 70_000}
    assert plan.price_microcredits == 2 * sum(paid.values())  # two hours each


def test_equal_gangs_start_at_the_earliest_slot_whoever_comes_first() -> None:
    peers = sorted((candidate("a"), candidate("b")), key=lambda peer: peer.provider)
    late = replace(peers[0], free_units=(0, 0, 0, 1, 1, 1))
    plan = match([late, peers[1]], demand())
    assert plan.start_slot == FIRST_SLOT


def test_free_units_beyond_the_offer_take_no_shard() -> None:
    boastful = candidate(units=2, free_units=(4,) * 6)
    plan = match([boastful], demand(units_per_shard=2, shards=(0, 1), shards_per_peer=2))
    assert plan.placements == ()


def test_one_lost_shard_is_placed_beside_the_others() -> None:
    peers = [candidate(name, grid_g_per_kwh=(grid,) * 6) for name, grid in (("a", 10), ("b", 20), ("c", 30))]
    asked = demand(shards=(2,), excluded=((peers[0].provider, "lost"),), occupied=(peers[1].provider,))
    plan = match(peers, asked)
    assert [(placed.shard, placed.window.candidate.label) for placed in plan.placements] == [(2, "c")]


def test_verdicts_name_chosen_outbid_and_refused_in_this_order() -> None:
    peers = [
        candidate("dirty", grid_g_per_kwh=(700,) * 6),
        candidate("small", memory_mb=4096),
        candidate("clean", grid_g_per_kwh=(20,) * 6),
        candidate("late", grid_g_per_kwh=(30,) * 6, free_units=(0, 0, 0, 1, 1, 1)),
    ]
    plan = match(peers, demand())
    assert [(choice.candidate.label, choice.verdict) for choice in plan.choices] == [
        ("clean", Verdict.CHOSEN),
        ("late", Verdict.OUTBID),
        ("dirty", Verdict.OUTBID),
        ("small", Verdict.REFUSED),
    ]


def test_nothing_to_choose_from() -> None:
    plan = match([], demand())
    assert plan.placements == ()
    assert plan.start_slot is None
    assert plan.relaxation is not None
    assert plan.relaxation.text == "no bids at all: no provider answered"


def test_bid_without_slots_is_refused() -> None:
    plan = match([candidate(free_units=(), surplus_j=(), grid_g_per_kwh=())], demand())
    assert [choice.verdict for choice in plan.choices] == [Verdict.REFUSED]


def test_one_slot() -> None:
    one = candidate(free_units=(1,), surplus_j=(0,), grid_g_per_kwh=(360,))
    plan = match([one], demand(slots=1, deadline_slot=FIRST_SLOT + 1))
    assert plan.start_slot == FIRST_SLOT


def test_more_shards_than_peers_is_declined_and_explained() -> None:
    plan = match([candidate("a"), candidate("b")], demand(shards=(0, 1, 2)))
    assert plan.placements == ()
    assert [choice.verdict for choice in plan.choices] == [Verdict.INCOMPLETE] * 2
    assert plan.relaxation is not None
    assert plan.relaxation.text == "shards 3 -> 2"


def test_placement_as_it_stands_in_an_award() -> None:
    plan = match([candidate()], demand(shards=(3,)))
    placement = plan.placements[0].placement()
    assert (placement.shard, placement.provider, placement.bid) == (3, digest("provider sol"), digest("bid sol"))
    assert (placement.energy_j, placement.carbon_ug) == (plan.energy_j, plan.carbon_ug)
