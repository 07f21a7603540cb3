"""What is hard to believe of the devices that a ledger declares, and how an auditor remembers them."""

from __future__ import annotations

import dataclasses

from ledger import solar
from ledger.doubts import DEVICES_MAX, Watch, doubts
from ledger.mounts import Fixed, clear_share, sky_at
from ledger.state import AttestationRecord, State
from tests.builders import History
from tests.devices import panels

from .scenes import PROVIDER

HOUR_MS = 3_600_000
FIRST_DAY = 100  # April 1970: the sun is high enough for what the ledger itself refuses to be out of reach
ROOF = Fixed.at(30, 180)


def attested(performance: float, days: int = 14, declared: bool = True) -> History:
    """A roof in Berlin, hour by hour under clear skies, at this share of what it could yield without losses."""
    history = History()
    if declared:
        history.append(PROVIDER, panels())
    counter_j = 0
    for start_ms in range(FIRST_DAY * solar.DAY_MS, (FIRST_DAY + days) * solar.DAY_MS, HOUR_MS):
        sky = sky_at(start_ms + HOUR_MS // 2, 525, 134)
        energy_j = int(500 * 3600 * clear_share(ROOF, sky) * performance) if sky.up > 0 else 0
        history.now_ms = start_ms + HOUR_MS
        history.attestation(
            PROVIDER,
            carrier="solar",
            start_ms=start_ms,
            end_ms=start_ms + HOUR_MS,
            energy_j=energy_j,
            meter_start_j=counter_j,
            meter_end_j=counter_j + energy_j,
        )
        counter_j += energy_j
    return history


def records(history: History) -> list[AttestationRecord]:
    return history.state.attestations_of[PROVIDER.public]


def before(state: State, count: int) -> State:
    """The state when only so many of the provider's attestations had come."""
    return dataclasses.replace(state, attestations_of={PROVIDER.public: state.attestations_of[PROVIDER.public][:count]})


def test_an_honest_device_is_not_doubted() -> None:
    history = attested(0.8)
    assert len(records(history)) == 14 * 24
    assert doubts(history.state, records(history)) == []


def test_a_device_that_yields_too_much_is_doubted_once_for_each_reason() -> None:
    history = attested(0.97)
    (doubt,) = doubts(history.state, records(history))
    assert doubt.startswith(f"device 'inverter' of {PROVIDER.public.hex()[:8]}: the best tenth of")
    assert doubt.endswith("at most 0.90 is likely (capacity?)")


def test_what_is_not_declared_is_not_looked_at() -> None:
    history = attested(0.97, declared=False)
    assert doubts(history.state, records(history)) == []
    assert Watch().findings(history.state, records(history)[-1]) == ()


def test_doubts_are_about_the_time_of_the_claims_alone() -> None:
    history = attested(0.97)
    assert doubts(history.state, records(history)[: 8 * 24]) == []  # there was no month yet to judge by
    assert doubts(history.state, []) == []


def test_an_auditor_that_has_watched_finds_what_one_finds_that_comes_anew() -> None:
    history = attested(0.97)
    watch = Watch()
    claims = [(count, record) for count, record in enumerate(records(history)) if count % 24 == 12]
    found = [watch.findings(before(history.state, count), record) for count, record in claims]
    assert found == [Watch().findings(before(history.state, count), record) for count, record in claims]
    assert found[3] == ()
    assert any("at most 0.90 is likely (capacity?)" in sentence for sentence in found[-1])


def test_an_auditor_does_not_doubt_an_honest_claim_at_any_hour() -> None:
    history = attested(0.85)
    watch = Watch()
    assert not any(watch.findings(before(history.state, n), record) for n, record in enumerate(records(history)))


def test_an_auditors_memory_is_bounded() -> None:
    history = attested(0.8, days=1)
    watch, record = Watch(), records(history)[12]
    for owner in range(DEVICES_MAX + 10):
        key = owner.to_bytes(32, "big")
        history.state.devices[key, "inverter"] = history.state.devices[PROVIDER.public, "inverter"]
        watch.findings(history.state, dataclasses.replace(record, author=key))
    assert len(watch.known) == DEVICES_MAX
