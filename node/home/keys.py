"""How people name a peer: by its peer id, or by its key in hexadecimal."""

from __future__ import annotations

from protocol.errors import LocalError
from protocol.identity import public_key


def key_of(named: str) -> bytes:
    """The key of 64 hexadecimal digits or of a peer id. Raises LocalError."""
    try:
        return bytes.fromhex(named) if len(named) == 64 else public_key(named)
    except ValueError:
        cause = f"author: expected 64 hexadecimal digits or a peer id, not {named[:64]!r}"
        raise LocalError("HEL-LEDGER-012", cause, "See the authors with: heliotrope ledger show --json") from None
