"""The seal under an archive: the exporter vouches that nothing was left out.

    [v, network, exporter, time_ms, counts, heads, content, sig]

`counts`: parts of each kind between genesis and seal. `heads`: the hash of all heads. `content`: SHA-256 over the parts
before the seal, as they stand in `ledger.bin`: so JSON lines that were made from it bear the same seal.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

from ledger.archive import COUNTED, Kind, Part, frames
from protocol.codec import decode
from protocol.errors import Reject
from protocol.identity import KeyPair, verify
from protocol.signed import sign_array, signed_part

DOMAIN = b"heliotrope-archive/v2\0"
VERSION = 2
FORM = [int, bytes, bytes, int, tuple, bytes, bytes, bytes]


class Tally:
    """What of an archive has gone by."""

    def __init__(self) -> None:
        self.counts: Counter[Kind] = Counter()
        self._content = hashlib.sha256()

    def add(self, part: Part) -> None:
        self.counts[part.kind] += 1
        self._content.update(frames.header(part))
        self._content.update(part.data)

    def content(self) -> bytes:
        return self._content.digest()

    def counted(self) -> tuple[int, ...]:
        return tuple(self.counts[kind] for kind in COUNTED)


@dataclass(frozen=True, slots=True)
class Seal:
    """Who exported, and when: network time by the exporter's clock."""

    exporter: bytes
    time_ms: int
    content: bytes


def make(tally: Tally, network: bytes, heads: bytes, keypair: KeyPair, time_ms: int) -> bytes:
    """The seal under what has gone by."""
    items = (VERSION, network, keypair.public, time_ms, tally.counted(), heads, tally.content())
    return sign_array(keypair, DOMAIN, items)


def open_seal(raw: bytes, tally: Tally, network: bytes, heads: bytes) -> Seal:
    """The seal in these bytes. Raises Reject unless it is genuine and speaks of what has gone by."""
    value = decode(raw, Kind.SEAL.max_bytes)
    if type(value) is not tuple or [type(item) for item in value] != FORM:
        raise Reject(
            "archive check 9: not an array of version, network, exporter, time, counts, heads, content and signature"
        )
    version, sealed_network, exporter, time_ms, counts, sealed_heads, content, signature = value
    if version != VERSION:
        raise Reject(f"archive check 9: version {version}, this program reads {VERSION}")
    if not verify(exporter, signed_part(DOMAIN, raw), signature):
        raise Reject("archive check 9: the exporter's signature is not valid")
    if sealed_network != network:
        raise Reject("archive check 9: it is of another network than the genesis document")
    if len(counts) != len(COUNTED):
        raise Reject(f"archive check 9: it counts {len(counts)} kinds of parts, there are {len(COUNTED)}")
    for kind, sealed, found in zip(COUNTED, counts, tally.counted(), strict=True):
        if sealed != found:
            raise Reject(f"archive check 9: it speaks of {sealed!r} parts of kind {kind.label}, the file holds {found}")
    if sealed_heads != heads:
        raise Reject("archive check 9: its heads are not those of the entries in the file")
    if content != tally.content():
        raise Reject(
            "archive check 9: the parts before it are not those that it was made for, or stand in another order"
        )
    return Seal(exporter, time_ms, content)
