"""A meter that signs: `heliotrope meter`, or anything that answers as it does (`node/energy/signing.py`).

`GET /v1/reading` answers with the counter in joules, the moment of network time at which it stood there, and the
meter's signature under both, for one network, owner and device. A reading that another key signed, or nobody, is no
reading.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from node.energy.signing import PATH, Hex32, SignedReading
from node.energy.source import DeviceSignature, Kind, Reading, SourceError, SourceSection
from node.energy.web import WebService
from protocol.messages import Place


class SigningMeter(SourceSection):
    """`key`: the meter's public key, as it prints it. No secret."""

    source: Literal["meter"]
    base_url: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")] = "http://127.0.0.1:8480"
    key: Hex32

    def open(self, place: Place) -> SigningMeterSource:
        return SigningMeterSource(self)


class SigningMeterSource:
    """One meter's counter."""

    kind = Kind.COUNTER

    def __init__(self, section: SigningMeter) -> None:
        self._section = section
        self._web = WebService("the meter", section.base_url)

    def read(self, now_ms: int) -> Reading:
        said, section = self._web.get(SignedReading, PATH), self._section
        if said.key != section.key:
            raise SourceError(
                f"the meter signs with key {said.key[:16]}…, not with {section.key[:16]}…",
                "Look who answers there. If the meter got a new key, set it here and declare the device anew.",
            )
        if not said.is_genuine:
            raise SourceError("the meter's signature is not under what it says", "Look who answers there.")
        declared = section.uncertainty_permille
        return Reading(
            kind=self.kind,
            value=said.counter_j,
            start_ms=said.at_ms,
            end_ms=said.at_ms,
            method=said.method,
            uncertainty_permille=said.uncertainty_permille if declared is None else declared,
            provenance=f"meter {said.key[:16]}: {said.provenance}",
            signature=DeviceSignature(bytes.fromhex(said.key), bytes.fromhex(said.signature)),
        )
