"""An auditor, one request at a time: each of its checks broken, and all of them kept."""

from __future__ import annotations

import random
from hashlib import sha256
from typing import Any

import pytest

from ledger import plausibility
from ledger.state import AttestationRecord, State
from node.actions import Action, Notify, ReadApprovals, Send
from node.claims.approval import Approval
from node.claims.countersigning import WAITING_MAX, WAITING_PER_PEER_MAX, Countersigning
from node.events import ApprovalsRead
from node.turn import Identity, Turn
from protocol.codec import encode
from protocol.devices import Device, audited_statement
from protocol.direct import Countersigned, WantCountersignature
from protocol.gossip import Topics
from protocol.identity import KeyPair, verify
from protocol.messages import Attestation, Body
from protocol.units import MS_PER_HOUR
from tests.builders import SLOT_MS, History, attestation
from tests.devices import battery, device
from tests.ledger.scenes import OTHER, PROVIDER
from tests.ledger.test_plausibility import sunny
from tests.signatures import AUDITED, AUDITOR, METER, NETWORK, attestation_now, countersigned, sealed

SOUTH: dict[str, Any] = {"carrier": "solar", "tilt_degrees": 30, "azimuth_degrees": 180}
REGISTERED = "mastr:SEE900000000001"


class Scene:
    """The provider's source is declared and approved; so are the other's of the same id in a registry."""

    def __init__(self, **source: Any) -> None:
        self.history = History(**AUDITED)
        self.part = Countersigning()
        self.device = device(**source)
        self.approvals = [Approval(owner=PROVIDER.public, device=self.device)]
        self.history.append(PROVIDER, self.device)

    def turn(self) -> Turn:
        topics, genesis = Topics.of(NETWORK), self.history.ledger.genesis
        identity = Identity(AUDITOR, "auditor", genesis, NETWORK, topics, random.Random(1))
        return Turn(identity, self.history.ledger, self.history.now_ms)

    def ask(self, body: Body, owner: KeyPair = PROVIDER, /, **changes: Any) -> Countersigned:
        kind: Any = "device" if isinstance(body, Device) else "attestation"
        fields = {"kind": kind, "body": encode(body.model_dump())} | changes
        turn = self.turn()
        self.part.on_want(turn, owner.public, WantCountersignature(**fields))
        self.part.on_approvals(turn, ApprovalsRead(tuple(self.approvals)))
        return answer(turn.actions())


def answer(actions: list[Action]) -> Countersigned:
    (message,) = [action.message for action in actions if isinstance(action, Send)]
    assert isinstance(message, Countersigned)
    return message


def assert_refused(message: Countersigned, check: int, complaint: str) -> None:
    assert message.signature is None
    assert (message.check, complaint in message.reason) == (check, True), message.reason


def assert_signed(message: Countersigned, body: Body, owner: KeyPair = PROVIDER) -> None:
    kind = "device" if isinstance(body, Device) else "attestation"
    statement = audited_statement(NETWORK, owner.public, kind, body.model_dump())
    assert message.signature is not None, message.reason
    assert verify(AUDITOR.public, statement, message.signature)
    assert message.body_sha256 == sha256(encode(body.model_dump())).digest()


# --- what it signs ----------------------------------------------------------------------------------------------------


def test_what_was_approved_is_signed() -> None:
    scene = Scene()
    assert_signed(scene.ask(scene.device), scene.device)
    assert_signed(scene.ask(attestation()), attestation())


def test_a_smaller_capacity_than_approved_is_signed() -> None:
    scene = Scene()
    assert_signed(scene.ask(device(capacity_w=499)), device(capacity_w=499))
    assert_signed(scene.ask(attestation(capacity_w=499)), attestation(capacity_w=499))


def test_a_store_is_signed_as_approved() -> None:
    scene = Scene()
    scene.approvals.append(Approval(owner=PROVIDER.public, device=battery()))
    assert_signed(scene.ask(battery()), battery())
    assert_refused(scene.ask(battery(efficiency_permille=901)), 3, "efficiency_permille 901 is not the approved 900")


def test_an_owners_clock_may_be_a_little_ahead() -> None:
    scene = Scene()
    ahead = attestation_now(scene.history, end_ms=scene.history.now_ms + 5_000)
    assert_signed(scene.ask(ahead), ahead)


def test_the_latest_approval_counts() -> None:
    scene = Scene()
    scene.approvals.append(Approval(owner=PROVIDER.public, device=device(capacity_w=100)))
    assert_refused(scene.ask(attestation()), 3, "capacity_w 500 exceeds the approved 100")


# --- what it refuses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw", [b"", b"\xc1", b"\x80", encode(attestation().model_dump())], ids=["nothing", "c1", "empty", "attestation"]
)
def test_refuse_check_1_bytes_that_are_no_device(raw: bytes) -> None:
    assert_refused(Scene().ask(device(), body=raw), 1, "the bytes are no device")


def test_refuse_check_1_a_body_with_countersignatures() -> None:
    body = countersigned(attestation(), PROVIDER, AUDITOR)
    assert_refused(Scene().ask(body), 1, "has countersignatures already")


def test_refuse_check_1_its_own() -> None:
    assert_refused(Scene().ask(attestation(), AUDITOR), 1, "an auditor does not audit itself")


def test_refuse_check_2_another_device_or_owner() -> None:
    scene = Scene()
    assert_refused(scene.ask(attestation(device_id="other")), 2, "device 'other' of")
    assert_refused(scene.ask(attestation(), OTHER), 2, "is not approved here")


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (attestation(carrier="wind"), "carrier wind is not the approved hydro"),
        (attestation(capacity_w=501), "capacity_w 501 exceeds the approved 500"),
        (device(tilt_degrees=30, azimuth_degrees=180), "tilt_degrees 30 is not the approved None"),
        (device(key=METER.public), "key " + METER.public.hex()[:8] + " is not the approved None"),
    ],
)
def test_refuse_check_3_what_was_not_approved(body: Attestation | Device, complaint: str) -> None:
    assert_refused(Scene().ask(body), 3, complaint)


def test_refuse_check_3_a_reading_that_the_approved_meter_did_not_sign() -> None:
    scene = Scene(key=METER.public)
    assert_refused(scene.ask(attestation()), 3, "meter.key None is not the approved")
    assert_signed(scene.ask(sealed(attestation(), PROVIDER)), sealed(attestation(), PROVIDER))


def test_refuse_check_3_a_device_that_is_not_declared() -> None:
    scene = Scene()
    scene.approvals.append(Approval(owner=OTHER.public, device=device()))
    assert_refused(scene.ask(attestation(), OTHER), 3, "is not declared in the ledger")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"capacity_w": 5000}, "capacity_w 5000 exceeds the approved 500"),
        ({"tilt_degrees": 30, "azimuth_degrees": 180}, "tilt_degrees 30 is not the approved None"),
        ({"key": METER.public}, "is not the approved None"),
    ],
)
def test_refuse_check_3_a_reading_of_a_device_declared_otherwise_since(changes: dict[str, Any], complaint: str) -> None:
    scene = Scene()
    scene.history.append(PROVIDER, device(**changes))
    assert_refused(scene.ask(attestation()), 3, complaint)


def test_refuse_check_4_what_the_ledger_would_call_void() -> None:
    scene = Scene()
    assert_refused(scene.ask(attestation(energy_j=12_001)), 4, "void: check 3: energy_j 12001 exceeds")
    impossible = device(efficiency_permille=999)
    scene.approvals.append(Approval(owner=PROVIDER.public, device=impossible))
    assert_refused(scene.ask(impossible), 4, "void: check 1: efficiency_permille 999 without a store")
    scene.approvals.pop()
    scene.history.attestation(PROVIDER)
    assert_refused(scene.ask(attestation()), 4, "void: check 5: start_ms")


def two_owners() -> Scene:
    scene = Scene(device_id=REGISTERED)
    other = device(device_id="MaStR:SEE-900000000001")
    scene.history.append(OTHER, other)
    scene.approvals.append(Approval(owner=OTHER.public, device=other))
    return scene


def test_refuse_check_5_what_another_owner_has_attested() -> None:
    scene = two_owners()
    scene.history.append(OTHER, attestation(device_id=REGISTERED))
    assert_refused(scene.ask(attestation(device_id=REGISTERED)), 5, "claims the same of device 'mastr:see900000000001'")


def test_refuse_check_5_what_was_signed_for_another_owner_and_is_not_published_yet() -> None:
    scene = two_owners()
    first = attestation(device_id=REGISTERED)
    assert_signed(scene.ask(first), first)
    assert_refused(scene.ask(first, OTHER), 5, "is the meter shared, or a clock wrong?")
    assert_signed(scene.ask(first), first)  # an answer was lost, and the owner asks again


def test_refuse_check_5_what_was_signed_for_another_owner_long_after_it_was_measured() -> None:
    scene = two_owners()
    first = attestation(device_id=REGISTERED)
    scene.history.now_ms += 3 * MS_PER_HOUR
    assert_signed(scene.ask(first), first)
    assert_refused(scene.ask(first, OTHER), 5, "is the meter shared, or a clock wrong?")


def test_refuse_check_5_what_another_owner_has_attested_before_old_readings_of_another_device() -> None:
    scene = two_owners()
    scene.history.now_ms += 72 * MS_PER_HOUR
    claimed = attestation_now(scene.history, device_id=REGISTERED)
    scene.history.append(OTHER, claimed)
    past_ms = 48 * MS_PER_HOUR
    old = attestation(device_id="decoy", start_ms=claimed.start_ms - past_ms, end_ms=claimed.end_ms - past_ms)
    scene.history.append(OTHER, old)
    assert_refused(scene.ask(claimed), 5, "claims the same of device 'mastr:see900000000001'")


def test_a_strangers_bare_word_about_a_device_blocks_nobody() -> None:
    scene = Scene(device_id=REGISTERED)
    scene.history.state.surplus_assurance_min = 2
    scene.history.append(OTHER, attestation(device_id=REGISTERED))
    wanted = attestation(device_id=REGISTERED)
    assert_signed(scene.ask(wanted), wanted)


def test_refuse_check_5_what_counts_already_though_its_owner_is_not_approved_here() -> None:
    scene = Scene(device_id=REGISTERED)
    scene.history.state.surplus_assurance_min = 2
    scene.history.append(OTHER, countersigned(attestation(device_id=REGISTERED), OTHER, AUDITOR))
    assert_refused(scene.ask(attestation(device_id=REGISTERED)), 5, "claims the same of device")


def test_refuse_check_5_the_same_joules_an_hour_later() -> None:
    scene = two_owners()
    scene.history.append(OTHER, attestation(device_id=REGISTERED))
    scene.history.now_ms += 60 * SLOT_MS
    shifted = attestation_now(scene.history, device_id=REGISTERED)
    assert_refused(scene.ask(shifted), 5, "is a clock 1 h off, or local time?")


def test_refuse_check_6_what_speaks_against_it() -> None:
    scene = Scene()

    def findings(state: State, record: AttestationRecord) -> list[str]:
        return ["its month is too sunny"] if record.energy_j > 10_000 else []

    scene.part.findings = findings
    assert_refused(scene.ask(attestation()), 6, "its month is too sunny")
    small = attestation(energy_j=10_000)
    assert_signed(scene.ask(small), small)


# --- how it asks its operator -----------------------------------------------------------------------------------------


def test_the_approvals_are_read_once_for_a_handful_of_requests_and_nobody_fills_the_queue() -> None:
    scene = Scene()
    turn = scene.turn()
    message = WantCountersignature(kind="attestation", body=encode(attestation().model_dump()))
    for number in range(WAITING_MAX + 5):
        for _ in range(WAITING_PER_PEER_MAX + 1):
            scene.part.on_want(turn, PROVIDER.public if number == 0 else bytes([number % 256]) * 32, message)
    assert turn.actions() == [ReadApprovals()]
    after = scene.turn()
    scene.part.on_approvals(after, ApprovalsRead(tuple(scene.approvals)))
    peers = [action.peer for action in after.actions() if isinstance(action, Send)]
    assert len(peers) == WAITING_MAX
    assert peers.count(PROVIDER.public) == WAITING_PER_PEER_MAX


def test_approvals_that_cannot_be_read_approve_nothing_and_are_said() -> None:
    scene = Scene()
    turn = scene.turn()
    scene.part.on_want(turn, PROVIDER.public, WantCountersignature(kind="device", body=encode(device().model_dump())))
    scene.part.on_approvals(turn, ApprovalsRead((), "approvals.json is no JSON"))
    assert_refused(answer(turn.actions()), 2, "is not approved here")
    assert Notify("approvals unreadable", {"reason": "approvals.json is no JSON"}) in turn.actions()


# --- what it knows of the device --------------------------------------------------------------------------------------

ROOF = plausibility.Device("solar", 500, 525, 134, tilt_degrees=30, azimuth_degrees=180)


def claimed(performance: float) -> Scene:
    """The panels' owner has claimed so much of what a clear sky gives, for twelve days."""
    scene = Scene(**SOUTH)
    history, counter_j = scene.history, 0
    for each in sunny(ROOF, days=12, minutes=60, performance=performance):
        history.now_ms = each.end_ms
        times = {"start_ms": each.start_ms, "end_ms": each.end_ms}
        energy_j = min(each.energy_j, 500 * 3600)
        history.attestation(PROVIDER, **times, carrier="solar", energy_j=energy_j, meter_start_j=counter_j)
        counter_j += energy_j
    assert history.state.voids == {}
    history.now_ms += SLOT_MS
    return scene


def next_claim(scene: Scene) -> Attestation:
    newest = scene.history.state.attestations_of[PROVIDER.public][-1]
    counters = {"meter_start_j": newest.meter_end_j, "meter_end_j": newest.meter_end_j}
    return attestation_now(scene.history, carrier="solar", energy_j=0, **counters)


def test_a_plausible_month_is_signed() -> None:
    scene = claimed(0.7)
    assert_signed(scene.ask(next_claim(scene)), next_claim(scene))


def test_refuse_check_6_a_device_whose_month_is_too_sunny() -> None:
    scene = claimed(1.0)
    assert_refused(scene.ask(next_claim(scene)), 6, "(capacity?)")
