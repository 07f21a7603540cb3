"""The genesis document: what all peers of one network agree on before the first entry.

Its hash is the network id, which stands in every entry and topic, so peers of different networks never mix.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field, model_validator

from protocol.codec import encode
from protocol.messages import Body, Count, Keys, Name, Positive


class Clock(Body):
    """Network time: `network_ms` at `unix_ms`, and from there `speed` times as fast as the world."""

    unix_ms: Count
    network_ms: Count
    speed: Annotated[int, Field(ge=1, le=100_000)]

    def network_time_ms(self, unix_ms: int) -> int:
        """Network time at a moment of Unix time."""
        return max(0, self.network_ms + (unix_ms - self.unix_ms) * self.speed)

    def unix_time_ms(self, network_ms: int) -> int:
        """The moment of Unix time at which the network's clock shows this."""
        return max(0, self.unix_ms + (network_ms - self.network_ms) // self.speed)

    def real_ms(self, network_ms: int) -> int:
        """How long a stretch of network time lasts in the world, at least one millisecond."""
        return max(1, network_ms // self.speed)


class Genesis(Body):
    """See the module. `surplus_assurance_min` is the lowest assurance (A0 to A4) at which surplus counts as green;
    `admitters` are the keys that sign invitations to a closed network (`protocol.invitation`)."""

    name: Name
    clock: Clock
    slot_ms: Annotated[Positive, Field(le=3_600_000)]
    witnesses: Keys = ()
    auditors: Keys = ()
    surplus_assurance_min: Annotated[int, Field(ge=0, le=4)] = 2
    admission: Literal["open", "devnet", "closed"] = "open"
    admitters: Keys = ()

    @model_validator(mode="after")
    def _closed_by_somebody(self) -> Genesis:
        if (self.admission == "closed") is not bool(self.admitters):
            raise ValueError(
                f"admission {self.admission!r} with {len(self.admitters)} admitters: a closed network has one or more,"
                " every other none"
            )
        return self

    def encoded(self) -> bytes:
        """Without `admitters` where there are none: networks are older than that field, and keep their ids."""
        fields = self.model_dump()
        if not self.admitters:
            del fields["admitters"]
        return encode(fields)

    def network_id(self) -> bytes:
        return hashlib.sha256(self.encoded()).digest()
