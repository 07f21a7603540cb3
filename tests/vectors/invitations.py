"""Invitations that let their holder in, and bytes that do not, with the check that refuses them.

All are to one network, whose genesis document stands in `networks`, and are shown by `holder` at `now_ms`.
"""

from __future__ import annotations

from typing import Any

from protocol.gossip import CLOCK_SKEW_MAX_MS
from protocol.invitation import VALID_MAX_MS, Invitation, open_invitation, seal
from tests.builders import NOW_MS, keypair
from tests.protocol.test_invitation import CLOSED, FIELDS, GUEST, NETWORK, REAL, REFUSED, invitation

UNTIL_MS = Invitation(**FIELDS).expires_at_ms
ACCEPTED = {
    "for 90 days": (REAL, NOW_MS),
    "in its last millisecond": (REAL, UNTIL_MS - 1),
    "dated as far ahead as clocks may differ": (REAL, NOW_MS - CLOCK_SKEW_MAX_MS),
    "for the longest time, and the longest label": (
        invitation(label="\U0001f33b" * 32, expires_at_ms=NOW_MS + VALID_MAX_MS),
        NOW_MS,
    ),
}
JUDGED = {
    "issued by a guest": (seal(GUEST, NETWORK, Invitation(**FIELDS)), NOW_MS, 7),
    "for another peer": (invitation(holder=keypair(2).public), NOW_MS, 8),
    "dated too far ahead": (REAL, NOW_MS - CLOCK_SKEW_MAX_MS - 1, 9),
    "expired": (REAL, UNTIL_MS, 10),
}


def make() -> dict[str, Any]:
    document = {"name": "closed", "genesis": CLOSED.encoded().hex(), "id": NETWORK.hex()}
    refused = {name: (raw, NOW_MS, check) for name, (raw, check) in REFUSED.items()} | JUDGED
    return {
        "networks": [document],
        "accepted": [{"name": name} | _written(raw, now_ms) for name, (raw, now_ms) in ACCEPTED.items()],
        "refused": [
            {"name": name, "raw": raw.hex(), "holder": GUEST.public.hex(), "now_ms": now_ms, "check": check}
            for name, (raw, now_ms, check) in refused.items()
        ],
    }


def _written(raw: bytes, now_ms: int) -> dict[str, Any]:
    found = open_invitation(raw, NETWORK)
    fields = found.invitation.model_dump(exclude={"holder"})
    shown = {"raw": raw.hex(), "holder": GUEST.public.hex(), "now_ms": now_ms, "issuer": found.issuer.hex()}
    return shown | fields
