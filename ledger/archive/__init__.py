"""An exported ledger: one file that a stranger can check, with nothing else at hand.

It is a sequence of parts, in this order, each at its place among its like, so that there is one file for one content:

    G genesis      the network's id, then the genesis document
    F fork         two entries that no honest author signs both; by author
    A aside        an entry of a fork's other branch, to which entries of this ledger refer; by id
    C checkpoint   of a feed: the newest, and the newest that is final; by author and size
    E entry        in the order in which they were accepted
    M matching     what a matching was made from, if an award names its hash; by hash
    S seal         the exporter's signature under the counts, the heads and the hash of all parts before it

What decides how entries are judged stands before them: a file is read in one go, in the memory of the fold alone. What
is not vouched for by its own signature is by its hash, and that nothing is missing by the seal; so a flipped bit is
found in the part in which it lies.

parts in bytes: `frames` · in JSON lines: `lines` · made from a ledger: `write` · checked: `check` · the seal: `seal`
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from ledger.checkpoint import NOTE_MAX_BYTES
from protocol.codec import VALUE_MAX_BYTES, encode
from protocol.envelope import Head
from protocol.errors import VerificationFailed

MATCHING_MAX_BYTES = 4 * 1024 * 1024  # as `node.matching.bids.record` bounds it
EXPORT_AGAIN = "Do not rely on this file. Ask its source, or another peer, for a fresh export."


class Kind(enum.Enum):
    """What a part is: its letter in the file, its name for people, and how many bytes it may have."""

    GENESIS = "G", "genesis", 32 + VALUE_MAX_BYTES
    FORK = "F", "fork", 2 * VALUE_MAX_BYTES + 16
    ASIDE = "A", "aside", VALUE_MAX_BYTES
    CHECKPOINT = "C", "checkpoint", NOTE_MAX_BYTES
    ENTRY = "E", "entry", VALUE_MAX_BYTES
    MATCHING = "M", "matching", MATCHING_MAX_BYTES
    SEAL = "S", "seal", 1024

    def __init__(self, letter: str, label: str, max_bytes: int) -> None:
        self.letter = letter
        self.label = label
        self.max_bytes = max_bytes


COUNTED = (Kind.FORK, Kind.ASIDE, Kind.CHECKPOINT, Kind.ENTRY, Kind.MATCHING)  # in the seal, in this order
BY_LETTER = {kind.letter.encode(): kind for kind in Kind}
BY_LABEL = {kind.label: kind for kind in Kind}
PART_MAX_BYTES = max(kind.max_bytes for kind in Kind)


@dataclass(frozen=True, slots=True)
class Part:
    """One part, and the byte of the file at which it begins."""

    kind: Kind
    data: bytes
    offset: int = 0


def failed(offset: int, cause: str, remedy: str = EXPORT_AGAIN) -> VerificationFailed:
    """That a file cannot be relied on: where, why, and what to do."""
    return VerificationFailed("HEL-LEDGER-006", f"ledger verify: FAILED at byte {offset}: {cause}", remedy)


def heads_hash(heads: Iterable[Head]) -> bytes:
    """Stands for a set of heads, given by author: equal ledgers have equal hashes."""
    found = hashlib.sha256()
    for head in heads:
        found.update(encode((head.author, head.seq, head.id)))
    return found.digest()


def fingerprint(heads: Iterable[Head]) -> str:
    """The same, short enough to be read out."""
    return heads_hash(heads).hex()[:16]
