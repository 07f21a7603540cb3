"""Authorizations with what they grant, and others, with the check that refuses them."""

from __future__ import annotations

import base64
from typing import Any

from protocol.codec import encode
from protocol.direct import Ticket
from protocol.messages import Blob
from protocol.tickets import PROOF_AGE_MAX_MS, TICKET_MAX_BYTES, authorization
from tests.builders import NOW_MS, digest
from tests.protocol.test_tickets import HEADER, HOLDER, SERVER, STRANGER, UNIX_MS, ticket

LARGEST: dict[str, Any] = {
    "blob": Blob(sha256=digest("large"), size_bytes=64 * 2**30),
    "url": "https://" + "a" * 200,
    "shard": 255,
}


def _accepted() -> dict[str, tuple[Ticket, dict[str, Any]]]:
    return {
        "a ticket": (ticket(), {}),
        "the largest": (ticket(**LARGEST), {}),
        "of an address of IPv6": (ticket(url="https://[2001:db8::1]:8472"), {}),
        "in its last millisecond": (ticket(), {"network_ms": NOW_MS + 999}),
        "with the oldest proof": (ticket(), {"unix_ms": UNIX_MS + PROOF_AGE_MAX_MS}),
        "with the newest proof": (ticket(), {"unix_ms": UNIX_MS - PROOF_AGE_MAX_MS}),
    }


def _spelled(value: Any) -> str:
    """An authorization without a valid proof."""
    return f"Heliotrope {base64.urlsafe_b64encode(encode(value)).decode()}.{UNIX_MS}.{'A' * 86}=="


def _with(**changes: Any) -> str:
    return _spelled(ticket().model_dump() | changes)


def _refused() -> dict[str, tuple[int, str, dict[str, Any]]]:
    raw, moment, proof = HEADER.removeprefix("Heliotrope ").split(".")
    without_award = {name: value for name, value in ticket().model_dump().items() if name != "award"}
    later = authorization(HOLDER, ticket(shard=4), UNIX_MS).removeprefix("Heliotrope ").split(".")[0]
    return {
        "nothing": (1, "", {}),
        "another scheme": (1, f"Bearer {raw}.{moment}.{proof}", {}),
        "two parts": (1, f"Heliotrope {raw}.{moment}", {}),
        "a moment with a sign": (1, f"Heliotrope {raw}.+{moment}.{proof}", {}),
        "a moment of 17 digits": (1, f"Heliotrope {raw}.{moment:0>17}.{proof}", {}),
        "too long": (1, "Heliotrope " + "A" * (2 * TICKET_MAX_BYTES + 1), {}),
        "no map": (1, _spelled([1]), {}),
        "without the lease": (1, _spelled(without_award), {}),
        "with another field": (1, _with(unheard_of=1), {}),
        "no HTTPS": (1, _with(url="http://127.0.0.1"), {}),
        "a shard too high": (1, _with(shard=256), {}),
        "an award too short": (1, _with(award=bytes(31)), {}),
        "of another server": (2, authorization(HOLDER, ticket(STRANGER), UNIX_MS), {}),
        "to another server": (2, HEADER, {"server": STRANGER.public.hex()}),
        "changed after signing": (2, _with(award=digest("another award")), {}),
        "expired": (3, HEADER, {"network_ms": NOW_MS + 1000}),
        "an old proof": (4, HEADER, {"unix_ms": UNIX_MS + PROOF_AGE_MAX_MS + 1}),
        "a proof from the future": (4, HEADER, {"unix_ms": UNIX_MS - PROOF_AGE_MAX_MS - 1}),
        "another's proof": (4, authorization(STRANGER, ticket(), UNIX_MS), {}),
        "the proof of another moment": (4, f"Heliotrope {raw}.{UNIX_MS + 1}.{proof}", {}),
        "the proof of another ticket": (4, f"Heliotrope {later}.{moment}.{proof}", {}),
    }


def make() -> dict[str, Any]:
    asked = {"server": SERVER.public.hex(), "network_ms": NOW_MS, "unix_ms": UNIX_MS}
    return {
        "accepted": [
            {"name": name, "authorization": authorization(HOLDER, granted, UNIX_MS), **asked, **changes}
            | {"sha256": granted.blob.sha256.hex(), "size_bytes": granted.blob.size_bytes, "url": granted.url}
            | {"holder": granted.holder.hex(), "award": granted.award.hex(), "shard": granted.shard}
            for name, (granted, changes) in _accepted().items()
        ],
        "refused": [
            {"name": name, "authorization": header, **asked, **changes, "check": check}
            for name, (check, header, changes) in _refused().items()
        ],
    }
