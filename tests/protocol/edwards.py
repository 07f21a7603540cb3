"""Ed25519 by the book (RFC 8032, section 5.1, affine and slow), to build the signatures that libraries disagree about.

Points are (x, y). Nothing here is fit for signing.
"""

from __future__ import annotations

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493  # order of the base point
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]
NEUTRAL: Point = (0, 1)


def add(a: Point, b: Point) -> Point:
    k = D * a[0] * b[0] * a[1] * b[1]
    x = (a[0] * b[1] + b[0] * a[1]) * pow(1 + k, -1, P)
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - k, -1, P)
    return x % P, y % P


def multiply(scalar: int, point: Point) -> Point:
    result = NEUTRAL
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def point_of(y: int) -> Point | None:
    """The point with this y and an even x, if there is one."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    return (P - x if x % 2 else x, y) if x * x % P == square else None


def encoded(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def decoded(spelled: bytes) -> Point:
    """The point that 32 bytes stand for. Raises ValueError if there is none."""
    number = int.from_bytes(spelled, "little")
    point = point_of(number & 2**255 - 1)
    if point is None:
        raise ValueError("no point")
    return (P - point[0], point[1]) if number >> 255 else point


def challenge(r: bytes, public: bytes, message: bytes) -> int:
    return int.from_bytes(hashlib.sha512(r + public + message).digest(), "little") % L


def torsion() -> tuple[Point, ...]:
    """The eight points whose order divides 8: multiples of one of order 8, which is L times any point that has one."""
    for y in range(2, 100):
        point = point_of(y)
        generator = multiply(L, point) if point is not None else NEUTRAL
        if multiply(4, generator) != NEUTRAL:
            return tuple(multiply(n, generator) for n in range(8))
    raise AssertionError("half of all points lead to one of order 8")


BASE = point_of(4 * pow(5, -1, P) % P) or NEUTRAL
TORSION = torsion()
