"""The invitation in a node's home, and the file in which one travels.

The file is JSON, for programs and for eyes. It holds no secret: only the peer that it names can use it.

    version     1
    note        for whom it is, and until when: for people, and read by no program
    genesis     the network's document
    invitation  base64
    addresses   of nodes to dial first
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from node.documents import Strict
from node.home.home import Home
from node.home.lasting import load_peers
from node.home.secret import write_private
from protocol.adverts import first_fault
from protocol.errors import LocalError
from protocol.genesis import Genesis
from protocol.hello import INVITATION_MAX_BYTES
from protocol.identity import peer_id
from protocol.invitation import Invitation

FILE_MAX_BYTES = 64 * 1024
ADDRESSES_MAX = 32
ASK_AGAIN = "Ask whoever sent it to make it anew: heliotrope invite PEER_ID --out FILE"


class InvitationFile(Strict):
    """What travels."""

    version: Literal[1] = 1
    note: Annotated[str, Field(max_length=4096)]
    genesis: Genesis
    invitation: Annotated[str, Field(max_length=2 * INVITATION_MAX_BYTES)]
    addresses: Annotated[tuple[Annotated[str, Field(pattern=r"^/.{1,254}$")], ...], Field(max_length=ADDRESSES_MAX)]


@dataclass(frozen=True, slots=True)
class Received:
    """A file that was read; nothing in it is verified yet."""

    genesis: Genesis
    raw: bytes
    addresses: tuple[str, ...]


def write_invitation_file(
    path: Path, genesis: Genesis, invitation: Invitation, raw: bytes, addresses: tuple[str, ...]
) -> None:
    """Raises OSError."""
    named = f"{invitation.label!r}, " if invitation.label else ""
    note = (
        f"Invites {named}{peer_id(invitation.holder)} to {genesis.name!r}"
        f" until {day(genesis, invitation.expires_at_ms)}. No other key can use it. Take it with: heliotrope join FILE"
    )
    file = InvitationFile(
        note=note, genesis=genesis, invitation=base64.b64encode(raw).decode(), addresses=addresses[:ADDRESSES_MAX]
    )
    path.write_text(file.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_invitation_file(path: Path) -> Received:
    """Raises LocalError for a file that holds no invitation."""
    try:
        with path.open("rb") as opened:
            content = opened.read(FILE_MAX_BYTES + 1)
        if len(content) > FILE_MAX_BYTES:
            raise LocalError("HEL-INVITE-001", f"{path} has more than {FILE_MAX_BYTES} bytes", ASK_AGAIN)
        file = InvitationFile.model_validate_json(content)
        return Received(file.genesis, base64.b64decode(file.invitation, validate=True), file.addresses)
    except OSError as error:
        cause = f"{path} cannot be read: {error.strerror}"
    except ValidationError as error:
        cause = f"{path} holds no invitation: {first_fault(error)}"
    except binascii.Error:
        cause = f"{path} holds no invitation: it is not base64"
    raise LocalError("HEL-INVITE-001", cause, ASK_AGAIN)


def load_invitation(home: Home) -> bytes:
    """What lets this node into a closed network; empty if it holds nothing. The others judge it, and `status`. Raises
    LocalError for a file that cannot be read."""
    try:
        with home.invitation_path.open("rb") as opened:
            return base64.b64decode(opened.read(2 * INVITATION_MAX_BYTES).strip(), validate=True)
    except FileNotFoundError:
        return b""
    except OSError as error:
        cause = f"{home.invitation_path} cannot be read: {error.strerror}"
    except binascii.Error:
        cause = f"{home.invitation_path} holds no invitation: it is not base64"
    raise LocalError("HEL-INVITE-002", cause, "Take the file anew that you were sent: heliotrope join FILE")


def keep_invitation(home: Home, received: Received, now_ms: int) -> None:
    """Make the home one of that network, and let it dial those addresses as if they had answered now. Raises OSError.
    The genesis comes last: who is interrupted joins again."""
    peers = dict(load_peers(home)) | dict.fromkeys(received.addresses, now_ms)
    write_private(home.invitation_path, base64.b64encode(received.raw).decode())
    write_private(home.peers_path, json.dumps([*peers.items()]))
    write_private(home.genesis_path, received.genesis.model_dump_json(indent=2))


def day(genesis: Genesis, network_ms: int) -> str:
    """Network time as a day of the world's calendar; what no calendar holds, as it is."""
    unix_ms = genesis.clock.unix_time_ms(network_ms)
    try:
        return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OSError, OverflowError, ValueError):
        return f"{network_ms} ms of network time"
