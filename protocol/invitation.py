"""Invitations: what lets a peer into a closed network, signed by a key that the genesis names for it.

    [v, network, issuer, body, sig]      sealed like an entry, under a domain of its own

An invitation names the key that it invites, and the transport has proved a peer's key before it is shown: whoever
finds, copies or overhears one can do nothing with it. Only admitters invite. If guests could, every invitation would be
a chain to verify, and nobody would know any more whom he has let in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from protocol.adverts import first_fault
from protocol.codec import decode
from protocol.errors import Ignore, Reject, fault
from protocol.genesis import Genesis
from protocol.gossip import CLOCK_SKEW_MAX_MS
from protocol.hello import INVITATION_MAX_BYTES
from protocol.identity import KeyPair, peer_id, verify
from protocol.messages import Body, Count, Key
from protocol.signed import sign_array, signed_part

DOMAIN = b"heliotrope-invitation/v1\0"
VERSION = 1
VALID_MAX_MS = 34_560_000_000  # 400 days: a year, and time to renew it


class Invitation(Body):
    """Times are network time. `label` is what the issuer calls the holder: for people, and for nobody's rules."""

    holder: Key
    label: Annotated[str, Field(max_length=32)]
    issued_at_ms: Count
    expires_at_ms: Count

    @model_validator(mode="after")
    def _lasts(self) -> Invitation:
        lasts_ms = self.expires_at_ms - self.issued_at_ms
        if not 0 < lasts_ms <= VALID_MAX_MS:
            raise ValueError(f"expires_at_ms: it lasts {lasts_ms} ms, from 1 to {VALID_MAX_MS} are allowed")
        return self


@dataclass(frozen=True, slots=True)
class SignedInvitation:
    issuer: bytes
    invitation: Invitation


def seal(keypair: KeyPair, network: bytes, invitation: Invitation) -> bytes:
    """The signed bytes of an invitation."""
    return sign_array(keypair, DOMAIN, (VERSION, network, keypair.public, invitation.model_dump()))


def open_invitation(raw: bytes, network: bytes) -> SignedInvitation:
    """Parse, verify and check an invitation. Raises Reject. Whom it lets in, and when: `judge_invitation`.

    1. Canonical, at most 2 KiB.
    2. An array of five.
    3. The version is 1.
    4. It is of this network.
    5. `issuer` and `sig` are bytes, and the signature is valid under the strict rule.
    6. The body is an `Invitation`, within the bounds of its fields, and lasts at most 400 days.
    """
    try:
        value = decode(raw, INVITATION_MAX_BYTES)
    except Reject as refusal:
        raise fault(1, str(refusal)) from None
    if type(value) is not tuple or len(value) != 5:
        raise fault(2, "an invitation is an array of five")
    version, invited_to, issuer, body, signature = value
    if type(version) is not int or version != VERSION:
        raise fault(3, f"an invitation of another version than {VERSION}")
    if invited_to != network:
        raise fault(4, f"an invitation to another network, this is {network.hex()[:16]}")
    if type(issuer) is not bytes or type(signature) is not bytes:
        raise fault(5, "issuer and signature must be bytes")
    if not verify(issuer, signed_part(DOMAIN, raw), signature):
        raise fault(5, "invalid signature on an invitation")
    try:
        return SignedInvitation(issuer, Invitation.model_validate(body))
    except ValidationError as error:
        raise fault(6, f"invitation: {first_fault(error)}") from None


def judge_invitation(raw: bytes, genesis: Genesis, holder: bytes, now_ms: int) -> SignedInvitation:
    """An invitation that lets this peer in now.

    1 to 6: as `open_invitation`, else Reject.
    7. An admitter of the genesis issued it, else Reject.
    8. It is for this peer, else Reject.
    9. It is dated at most ten minutes ahead, else Ignore: clocks differ.
    10. It has not expired, else Ignore.
    """
    signed = open_invitation(raw, genesis.network_id())
    invitation = signed.invitation
    if signed.issuer not in genesis.admitters:
        raise fault(7, f"{peer_id(signed.issuer)} issued the invitation, and is no admitter of this network")
    if invitation.holder != holder:
        raise fault(8, f"the invitation is for {peer_id(invitation.holder)}, not for {peer_id(holder)}")
    if invitation.issued_at_ms > now_ms + CLOCK_SKEW_MAX_MS:
        raise Ignore(f"check 9: the invitation is dated {invitation.issued_at_ms - now_ms} ms ahead")
    if invitation.expires_at_ms <= now_ms:
        raise Ignore(f"check 10: the invitation expired {now_ms - invitation.expires_at_ms} ms ago")
    return signed
