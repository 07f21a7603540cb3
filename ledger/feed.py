"""Feeds: one hash chain per author, and what a break in it proves.

An entry may only follow the newest one its author signed. Two entries of one author that cannot stand in one chain are
a fork: a proof of double talk, signed by the one who did it.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.envelope import NO_PREV, Entry
from protocol.errors import Ignore, Reject

CLOCK_SKEW_MAX_MS = 600_000  # an author's clock may be ten minutes ahead of the reader's (LEDGER.md)


@dataclass(frozen=True, slots=True)
class ForkProof:
    """Two signed entries of one author that no honest author signs both."""

    a: Entry
    b: Entry

    @property
    def author(self) -> bytes:
        return self.a.author

    @property
    def seq(self) -> int:
        """Where the histories part, or below: `b` names a predecessor that is not `a`, or is not `a` itself."""
        return min(self.a.seq, self.b.seq)

    @property
    def is_exact(self) -> bool:
        """Whether the histories part exactly at `seq`, not somewhere below: both name the same predecessor."""
        return self.a.seq == self.b.seq and self.a.prev == self.b.prev


def prove_fork(a: Entry, b: Entry) -> ForkProof:
    """The proof that two entries are, whatever else is known of the feed; their signatures were verified. Raises Reject
    where an honest author may sign both."""
    same_seq = a.seq == b.seq and a.id != b.id
    if a.author != b.author or not (same_seq or (a.seq + 1 == b.seq and b.prev != a.id)):
        raise Reject(f"{a.author.hex()[:8]}:{a.seq} and {b.author.hex()[:8]}:{b.seq} are no fork")
    return ForkProof(a, b)


class Fork(Reject):
    """Raised where an entry completes a fork proof."""

    def __init__(self, proof: ForkProof) -> None:
        super().__init__(f"fork of {proof.b.author.hex()[:8]} at seq {proof.b.seq}")
        self.proof = proof


class Gap(Ignore):
    """The entry is ahead of what is known of its feed: ask for the range from `from_seq`."""

    def __init__(self, author: bytes, from_seq: int, seq: int) -> None:
        super().__init__(f"entries {from_seq} to {seq - 1} of {author.hex()[:8]} are missing")
        self.author = author
        self.from_seq = from_seq


def check_follows(head: Entry | None, entry: Entry, now_ms: int) -> None:
    """Return if `entry` is the next of its feed after `head` (None: an empty feed).

    1. Already known, or older than the head: Ignore.
    2. The same seq as the head with another id, or the next seq naming another predecessor: Fork.
    3. Entries between are missing: Gap.
    4. Time below the predecessor's: Reject. More than ten minutes ahead of `now_ms`: Ignore (it may come again).
    """
    next_seq = 0 if head is None else head.seq + 1
    if head is not None and entry.seq == head.seq and entry.id != head.id:
        raise Fork(ForkProof(head, entry))
    if entry.seq < next_seq:
        raise Ignore(f"entry {entry.seq} of {entry.author.hex()[:8]} is already known")
    if entry.seq > next_seq:
        raise Gap(entry.author, next_seq, entry.seq)
    if entry.prev != (NO_PREV if head is None else head.id):
        if head is None:
            raise Reject("the first entry of a feed must name a predecessor of 32 zero bytes")
        raise Fork(ForkProof(head, entry))
    if head is not None and entry.time_ms < head.time_ms:
        raise Reject(f"time runs backwards in a feed: {entry.time_ms} after {head.time_ms}")
    if entry.time_ms > now_ms + CLOCK_SKEW_MAX_MS:
        raise Ignore(f"entry is dated {entry.time_ms - now_ms} ms ahead of this node's clock")
