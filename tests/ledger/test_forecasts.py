"""How far a provider's forecasts count: what it signed in bids, held against what it attested later."""

from __future__ import annotations

import pytest

from ledger.forecasts import OBSERVATIONS_MAX, OBSERVATIONS_MIN, UNPROVEN_PERMILLE, reliability_permille
from ledger.state import TrackRecord
from protocol.envelope import Entry
from tests.builders import FIRST_SLOT, SLOT_MS, History

from .scenes import OWNER, PROVIDER

FORETOLD_J = 10_000
BEFORE = FIRST_SLOT - 1


def bids(history: History, *surplus_s20_j: int, first_slot: int = FIRST_SLOT) -> Entry:
    """The provider foretells these slots."""
    length = len(surplus_s20_j)
    return history.bid(
        PROVIDER,
        history.job(OWNER),
        first_slot=first_slot,
        free_units=(4,) * length,
        surplus_s50_j=surplus_s20_j,
        surplus_s20_j=surplus_s20_j,
        grid_g_per_kwh=(360,) * length,
    )


def bidder() -> History:
    """An offer, one slot before those that are foretold."""
    history = History()
    history.now_ms = BEFORE * SLOT_MS
    history.offer(PROVIDER)
    return history


def attests(history: History, energy_j: int, method: str = "metered") -> None:
    """The slot goes by, and its surplus is attested."""
    history.now_ms = (history.now_ms // SLOT_MS + 1) * SLOT_MS
    history.attestation(PROVIDER, energy_j=energy_j, method=method)


def observed(*attested_j: int, foretold_j: int = FORETOLD_J) -> History:
    """One forecast for so many slots, and what became of them."""
    history = bidder()
    bids(history, *(foretold_j,) * len(attested_j))
    history.now_ms += SLOT_MS
    for energy_j in attested_j:
        attests(history, energy_j)
    attests(history, 0)  # closes the last of them
    return history


def observations(history: History) -> list[tuple[int, int]]:
    return history.state.tracks[PROVIDER.public].observations


def reliability(history: History) -> int:
    """That of a bid signed now."""
    return history.state.bids[bids(history, FORETOLD_J).id].reliability_permille


def test_a_first_bid_counts_as_an_unproven_ones() -> None:
    assert reliability(bidder()) == UNPROVEN_PERMILLE


def test_forecasts_that_came_true_count_whole_once_there_are_enough() -> None:
    assert reliability(observed(*(FORETOLD_J,) * (OBSERVATIONS_MIN - 1))) == UNPROVEN_PERMILLE
    assert reliability(observed(*(FORETOLD_J,) * OBSERVATIONS_MIN)) == 1000


def test_more_than_was_foretold_counts_as_what_was_foretold() -> None:
    assert reliability(observed(*(9 * FORETOLD_J // 8,) * OBSERVATIONS_MIN)) == 1000


def test_the_worst_fifth_of_the_energy_is_forgiven_and_no_more() -> None:
    good = (FORETOLD_J,) * 8
    assert reliability(observed(0, 4000, *good)) == 1000
    assert reliability(observed(0, 4000, 6000, *good[:-1])) == 600


def test_a_few_bad_slots_count_before_there_are_enough_for_good_ones() -> None:
    assert reliability(observed(3000, 3000)) == 300


def test_a_boast_outweighs_many_forecasts_of_next_to_nothing() -> None:
    track = TrackRecord(observations=[(1000, 1)] * 20 + [(50, FORETOLD_J)])
    assert reliability_permille(track) == 50


def test_a_slot_that_was_foretold_and_not_attested_counts_as_nothing() -> None:
    history = bidder()
    bids(history, *(FORETOLD_J,) * 2)
    history.now_ms += SLOT_MS
    history.now_ms += SLOT_MS  # the first of them goes by in silence
    attests(history, FORETOLD_J)
    attests(history, 0)
    assert observations(history) == [(0, FORETOLD_J), (1000, FORETOLD_J)]


def test_whoever_attests_no_more_is_found_out_at_its_next_bid() -> None:
    history = bidder()
    bids(history, *(FORETOLD_J,) * 3)
    history.now_ms += 3 * SLOT_MS
    bids(history, FORETOLD_J, first_slot=FIRST_SLOT + 3)
    assert observations(history) == [(0, FORETOLD_J)]  # the others may still be on their way
    history.now_ms += 2 * SLOT_MS
    bids(history, FORETOLD_J, first_slot=FIRST_SLOT + 5)
    assert observations(history) == [(0, FORETOLD_J)] * 3


def test_the_highest_of_several_forecasts_counts() -> None:
    history = bidder()
    for forecast_j in (1000, FORETOLD_J, 2000):
        bids(history, forecast_j)
    history.now_ms += SLOT_MS
    attests(history, 5000)
    attests(history, 0)
    assert observations(history) == [(500, FORETOLD_J)]


def test_what_is_signed_in_a_slot_foretells_later_ones_only() -> None:
    history = bidder()
    bids(history, 1, 2, 3, first_slot=BEFORE - 1)
    assert [*history.state.tracks[PROVIDER.public].due] == [BEFORE + 1]


def test_a_bid_for_slots_that_never_come_foretells_nothing() -> None:
    history = bidder()
    bids(history, *(FORETOLD_J,) * 256, first_slot=2**52)
    assert history.state.tracks[PROVIDER.public].due == {}


def test_a_slot_without_forecast_surplus_says_nothing() -> None:
    assert observations(observed(0, 0, foretold_j=0)) == []


def test_attestations_below_the_networks_assurance_do_not_make_a_forecast_true() -> None:
    history = bidder()
    bids(history, FORETOLD_J, FORETOLD_J)
    history.now_ms += SLOT_MS
    for method in ("modelled", "metered"):
        attests(history, FORETOLD_J, method)
    attests(history, 0)
    assert [ratio for ratio, _ in observations(history)] == [0, 1000]


def test_an_attestation_over_two_slots_counts_in_each_for_its_time() -> None:
    history = bidder()
    bids(history, FORETOLD_J, FORETOLD_J)
    history.now_ms = (FIRST_SLOT + 2) * SLOT_MS
    start_ms = FIRST_SLOT * SLOT_MS + SLOT_MS // 2
    history.attestation(PROVIDER, start_ms=start_ms, energy_j=9000)
    attests(history, 0)
    assert [ratio for ratio, _ in observations(history)] == [300, 600]


def test_what_running_leases_draw_was_foretold_too() -> None:
    history = bidder()
    job = history.job(OWNER)
    award = history.award(job, history.placement(history.bid(PROVIDER, job, surplus_s20_j=(0,) * 10)))
    history.lease(award)  # 36,000 J in three slots
    bids(history, 8000)
    assert history.state.tracks[PROVIDER.public].due == {FIRST_SLOT: (20_000, 0)}


def test_only_the_latest_observations_are_kept() -> None:
    history = bidder()
    bids(history, *(FORETOLD_J,) * (OBSERVATIONS_MAX + 10))
    history.now_ms += SLOT_MS
    for slot in range(OBSERVATIONS_MAX + 10):
        attests(history, 0 if slot < 10 else FORETOLD_J)
    attests(history, 0)
    assert observations(history) == [(1000, FORETOLD_J)] * OBSERVATIONS_MAX


def test_a_bid_keeps_the_reliability_that_it_was_signed_with() -> None:
    history = observed(*(FORETOLD_J,) * OBSERVATIONS_MIN)
    signed = bids(history, FORETOLD_J, first_slot=history.now_ms // SLOT_MS + 1)
    for _ in range(4):
        history.now_ms += SLOT_MS
        attests(history, 0)
    assert history.state.bids[signed.id].reliability_permille == 1000
    assert reliability(history) == 1000  # one bad slot of nine is forgiven


@pytest.mark.parametrize("count", [0, 1, OBSERVATIONS_MIN, OBSERVATIONS_MAX])
def test_reliability_is_between_nothing_and_all(count: int) -> None:
    assert 0 <= reliability_permille(TrackRecord(observations=[(0, 1)] * count)) <= 1000
    assert reliability_permille(TrackRecord(observations=[(1000, 1)] * count)) <= 1000
