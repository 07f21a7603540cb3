"""Readings, meters' keys and auditors in a network: who is believed how far, and what becomes of bad input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from node.api import energy_views, views
from node.energy.supply import SupplyReading
from node.events import MessageReceived
from node.sim.world import World, keypair_of
from protocol.direct import Entries, encode_direct
from protocol.envelope import NO_PREV, Entry, seal
from protocol.identity import KeyPair
from protocol.messages import Place
from protocol.units import MS_PER_HOUR
from tests.builders import attestation
from tests.devices import device
from tests.signatures import sealed

from .metered import AUDITOR, AUDITOR_SITE, METER, Metered, approve, audited, declare, device_of, levels, meter
from .worlds import (
    HYDRO,
    LEAD,
    NIGHT,
    SOLAR,
    WIND,
    assert_all_is_well,
    is_closed,
    job,
    placements,
    record_of,
    settle,
    world,
)


def prepared(name: str = WIND, key: KeyPair | None = None, **changes: Any) -> World:
    """A site is metered, its device declared and approved."""
    demo = audited()
    meter(demo, name, key, **changes)
    declared = device_of(demo, name, key=key and key.public, device_id=changes.get("device_id", f"{name}-meter"))
    approve(demo, name, declared)
    declare(demo, name, declared)
    return demo


# --- assurance --------------------------------------------------------------------------------------------------------


def test_an_approved_device_is_attested_at_a2() -> None:
    demo = prepared()
    demo.run(25_000)
    assert levels(demo, WIND)[-1] == 2
    assert demo.node(WIND).attesting.unaudited == ""
    assert levels(demo, HYDRO)[-1] == 0, "what is declared and modelled stays at A0"
    assert_all_is_well(demo)


def test_a_meter_with_a_key_of_its_own_makes_a3() -> None:
    demo = prepared(key=METER)
    demo.run(25_000)
    assert levels(demo, WIND)[-1] == 3
    assert_all_is_well(demo)


def test_a_meters_signature_that_is_not_declared_is_not_used() -> None:
    demo = audited()
    meter(demo, WIND, METER)
    demo.run(25_000)
    assert levels(demo, WIND)[-1] == 1
    assert demo.hosts[WIND].told("meter's signature unused")
    assert_all_is_well(demo)


def test_a_job_draws_on_audited_surplus_alone() -> None:
    demo = prepared()
    demo.run(45_000)  # the newest attestations that bids show are audited
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(is_closed(demo, job_id), within_ms=100_000)
    surplus_j = {
        name: sum(row.surplus_j for r in p.lease.receipts for row in r.receipt.energy)
        for name, p in placements(demo, job_id).items()
        if p.lease is not None
    }
    assert surplus_j[WIND] > 0
    assert sum(surplus_j.values()) == surplus_j[WIND]
    assert_all_is_well(demo)


def test_a_jobs_own_auditor_counts_for_it() -> None:
    demo = audited(genesis={"surplus_assurance_min": 2})  # none in the genesis
    meter(demo, WIND)
    approve(demo, WIND, device_of(demo, WIND))
    declare(demo, WIND, device_of(demo, WIND))
    trusted = job(demo, auditors=(keypair_of(AUDITOR_SITE).public,))
    job_id = demo.submit(LEAD, trusted)
    demo.run_until(is_closed(demo, job_id), within_ms=100_000)
    assert set(levels(demo, WIND)) == {0, 1}
    lease = placements(demo, job_id)[WIND].lease
    assert lease is not None
    assert any(row.surplus_j for r in lease.receipts for row in r.receipt.energy)
    assert_all_is_well(demo)


# --- without an auditor -----------------------------------------------------------------------------------------------


def test_without_a_reachable_auditor_it_is_a1_and_said() -> None:
    demo = prepared()
    demo.crash(AUDITOR)
    demo.run(45_000)
    assert levels(demo, WIND, at=LEAD)[-1] == 1
    assert demo.node(WIND).attesting.unaudited == "none of 1 auditors is connected"


def test_an_auditor_that_does_not_answer_is_waited_for_and_done_without() -> None:
    demo = prepared()
    demo.hosts[AUDITOR].is_silent_auditor = True
    demo.run(25_000)
    assert levels(demo, WIND)[-1] == 1
    assert demo.node(WIND).attesting.unaudited.endswith("did not answer")
    assert_all_is_well(demo)


def test_receipts_wait_for_the_auditor_of_their_last_joules() -> None:
    demo = prepared()
    demo.hosts[AUDITOR].is_silent_auditor = True
    job_id = demo.submit(LEAD, job(demo))
    demo.run_until(is_closed(demo, job_id), within_ms=100_000)
    settle(demo)
    for placement in record_of(demo, LEAD, job_id).placements:
        assert placement.lease is not None
        assert placement.lease.is_over
    assert_all_is_well(demo)


def test_a_device_that_is_not_approved_is_refused_by_number_and_reason() -> None:
    demo = audited()
    meter(demo, WIND)
    demo.run(25_000)
    assert levels(demo, WIND)[-1] == 1
    assert "refused: check 2: device 'esbjerg-wind-meter' of" in demo.node(WIND).attesting.unaudited


def test_the_auditor_signs_no_joule_for_two_owners() -> None:
    shared = "mastr:SEE900000000001"
    demo = prepared(device_id=shared)
    meter(demo, HYDRO, device_id="MaStR: SEE-900000000001")
    claimed = device_of(demo, HYDRO, device_id=shared)
    approve(demo, HYDRO, claimed)
    declare(demo, HYDRO, claimed)
    demo.run(25_000)
    assert sorted([levels(demo, WIND)[-1], levels(demo, HYDRO)[-1]]) in ([1, 1], [1, 2])
    assert "check 5" in demo.node(HYDRO).attesting.unaudited + demo.node(WIND).attesting.unaudited


def test_a_reading_that_contradicts_the_declared_device_is_not_attested() -> None:
    demo = audited()
    meter(demo, WIND)
    declare(demo, WIND, device_of(demo, WIND, capacity_w=1))
    before = len(levels(demo, WIND))
    demo.run(25_000)
    assert len(levels(demo, WIND)) == before
    (notice, *_) = demo.hosts[WIND].told("reading not attested")
    assert "exceeds the device's 1" in notice.data["reason"]
    assert_all_is_well(demo)


class BegunAnew(Metered):
    """A counter that stands at nothing again, as a replaced device's."""

    def read(self, start_ms: int, end_ms: int) -> SupplyReading:
        reading = super().read(start_ms, end_ms)
        return replace(reading, meter_start_j=0, meter_end_j=reading.energy_j)


def test_a_counter_that_begins_anew_fills_no_feed_with_what_counts_for_nothing() -> None:
    demo = prepared()
    demo.run(25_000)
    before, host = len(levels(demo, WIND)), demo.hosts[WIND]
    assert energy_views.assurance(demo.node(WIND)) == 2
    supply = host.source
    host.source = BegunAnew(supply, demo.genesis.network_id(), host.key, None)
    demo.run(25_000)
    assert len(levels(demo, WIND)) == before
    assert not host.told("own entry void")
    assert "is below the device's last" in demo.node(WIND).attesting.refused
    promised = demo.node(WIND).provider.forecast
    assert promised is not None
    assert set(promised.surplus_s50_j) == {0}
    assert energy_views.assurance(demo.node(WIND)) == 0, "nothing counts, so nothing says that it does"
    (reason,) = [found for found in views.not_ready(demo.node(WIND), demo.now_ms) if found.concern == "energy"]
    assert reason.text.startswith("not attested, power counts as grid: check 5: meter_start_j 0 is below")
    host.source = supply
    demo.run(25_000)
    assert len(levels(demo, WIND)) > before
    assert demo.node(WIND).attesting.refused == ""
    assert energy_views.assurance(demo.node(WIND)) == 2


class Stepping(Metered):
    """A counter that rises by a kilowatt, whatever the sun does."""

    def read(self, start_ms: int, end_ms: int) -> SupplyReading:
        reading = super().read(start_ms, end_ms)
        return replace(reading, energy_j=end_ms - start_ms, meter_start_j=start_ms, meter_end_j=end_ms)


def test_no_more_is_claimed_than_the_ledger_believes() -> None:
    demo = audited()
    for name in (NIGHT, HYDRO):
        host = demo.hosts[name]
        host.source = Stepping(host.source, demo.genesis.network_id(), host.key, None)
    demo.run(25_000)
    for name, most_w in ((NIGHT, 2.5), (HYDRO, demo.hosts[HYDRO].site.energy.capacity_w)):
        newest = demo.node(AUDITOR).ledger.state.attestations_of[demo.hosts[name].key][-1]
        assert newest.energy_j == pytest.approx(most_w * (newest.end_ms - newest.start_ms) / 1000, abs=1)
        assert (
            "the counter rose by more than the source can give"
            in demo.hosts[name].told("reading cut")[0].data["reason"]
        )
    assert_all_is_well(demo)


# --- bad input --------------------------------------------------------------------------------------------------------

CHEAT, THIEF = (KeyPair(name.ljust(32, b"\0")) for name in (b"cheat", b"thief"))


def feed(in_world: World, *bodies: Any) -> list[Entry]:
    """These bodies, one after the other, in the cheat's feed."""
    entries: list[Entry] = []
    for body in bodies:
        kind = "device" if "tilt_degrees" in type(body).model_fields else "attestation"
        previous = entries[-1] if entries else None
        entries.append(
            seal(
                CHEAT,
                network=in_world.genesis.network_id(),
                kind=kind,
                seq=len(entries),
                prev=previous.id if previous else NO_PREV,
                time_ms=in_world.now_ms,
                refs=(),
                body=body.model_dump(),
            )
        )
    return entries


def bad_attestations(in_world: World) -> dict[str, tuple[list[Any], str]]:
    """What is signed, and why the last of it counts for nothing."""
    now_ms, network = in_world.now_ms, in_world.genesis.network_id()
    good = attestation(start_ms=now_ms - 60_000, end_ms=now_ms)

    def changed(**changes: Any) -> Any:
        return good.model_copy(update=changes)

    next_minute = {"start_ms": now_ms - 30_000, "meter_start_j": 12_000, "meter_end_j": 24_000}
    return {
        "it ends before it starts": ([changed(end_ms=now_ms - 60_001)], "check 1: end_ms - start_ms is -1"),
        "it spans more than an hour": (
            [changed(start_ms=now_ms - MS_PER_HOUR - 1)],
            "check 1: end_ms - start_ms is 3600001, 1 to 3600000 are allowed",
        ),
        "it overlaps": ([good, changed(**next_minute)], "check 5: start_ms"),
        "its counter has gone back": (
            [changed(start_ms=now_ms - 120_000, end_ms=now_ms - 60_000), good],
            "check 5: meter_start_j 0 is below the device's last, 12000",
        ),
        "it claims the sun at night": (
            [
                changed(
                    carrier="solar", place=Place(zone="AU-NSW", latitude_decidegrees=-339, longitude_decidegrees=1512)
                )
            ],
            "check 11: energy_j 12000 exceeds 150: the sun stays below -1 degree",
        ),
        "its counter runs backwards": ([changed(meter_end_j=0)], "check 3: energy_j 12000 exceeds the counter's"),
        "it claims a place in the sea of another zone": (
            [changed(place=Place(zone="DE", latitude_decidegrees=134, longitude_decidegrees=525))],
            "check 10: latitude_decidegrees 134, longitude_decidegrees 525 is more than 100 km from zone DE",
        ),
        "it is signed by a key that does not own the device": (
            [device(key=METER.public), sealed(good, CHEAT, THIEF, network)],
            "check 7: meter.key",
        ),
    }


@pytest.mark.parametrize("name", bad_attestations(world()))
def test_bad_input_is_void_by_number_and_reason_at_every_peer_alike(name: str) -> None:
    demo = world()
    bodies, reason = bad_attestations(demo)[name]
    entries = feed(demo, *bodies)
    message = Entries(entries=tuple(entry.raw for entry in entries), more=False)
    demo.handle(SOLAR, MessageReceived(CHEAT.public, encode_direct(message)))
    settle(demo)
    for host in demo.alive():
        voids = demo.node(host.name).ledger.state.voids
        assert voids.keys() == {entries[-1].id}
        assert voids[entries[-1].id].startswith(reason)
