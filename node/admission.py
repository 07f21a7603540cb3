"""Whom a closed network lets in: pure; `protocol.invitation` judges invitations, `node.link` asks at every hello.

Let in are those whom the genesis names (admitters, witnesses, auditors) and who holds a valid invitation, by every node
alike; and whom this node's operator lists in `link.allow`, by this node alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from protocol.errors import Ignore, Reject
from protocol.genesis import Genesis
from protocol.identity import peer_id
from protocol.invitation import judge_invitation

DAY_MS = 86_400_000
ENDS_SOON_MS = 14 * DAY_MS  # guess, not measured: an admitter may be on holiday


@dataclass(frozen=True, slots=True)
class Membership:
    """How a key stands with its own network. `until_ms` None: for as long as there is one. `fault`: why the others
    refuse it, or "". `warning`: what its operator should do in good time, or ""."""

    until_ms: int | None = None
    fault: str = ""
    warning: str = ""


def refusal(genesis: Genesis, allowed: Collection[bytes], peer: bytes, invitation: bytes, now_ms: int) -> str:
    """Why a peer of this network is not let in, as it is told; or ""."""
    if peer in allowed:
        return ""
    try:
        _admitted_until_ms(genesis, peer, invitation, now_ms)
    except (Ignore, Reject) as reason:
        return str(reason)
    return ""


def membership(genesis: Genesis, key: bytes, invitation: bytes, now_ms: int) -> Membership:
    """One's own."""
    try:
        until_ms = _admitted_until_ms(genesis, key, invitation, now_ms)
    except (Ignore, Reject) as reason:
        return Membership(fault=f"{reason}; {_remedy(key)}")
    if until_ms is None or until_ms - now_ms > ENDS_SOON_MS:
        return Membership(until_ms)
    days = (until_ms - now_ms) // DAY_MS
    left = f"{days} days" if days else "less than a day"
    return Membership(until_ms, warning=f"the invitation ends in {left}: {_remedy(key)}")


def _admitted_until_ms(genesis: Genesis, key: bytes, invitation: bytes, now_ms: int) -> int | None:
    """Raises Ignore or Reject."""
    if genesis.admission != "closed" or key in (*genesis.admitters, *genesis.witnesses, *genesis.auditors):
        return None
    if not invitation:
        raise Ignore("the network is closed, and no invitation was shown")
    return judge_invitation(invitation, genesis, key, now_ms).invitation.expires_at_ms


def _remedy(key: bytes) -> str:
    return f"ask an admitter for: heliotrope invite {peer_id(key)}; then: heliotrope join FILE, heliotrope up"
