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


def is_fork(a: Entry, b: Entry) -> bool:
    """Whether no honest author signs both: two of one seq, or a successor that names another predecessor."""
    same_seq = a.seq == b.seq and a.id != b.id
    return a.author == b.author and (same_seq or (a.seq + 1 == b.seq and b.prev != a.id))


def prove_fork(a: Entry, b: Entry) -> ForkProof:
    """The proof that two entries are, whatever else is known of the feed; their signatures were verified. Raises Reject
    where an honest author may sign both."""
    if not is_fork(a, b):
        raise Reject(f"{a.author.hex()[:8]}:{a.seq} and {b.author.hex()[:8]}:{b.seq} are no fork")
    return ForkProof(a, b)


class Fork(Reject):
    """Raised where an entry completes a fork proof."""

    def __init__(self, proof: ForkProof) -> None:
        super().__init__(f"fork of {proof.author.hex()[:8]} at seq {proof.seq}")
        self.proof = proof


class Gap(Ignore):
    """The entry is ahead of what is known of its feed: ask for the range from `from_seq`."""

    def __init__(self, author: bytes, from_seq: int, seq: int) -> None:
        super().__init__(f"feed check d: entries {from_seq} to {seq - 1} of {author.hex()[:8]} are missing")
        self.author = author
        self.from_seq = from_seq


def check_follows(head: Entry | None, entry: Entry, now_ms: int) -> None:
    """Return if `entry` is the next of its feed after `head` (None: an empty feed). Lettered as in SPEC.md, section 6;
    line a, on frozen authors, is the ledger's.

    b. The same seq as the head with another id: Fork.
    c. Already known, or older than the head: Ignore.
    d. Entries between are missing: Gap.
    e. A first entry that names a predecessor: Reject.
    f. The next seq naming another predecessor: Fork.
    g. Time below the predecessor's: Reject.
    h. Time more than ten minutes ahead of `now_ms`: Ignore, it may come again.
    """
    next_seq = 0 if head is None else head.seq + 1
    if head is not None and entry.seq == head.seq and entry.id != head.id:
        raise Fork(ForkProof(head, entry))
    if entry.seq < next_seq:
        raise Ignore(f"feed check c: seq {entry.seq} of {entry.author.hex()[:8]} is known, the next is {next_seq}")
    if entry.seq > next_seq:
        raise Gap(entry.author, next_seq, entry.seq)
    if head is None and entry.prev != NO_PREV:
        raise Reject(f"feed check e: prev of a feed's first entry must be 32 zero bytes, not {entry.prev.hex()[:16]}")
    if head is not None and entry.prev != head.id:
        raise Fork(ForkProof(head, entry))
    if head is not None and entry.time_ms < head.time_ms:
        raise Reject(f"feed check g: time_ms {entry.time_ms} is below the predecessor's {head.time_ms}")
    if entry.time_ms > now_ms + CLOCK_SKEW_MAX_MS:
        raise Ignore(
            f"feed check h: time_ms {entry.time_ms} is {entry.time_ms - now_ms} ms ahead of this node's clock,"
            f" {CLOCK_SKEW_MAX_MS} are allowed"
        )
