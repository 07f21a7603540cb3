"""What meters and auditors sign."""

from __future__ import annotations

from typing import Any, TypeVar

from protocol.devices import Device, counter_statement, countersign
from protocol.identity import KeyPair
from protocol.messages import Attestation, MeterSeal

from .builders import KINDS, History, attestation, genesis, keypair
from .devices import device

METER, AUDITOR, STRANGER = (keypair(n) for n in range(20, 23))
AUDITED = {"auditors": (AUDITOR.public,)}  # of a genesis
NETWORK = genesis(**AUDITED).network_id()

Audited = TypeVar("Audited", Attestation, Device)


def signing_device(**changes: Any) -> Device:
    """The source, behind a meter that signs."""
    return device(**{"key": METER.public} | changes)


def sealed(body: Attestation, owner: KeyPair, meter: KeyPair = METER, network: bytes = NETWORK) -> Attestation:
    """With the meter's signatures under both counters."""

    def sign(at_ms: int, counter_j: int) -> bytes:
        return meter.sign(counter_statement(network, owner.public, body.device_id, at_ms, counter_j))

    seal = MeterSeal(
        key=meter.public,
        start_signature=sign(body.start_ms, body.meter_start_j),
        end_signature=sign(body.end_ms, body.meter_end_j),
    )
    return body.model_copy(update={"meter": seal})


def countersigned(body: Audited, owner: KeyPair, *auditors: KeyPair, network: bytes = NETWORK) -> Audited:
    """With the countersignatures of these; last, as they cover all the rest."""
    kind, rest = KINDS[type(body)], body.model_dump()
    signatures = tuple(countersign(auditor, network, owner.public, kind, rest) for auditor in auditors)
    return body.model_copy(update={"countersignatures": signatures})


def attestation_now(history: History, **changes: Any) -> Attestation:
    """Of the minute that has just ended, by the history's clock."""
    fields: dict[str, Any] = {"start_ms": history.now_ms - 60_000, "end_ms": history.now_ms}
    return attestation(**fields | changes)
