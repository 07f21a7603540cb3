"""Gossip: topics, limits, and the judgement of what arrives.

Gossip is a hint. Adverts say who is there; announcements say that an entry exists, and entries themselves are pulled;
checkpoints say what an author, and witnesses, have signed of a feed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.adverts import LIFETIME_MAX_MS, SignedAdvert, open_advert
from protocol.codec import decode, encode
from protocol.envelope import Head
from protocol.errors import Ignore, Reject, fault

ADVERT_MAX_BYTES = 12 * 1024
ANNOUNCEMENT_MAX_BYTES = 8 * 1024
ANNOUNCEMENTS_MAX = 64
CHECKPOINT_MAX_BYTES = 16 * 1024  # an author and 64 witnesses take 15 KiB
CLOCK_SKEW_MAX_MS = 600_000  # as for entries: LEDGER.md's ten minutes


@dataclass(frozen=True, slots=True)
class Topics:
    """The topic names of one network."""

    adverts: str
    entries: str
    checkpoints: str

    @classmethod
    def of(cls, network: bytes) -> Topics:
        stem = f"heliotrope/1/{network.hex()[:32]}"
        return cls(f"{stem}/adverts", f"{stem}/entries", f"{stem}/checkpoints")


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


def judge_advert(data: bytes, network: bytes, now_ms: int) -> SignedAdvert:
    """A valid and fresh advert.

    1 to 6: as `open_advert`, else Reject.
    7. It lives at most an hour, else Reject.
    8. It has not expired, else Ignore: it may have been on the way for long.
    9. It is dated at most ten minutes ahead, else Ignore: clocks differ.
    """
    signed = open_advert(data, network, ADVERT_MAX_BYTES)
    advert = signed.advert
    lives_ms = advert.expires_at_ms - advert.number
    if lives_ms > LIFETIME_MAX_MS:
        raise fault(7, f"advert lives {lives_ms} ms, at most {LIFETIME_MAX_MS} are allowed")
    if advert.expires_at_ms <= now_ms:
        raise Ignore(f"check 8: advert expired {now_ms - advert.expires_at_ms} ms ago")
    if advert.number > now_ms + CLOCK_SKEW_MAX_MS:
        raise Ignore(f"check 9: advert is dated {advert.number - now_ms} ms ahead")
    return signed


def judge(topics: Topics, network: bytes, topic: str, data: bytes, now_ms: int) -> None:
    """Accept by returning; raise Ignore or Reject. What the network layer asks before it forwards anything.

    Of a checkpoint only the size: its form and its signatures are for `ledger.checkpoint` to judge.
    """
    if topic == topics.adverts:
        judge_advert(data, network, now_ms)
    elif topic == topics.entries:
        judge_announcement(data)
    elif topic == topics.checkpoints:
        if len(data) > CHECKPOINT_MAX_BYTES:
            raise Reject(f"a checkpoint of {len(data)} bytes exceeds {CHECKPOINT_MAX_BYTES}")
    else:
        raise Reject(f"unknown topic {topic[:80]!r}")
