"""`bans.json`: peers and networks that a node keeps out, across its restarts. Times on disk are Unix time."""

from __future__ import annotations

from math import inf
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from node.home.home import Home
from node.home.secret import write_private
from protocol.errors import LocalError

RECORDS_MAX = 8192


class PeerBan(BaseModel):
    """A ban of one peer. `until_unix_ms` None: for good. `bans`: how often before, decayed."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    until_unix_ms: Annotated[int, Field(ge=0)] | None
    reason: Annotated[str, Field(max_length=200)]
    by_operator: bool
    bans: Annotated[float, Field(ge=0, le=1000)]

    def left_s(self, now_unix_ms: int) -> float:
        return inf if self.until_unix_ms is None else (self.until_unix_ms - now_unix_ms) / 1000


class KeptOut(BaseModel):
    """The file: peers by their key in hexadecimal, and networks with when each ends, None for never."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    peers: Annotated[
        dict[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], PeerBan], Field(max_length=RECORDS_MAX)
    ] = {}
    networks: Annotated[dict[str, int | None], Field(max_length=RECORDS_MAX)] = {}


def load_bans(home: Home) -> KeptOut:
    """Nothing if there is no file. Raises LocalError for one that cannot be read: to go on without would let in whoever
    the operator keeps out."""
    try:
        return KeptOut.model_validate_json(home.bans_path.read_bytes())
    except FileNotFoundError:
        return KeptOut()
    except (OSError, ValidationError) as error:
        raise LocalError(
            "HEL-LINK-014",
            f"{home.bans_path} cannot be read: {str(error).splitlines()[0][:200]}",
            "Remove it, and say again whom to keep out: heliotrope peer ban PEER_OR_NETWORK",
        ) from None


def keep_bans(home: Home, kept: KeptOut) -> None:
    """Raises OSError."""
    write_private(home.bans_path, kept.model_dump_json(indent=2))
