"""Facts about invitations: one lets its holder in, for its time, into its network; every other is refused by number."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from protocol.codec import decode
from protocol.errors import Ignore, Reject
from protocol.gossip import CLOCK_SKEW_MAX_MS
from protocol.hello import INVITATION_MAX_BYTES
from protocol.invitation import (
    DOMAIN,
    VALID_MAX_MS,
    Invitation,
    judge_invitation,
    open_invitation,
    seal,
)
from protocol.signed import sign_array
from tests.builders import NOW_MS, digest, genesis, keypair

from .values import arrays_like, near

FOUNDER, GUEST = keypair(0), keypair(1)
CLOSED = genesis(admission="closed", admitters=(FOUNDER.public,))
NETWORK = CLOSED.network_id()
DAY_MS = 86_400_000
FIELDS: dict[str, Any] = {
    "holder": GUEST.public,
    "label": "ana",
    "issued_at_ms": NOW_MS,
    "expires_at_ms": NOW_MS + 90 * DAY_MS,
}


def invitation(**changes: Any) -> bytes:
    return seal(FOUNDER, NETWORK, Invitation(**FIELDS | changes))


REAL = invitation()


def signed(**changes: Any) -> bytes:
    """The array as it stands, one part changed, under a valid signature of its issuer."""
    parts: dict[str, Any] = {"version": 1, "network": NETWORK, "issuer": FOUNDER.public, "body": FIELDS} | changes
    return sign_array(FOUNDER, DOMAIN, tuple(parts.values()))


def test_an_invitation_lets_its_holder_in() -> None:
    found = judge_invitation(REAL, CLOSED, GUEST.public, NOW_MS)
    assert (found.issuer, found.invitation) == (FOUNDER.public, Invitation(**FIELDS))


def test_an_invitation_holds_up_to_its_last_millisecond() -> None:
    until_ms = Invitation(**FIELDS).expires_at_ms
    judge_invitation(REAL, CLOSED, GUEST.public, until_ms - 1)
    with pytest.raises(Ignore, match="check 10: the invitation expired 0 ms ago"):
        judge_invitation(REAL, CLOSED, GUEST.public, until_ms)


def test_an_invitation_is_dated_at_most_ten_minutes_ahead() -> None:
    judge_invitation(REAL, CLOSED, GUEST.public, NOW_MS - CLOCK_SKEW_MAX_MS)
    with pytest.raises(Ignore, match="check 9: the invitation is dated 600001 ms ahead"):
        judge_invitation(REAL, CLOSED, GUEST.public, NOW_MS - CLOCK_SKEW_MAX_MS - 1)


def test_reject_invitation_in_another_hand() -> None:
    with pytest.raises(Reject, match=r"check 8: the invitation is for 12D3KooW.*, not for 12D3KooW"):
        judge_invitation(REAL, CLOSED, keypair(2).public, NOW_MS)


def test_reject_invitation_by_a_guest() -> None:
    by_guest = seal(GUEST, NETWORK, Invitation(**FIELDS | {"holder": keypair(2).public}))
    with pytest.raises(Reject, match=r"check 7: .* is no admitter"):
        judge_invitation(by_guest, CLOSED, keypair(2).public, NOW_MS)


REFUSED: dict[str, tuple[bytes, int]] = {
    "more than 2 KiB": (bytes(INVITATION_MAX_BYTES + 1), 1),
    "nothing": (b"", 1),
    "a byte too many": (REAL + b"\0", 1),
    "four items": (sign_array(FOUNDER, DOMAIN, (1, NETWORK, FOUNDER.public)), 2),
    "version 2": (signed(version=2), 3),
    "version true": (signed(version=True), 3),
    "another network": (signed(network=digest("another")), 4),
    "an issuer that is no bytes": (signed(issuer=7), 5),
    "a bit of the signature flipped": (REAL[:-1] + bytes((REAL[-1] ^ 1,)), 5),
    "a forged issuer": (sign_array(GUEST, DOMAIN, (1, NETWORK, FOUNDER.public, FIELDS)), 5),
    "signed as an advert": (sign_array(FOUNDER, b"heliotrope-advert/v1\0", decode(REAL)[:4]), 5),
    "an empty body": (signed(body={}), 6),
    "an unknown field": (signed(body=FIELDS | {"uses": 3}), 6),
    "a holder of 31 bytes": (signed(body=FIELDS | {"holder": bytes(31)}), 6),
    "a label of 33 characters": (signed(body=FIELDS | {"label": "x" * 33}), 6),
    "issued before time began": (signed(body=FIELDS | {"issued_at_ms": -1}), 6),
    "it lasts no time": (signed(body=FIELDS | {"expires_at_ms": NOW_MS}), 6),
    "it lasts too long": (signed(body=FIELDS | {"expires_at_ms": NOW_MS + VALID_MAX_MS + 1}), 6),
}


@pytest.mark.parametrize("name", REFUSED)
def test_reject_invitation(name: str) -> None:
    raw, check = REFUSED[name]
    with pytest.raises(Reject, match=f"check {check}: "):
        open_invitation(raw, NETWORK)


def test_the_longest_invitation_fits_in_a_hello() -> None:
    assert len(invitation(label="\U0001f33b" * 32, expires_at_ms=NOW_MS + VALID_MAX_MS)) <= INVITATION_MAX_BYTES


@given(near(REAL) | arrays_like(decode(REAL)))
def test_whatever_is_shown_is_an_invitation_or_refused(raw: bytes) -> None:
    try:
        found = open_invitation(raw, NETWORK)
    except Reject:
        return
    assert found.invitation == Invitation(**FIELDS)
