"""Acts of this node's operator on certified energy and stores: judged first, then signed. Pure."""

from __future__ import annotations

from ledger.rules import Void
from ledger.state import State
from ledger.transitions import JUDGE
from node.turn import KINDS, Identity, Turn
from protocol.certificates import Allocation, Certificate
from protocol.devices import Charge, Claim, Device
from protocol.envelope import NO_PREV, Entry
from protocol.identity import peer_id
from protocol.messages import Attestation


def refs_of(claim: Claim | Device | Attestation) -> tuple[bytes, ...]:
    """What its entry refers to."""
    match claim:
        case Device() | Attestation():
            return ()
        case Certificate():
            return (claim.attestation,)
        case Allocation():
            return (claim.cancellation, claim.receipt)
        case Charge(attestation=None, lot=None):
            return ()
        case Charge(attestation=attestation) if attestation is not None:
            return (attestation,)
        case _:
            return () if claim.lot is None else (claim.lot.entry,)


def refusal(state: State, identity: Identity, now_ms: int, claim: Claim | Device | Attestation) -> str:
    """Why such an entry of this node's would count for nothing; "" if it would count."""
    kind = KINDS[type(claim)]
    body = claim.model_dump()
    entry = Entry(b"", bytes(32), identity.network, kind, identity.key, 0, NO_PREV, now_ms, refs_of(claim), body)
    try:
        JUDGE[kind](state, entry, claim)
    except Void as void:
        return str(void)
    return ""


def on_claim(turn: Turn, claim: Claim) -> None:
    """Sign it, unless it would count for nothing."""
    reason = refusal(turn.state, turn.identity, turn.now_ms, claim)
    if reason:
        turn.notify("claim refused", entry_kind=KINDS[type(claim)], reason=reason)
        return
    entry = turn.record(claim, refs_of(claim))
    if entry is not None:
        turn.notify("claim signed", entry_kind=entry.kind, entry=entry.id.hex(), by=peer_id(entry.author))
