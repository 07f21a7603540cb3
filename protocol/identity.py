"""Keys, peer ids and the strict signature rule.

An author is an Ed25519 public key of 32 bytes; its libp2p PeerId is the same key in another spelling.

The rule: before verifying, the public key A and the signature's R must be canonically encoded and not of small order,
and S must be below the group order. Without it, libraries disagree on edge cases (ed25519-speccheck, "Taming the many
EdDSAs", SSR 2020), and a ledger whose validity depends on the library forks itself.
"""

from __future__ import annotations

import re
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

P = 2**255 - 19
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
PEER_ID_PREFIX = bytes.fromhex("002408011220")  # identity multihash of a protobuf Ed25519 public key
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
PEER_ID = re.compile(f"1[{BASE58}]{{51}}")

# y coordinates of the eight points whose order divides 8; a test multiplies them out.
SMALL_ORDER_Y = frozenset(
    {
        0,
        1,
        P - 1,
        2707385501144840649318225287225658788936804267575313519463743609750303402022,
        55188659117513257062467267217118295137698188065244968500265048394206261417927,
    }
)


# The highest byte of a y tells most points apart from those that need a closer look.
SUSPECT_TOPS = frozenset({y >> 248 for y in SMALL_ORDER_Y} | {P >> 248})
GROUP_ORDER_TOP = GROUP_ORDER >> 248


class KeyPair:
    """An Ed25519 key. The seed stays inside: neither repr nor str shows it."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise ValueError(f"an Ed25519 seed has 32 bytes, not {len(seed)}")
        self.seed = seed
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public: bytes = self._private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)

    def __repr__(self) -> str:
        return f"KeyPair({peer_id(self.public)})"


def is_canonical_point(encoded: bytes) -> bool:
    """Whether 32 bytes encode a y below p and no point of small order."""
    if encoded[31] & 0x7F not in SUSPECT_TOPS:
        return True
    y = int.from_bytes(encoded, "little") & (2**255 - 1)
    return y < P and y not in SMALL_ORDER_Y


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature is valid under the strict rule above."""
    if len(signature) != 64 or not is_canonical_point(signature[:32]):
        return False
    if signature[63] >= GROUP_ORDER_TOP and int.from_bytes(signature[32:], "little") >= GROUP_ORDER:
        return False
    try:
        _public_key(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@lru_cache(maxsize=4096)
def _public_key(public: bytes) -> Ed25519PublicKey:
    if len(public) != 32 or not is_canonical_point(public):
        raise ValueError("not a canonical Ed25519 public key")
    return Ed25519PublicKey.from_public_bytes(public)


def peer_id(public: bytes) -> str:
    """The libp2p PeerId of a public key, base58: `12D3KooW…`."""
    number = int.from_bytes(PEER_ID_PREFIX + public, "big")
    digits = ""
    while number:
        number, digit = divmod(number, 58)
        digits = BASE58[digit] + digits
    return "1" + digits  # the prefix begins with one zero byte


def public_key(peer: str) -> bytes:
    """The public key of a PeerId. Raises ValueError if it is none of an Ed25519 key."""
    number = 0
    if PEER_ID.fullmatch(peer):
        for character in peer:
            number = number * 58 + BASE58.index(character)
    raw = number.to_bytes(38, "big")  # 52 digits never need more
    if not raw.startswith(PEER_ID_PREFIX):
        raise ValueError(f"{peer[:64]!r} is no Ed25519 peer id: 52 base58 digits that begin with 12D3KooW")
    return raw[6:]


def short(public: bytes) -> str:
    """The last eight characters of the peer id: enough to tell peers apart in a table, not to trust one."""
    return peer_id(public)[-8:]
