"""Direct messages: what one connected peer sends to another over a stream.

    [type, body]      canonical msgpack, at most 4 MiB

The stream is authenticated by the transport, so a message needs no signature; whatever must outlive the connection is
a ledger entry and travels inside `entries`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationError

from protocol.adverts import first_fault
from protocol.codec import decode, encode
from protocol.errors import Reject
from protocol.messages import ARRAY_MAX, Blob, Body, Count, Digest, Key, Shard, Signature, Text

DIRECT_MAX_BYTES = 4 * 1024 * 1024
HEADS_MAX = 1024
MATCHING_MAX_BYTES = DIRECT_MAX_BYTES - 1024


class Heads(Body):
    """Heads the sender has, as (author, seq, id); the answer is `Entries` and `Want`. `complete`: these are all."""

    heads: Annotated[tuple[tuple[Key, Count, Digest], ...], Field(max_length=HEADS_MAX)]
    complete: bool


class Want(Body):
    """Send me these feeds, each from a sequence number on."""

    ranges: Annotated[tuple[tuple[Key, Count], ...], Field(max_length=HEADS_MAX)]


class Entries(Body):
    """Raw entries, in feed order for each author. `more`: the sender stopped at its limit, ask again."""

    entries: Annotated[tuple[bytes, ...], Field(max_length=ARRAY_MAX)]
    more: bool


class WantMatching(Body):
    """Send me what the matching behind this award of yours was made from; the answer is `Matching`."""

    job: Digest
    award: Digest


class Matching(Body):
    """A recorded matching, whose hash the award names. One too large for a message is not sent."""

    award: Digest
    record: Annotated[bytes, Field(max_length=MATCHING_MAX_BYTES)]


class Ticket(Body):
    """Where a blob can be fetched, by whom and until when; signed by the server.

    The certificate is pinned here, under the signature, so that a ticket needs nothing else to be trusted.
    """

    blob: Blob
    url: Annotated[str, Field(max_length=256, pattern=r"^https://[0-9A-Za-z.:\[\]-]{1,200}$")]
    certificate_sha256: Digest
    server: Key
    holder: Key
    expires_at_ms: Count
    signature: Signature


class Assignment(Body):
    """Lead to provider, after the lease: prepare the shard; here is the data."""

    award: Digest
    shard: Shard
    data: Annotated[tuple[Ticket, ...], Field(min_length=1, max_length=64)]


class Ready(Body):
    """Provider to lead: the worker is up."""

    award: Digest
    shard: Shard


class RoundStart(Body):
    """Lead to provider: train one round from these parameters."""

    award: Digest
    shard: Shard
    round: Count
    parameters: Ticket


class RoundDelta(Body):
    """Provider to lead: what the round changed. Energy and carbon are provisional; the receipt settles them."""

    award: Digest
    shard: Shard
    round: Count
    delta: Ticket
    loss_millinats: Count
    tokens: Count
    duration_ms: Count  # since the last round: what `energy_j` was drawn in
    energy_j: Count
    carbon_ug: Count


class Finish(Body):
    """Lead to provider: no more rounds; write the receipt."""

    award: Digest
    shard: Shard


class Failure(Body):
    """Provider to lead: this shard cannot go on here."""

    award: Digest
    shard: Shard
    reason: Text


DIRECT: dict[str, type[Body]] = {
    "heads": Heads,
    "want": Want,
    "entries": Entries,
    "want_matching": WantMatching,
    "matching": Matching,
    "assignment": Assignment,
    "ready": Ready,
    "round_start": RoundStart,
    "round_delta": RoundDelta,
    "finish": Finish,
    "failure": Failure,
}
NAMES = {model: name for name, model in DIRECT.items()}


def encode_direct(message: Body) -> bytes:
    return encode((NAMES[type(message)], message.model_dump()), HEADS_MAX)


def decode_direct(data: bytes) -> Any:
    """One of the messages above. Raises Reject."""
    value = decode(data, DIRECT_MAX_BYTES, HEADS_MAX)
    if type(value) is not tuple or len(value) != 2 or type(value[0]) is not str:
        raise Reject("a direct message is an array of a type and a body")
    model = DIRECT.get(value[0])
    if model is None:
        raise Reject(f"unknown direct message {value[0][:32]!r}")
    try:
        return model.model_validate(value[1])
    except ValidationError as error:
        raise Reject(f"{value[0]}: {first_fault(error)}") from None
