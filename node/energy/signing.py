"""What a meter with a key of its own says: its counter at a moment, signed for one network and one owner.

It travels as JSON; the source `meter` reads it, and both signatures of an interval end in an attestation. The moment is
the device's own reading's, not that of the question. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from node.energy.source import Reading, SourceError
from protocol.devices import counter_statement
from protocol.identity import KeyPair, verify
from protocol.messages import Count, Method, Name, Permille

PATH = "/v1/reading"

Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


class SignedReading(BaseModel):
    """`GET /v1/reading` of a meter. `at_ms` is network time."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    kind: Literal["counter"] = "counter"
    network: Hex32
    owner: Hex32
    device_id: Name
    at_ms: Count
    counter_j: Count
    method: Method
    uncertainty_permille: Permille
    provenance: Annotated[str, Field(max_length=512)]
    key: Hex32
    signature: Hex64

    @property
    def is_genuine(self) -> bool:
        """Whether the key that it names signed it."""
        return verify(bytes.fromhex(self.key), self.statement, bytes.fromhex(self.signature))

    @property
    def statement(self) -> bytes:
        network, owner = bytes.fromhex(self.network), bytes.fromhex(self.owner)
        return counter_statement(network, owner, self.device_id, self.at_ms, self.counter_j)


@dataclass(slots=True)
class Signer:
    """The meter's part: never signs a counter that fell, nor a moment before one that it has signed.

    It knows only what it signed since it started: a meter that may be restarted by somebody it should not trust needs
    a counter that cannot be set back.
    """

    keypair: KeyPair
    network: bytes
    owner: bytes
    device_id: str
    last: SignedReading | None = None

    def sign(self, reading: Reading, at_ms: int) -> SignedReading:
        """Sign a counter's reading of this moment of network time. Raises SourceError for one that goes back."""
        last = self.last
        if last is not None and (reading.value < last.counter_j or at_ms < last.at_ms):
            raise SourceError(
                f"the counter stands at {reading.value} J at {at_ms} ms, and {last.counter_j} J at {last.at_ms} ms are"
                " signed",
                "See whether the device was exchanged or reset, or a clock set back.",
            )
        statement = counter_statement(self.network, self.owner, self.device_id, at_ms, reading.value)
        self.last = SignedReading(
            network=self.network.hex(),
            owner=self.owner.hex(),
            device_id=self.device_id,
            at_ms=at_ms,
            counter_j=reading.value,
            method=reading.method,
            uncertainty_permille=reading.uncertainty_permille,
            provenance=reading.provenance[:512],
            key=self.keypair.public.hex(),
            signature=self.keypair.sign(statement).hex(),
        )
        return self.last
