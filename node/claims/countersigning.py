"""An auditor's part: to sign what peers say of their devices, if its operator has approved them and nothing speaks
against it. Pure.

An auditor sees no meter. It vouches that the device is what its operator looked at, that the numbers are possible, and
that it has signed no joule of it for anybody else. What it refuses it refuses by number and reason.

Any node answers; one whose operator has approved nothing refuses all, by check 2. The approvals are read anew for each
handful of requests, so that what is approved or withdrawn counts at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeVar

from ledger.assurance import comparable, needed
from ledger.doubles import at_odds
from ledger.doubts import Watch
from ledger.feed import CLOCK_SKEW_MAX_MS
from ledger.rules import Void, require
from ledger.state import AttestationRecord, State
from ledger.storage import judge_device
from ledger.transitions import judge_attestation
from node.actions import ReadApprovals, Send
from node.claims.approval import Approvals, require_approved
from node.events import ApprovalsRead
from node.turn import Turn
from protocol.bodies import BODIES
from protocol.codec import decode
from protocol.devices import Device, countersign
from protocol.direct import Countersigned, WantCountersignature
from protocol.envelope import NO_PREV, Entry
from protocol.errors import Reject
from protocol.identity import peer_id
from protocol.messages import Attestation
from protocol.units import MS_PER_HOUR

WAITING_MAX = 256  # requests, until the approvals are read; beyond it owners do without a countersignature
WAITING_PER_PEER_MAX = 8  # of them of one peer: readings come once a slot
LOOKED_BACK_MS = 26 * MS_PER_HOUR  # for other owners' claims: local times differ by less
PROMISED_MAX = 65_536
PROMISED_MS = 2 * MS_PER_HOUR  # how long a signed claim is remembered that its owner has not published

# What speaks against a claim though no rule forbids it, in words with numbers.
Findings = Callable[[State, AttestationRecord], Sequence[str]]
Judged = TypeVar("Judged")


def both(one: Findings, other: Findings) -> Findings:
    """What either of them finds."""
    return lambda state, record: (*one(state, record), *other(state, record))


@dataclass(slots=True)
class Countersigning:
    """`promised`: claims that were signed here lately, and when: their owners may publish them later than others do.
    What names a device within its owner alone is at odds with nobody's."""

    findings: Findings = field(default_factory=lambda: Watch().findings)
    waiting: deque[tuple[bytes, WantCountersignature]] = field(default_factory=deque)
    promised: deque[tuple[int, AttestationRecord]] = field(default_factory=lambda: deque(maxlen=PROMISED_MAX))

    def on_want(self, turn: Turn, peer: bytes, message: WantCountersignature) -> None:
        of_peer = sum(waiting == peer for waiting, _ in self.waiting)
        if len(self.waiting) < WAITING_MAX and of_peer < WAITING_PER_PEER_MAX:
            self.waiting.append((peer, message))
            if len(self.waiting) == 1:
                turn.do(ReadApprovals())

    def on_approvals(self, turn: Turn, event: ApprovalsRead) -> None:
        approvals = Approvals(approvals=event.approvals)
        if event.fault:
            turn.notify("approvals unreadable", reason=event.fault)
        while self.waiting:
            peer, message = self.waiting.popleft()
            turn.do(Send(peer, self._answer(turn, peer, message, approvals)))

    def _answer(self, turn: Turn, peer: bytes, message: WantCountersignature, approvals: Approvals) -> Countersigned:
        body_sha256 = sha256(message.body).digest()
        try:
            entry = self._judged(turn, peer, message, approvals)
        except Void as refusal:
            turn.notify("countersignature refused", owner=peer_id(peer), entry_kind=message.kind, reason=str(refusal))
            check, _, reason = str(refusal).removeprefix("check ").partition(": ")
            return Countersigned(body_sha256=body_sha256, signature=None, check=int(check), reason=reason[:1024])
        signed = countersign(turn.identity.keypair, turn.identity.network, peer, message.kind, entry.body)
        return Countersigned(body_sha256=body_sha256, signature=signed.signature, check=0, reason="")

    def _judged(self, turn: Turn, peer: bytes, message: WantCountersignature, approvals: Approvals) -> Entry:
        """The entry that the owner would sign. Raises Void.

        1. The bytes are a body of this kind, without countersignatures; its owner is who asks, and not this auditor.
        2. This auditor's operator has approved the device, of this owner.
        3. It says what was approved; and so does the latest declaration of a reading's device in the ledger, against
           which the reading, its days and its month are held.
        4. It breaks no rule of the ledger.
        5. No other owner claims these joules of the device: none that is approved here, and none whose claim counts.
           Anybody can write any device's name.
        6. Nothing that is known of the device, its days and its month speaks against it.
        """
        entry, body = _read(turn, peer, message)
        approval = approvals.find(peer, body.device_id)
        if approval is None:
            raise Void(2, f"device {body.device_id!r} of {peer_id(peer)} is not approved here")
        require_approved(approval, body, 3)
        if isinstance(body, Device):
            _judge_by_rules(lambda: judge_device(turn.state, entry, body))
            return entry
        declared = turn.state.devices.get((peer, comparable(body.device_id)))
        if declared is None:
            raise Void(3, f"device {body.device_id!r} is not declared in the ledger")
        require_approved(approval, declared.device, 3)
        record = _judge_by_rules(lambda: judge_attestation(turn.state, entry, body))
        while self.promised and self.promised[0][0] < turn.now_ms - PROMISED_MS:
            self.promised.popleft()
        published = (
            claim
            for claim in claims_of_others(turn.state, record)
            if claim.assurance >= needed(turn.state) or approvals.find(claim.author, claim.device_id) is not None
        )
        require_single(record, [*published, *(claim for _, claim in self.promised)])
        for finding in self.findings(turn.state, record):
            raise Void(6, finding)
        if ":" in record.device_id:
            self.promised.append((turn.now_ms, record))
        return entry


def _read(turn: Turn, peer: bytes, message: WantCountersignature) -> tuple[Entry, Attestation | Device]:
    """Check 1. The entry stands for the one that the owner will sign, by a clock that may be a little ahead of ours."""
    try:
        fields = decode(message.body)
        model = BODIES[message.kind].model_validate(fields)
    except (Reject, ValueError) as error:
        raise Void(1, f"the bytes are no {message.kind}: {str(error)[:200]}") from None
    if not isinstance(model, Attestation | Device) or model.countersignatures:
        raise Void(1, "the body has countersignatures already")
    require(peer != turn.identity.key, 1, "an auditor does not audit itself")
    network, body_sha256, by_ms = turn.identity.network, sha256(message.body).digest(), turn.now_ms + CLOCK_SKEW_MAX_MS
    entry = Entry(b"", body_sha256, network, message.kind, peer, 0, NO_PREV, by_ms, (), fields)
    return entry, model


def _judge_by_rules(judge: Callable[[], Judged]) -> Judged:
    """Check 4."""
    try:
        return judge()
    except Void as void:
        raise Void(4, f"the ledger would call it void: {void}") from None


def claims_of_others(state: State, record: AttestationRecord) -> Iterable[AttestationRecord]:
    """What other owners have attested of the same device lately."""
    if ":" not in record.device_id:
        return
    for owner, device_id in state.newest_of_device:
        if device_id == record.device_id and owner != record.author:
            for other in reversed(state.attestations_of[owner]):
                if other.device_id == record.device_id:
                    if other.end_ms < record.start_ms - LOOKED_BACK_MS:
                        break  # of one device they are in order of time; of two they need not be
                    yield other


def require_single(record: AttestationRecord, others: Iterable[AttestationRecord]) -> None:
    """Check 5: the claim is at odds with none of these."""
    alike = [other for other in others if other.device_id == record.device_id and ":" in record.device_id]
    for other in alike:
        for double in at_odds((record, other)):
            raise Void(5, f"{peer_id(other.author)} claims the same of device {record.device_id!r}: {double.reason}")
