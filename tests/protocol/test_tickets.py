"""Facts about tickets: only the holder, only from the issuer, only for a while."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import encode
from protocol.direct import Ticket
from protocol.errors import Reject
from protocol.identity import KeyPair
from protocol.messages import Blob
from protocol.tickets import PROOF_AGE_MAX_MS, TICKET_MAX_BYTES, authorization, is_genuine, issue, redeem
from tests.builders import NOW_MS, digest, keypair

SERVER, HOLDER, STRANGER = keypair(1), keypair(2), keypair(3)
UNIX_MS = 1_700_000_000_000


def ticket(issuer: KeyPair = SERVER, **changes: Any) -> Ticket:
    fields: dict[str, Any] = {
        "blob": Blob(sha256=digest("blob"), size_bytes=10),
        "url": "https://127.0.0.1:4443",
        "certificate_sha256": digest("certificate"),
        "holder": HOLDER.public,
        "award": digest("award"),
        "shard": 3,
        "expires_at_ms": NOW_MS + 1000,
    }
    return issue(issuer, **fields | changes)


def redeemed(header: str, *, network_ms: int = NOW_MS, unix_ms: int = UNIX_MS) -> Ticket:
    return redeem(header, SERVER.public, network_ms, unix_ms)


HEADER = authorization(HOLDER, ticket(), UNIX_MS)


def test_the_holder_redeems_its_ticket() -> None:
    assert redeemed(HEADER) == ticket()
    assert is_genuine(ticket())


CHANGES: dict[str, Any] = {
    "blob": Blob(sha256=digest("other"), size_bytes=10),
    "url": "https://10.0.0.1:4443",
    "certificate_sha256": digest("other"),
    "server": STRANGER.public,
    "holder": STRANGER.public,
    "award": digest("another award"),
    "shard": 4,
    "expires_at_ms": NOW_MS + 10**9,
    "signature": bytes(64),
}


@pytest.mark.parametrize("name", Ticket.model_fields)
def test_a_ticket_with_any_field_changed_is_not_genuine(name: str) -> None:
    forged = ticket().model_copy(update={name: CHANGES[name]})
    assert not is_genuine(forged)
    with pytest.raises(Reject, match="not issued by this node"):
        redeemed(authorization(HOLDER, forged, UNIX_MS))


def test_another_servers_ticket_is_refused() -> None:
    foreign = ticket(STRANGER)
    assert is_genuine(foreign)
    with pytest.raises(Reject, match="not issued by this node"):
        redeemed(authorization(HOLDER, foreign, UNIX_MS))


def test_a_ticket_in_other_hands_is_of_no_use() -> None:
    with pytest.raises(Reject, match="does not prove the holder's key"):
        redeemed(authorization(STRANGER, ticket(), UNIX_MS))


def test_a_ticket_ends_when_it_says() -> None:
    expires_at_ms = ticket().expires_at_ms
    redeemed(HEADER, network_ms=expires_at_ms - 1)
    with pytest.raises(Reject, match="expired 0 ms ago"):
        redeemed(HEADER, network_ms=expires_at_ms)


@pytest.mark.parametrize("later_ms", [PROOF_AGE_MAX_MS, -PROOF_AGE_MAX_MS])
def test_a_proof_replayed_after_a_minute_is_refused(later_ms: int) -> None:
    redeemed(HEADER, unix_ms=UNIX_MS + later_ms)
    with pytest.raises(Reject, match="at most 60000 are allowed"):
        redeemed(HEADER, unix_ms=UNIX_MS + later_ms + (1 if later_ms > 0 else -1))


def test_a_proof_does_not_serve_for_another_moment_or_ticket() -> None:
    scheme, parts = HEADER.split(" ")
    raw, _, proof = parts.split(".")
    other = authorization(HOLDER, ticket(expires_at_ms=NOW_MS + 2000), UNIX_MS).split(" ")[1].split(".")[0]
    for header in (f"{scheme} {raw}.{UNIX_MS + 1}.{proof}", f"{scheme} {other}.{UNIX_MS}.{proof}"):
        with pytest.raises(Reject, match="does not prove"):
            redeemed(header)


def spoiled(raw: bytes) -> str:
    return f"Heliotrope {base64.urlsafe_b64encode(raw).decode()}.{UNIX_MS}.{'A' * 88}"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Heliotrope",
        "Heliotrope ",
        "Bearer " + HEADER.split(" ")[1],
        HEADER + ".x",
        HEADER.replace(str(UNIX_MS), ""),
        HEADER.replace(str(UNIX_MS), "-1"),
        HEADER.replace(str(UNIX_MS), "1e9"),
        HEADER.replace(str(UNIX_MS), "9" * 5000),
        HEADER.replace(str(UNIX_MS), "9" * 17),
        HEADER.replace(str(UNIX_MS), "١٧٠٠٠٠٠٠٠٠٠٠٠"),  # digits, to Python
        "Heliotrope " + "A" * (2 * TICKET_MAX_BYTES + 1),
        f"Heliotrope A.{UNIX_MS}.A",
        f"Heliotrope é.{UNIX_MS}.A",
        spoiled(b""),
        spoiled(b"\xff" * 100),
        spoiled(encode({})),
        spoiled(encode(None)),
        spoiled(encode(ticket().model_dump() | {"url": "http://127.0.0.1"})),
        spoiled(encode(ticket().model_dump() | {"unheard_of": 1})),
        spoiled(bytes(TICKET_MAX_BYTES + 1)),
    ],
    ids=lambda header: f"{header[:24]!a}x{len(header)}",
)
def test_what_is_no_ticket_is_refused(header: str) -> None:
    with pytest.raises(Reject) as refusal:
        redeemed(header)
    assert len(str(refusal.value)) < 300


@given(header=st.text(max_size=200) | st.text(max_size=200).map("Heliotrope {}".format) | st.binary().map(spoiled))
def test_a_strangers_header_raises_nothing_but_reject(header: str) -> None:
    with pytest.raises(Reject):
        redeemed(header)
