"""Devices that make or store energy, and what meters and auditors sign about them.

Two statements are signed outside of entries. Each begins with a domain and names the network and the owner, so that a
signature serves for nothing else:

    a meter       METER_DOMAIN ‖ [network, owner, device_id, at_ms, counter_j]      its counter at a moment
    an auditor    COUNTERSIGNATURE_DOMAIN ‖ [network, owner, kind, body]            a body without its countersignatures

What they are worth is decided in `ledger.assurance`; what may be charged and discharged in `ledger.storage`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import Field, model_validator

from protocol.certificates import Allocation, Cancellation, Certificate, Lot, Split, Transfer
from protocol.codec import encode
from protocol.identity import KeyPair
from protocol.messages import (
    Body,
    Carrier,
    Count,
    Countersignature,
    Countersignatures,
    Digest,
    Key,
    Name,
    Place,
    Positive,
    Storage,
)

METER_DOMAIN = b"heliotrope-meter/v1\0"
COUNTERSIGNATURE_DOMAIN = b"heliotrope-countersignature/v1\0"


class Device(Body):
    """What a meter measures, as its owner declares it. Kind `device`; of one id the author's latest counts.

    `device_id` is comparable over owners if it is spelled `registry:number`, as in `mastr:SEE900000000000`. A store has
    the carrier `storage` and holds up to `storage_j`, of which `efficiency_permille` comes out again.
    """

    device_id: Name
    carrier: Carrier | Storage
    capacity_w: Count
    place: Place
    tilt_degrees: Annotated[int, Field(ge=0, le=90)] | None  # of panels, from level; None: not declared
    azimuth_degrees: Annotated[int, Field(ge=0, le=359)] | None  # 0 = north, clockwise
    storage_j: Count  # 0: stores nothing
    efficiency_permille: Annotated[int, Field(ge=1, le=1000)]  # round trip of a store; 1000 for others
    key: Key | None  # with which the meter itself signs
    countersignatures: Countersignatures

    @model_validator(mode="after")
    def _is_oriented_or_not(self) -> Device:
        if (self.tilt_degrees is None) != (self.azimuth_degrees is None):
            raise ValueError("tilt_degrees and azimuth_degrees go together: say both or none")
        return self


class Charge(Body):
    """Moves attested joules into a store, out of the author's own attestation or a lot it holds. Kind `charge`, refs:
    the attestation, or the lot's entry."""

    device_id: Name
    attestation: Digest | None
    lot: Lot | None
    energy_j: Positive  # before losses; of a lot all

    @model_validator(mode="after")
    def _from_one_source(self) -> Charge:
        if (self.attestation is None) == (self.lot is None):
            raise ValueError("a charge is from either an attestation or a lot: name one of them")
        return self


# What an operator does with attested energy.
Claim: TypeAlias = Certificate | Split | Transfer | Cancellation | Allocation | Charge


def counter_statement(network: bytes, owner: bytes, device_id: str, at_ms: int, counter_j: int) -> bytes:
    """What a meter signs: its cumulative counter at a moment of network time."""
    return METER_DOMAIN + encode((network, owner, device_id, at_ms, counter_j))


def audited_statement(network: bytes, owner: bytes, kind: str, body: Mapping[str, Any]) -> bytes:
    """What an auditor signs: the body of an attestation or a device as it is sent, without its countersignatures."""
    rest = {name: value for name, value in body.items() if name != "countersignatures"}
    return COUNTERSIGNATURE_DOMAIN + encode((network, owner, kind, rest))


def countersign(auditor: KeyPair, network: bytes, owner: bytes, kind: str, body: Mapping[str, Any]) -> Countersignature:
    """An auditor's signature under a body of `owner`'s."""
    signature = auditor.sign(audited_statement(network, owner, kind, body))
    return Countersignature(auditor=auditor.public, signature=signature)
