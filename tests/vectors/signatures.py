"""Signatures under the strict rule: the twelve cases of ed25519-speccheck ("Taming the many EdDSAs", SSR 2020, table
6), built anew, and ordinary ones.

Only number 3 of the twelve is in order: the others break the rule, or hold only for verifiers that multiply by the
cofactor. `equation` says for which the group equation holds: "plain", "cofactor" or "none".
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any

from tests.builders import keypair
from tests.protocol.edwards import BASE, NEUTRAL, TORSION, L, P, Point, add, challenge, decoded, encoded, multiply

MESSAGE = b"message"
SECRET, NONCE = 123_456_789, 987_654_321
NEUTRAL_OTHERWISE = (P + 1).to_bytes(32, "little")  # the neutral point, whose y is 1, in a spelling beyond the field


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature with the points that its parts stand for."""

    public: bytes
    message: bytes
    signature: bytes
    accepted: bool
    a: Point
    r: Point
    k: int  # the challenge that its maker meant

    @property
    def s(self) -> int:
        return int.from_bytes(self.signature[32:], "little")

    @property
    def equation(self) -> str:
        left, right = multiply(self.s, BASE), add(self.r, multiply(self.k, self.a))
        if left == right:
            return "plain"
        return "cofactor" if multiply(8, left) == multiply(8, right) else "none"


def _with_torsion(
    secret: int,
    a_torsion: int,
    nonce: int,
    r_torsion: int,
    *,
    cancels: bool = True,
    accepted: bool = False,
    r_sent: bytes | None = None,
    r_hashed: bytes | None = None,
) -> Signed:
    """A and R with these multiples of a point of order 8, and a message whose challenge makes R + kA lose them."""
    a, r = add(multiply(secret, BASE), TORSION[a_torsion]), add(multiply(nonce, BASE), TORSION[r_torsion])
    public, sent = encoded(a), r_sent or encoded(r)
    hashed = r_hashed or sent
    challenges = ((message, challenge(hashed, public, message)) for message in map(b"message %d".__mod__, count()))
    message, k = next((m, k) for m, k in challenges if ((r_torsion + k * a_torsion) % 8 == 0) is cancels)
    s = (nonce + k * secret) % L
    return Signed(public, message, sent + s.to_bytes(32, "little"), accepted, a, r, k)


def _with_large_s(times: int) -> Signed:
    pair = keypair(1)
    good = pair.sign(MESSAGE)
    s = int.from_bytes(good[32:], "little") + times * L
    k = challenge(good[:32], pair.public, MESSAGE)
    signature = good[:32] + s.to_bytes(32, "little")
    return Signed(pair.public, MESSAGE, signature, False, decoded(pair.public), decoded(good[:32]), k)


def _with_neutral_key(hashed: bytes) -> Signed:
    r = multiply(NONCE, BASE)
    k = challenge(encoded(r), hashed, MESSAGE)
    signature = encoded(r) + NONCE.to_bytes(32, "little")
    return Signed(NEUTRAL_OTHERWISE, MESSAGE, signature, False, NEUTRAL, r, k)


SPECCHECK: dict[str, Signed] = {
    "0: A and R of small order, S = 0": _with_torsion(0, 1, 0, 1),
    "1: A of small order": _with_torsion(0, 1, NONCE, 1),
    "2: R of small order": _with_torsion(SECRET, 1, 0, 1),
    "3: A and R mixed": _with_torsion(SECRET, 1, NONCE, 1, accepted=True),
    "4: A and R mixed, valid only with the cofactor": _with_torsion(SECRET, 1, NONCE, 1, cancels=False),
    "5: A mixed, valid only with the cofactor": _with_torsion(SECRET, 1, NONCE, 0, cancels=False),
    "6: S above the group order": _with_large_s(1),
    "7: S far above the group order": _with_large_s(14),
    "8: R of small order, not canonical, hashed as sent": _with_torsion(SECRET, 1, 0, 0, r_sent=NEUTRAL_OTHERWISE),
    "9: R of small order, not canonical, hashed as it should be": _with_torsion(
        SECRET, 1, 0, 0, r_sent=NEUTRAL_OTHERWISE, r_hashed=encoded(NEUTRAL)
    ),
    "10: A of small order, not canonical, hashed as sent": _with_neutral_key(NEUTRAL_OTHERWISE),
    "11: A of small order, not canonical, hashed as it should be": _with_neutral_key(encoded(NEUTRAL)),
}


Case = tuple[bytes, bytes, bytes, bool]  # public key, message, signature, whether it is valid


def _ordinary() -> dict[str, Case]:
    public, good = keypair(1).public, keypair(1).sign(MESSAGE)
    flipped = good[:63] + bytes([good[63] ^ 1])
    return {
        "valid": (public, MESSAGE, good, True),
        "valid, of an empty message": (public, b"", keypair(1).sign(b""), True),
        "another message": (public, MESSAGE + b"!", good, False),
        "another key": (keypair(2).public, MESSAGE, good, False),
        "a bit flipped": (public, MESSAGE, flipped, False),
        "a byte too few": (public, MESSAGE, good[:63], False),
        "a byte too many": (public, MESSAGE, good + bytes(1), False),
        "a key of 31 bytes": (public[:31], MESSAGE, good, False),
        "a key that is no point": ((2).to_bytes(32, "little"), MESSAGE, good, False),
        "no key and no signature": (bytes(32), MESSAGE, bytes(64), False),
    }


def make() -> dict[str, Any]:
    return {
        "speccheck": [
            _written(name, (each.public, each.message, each.signature, each.accepted)) | {"equation": each.equation}
            for name, each in SPECCHECK.items()
        ],
        "ordinary": [_written(name, case) for name, case in _ordinary().items()],
    }


def _written(name: str, case: Case) -> dict[str, Any]:
    public, message, signature, accepted = case
    parts = {"public": public.hex(), "message": message.hex(), "signature": signature.hex()}
    return {"name": name, **parts, "accepted": accepted}
