"""Entries: the envelope that every ledger body travels in.

    [v, network, kind, author, seq, prev, time_ms, refs, body, sig]

The signature covers DOMAIN ‖ the canonical encoding of the first nine. The id is the SHA-256 of the same bytes, without
the signature: a signature can be malleable, an id must not be. Received bytes are kept verbatim.

Whether an entry continues its author's feed is for `ledger.feed` to say; whether its body is allowed, for
`ledger.transitions`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from protocol.codec import VALUE_MAX_BYTES, decode
from protocol.errors import Reject
from protocol.identity import KeyPair, verify
from protocol.signed import sign_array, signed_part

DOMAIN = b"heliotrope-ledger/entry/v1\0"
VERSION = 1
REFS_MAX = 16
NO_PREV = bytes(32)  # `prev` of an author's first entry
KIND = re.compile("[a-z][a-z0-9_]{0,31}")  # fit to be printed, although a stranger chose it


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One signed statement. `body` is decoded but not yet judged."""

    raw: bytes
    id: bytes
    network: bytes
    kind: str
    author: bytes
    seq: int
    prev: bytes
    time_ms: int
    refs: tuple[bytes, ...]
    body: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Entry({self.kind} {self.author.hex()[:8]}:{self.seq} {self.id.hex()[:8]})"


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry of a feed, as somebody knows it."""

    author: bytes
    seq: int
    id: bytes


def seal(
    keypair: KeyPair,
    *,
    network: bytes,
    kind: str,
    seq: int,
    prev: bytes,
    time_ms: int,
    refs: Sequence[bytes],
    body: Mapping[str, Any],
) -> Entry:
    """A signed entry. Raises ValueError if it would not pass `parse` (too large, too many refs)."""
    nine = (VERSION, network, kind, keypair.public, seq, prev, time_ms, tuple(refs), body)
    raw = sign_array(keypair, DOMAIN, nine)
    try:
        return parse(raw)
    except Reject as refusal:
        raise ValueError(f"cannot seal this {kind}: {refusal}") from None


def parse(raw: bytes) -> Entry:
    """The entry in these bytes, its signature not yet verified. Raises Reject, naming check, field, value and bound.

    1. Canonical, at most 16 KiB.
    2. An array of ten.
    3. The version is 1.
    4. `network`, `author` and `prev` have 32 bytes each.
    5. `kind` is 1 to 32 characters of a-z, 0-9 and _, a letter first.
    6. `seq` and `time_ms` are integers from 0 to 2^53-1.
    7. `refs` is an array of at most 16 ids of 32 bytes.
    8. `body` is a map.
    9. `sig` has 64 bytes.
    """
    try:
        value = decode(raw, VALUE_MAX_BYTES)
    except Reject as refusal:
        raise _fault(1, str(refusal)) from None
    if type(value) is not tuple or len(value) != 10:
        raise _fault(2, f"an entry is an array of ten, not {_shape(value)}")
    version, network, kind, author, seq, prev, time_ms, refs, body, signature = value
    if type(version) is not int or version != VERSION:
        found = version if type(version) is int else _shape(version)
        raise _fault(3, f"version {found}, this program reads {VERSION}")
    for name, item in (("network", network), ("author", author), ("prev", prev)):
        if type(item) is not bytes or len(item) != 32:
            raise _fault(4, f"{name} must be 32 bytes, not {_shape(item)}")
    if type(kind) is not str or not KIND.fullmatch(kind):
        found = ascii(kind[:33]) if type(kind) is str else _shape(kind)
        raise _fault(5, f"kind must be 1 to 32 characters of a-z, 0-9 and _, a letter first, not {found}")
    for name, number in (("seq", seq), ("time_ms", time_ms)):
        if type(number) is not int or number < 0:  # the codec has bounded it above
            found = number if type(number) is int else _shape(number)
            raise _fault(6, f"{name} must be an integer from 0 to 2^53-1, not {found}")
    if type(refs) is not tuple or len(refs) > REFS_MAX or any(type(r) is not bytes or len(r) != 32 for r in refs):
        raise _fault(7, f"refs must be at most {REFS_MAX} ids of 32 bytes, not {_shape(refs)}")
    if type(body) is not dict:
        raise _fault(8, f"body must be a map, not {_shape(body)}")
    if type(signature) is not bytes or len(signature) != 64:
        raise _fault(9, f"sig must be 64 bytes, not {_shape(signature)}")
    entry_id = hashlib.sha256(signed_bytes(raw)).digest()
    return Entry(raw, entry_id, network, kind, author, seq, prev, time_ms, refs, body)


def signed_bytes(raw: bytes) -> bytes:
    """What the signature of a parsed entry covers."""
    return signed_part(DOMAIN, raw)


def is_signed(entry: Entry) -> bool:
    """Whether the author's signature is valid under the strict rule."""
    return verify(entry.author, signed_bytes(entry.raw), entry.raw[-64:])


def open_entry(raw: bytes, network: bytes) -> Entry:
    """Parse, compare the network and verify. Raises Reject."""
    return open_parsed(parse(raw), network)


def open_parsed(entry: Entry, network: bytes) -> Entry:
    """The rest of `open_entry`, for a caller that needs a faulty entry's name. Raises Reject.

    10. The entry is of this network.
    11. Its signature is valid under the strict rule.
    """
    if entry.network != network:
        raise _fault(10, f"entry of network {entry.network.hex()[:16]}, this is {network.hex()[:16]}")
    if not is_signed(entry):
        raise _fault(11, f"invalid signature on entry {entry.author.hex()[:8]}:{entry.seq}")
    return entry


def _fault(check: int, complaint: str) -> Reject:
    return Reject(f"check {check}: {complaint}")


def _shape(value: Any) -> str:
    """What a stranger sent instead, without repeating it."""
    units: dict[type, str] = {bytes: "bytes", str: "characters", tuple: "items", dict: "keys"}
    kind = type(value)
    if kind in units:
        return f"{len(value)} {units[kind]}"
    return "an integer" if kind is int else str(value)
