"""Tickets: leave to fetch one blob for one lease, given by the peer that serves it to the one peer that may.

A ticket is signed by its server, bound to the holder's key and the lease, and expires. The holder proves its key with
every request, so a ticket that leaks is of no use to anyone else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from pydantic import ValidationError

from protocol.adverts import first_fault
from protocol.codec import decode, encode
from protocol.direct import Ticket
from protocol.errors import fault
from protocol.identity import KeyPair, verify
from protocol.messages import Blob

TICKET_DOMAIN = b"heliotrope-ticket/v1\0"
PROOF_DOMAIN = b"heliotrope-ticket-proof/v1\0"
TICKET_MAX_BYTES = 2048
PROOF_AGE_MAX_MS = 60_000
DIGITS = re.compile("[0-9]{1,16}")


def issue(
    keypair: KeyPair,
    *,
    blob: Blob,
    url: str,
    certificate_sha256: bytes,
    holder: bytes,
    award: bytes,
    shard: int,
    expires_at_ms: int,
) -> Ticket:
    """A ticket for `holder` on this server's blob, for the lease of this shard of this award."""
    ticket = Ticket(
        blob=blob,
        url=url,
        certificate_sha256=certificate_sha256,
        server=keypair.public,
        holder=holder,
        award=award,
        shard=shard,
        expires_at_ms=expires_at_ms,
        signature=bytes(64),
    )
    return ticket.model_copy(update={"signature": keypair.sign(_signed_bytes(ticket))})


def is_genuine(ticket: Ticket) -> bool:
    """Whether the server it names signed it."""
    return verify(ticket.server, _signed_bytes(ticket), ticket.signature)


def authorization(keypair: KeyPair, ticket: Ticket, unix_ms: int) -> str:
    """The value of the Authorization header that redeems a ticket."""
    raw = encode(ticket.model_dump())
    proof = keypair.sign(_proof_bytes(raw, unix_ms))
    parts = (base64.urlsafe_b64encode(raw).decode(), str(unix_ms), base64.urlsafe_b64encode(proof).decode())
    return "Heliotrope " + ".".join(parts)


def redeem(header: str, server: bytes, network_ms: int, unix_ms: int) -> Ticket:
    """The ticket behind an Authorization header. Raises Reject.

    1. Of this form, within bounds. 2. Issued by this server. 3. Not expired. 4. The proof is the holder's, and recent.
    """
    scheme, _, value = header.partition(" ")
    parts = value.split(".")
    if scheme != "Heliotrope" or len(value) > 2 * TICKET_MAX_BYTES or len(parts) != 3 or not DIGITS.fullmatch(parts[1]):
        raise fault(1, "not a Heliotrope ticket")
    try:
        raw, proof = base64.urlsafe_b64decode(parts[0]), base64.urlsafe_b64decode(parts[2])
        ticket = Ticket.model_validate(decode(raw, TICKET_MAX_BYTES))
    except (binascii.Error, ValueError) as error:
        complaint = first_fault(error) if isinstance(error, ValidationError) else "not base64"
        raise fault(1, f"unreadable ticket: {complaint}") from None
    if ticket.server != server or not is_genuine(ticket):
        raise fault(2, "the ticket was not issued by this node")
    if ticket.expires_at_ms <= network_ms:
        raise fault(3, f"the ticket expired {network_ms - ticket.expires_at_ms} ms ago")
    proved_at_ms = int(parts[1])
    if abs(unix_ms - proved_at_ms) > PROOF_AGE_MAX_MS:
        raise fault(4, f"the proof is {unix_ms - proved_at_ms} ms old, at most {PROOF_AGE_MAX_MS} are allowed")
    if not verify(ticket.holder, _proof_bytes(raw, proved_at_ms), proof):
        raise fault(4, "the request does not prove the holder's key")
    return ticket


def _signed_bytes(ticket: Ticket) -> bytes:
    return TICKET_DOMAIN + encode(ticket.model_dump(exclude={"signature"}))


def _proof_bytes(raw: bytes, unix_ms: int) -> bytes:
    return PROOF_DOMAIN + hashlib.sha256(raw).digest() + unix_ms.to_bytes(8, "big")
