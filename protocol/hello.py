"""Hello: the first frame of every message stream. It says which network a peer is of, and what lets it in.

The transport has proved the peer's key before; nothing else is heard from a peer, or told to it, until both sides have
accepted each other's hello.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationError

from protocol.adverts import first_fault
from protocol.codec import decode, encode
from protocol.errors import Reject, fault
from protocol.messages import Body, Digest

HELLO_MAX_BYTES = 4096
INVITATION_MAX_BYTES = 2048
VERSION: Literal[1] = 1

Session = Annotated[bytes, Field(min_length=16, max_length=16)]


class Hello(Body):
    """`network` is the SHA-256 of the genesis document. `session` is drawn by chance whenever a node's link starts:
    another one from the same key means that it was restarted, and that older connections are dead.

    `observed`: the multiaddr under which the sender sees the receiver; empty if it does not say. `invitation`: what
    lets the sender into a closed network (`protocol.invitation`); else empty.
    """

    version: Literal[1]
    network: Digest
    session: Session
    agent: Annotated[str, Field(max_length=64)]
    observed: Annotated[str, Field(max_length=256)]
    invitation: Annotated[bytes, Field(max_length=INVITATION_MAX_BYTES)]


def encode_hello(hello: Hello) -> bytes:
    return encode(hello.model_dump())


def decode_hello(data: bytes) -> Hello:
    """Raises Reject.

    1. Canonical, at most 4 KiB.
    2. The fields of a `Hello`, within their bounds.
    """
    try:
        value = decode(data, HELLO_MAX_BYTES)
    except Reject as refusal:
        raise fault(1, str(refusal)) from None
    try:
        return Hello.model_validate(value)
    except ValidationError as error:
        raise fault(2, f"hello: {first_fault(error)}") from None
