"""Gossip: topics, limits, and the judgement of what arrives.

Gossip is a hint. Adverts say who is there; announcements say that an entry exists, and entries themselves are pulled;
checkpoints say what an author, and witnesses, have signed of a feed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.adverts import LIFETIME_MAX_MS, SignedAdvert, SignedUpdate, open_advert
from protocol.codec import decode, encode
from protocol.envelope import Head
from protocol.errors import Ignore, Reject, fault
from protocol.regions import REGIONS, region_of

BATCH_MAX = 16
BATCH_MAX_BYTES = 64 * 1024
ANNOUNCEMENT_MAX_BYTES = 8 * 1024
ANNOUNCEMENTS_MAX = 64
CHECKPOINT_MAX_BYTES = 16 * 1024  # an author and 64 witnesses take 15 KiB
CLOCK_SKEW_MAX_MS = 600_000  # as for entries: LEDGER.md's ten minutes


@dataclass(frozen=True, slots=True)
class Topics:
    """The topic names of one network."""

    stem: str

    @classmethod
    def of(cls, network: bytes) -> Topics:
        return cls(f"heliotrope/1/{network.hex()[:32]}")

    @property
    def entries(self) -> str:
        return f"{self.stem}/entries"

    @property
    def checkpoints(self) -> str:
        return f"{self.stem}/checkpoints"

    def adverts(self, region: str) -> str:
        """Where the providers of one of `REGIONS` advertise."""
        return f"{self.stem}/adverts/{region}"

    def region(self, topic: str) -> str | None:
        """Whose adverts a topic carries; None if it is none of adverts."""
        stem, _, region = topic.rpartition("/")
        return region if region in REGIONS and stem == f"{self.stem}/adverts" else None


def encode_announcement(heads: Sequence[Head]) -> bytes:
    return encode(tuple((h.author, h.seq, h.id) for h in heads))


def judge_announcement(data: bytes) -> tuple[Head, ...]:
    """The heads that somebody announces. Unsigned: whoever asks for the entries will verify them. Raises Reject.

    1. Canonical, at most 8 KiB.
    2. An array of 1 to 64 heads.
    3. Each an array of three: `author` and `id` of 32 bytes, `seq` an integer from 0.
    """
    try:
        value = decode(data, ANNOUNCEMENT_MAX_BYTES)
    except Reject as refusal:
        raise fault(1, str(refusal)) from None
    if type(value) is not tuple or not 1 <= len(value) <= ANNOUNCEMENTS_MAX:
        raise fault(2, f"an announcement is an array of 1 to {ANNOUNCEMENTS_MAX} heads")
    return tuple(read_head(item) for item in value)


def read_head(item: object) -> Head:
    """One (author, seq, id). Raises Reject, as check 3 of an announcement."""
    if type(item) is not tuple or len(item) != 3:
        raise fault(3, "a head is an array of three")
    author, seq, entry_id = item
    if type(author) is not bytes or len(author) != 32 or type(entry_id) is not bytes or len(entry_id) != 32:
        raise fault(3, "author and id of a head must be 32 bytes")
    if type(seq) is not int or seq < 0:
        raise fault(3, "seq of a head must be an integer from 0")
    return Head(author, seq, entry_id)


def encode_batch(raws: Sequence[bytes]) -> bytes:
    """A gossip message of adverts from their signed bytes."""
    return encode(tuple(raws))


def judge_adverts(data: bytes, network: bytes, region: str, now_ms: int) -> tuple[SignedAdvert | SignedUpdate, ...]:
    """A batch of valid and fresh adverts and updates, of one author or several. One that is faulty or stale condemns
    the whole: nobody has to forward it, and an honest sender looks before it sends.

    1. Canonical, at most 64 KiB.
    2. An array of 1 to 16 byte strings.

    Of each, 3 to 8 as `open_advert`, else Reject; and then as `judge_advert`.
    """
    try:
        raws = decode(data, BATCH_MAX_BYTES)
    except Reject as refusal:
        raise fault(1, str(refusal)) from None
    if type(raws) is not tuple or not 1 <= len(raws) <= BATCH_MAX or any(type(raw) is not bytes for raw in raws):
        raise fault(2, f"a message of adverts is an array of 1 to {BATCH_MAX} byte strings")
    items = tuple(open_advert(raw, network) for raw in raws)
    for item in items:
        judge_advert(item, region, now_ms)
    return items


def judge_advert(item: SignedAdvert | SignedUpdate, region: str, now_ms: int) -> None:
    """Whether an advert or update may be gossiped now. Raises Reject or Ignore.

    9. It lives from no time, which is an update's goodbye, to an hour, else Reject.
    10. A full advert is of the topic's region, else Reject. An update does not say its region.
    11. It has not expired, or is a goodbye of the last hour, else Ignore: it may have been on the way for long.
    12. It is dated at most ten minutes ahead, else Ignore: clocks differ.
    """
    said = item.advert if isinstance(item, SignedAdvert) else item.update
    lives_ms = said.expires_at_ms - said.number
    is_goodbye = isinstance(item, SignedUpdate) and item.update.is_goodbye
    if not (is_goodbye or 0 < lives_ms <= LIFETIME_MAX_MS):
        raise fault(9, f"advert lives {lives_ms} ms, 1 to {LIFETIME_MAX_MS} are allowed")
    if isinstance(item, SignedAdvert) and region_of(item.advert.offer.place.zone) != region:
        raise fault(10, f"advert from zone {item.advert.offer.place.zone} in the topic of {region}")
    ends_ms = said.number + LIFETIME_MAX_MS if is_goodbye else said.expires_at_ms
    if ends_ms <= now_ms:
        raise Ignore(f"check 11: advert expired {now_ms - ends_ms} ms ago")
    if said.number > now_ms + CLOCK_SKEW_MAX_MS:
        raise Ignore(f"check 12: advert is dated {said.number - now_ms} ms ahead")


def judge(topics: Topics, network: bytes, topic: str, data: bytes, now_ms: int) -> None:
    """Accept by returning; raise Ignore or Reject. What the network layer asks before it forwards anything.

    Of a checkpoint only the size: its form and its signatures are for `ledger.checkpoint` to judge.
    """
    region = topics.region(topic)
    if region is not None:
        judge_adverts(data, network, region, now_ms)
    elif topic == topics.entries:
        judge_announcement(data)
    elif topic == topics.checkpoints:
        if len(data) > CHECKPOINT_MAX_BYTES:
            raise Reject(f"a checkpoint of {len(data)} bytes exceeds {CHECKPOINT_MAX_BYTES}")
    else:
        raise Reject(f"unknown topic {topic[:80]!r}")
