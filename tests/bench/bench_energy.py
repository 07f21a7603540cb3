"""What every peer computes for every attestation, and what a node computes for a forecast."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ledger.state import State
from ledger.transitions import process_attestation
from node.devnet.sites import DEMO_SITES, NETWORK_TIME_MS
from node.energy.profile import Profile
from protocol.messages import Attestation
from tests.bench import histories
from tests.bench.figures import Figure

ENTRIES = 2_000
AUTHORS = 20


def figures() -> Iterator[Figure]:
    genesis = histories.genesis()
    feeds = histories.feeds(ENTRIES, AUTHORS, genesis.network_id())
    entries = [(entry, Attestation.model_validate(entry.body)) for entry in feeds]
    state = State(genesis.slot_ms, 0)
    began = time.perf_counter()
    for entry, attestation in entries:
        process_attestation(state, entry, attestation)
    per_check_us = (time.perf_counter() - began) / ENTRIES * 1e6
    yield Figure("energy", "checks of one attestation", per_check_us, "us", "ten microseconds", 10.0, 1.0, at_most=True)
    source = Profile(DEMO_SITES[0].energy)
    began = time.perf_counter()
    source.forecast(NETWORK_TIME_MS // 10_000, 256, 10_000)
    seconds = time.perf_counter() - began
    yield Figure(
        "energy", "forecast of 256 slots", seconds * 1e3, "ms", "a hundredth of a slot", 100.0, 1.0, at_most=True
    )
