"""Direct messages: what one connected peer sends to another over a stream.

    [type, body]      canonical msgpack, at most 4 MiB

The stream is authenticated by the transport, so a message needs no signature; whatever must outlive the connection is
a ledger entry and travels inside `entries`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from protocol.adverts import ADVERT_MAX_BYTES, first_fault
from protocol.codec import VALUE_MAX_BYTES, decode, encode
from protocol.errors import Reject, fault
from protocol.gossip import CHECKPOINT_MAX_BYTES
from protocol.messages import ARRAY_MAX, Blob, Body, Count, Digest, Key, Shard, Signature, Text
from protocol.regions import REGIONS

DIRECT_MAX_BYTES = 4 * 1024 * 1024
MATCHING_MAX_BYTES = DIRECT_MAX_BYTES - 1024
HEADS_MAX = 1024
SPLIT = 16  # a range that differs is compared in so many parts
LISTED_MAX = 64  # a range of no more heads is listed instead: as short as comparing its parts
SPANS_MAX = 128  # in one message; what does not fit is compared another time
WANTED_MAX = 64  # authors whose adverts are asked for, or answered, in one message
MARK_BYTES = 8  # of a head in a list: it need not withstand forgery, see `ledger.sync`

Epoch = Annotated[bytes, Field(min_length=16, max_length=16)]  # names a store; drawn by chance when it is made
Fingerprint = Annotated[bytes, Field(min_length=16, max_length=16)]
Bound = Annotated[bytes, Field(max_length=32)]  # the first bytes of a key: as many as tell two neighbours apart
Ends = Annotated[tuple[tuple[Bound, Fingerprint], ...], Field(max_length=SPLIT)]
Region = Annotated[str, Field(max_length=32)]
Sealed = Annotated[bytes, Field(max_length=ADVERT_MAX_BYTES)]
Marks = Annotated[bytes, Field(max_length=LISTED_MAX * MARK_BYTES)]


class Summary(Body):
    """All of the sender's heads in two numbers: of the authors below `cut` and of those from it on; the answer is
    `Compare`, or nothing where they are equal.

    The cut is drawn by chance each time. Fingerprints are sums, so that somebody with many keys may find two sets of
    feeds with one sum; not two whose parts agree wherever they are cut.
    `epoch` and `position`: everything that the sender has accepted up to there is in these heads.
    """

    epoch: Epoch
    position: Count
    cut: Key
    below: Fingerprint
    above: Fingerprint


class Compare(Body):
    """Where the sender's heads differ from what it was told, more closely. The answer is `Compare` and `Heads`.

    `spans`: (start, ((end, fingerprint), ...)), ranges of authors, each beginning where the one before ends.
    `lists`: (start, end, marks), the marks of all heads in a range, joined. An end of no bytes is that of all authors.
    """

    spans: Annotated[tuple[tuple[Bound, Ends], ...], Field(max_length=SPANS_MAX)]
    lists: Annotated[tuple[tuple[Bound, Bound, Marks], ...], Field(max_length=SPANS_MAX)]


class Heads(Body):
    """Heads the sender has and the receiver did not list, as (author, seq, id); and marks that the receiver listed and
    the sender cannot place. The answer is `Want` and `Entries`. An id of zeros: frozen since its fork at that seq."""

    heads: Annotated[tuple[tuple[Key, Count, Digest], ...], Field(max_length=HEADS_MAX)]
    unknown: Annotated[bytes, Field(max_length=HEADS_MAX * MARK_BYTES)]


class Since(Body):
    """What have you accepted since this position of this epoch? The answer is `News`; or a `Summary`, if the epoch is
    not that of the receiver's store."""

    epoch: Epoch
    position: Count


class News(Body):
    """Feeds that have grown since the position asked for, each with its newest seq; the next question starts at
    `position`. `more`: the sender stopped at its limit."""

    epoch: Epoch
    position: Count
    feeds: Annotated[tuple[tuple[Key, Count], ...], Field(max_length=HEADS_MAX)]
    more: bool


class Want(Body):
    """Send me these feeds, each from a sequence number on."""

    ranges: Annotated[tuple[tuple[Key, Count], ...], Field(max_length=HEADS_MAX)]


class WantIds(Body):
    """Send me these entries: others refer to them."""

    ids: Annotated[tuple[Digest, ...], Field(max_length=ARRAY_MAX)]


class Entries(Body):
    """Raw entries, in feed order for each author. `more`: the sender stopped at its limit, ask again."""

    entries: Annotated[tuple[bytes, ...], Field(max_length=ARRAY_MAX)]
    more: bool


class Checkpoint(Body):
    """A signed note: what its author, and witnesses, have signed of a feed (`ledger.checkpoint`)."""

    note: Annotated[bytes, Field(max_length=CHECKPOINT_MAX_BYTES)]


class WantCheckpoint(Body):
    """Send me the newest checkpoint of this author's feed that you have."""

    author: Key


class AddCheckpoint(Body):
    """Author to witness: cosign my checkpoint. The text is that of C2SP tlog-witness (`ledger.witness`)."""

    request: Annotated[bytes, Field(max_length=CHECKPOINT_MAX_BYTES + 4096)]


class Cosignature(Body):
    """Witness to author: the answer to `AddCheckpoint`, with the specification's status and body."""

    status: Annotated[int, Field(ge=100, le=599)]
    body: Annotated[bytes, Field(max_length=1024)]


class Ping(Body):
    """Answer at once, with the same number."""

    nonce: Count


class Pong(Body):
    """The answer to a `Ping`."""

    nonce: Count


class WantAdverts(Body):
    """Send me what these authors say, or, if none is named, what all say that advertise in these regions: only what was
    sealed at `since` or later, of network time, and only authors behind `after`. The answer is `Adverts`."""

    authors: Annotated[tuple[Key, ...], Field(max_length=WANTED_MAX)]
    regions: Annotated[tuple[Region, ...], Field(max_length=len(REGIONS))]
    since: Count
    after: Bound


class Adverts(Body):
    """Sealed adverts that have not expired, the sender's own among them: of each author the newest full one, and behind
    it the newest update of it, if there is one; by author. `more`: the sender stopped at its limit."""

    adverts: Annotated[tuple[Sealed, ...], Field(max_length=2 * WANTED_MAX)]
    more: bool


class WantHead(Body):
    """Which is the newest entry of mine that you hold? The answer is `HeadIs`."""


class HeadIs(Body):
    """The newest entry of the receiver's own feed that the sender holds; None if it holds none. The entry itself, so
    that nobody can invent a later one and keep the receiver waiting for it."""

    entry: Annotated[bytes, Field(max_length=VALUE_MAX_BYTES)] | None


class WantCountersignature(Body):
    """Owner to auditor: sign this body of mine, canonically encoded, without countersignatures. The answer is
    `Countersigned`."""

    kind: Literal["attestation", "device"]
    body: Annotated[bytes, Field(max_length=VALUE_MAX_BYTES)]


class Countersigned(Body):
    """Auditor to owner: its signature under that body; or none, with the number of the check that failed, and why."""

    body_sha256: Digest  # of the body as it was sent
    signature: Signature | None
    check: Count  # 0 with a signature
    reason: Text


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
    moments: Ticket | None  # the optimiser's, of whoever trained the shard before


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


class Handover(Body):
    """Provider to lead: this shard leaves here, by no fault; no round follows. Its moments can be fetched."""

    award: Digest
    shard: Shard
    reason: Text
    moments: Ticket | None


DIRECT: dict[str, type[Body]] = {
    "summary": Summary,
    "compare": Compare,
    "heads": Heads,
    "since": Since,
    "news": News,
    "want": Want,
    "want_ids": WantIds,
    "entries": Entries,
    "checkpoint": Checkpoint,
    "want_checkpoint": WantCheckpoint,
    "add_checkpoint": AddCheckpoint,
    "cosignature": Cosignature,
    "ping": Ping,
    "pong": Pong,
    "want_adverts": WantAdverts,
    "adverts": Adverts,
    "want_head": WantHead,
    "head_is": HeadIs,
    "want_countersignature": WantCountersignature,
    "countersigned": Countersigned,
    "want_matching": WantMatching,
    "matching": Matching,
    "assignment": Assignment,
    "ready": Ready,
    "round_start": RoundStart,
    "round_delta": RoundDelta,
    "finish": Finish,
    "failure": Failure,
    "handover": Handover,
}
NAMES = {model: name for name, model in DIRECT.items()}


def encode_direct(message: Body) -> bytes:
    return encode((NAMES[type(message)], message.model_dump()), HEADS_MAX)


def decode_direct(data: bytes) -> Any:
    """One of the messages above. Raises Reject.

    1. Canonical, at most 4 MiB, no array of more than 1024 items.
    2. An array of a type and a body.
    3. The type is one of `DIRECT`.
    4. The body is of that type, within the bounds of its fields.
    """
    try:
        value = decode(data, DIRECT_MAX_BYTES, HEADS_MAX)
    except Reject as refusal:
        raise fault(1, str(refusal)) from None
    if type(value) is not tuple or len(value) != 2 or type(value[0]) is not str:
        raise fault(2, "a direct message is an array of a type and a body")
    model = DIRECT.get(value[0])
    if model is None:
        raise fault(3, f"unknown direct message {value[0][:32]!r}")
    try:
        return model.model_validate(value[1])
    except ValidationError as error:
        raise fault(4, f"{value[0]}: {first_fault(error)}") from None
