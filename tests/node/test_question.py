"""Facts about what the matching is told of a bid: whose surplus counts, and how far."""

from __future__ import annotations

import pytest

from ledger.forecasts import UNPROVEN_PERMILLE
from node.market.question import candidate_of_bid, demand_of_job
from node.matching.bids.demand import Candidate
from node.matching.bids.match import match
from protocol.envelope import Entry
from tests.builders import FIRST_SLOT, SLOT_MS, History
from tests.matched import OWNER, PROVIDERS

SURPLUS_J = 9000
PROVIDER, OTHER = PROVIDERS[0], PROVIDERS[1]


def bid(history: History, job: Entry, attested_by: str = "metered", **changes: object) -> Entry:
    """By a provider that shows what it attested of the slot before."""
    history.offer(PROVIDER)
    shown = history.attestation(PROVIDER, method=attested_by).id
    return history.bid(PROVIDER, job, shown, attestations=(shown,), **changes)


def seen(history: History, entry: Entry) -> Candidate:
    return candidate_of_bid(history.state.bids[entry.id], history.state, "a peer")


@pytest.mark.parametrize(
    ("assurance_min", "method", "counts"), [(1, "metered", True), (1, "modelled", False), (0, "modelled", True)]
)
def test_surplus_below_the_networks_assurance_counts_as_grid(assurance_min: int, method: str, counts: bool) -> None:
    history = History(surplus_assurance_min=assurance_min)
    job = history.job(OWNER, shards=1)
    candidate = seen(history, bid(history, job, method))
    assert candidate.surplus_j == ((SURPLUS_J * UNPROVEN_PERMILLE // 1000 if counts else 0),) * 10
    demand = demand_of_job(history.state.jobs[job.id].job, job.id, SLOT_MS, shards=(0,), slots=3, first_slot=FIRST_SLOT)
    (placed,) = match([candidate], demand).placements
    assert (placed.window.intensity_g_per_kwh < 360) is counts


def test_surplus_that_nobody_attested_counts_as_grid() -> None:
    history = History()
    history.offer(PROVIDER)
    assert set(seen(history, history.bid(PROVIDER, history.job(OWNER))).surplus_j) == {0}


def test_surplus_that_another_attested_counts_as_grid() -> None:
    history = History()
    history.offer(PROVIDER)
    shown = history.attestation(OTHER).id
    entry = history.bid(PROVIDER, history.job(OWNER), shown, attestations=(shown,))
    assert set(seen(history, entry).surplus_j) == {0}


def test_surplus_counts_as_far_as_earlier_forecasts_came_true() -> None:
    history = History()
    job = history.job(OWNER)
    history.now_ms = (FIRST_SLOT - 1) * SLOT_MS
    bid(history, job)
    for _ in range(10):
        history.now_ms += SLOT_MS
        history.attestation(PROVIDER, energy_j=SURPLUS_J // 3)
    history.now_ms += SLOT_MS
    entry = bid(history, job, first_slot=history.now_ms // SLOT_MS)
    assert set(seen(history, entry).surplus_j) == {SURPLUS_J * 333 // 1000}


def test_a_node_is_no_newcomer_to_itself() -> None:
    history = History()
    own = history.job(PROVIDER)
    others = history.job(OWNER)
    history.offer(PROVIDER)
    assert not seen(history, history.bid(PROVIDER, own)).newcomer
    assert seen(history, history.bid(PROVIDER, others)).newcomer
