"""Signed arrays: an entry, an advert and the seal of an archive are arrays whose last item is a signature.

It covers a domain, so that no signature serves for another purpose, and the canonical array without its last item.
"""

from __future__ import annotations

from typing import Any

from protocol.codec import encode
from protocol.identity import KeyPair
from protocol.messages import ARRAY_MAX

SIGNATURE_HEADER = b"\xc4\x40"  # msgpack: 64 bytes follow
TAIL_BYTES = len(SIGNATURE_HEADER) + 64


def sign_array(keypair: KeyPair, domain: bytes, items: tuple[Any, ...], array_max: int = ARRAY_MAX) -> bytes:
    """The canonical bytes of these items, at most 14, and the signature. Raises ValueError as `encode`."""
    unsigned = encode(items, array_max)
    return bytes((unsigned[0] + 1,)) + unsigned[1:] + SIGNATURE_HEADER + keypair.sign(domain + unsigned)


def signed_part(domain: bytes, raw: bytes) -> bytes:
    """What the signature covers, in an array that `decode` has read."""
    return domain + bytes((raw[0] - 1,)) + raw[1:-TAIL_BYTES]
