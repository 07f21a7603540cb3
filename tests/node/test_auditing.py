"""A job's audit: an award that follows from its record passes; whatever was bent is found and named."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from ledger.state import AttestationRecord, State
from node.accounts.auditing import AwardAudit, JobAudit, audit, recorded_matchings
from node.market.question import rival_of_job
from node.matching.bids.demand import Candidate, Demand
from node.matching.bids.match import match
from node.matching.bids.record import read, record
from node.matching.bids.turns import yielded
from tests.builders import FIRST_SLOT, SLOT_MS, digest, keypair
from tests.matched import OWNER, PROVIDERS, Matched, bidding, matched

Bend = Callable[[tuple[Candidate, ...], Demand], tuple[tuple[Candidate, ...], Demand]]


def audited(scene: Matched) -> JobAudit:
    state = scene.history.state
    return audit(state.jobs[scene.job.id], state, scene.records.get)


def only_award(scene: Matched) -> AwardAudit:
    (award,) = audited(scene).awards
    return award


def bent(bend: Bend, scene: Matched | None = None) -> AwardAudit:
    """An award whose record was bent before it was named; what the matching makes of the bent one is awarded, so that
    nothing but the bending is wrong."""
    scene = scene or bidding()
    instance, _ = scene.match(0, 1)
    candidates, demand = bend(*read(scene.records[instance]))
    raw = record(candidates, demand)
    scene.records[sha256(raw).digest()] = raw
    placements = tuple(placed.placement() for placed in match(yielded(candidates, demand), demand).placements)
    award = scene.award(sha256(raw).digest(), placements)
    assert scene.history.void(award) is None
    return only_award(scene)


def first_candidate(**changes: Any) -> Bend:
    return lambda candidates, demand: ((replace(candidates[0], **changes), *candidates[1:]), demand)


def changed_demand(**changes: Any) -> Bend:
    return lambda candidates, demand: (candidates, replace(demand, **changes))


def rival(**changes: Any) -> Bend:
    """The job as a rival of its own, with one field changed."""
    return lambda candidates, demand: (candidates, replace(demand, rivals=(replace(demand, **changes),)))


# --- what follows -----------------------------------------------------------------------------------------------------


def test_awards_that_follow_pass_from_the_bids_to_the_settlements() -> None:
    found = audited(matched())
    assert found.ok
    assert [(award.follows, award.findings, award.candidates) for award in found.awards] == [(True, (), 3)] * 2
    assert found.awards[1].excluded == ((found.job.placements[1].placement.provider, "unreachable"),)


def test_a_job_without_awards_has_nothing_to_hide() -> None:
    assert audited(bidding()).ok


def test_free_units_may_lack_what_was_leased_before_the_matching() -> None:
    scene = bidding()
    instance, placements = scene.match(0, 1)
    first = scene.award(instance, placements)
    scene.history.lease(first, 0)
    scene.history.lease(first, 1)
    scene.history.revocation(first, 1)
    scene.award(*scene.match(1))  # its record counts the leases, those of later audits more
    assert audited(scene).ok


def test_an_award_that_left_something_to_a_rival_follows() -> None:
    scene = bidding()
    state = scene.history.state
    rival = scene.history.job(keypair(9), shards=1, units_per_shard=4)
    _, alone = scene.match(0, 1)
    instance, placements = scene.match(0, 1, rivals=(rival_of_job(state.jobs[rival.id].job, rival.id, SLOT_MS),))
    scene.award(instance, placements)
    assert {p.provider for p in placements} != {p.provider for p in alone}
    assert audited(scene).ok


def test_an_award_of_many_placements_comes_in_parts() -> None:
    providers = [keypair(n) for n in range(20, 37)]
    scene = bidding(providers=providers, shards=17)
    instance, placements = scene.match(*range(17))
    scene.award(instance, placements[:15])
    scene.award(instance, placements[15:])
    assert [award.findings for award in audited(scene).awards] == [(), ()]
    assert recorded_matchings(audited(scene).job) == (instance,)


def test_bidders_that_the_record_lacks_are_named_and_are_no_finding() -> None:
    scene = bidding()
    instance, placements = scene.match(0, 1)
    late = keypair(7)
    scene.history.offer(late)
    scene.history.bid(late, scene.job)
    scene.award(instance, placements)
    award = only_award(scene)
    assert award.follows is True
    assert award.left_out == (late.public,)


# --- what does not ----------------------------------------------------------------------------------------------------


def test_a_record_that_is_not_at_hand_is_not_counted_as_checked() -> None:
    scene = matched()
    scene.records.clear()
    found = audited(scene)
    assert not found.ok
    assert [award.follows for award in found.awards] == [None, None]
    assert "check 1: the recorded matching" in found.awards[0].findings[0]


def test_a_record_of_another_hash_is_refused() -> None:
    scene = bidding()
    instance, placements = scene.match(0, 1)
    scene.award(instance, placements)
    scene.records[instance] += b"\0"
    award = only_award(scene)
    assert award.findings == ("check 1: the record is not of the hash that the award names",)


def test_a_record_that_cannot_be_read_is_refused() -> None:
    scene = bidding()
    _, placements = scene.match(0, 1)
    scene.records[sha256(b"no record").digest()] = b"no record"
    scene.award(sha256(b"no record").digest(), placements)
    assert only_award(scene).findings[0].startswith("check 2: not a recorded matching instance")


def test_an_award_that_names_another_matcher_is_refused() -> None:
    scene = bidding()
    instance, placements = scene.match(0, 1)
    scene.award(instance, placements, matcher="favourites/1")
    assert only_award(scene).findings == ("check 2: the award names matcher 'favourites/1', its record 'greedy/2'",)


def test_a_placement_that_the_matching_does_not_give_is_refused() -> None:
    scene = bidding()
    instance, placements = scene.match(0, 1)
    swapped = (replace_placement(placements[0], shard=1), replace_placement(placements[1], shard=0))
    scene.award(instance, swapped)
    award = only_award(scene)
    assert award.follows is False
    assert len(award.findings) == 2
    assert award.findings[0].startswith(
        f"check 5: shard 1 was awarded to {placements[0].provider.hex()[:16]}, slots 100"
    )


def replace_placement(placement: Any, **changes: Any) -> Any:
    return placement.model_copy(update=changes)


def test_a_bidder_that_was_not_chosen_is_named_with_its_shard() -> None:
    scene = bidding()
    instance, placements = scene.match(0)
    other = next(bid for p, bid in scene.history.state.jobs[scene.job.id].bids.items() if p != placements[0].provider)
    favourite = replace_placement(placements[0], provider=other.provider, bid=other.id)
    scene.award(instance, (favourite,))
    (finding,) = only_award(scene).findings
    assert f"awarded to {other.provider.hex()[:16]}" in finding
    assert f"the matching places it on {placements[0].provider.hex()[:16]}" in finding


def test_a_shard_that_the_matching_did_not_place_is_refused() -> None:
    scene = bidding()
    instance, placements = scene.match(0)
    scene.award(instance, (replace_placement(placements[0], shard=1),))
    assert only_award(scene).findings[0].endswith("the matching places it nowhere")


def test_a_part_of_a_plan_that_no_award_carries_is_refused() -> None:
    scene = bidding()
    instance, placements = scene.match(0, 1)
    scene.award(instance, placements[1:])
    assert only_award(scene).findings == (
        "check 5: its placements are a part of the plan that no award of it would carry",
    )


@pytest.mark.parametrize(
    ("bend", "finding"),
    [
        (
            changed_demand(price_max_microcredits_per_unit_hour=299_999),
            "price_max_microcredits_per_unit_hour 299999, the",
        ),
        (changed_demand(memory_mb=1), "memory_mb 1, the job says 1024"),
        (changed_demand(slot_ms=SLOT_MS - 1), "slot_ms 59999, the job says 60000"),
        (changed_demand(shards_per_peer=2), "shards_per_peer 2, the job says 1"),
        (changed_demand(deadline_slot=FIRST_SLOT + 11), "are not within the job's"),
        (changed_demand(occupied=(digest("nobody"),)), "holds no shard of the job"),
        (rival(job=digest("nobody")), "is no job of the ledger"),
        (rival(memory_mb=1), "rivals (Demand("),
    ],
)
def test_a_question_that_is_not_the_jobs_is_refused(bend: Bend, finding: str) -> None:
    award = bent(bend)
    assert award.follows is False
    assert any(each.startswith("check 3: ") and finding in each for each in award.findings)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"peak_w": 99}, "peak_w 99, the bid says 100"),
        ({"price_microcredits_per_unit_hour": 1}, "price_microcredits_per_unit_hour 1, the bid says 200000"),
        ({"grid_g_per_kwh": (359,) * 10}, "grid_g_per_kwh (359,"),
        ({"surplus_j": (1,) * 10}, "surplus_j (1, 1"),
        ({"zone": "FR"}, "zone 'FR', the bid says 'DE'"),
        ({"free_units": (5,) + (4,) * 9}, "free_units 5 in slot 100: the bid says 4, with 0 of 4 leased by now"),
        ({"free_units": (3,) + (4,) * 9}, "free_units 3 in slot 100"),
    ],
)
def test_a_candidate_that_is_not_as_its_bid_says_is_refused(change: dict[str, Any], finding: str) -> None:
    award = bent(first_candidate(**change))
    assert award.follows is False
    assert any(each.startswith("check 4: candidate ") and finding in each for each in award.findings)


def test_whom_its_owner_has_not_settled_with_is_a_newcomer_whatever_the_record_says() -> None:
    award = bent(first_candidate(newcomer=False))
    (finding,) = award.findings
    assert finding.startswith("check 4: candidate ")
    assert finding.endswith("newcomer False, but the owner had settled no work of it before this award")


def test_work_that_is_settled_after_an_award_does_not_excuse_it() -> None:
    scene = bidding()
    found = bent(first_candidate(newcomer=False), scene)
    award = next(entry for entry in scene.history.entries if entry.id == found.award)
    leases = [scene.history.lease(award, shard) for shard in (0, 1)]
    scene.history.now_ms += SLOT_MS
    for lease in leases:
        scene.deliver(lease)
    assert only_award(scene).findings == found.findings != ()


def test_whose_work_was_settled_before_is_no_newcomer_in_the_next_job() -> None:
    scene = matched()
    settled = {lease.provider for lease in scene.history.state.leases.values() if lease.is_over}
    again = Matched(scene.history, scene.history.job(OWNER))
    for provider in PROVIDERS:
        scene.history.bid(provider, again.job)
    instance, placements = again.match(0, 1)
    again.award(instance, placements)
    assert only_award(again).findings == ()
    candidates, _ = read(again.records[instance])
    assert {candidate.provider for candidate in candidates if not candidate.newcomer} == settled != set()


def test_an_invented_bid_is_refused() -> None:
    award = bent(first_candidate(bid=digest("invented"), peak_w=100_000))
    assert "does not count: it is not in the ledger" in award.findings[0]


def test_a_bid_that_is_void_is_refused_with_its_reason() -> None:
    scene = bidding()
    anothers = scene.history.state.offer_of[PROVIDERS[1].public].id
    void = scene.history.bid(PROVIDERS[0], scene.job, offer=anothers)
    why = scene.history.void(void)
    assert why is not None
    award = bent(first_candidate(bid=void.id, peak_w=100_000), scene)
    assert any(why in finding for finding in award.findings)


def test_a_bid_for_another_job_is_refused() -> None:
    scene = bidding()
    other = scene.history.job(OWNER, name="other")
    elsewhere = scene.history.bid(PROVIDERS[0], other)
    award = bent(first_candidate(bid=elsewhere.id, peak_w=100_000), scene)
    assert any(f"its bid is for job {other.id.hex()[:16]}" in finding for finding in award.findings)


def test_broken_promises_of_the_ledger_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """No signed history breaks one; this is for the day when a rule has a hole."""
    monkeypatch.setattr("node.accounts.auditing.violations", lambda state: ["slot 7 was oversold"])
    found = audited(matched())
    assert not found.ok
    assert found.violations == ("slot 7 was oversold",)


def test_doubts_about_the_devices_behind_a_job_are_told_and_fail_no_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = matched()
    assert audited(scene).doubts == ()
    asked: list[AttestationRecord] = []

    def doubtful(state: State, records: Iterable[AttestationRecord]) -> list[str]:
        asked.extend(records)
        return ["device 'inverter' yields too much (capacity?)"]

    monkeypatch.setattr("node.accounts.auditing.doubts", doubtful)
    found = audited(scene)
    assert found.ok
    assert "device 'inverter' yields too much (capacity?)" in found.doubts
    claimed = {row.attestation for receipt in scene.history.state.receipts.values() for row in receipt.receipt.energy}
    assert {record.id for record in asked} == claimed - {None}


def test_energy_that_another_owner_claims_too_is_told() -> None:
    scene = matched()
    history = scene.history
    row = next(
        row
        for placement in audited(scene).job.placements
        if placement.lease is not None
        for receipt in placement.lease.receipts
        for row in receipt.receipt.energy
        if row.attestation is not None
    )
    assert row.attestation is not None
    claimed = history.state.attestations[row.attestation]
    claimed.device_id = "mastr:see1"
    body = {"start_ms": claimed.start_ms, "end_ms": claimed.end_ms, "meter_start_j": claimed.meter_start_j}
    history.attestation(keypair(40), device_id="MaStR:SEE-1", **body)
    assert any("claims in attestation" in doubt for doubt in audited(scene).doubts)
