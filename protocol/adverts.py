"""Adverts: what a provider says about itself right now, by gossip. An advert helps to discover; it binds nobody.

    [v, network, author, body, sig]      sealed like an entry, under a domain of its own

Adverts expire and carry a rising number, so that an old one replayed later is recognised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from protocol.codec import decode
from protocol.errors import Reject, fault
from protocol.identity import KeyPair, verify
from protocol.messages import ARRAY_MAX, Body, Count, Digest, Offer, PerSlot, require_same_length
from protocol.signed import sign_array, signed_part

DOMAIN = b"heliotrope-advert/v1\0"
VERSION = 1
LIFETIME_MAX_MS = 3_600_000


class Advert(Body):
    """Capacity, surplus forecast, price and place of one provider. `offer` repeats the ledger's, so that a newcomer
    can read the advert before it has the ledger."""

    number: Count  # milliseconds of network time at sealing: rises across restarts without being stored
    expires_at_ms: Count
    label: Annotated[str, Field(max_length=32)]  # what the operator calls the node
    offer: Offer
    free_units: Count
    first_slot: Count
    surplus_s50_j: PerSlot
    surplus_s20_j: PerSlot
    grid_g_per_kwh: PerSlot
    attestations: Annotated[tuple[Digest, ...], Field(max_length=16)]
    addresses: Annotated[tuple[Annotated[str, Field(max_length=256)], ...], Field(max_length=8)]

    @model_validator(mode="after")
    def _same_slots(self) -> Advert:
        require_same_length(self.surplus_s50_j, self.surplus_s20_j, self.grid_g_per_kwh)
        return self


@dataclass(frozen=True, slots=True)
class SignedAdvert:
    author: bytes
    advert: Advert
    raw: bytes


def seal(keypair: KeyPair, network: bytes, advert: Advert) -> bytes:
    """The signed bytes of an advert."""
    return sign_array(keypair, DOMAIN, (VERSION, network, keypair.public, advert.model_dump()))


def open_advert(raw: bytes, network: bytes, max_bytes: int) -> SignedAdvert:
    """Parse, verify and check an advert. Raises Reject. Whether it is fresh depends on the clock: see `gossip`.

    1. Canonical, within `max_bytes`.
    2. An array of five.
    3. The version is 1.
    4. It is of this network.
    5. `author` and `sig` are bytes, and the signature is valid under the strict rule.
    6. The body is an `Advert`, within the bounds of its fields.
    """
    try:
        value = decode(raw, max_bytes, ARRAY_MAX)
    except Reject as refusal:
        raise fault(1, str(refusal)) from None
    if type(value) is not tuple or len(value) != 5:
        raise fault(2, "an advert is an array of five")
    version, advert_network, author, body, signature = value
    if type(version) is not int or version != VERSION:
        raise fault(3, f"an advert of another version than {VERSION}")
    if advert_network != network:
        raise fault(4, f"advert of another network, this is {network.hex()[:16]}")
    if type(author) is not bytes or type(signature) is not bytes:
        raise fault(5, "author and signature must be bytes")
    if not verify(author, signed_part(DOMAIN, raw), signature):
        raise fault(5, "invalid signature on an advert")
    try:
        return SignedAdvert(author, Advert.model_validate(body), raw)
    except ValidationError as error:
        raise fault(6, f"advert: {first_fault(error)}") from None


def first_fault(error: ValidationError) -> str:
    """The first field that pydantic refused, with its complaint; never the input. An unknown field's name is a
    stranger's choice: it is shortened, and quoted where it could move a terminal's cursor."""
    fault = error.errors(include_url=False, include_input=False)[0]
    path = ".".join(map(str, fault["loc"]))[:80] or "body"
    return f"{path if path.isprintable() else ascii(path)}: {fault['msg']}"
