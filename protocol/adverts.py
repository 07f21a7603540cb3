"""Adverts: what a provider says about itself right now, by gossip. An advert helps to discover; it binds nobody.

    [v, network, author, body, sig]      sealed like an entry, under a domain of its own

A full advert says everything; an update says what has changed since a full one, its base, and nothing of the updates
between: whoever holds the base needs only the newest update. Both expire, and share one rising number, so that an old
one replayed later is recognised. An update that expires as it is sealed is a goodbye.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from protocol.codec import decode
from protocol.errors import Reject, fault
from protocol.identity import KeyPair, verify
from protocol.messages import ARRAY_MAX, Body, Count, Digest, Offer, PerSlot, require_same_length
from protocol.signed import sign_array, signed_part

DOMAIN = b"heliotrope-advert/v1\0"
UPDATE_DOMAIN = b"heliotrope-advert-update/v1\0"
VERSION = 1
LIFETIME_MAX_MS = 3_600_000
ADVERT_MAX_BYTES = 12 * 1024
RUNS_MAX = 8
OPENED_MAX = 256  # remembered: what the network layer has verified is read once more when it is delivered

SLOT_ARRAYS = ("surplus_s50_j", "surplus_s20_j", "grid_g_per_kwh")

Attestations = Annotated[tuple[Digest, ...], Field(max_length=16)]
Addresses = Annotated[tuple[Annotated[str, Field(max_length=256)], ...], Field(max_length=8)]
# (place of the first, values): what stands in an array instead of what the base says there
Run = tuple[
    Annotated[int, Field(ge=0, lt=ARRAY_MAX)], Annotated[tuple[Count, ...], Field(min_length=1, max_length=ARRAY_MAX)]
]
Runs = Annotated[tuple[Run, ...], Field(max_length=RUNS_MAX)]


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
    attestations: Attestations
    addresses: Addresses

    @model_validator(mode="after")
    def _same_slots(self) -> Advert:
        require_same_length(self.surplus_s50_j, self.surplus_s20_j, self.grid_g_per_kwh)
        return self


class Update(Body):
    """What has changed since the full advert with number `base_number`. `shift_slots` slots of its arrays are over;
    each array is what is left of it, cut to `slots`, with the runs written over it and behind it, in their order."""

    number: Count
    base_number: Count
    expires_at_ms: Count
    free_units: Count
    shift_slots: Annotated[int, Field(ge=0, le=ARRAY_MAX)]
    slots: Annotated[int, Field(ge=0, le=ARRAY_MAX)]
    surplus_s50_j: Runs
    surplus_s20_j: Runs
    grid_g_per_kwh: Runs
    attestations: Attestations | None  # None: the base's, as for addresses
    addresses: Addresses | None

    @property
    def is_goodbye(self) -> bool:
        return self.expires_at_ms == self.number


@dataclass(frozen=True, slots=True)
class SignedAdvert:
    author: bytes
    advert: Advert
    raw: bytes


@dataclass(frozen=True, slots=True)
class SignedUpdate:
    author: bytes
    update: Update
    raw: bytes


def seal(keypair: KeyPair, network: bytes, said: Advert | Update) -> bytes:
    """The signed bytes of a full advert or an update."""
    domain = UPDATE_DOMAIN if isinstance(said, Update) else DOMAIN
    return sign_array(keypair, domain, (VERSION, network, keypair.public, said.model_dump()))


@lru_cache(OPENED_MAX)
def open_advert(raw: bytes, network: bytes) -> SignedAdvert | SignedUpdate:
    """Parse, verify and check a full advert, or an update: its body has a `base_number`. Raises Reject. Whether it is
    fresh depends on the clock: see `gossip`.

    3. Canonical, at most 12 KiB.
    4. An array of five.
    5. The version is 1.
    6. It is of this network.
    7. `author` and `sig` are bytes, and the signature is valid under the strict rule.
    8. The body is an `Advert` or an `Update`, within the bounds of its fields.
    """
    try:
        value = decode(raw, ADVERT_MAX_BYTES, ARRAY_MAX)
    except Reject as refusal:
        raise fault(3, str(refusal)) from None
    if type(value) is not tuple or len(value) != 5:
        raise fault(4, "an advert is an array of five")
    version, advert_network, author, body, signature = value
    if type(version) is not int or version != VERSION:
        raise fault(5, f"an advert of another version than {VERSION}")
    if advert_network != network:
        raise fault(6, f"advert of another network, this is {network.hex()[:16]}")
    if type(author) is not bytes or type(signature) is not bytes:
        raise fault(7, "author and signature must be bytes")
    is_update = type(body) is dict and "base_number" in body
    if not verify(author, signed_part(UPDATE_DOMAIN if is_update else DOMAIN, raw), signature):
        raise fault(7, "invalid signature on an advert")
    try:
        if is_update:
            return SignedUpdate(author, Update.model_validate(body), raw)
        return SignedAdvert(author, Advert.model_validate(body), raw)
    except ValidationError as error:
        raise fault(8, f"{'update' if is_update else 'advert'}: {first_fault(error)}") from None


def updated(base: Advert, update: Update) -> Advert:
    """What an author says by an update of this base. Raises Reject for one that is of another base, leaves a hole in an
    array, or leads to no Advert: only its author can be to blame."""
    if update.base_number != base.number:
        raise Reject(f"an update of advert {update.base_number}, and not of {base.number}")
    changes: dict[str, Any] = {
        name: _written(getattr(base, name)[update.shift_slots :][: update.slots], getattr(update, name), update.slots)
        for name in SLOT_ARRAYS
    }
    changes |= {
        name: getattr(update, name) for name in ("attestations", "addresses") if getattr(update, name) is not None
    }
    changes |= {name: getattr(update, name) for name in ("number", "expires_at_ms", "free_units")}
    changes["first_slot"] = base.first_slot + update.shift_slots
    try:
        return Advert.model_validate(base.model_dump() | changes)
    except ValidationError as error:
        raise Reject(f"an update that leads to no advert: {first_fault(error)}") from None


def _written(old_values: tuple[int, ...], runs: Runs, slots: int) -> tuple[int, ...]:
    values = list(old_values)
    for start, run in runs:
        if start > len(values) or start + len(run) > slots:
            raise Reject(f"an update writes slots {start} to {start + len(run)} of {len(values)}, at most {slots}")
        values[start : start + len(run)] = run
    if len(values) != slots:
        raise Reject(f"an update says {len(values)} of {slots} slots")
    return tuple(values)


def update_of(base: Advert, advert: Advert) -> Update | None:
    """The update that leads from a full advert to this one; None where none does: another offer or label, or arrays
    that have not moved forwards by up to 256 slots."""
    shift = advert.first_slot - base.first_slot
    if (base.offer, base.label) != (advert.offer, advert.label) or not 0 <= shift <= ARRAY_MAX:
        return None
    slots = len(advert.grid_g_per_kwh)
    return Update(
        number=advert.number,
        base_number=base.number,
        expires_at_ms=advert.expires_at_ms,
        free_units=advert.free_units,
        shift_slots=shift,
        slots=slots,
        attestations=None if base.attestations == advert.attestations else advert.attestations,
        addresses=None if base.addresses == advert.addresses else advert.addresses,
        **{name: _runs(getattr(base, name)[shift:][:slots], getattr(advert, name)) for name in SLOT_ARRAYS},
    )


def _runs(old_values: tuple[int, ...], values: tuple[int, ...]) -> Runs:
    """Runs of what differs; what is over the bound goes into the last."""
    differs = [place for place, value in enumerate(values) if place >= len(old_values) or old_values[place] != value]
    bounds: list[list[int]] = []
    for place in differs:
        if bounds and (place == bounds[-1][1] or len(bounds) == RUNS_MAX):
            bounds[-1][1] = place + 1
        else:
            bounds.append([place, place + 1])
    return tuple((start, values[start:end]) for start, end in bounds)


def goodbye(base: Advert, now_ms: int) -> Update:
    """An author's last word on a full advert: it is void from now on."""
    return Update(
        number=now_ms,
        base_number=base.number,
        expires_at_ms=now_ms,
        free_units=0,
        shift_slots=0,
        slots=0,
        surplus_s50_j=(),
        surplus_s20_j=(),
        grid_g_per_kwh=(),
        attestations=None,
        addresses=None,
    )


def first_fault(error: ValidationError) -> str:
    """The first field that pydantic refused, with its complaint; never the input. An unknown field's name is a
    stranger's choice: it is shortened, and quoted where it could move a terminal's cursor."""
    fault = error.errors(include_url=False, include_input=False)[0]
    path = ".".join(map(str, fault["loc"]))[:80] or "body"
    return f"{path if path.isprintable() else ascii(path)}: {fault['msg']}"
