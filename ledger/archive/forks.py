"""A fork's proof as a part of an archive: an array of the two raw entries."""

from __future__ import annotations

from ledger.archive import Kind, Part
from ledger.feed import ForkProof
from protocol.codec import decode, encode
from protocol.envelope import Entry, parse
from protocol.errors import Reject


def part_of(proof: ForkProof) -> Part:
    return Part(Kind.FORK, encode((proof.a.raw, proof.b.raw)))


def open_pair(data: bytes) -> tuple[Entry, Entry]:
    """The two entries, neither signature verified. Raises Reject."""
    value = decode(data, Kind.FORK.max_bytes)
    if type(value) is not tuple or [type(item) for item in value] != [bytes, bytes]:
        raise Reject("a fork is an array of two entries")
    return parse(value[0]), parse(value[1])
