"""In whatever order entries of different authors arrive, all peers reach the same state, and a sound one."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.audit import violations
from ledger.ledger import Ledger, replay
from ledger.state import State
from protocol.envelope import Entry
from tests.builders import FIRST_SLOT, History, whole_history

from .facts import facts
from .histories import HONEST, any_history, honest_history

seeds = st.integers(0, 2**32 - 1)
STEPS = 60


def shuffled(entries: Iterable[Entry], chance: random.Random) -> list[Entry]:
    """The entries in another order of arrival, each feed in its own."""
    feeds: dict[bytes, list[Entry]] = {}
    for entry in entries:
        feeds.setdefault(entry.author, []).append(entry)
    order = []
    while feeds:
        author = chance.choice([*feeds])
        order += [feeds[author].pop(0) for _ in range(min(chance.randint(1, 5), len(feeds[author])))]
        if not feeds[author]:
            del feeds[author]
    return order


def arrived(history: History, order: Iterable[Entry]) -> Ledger:
    """A ledger that heard the entries in this order; sound after every one."""
    ledger = Ledger(history.ledger.genesis)
    for entry in order:
        ledger.extend(entry, history.now_ms)
        assert violations(ledger.state) == []
    return ledger


def test_facts_leave_nothing_of_a_state_out() -> None:
    told = {"slot_ms", "surplus_assurance_min", "auditors"}  # the network's, not the entries'
    named = {"owed" if f.name == "owed_microcredits" else f.name for f in fields(State)}
    assert named - told <= facts(Ledger(whole_history().ledger.genesis)).keys()


@given(seed=seeds)
@settings(max_examples=50)
def test_every_step_of_an_honest_history_counts_and_leaves_a_sound_state(seed: int) -> None:
    history = honest_history(random.Random(seed), STEPS)
    assert history.state.voids == {}
    assert history.broken == []


@given(seed=seeds)
@settings(max_examples=50)
def test_whatever_anybody_signs_leaves_a_sound_state(seed: int) -> None:
    assert any_history(random.Random(seed), STEPS).broken == []


@given(seed=seeds)
@settings(max_examples=50)
def test_every_refusal_names_its_check_and_the_values(seed: int) -> None:
    """A number, a quoted word, or the first digits of a key: something that the reader can look up."""
    for reason in any_history(random.Random(seed), STEPS).state.voids.values():
        assert re.fullmatch(r"check \d+: .*(\d|'|[0-9a-f]{8}).*", reason), reason


@given(seed=seeds)
@settings(max_examples=50)
def test_the_order_of_arrival_does_not_show_in_an_honest_history(seed: int) -> None:
    chance = random.Random(seed)
    history = honest_history(chance, STEPS)
    for _ in range(3):
        assert facts(arrived(history, shuffled(history.entries, chance))) == facts(history.ledger)


@given(seed=seeds)
@settings(max_examples=50)
def test_the_order_of_arrival_does_not_show_whatever_anybody_signs(seed: int) -> None:
    chance = random.Random(seed)
    history = any_history(chance, STEPS)
    for _ in range(3):
        assert facts(arrived(history, shuffled(history.entries, chance))) == facts(history.ledger)


@given(seed=seeds)
@settings(max_examples=20)
def test_the_units_leased_in_a_slot_are_those_of_the_leases_that_hold_it(seed: int) -> None:
    state = any_history(random.Random(seed), STEPS).state
    for provider, leases in state.leases_of.items():
        for slot in range(FIRST_SLOT - 1, FIRST_SLOT + 12):
            holding = [r for r in leases if r.lease.first_slot <= slot < r.lease.first_slot + r.lease.slots]
            bound = [r for r in holding if r.released_at_slot is None or slot < r.released_at_slot]
            assert state.units_leased(provider, slot) == sum(r.lease.units for r in bound)


def test_the_order_of_arrival_does_not_show_when_feeds_arrive_one_after_the_other() -> None:
    history = whole_history()
    by_author = sorted(history.entries, key=lambda entry: (entry.author, entry.seq))
    for order in (by_author, sorted(history.entries, key=lambda entry: (entry.author[::-1], entry.seq))):
        assert facts(arrived(history, order)) == facts(history.ledger)


def test_a_replay_gives_the_same_ledger() -> None:
    history = whole_history()
    again = replay(history.ledger.genesis, (entry.raw for entry in history.entries))
    assert facts(again) == facts(history.ledger)


@pytest.mark.parametrize("make", [honest_history, any_history])
def test_random_histories_reach_every_kind_of_entry_and_placement(make: object) -> None:
    assert callable(make)
    histories = [make(random.Random(seed), STEPS) for seed in range(20)]
    kinds = {entry.kind for history in histories for entry in history.entries}
    statuses = {placed.status for history in histories for placed in history.state.placements.values()}
    assert len(kinds) == len(HONEST)
    assert len(statuses) == 5
