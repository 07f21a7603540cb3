"""Settlement drivers: how an agreement comes to be paid, behind one interface.

    reserve         before it agrees, the creditor asks: may this debtor come to owe so much more?
    debit_note      what the creditor asks for so far
    accept          of that, what the debtor has accepted
    invoice         the debit note after which no other comes
    settle          what the debtor promises next
    verify_receipt  where the creditor stands with one agreement

An agreement is a lease, and its receipts are the notes: so a note is cumulative and keyed (agreement, n), and one that
is lost, read twice or read out of order is paid once. What is due when counts from the agreement, so that no later note
can put it off. A driver reads the ledger and keeps nothing: asked again, it says the same.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from dataclasses import dataclass

from ledger.credit import amount_settled
from ledger.receipts import amount_due, price_of
from ledger.rules import shown
from ledger.state import Account, LeaseRecord, State
from protocol.credit import IOU_SETTLEMENTS_MAX, UNIT, CreditLimit, Iou
from protocol.units import MS_PER_HOUR

PAYMENT_DUE_MS = 24 * MS_PER_HOUR  # after the leased slots; guess, not measured: a day for a debtor that is offline


@dataclass(frozen=True, slots=True)
class DebitNote:
    """What is asked for under an agreement with its n-th receipt, over all receipts so far."""

    agreement: bytes
    n: int
    total_microcredits: int
    due_at_ms: int


@dataclass(frozen=True, slots=True)
class Promise:
    """An IOU that a debtor is to sign, and what it refers to."""

    iou: Iou
    refs: tuple[bytes, ...]


class Standing(enum.StrEnum):
    """open: not all is asked for, or it is not due yet · acknowledged: the debtor stands by all of it ·
    overdue: it should have been acknowledged."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    OVERDUE = "overdue"


class Driver(ABC):
    """What all drivers share, and what each decides for itself."""

    def debit_note(self, lease: LeaseRecord, slot_ms: int) -> DebitNote:
        """What the creditor asks for so far; a receipt that was refused asks for nothing."""
        asked = (amount_due(r) for r in lease.receipts if r.settlement is None or r.settlement.accepted)
        due_at_ms = (lease.lease.first_slot + lease.lease.slots) * slot_ms + PAYMENT_DUE_MS
        return DebitNote(lease.id, len(lease.receipts), sum(asked), due_at_ms)

    def invoice(self, lease: LeaseRecord, slot_ms: int) -> DebitNote | None:
        """The debit note with the final receipt; None before."""
        return self.debit_note(lease, slot_ms) if lease.is_over else None

    def accept(self, lease: LeaseRecord) -> int:
        """Microcredits that the debtor's settlements accept so far."""
        return sum(amount_settled(r) for r in lease.receipts)

    @abstractmethod
    def grant(self, state: State, creditor: bytes, debtor: bytes, limit: int) -> CreditLimit | None:
        """The limit that the creditor is to sign for this debtor; None where it stands already, or none is needed."""

    @abstractmethod
    def reserve(self, state: State, creditor: bytes, debtor: bytes, amount: int, now_ms: int) -> str:
        """Why the creditor should not agree to work that may cost the debtor `amount` microcredits; "" if it may."""

    @abstractmethod
    def settle(self, state: State, debtor: bytes, creditor: bytes) -> Promise | None:
        """What the debtor is to sign next; None where nothing is due, or nothing more may be promised."""

    @abstractmethod
    def verify_receipt(self, state: State, lease: LeaseRecord, now_ms: int) -> Standing:
        """Where the creditor stands with what it asked for under a lease."""


class NoSettlement(Driver):
    """Settlements say what is owed; whether it is paid is nobody's business here."""

    def grant(self, state: State, creditor: bytes, debtor: bytes, limit: int) -> CreditLimit | None:
        return None

    def reserve(self, state: State, creditor: bytes, debtor: bytes, amount: int, now_ms: int) -> str:
        return ""

    def settle(self, state: State, debtor: bytes, creditor: bytes) -> Promise | None:
        return None

    def verify_receipt(self, state: State, lease: LeaseRecord, now_ms: int) -> Standing:
        invoice = self.invoice(lease, state.slot_ms)
        is_accepted = invoice is not None and self.accept(lease) == invoice.total_microcredits
        return Standing.ACKNOWLEDGED if is_accepted else Standing.OPEN


class MutualCredit(Driver):
    """The debtor signs a cumulative IOU for what it has accepted, within what the creditor lets it owe. An IOU is
    evidence: no money is held, and what is paid is paid elsewhere."""

    def grant(self, state: State, creditor: bytes, debtor: bytes, limit: int) -> CreditLimit | None:
        known = _account(state, debtor, creditor).limit
        if debtor == creditor or limit == (known.limit if known else 0):
            return None
        return CreditLimit(debtor=debtor, unit=UNIT, limit=limit)

    def reserve(self, state: State, creditor: bytes, debtor: bytes, amount: int, now_ms: int) -> str:
        if debtor == creditor:
            return ""
        account = _account(state, debtor, creditor)
        limit = account.limit.limit if account.limit else 0
        exposure = _promised(account)
        for lease in state.leases_of.get(creditor, ()):
            if lease.placement.job.owner != debtor:
                continue
            if self.verify_receipt(state, lease, now_ms) is Standing.OVERDUE:
                due_at_ms = self.debit_note(lease, state.slot_ms).due_at_ms
                return f"lease {shown(lease.id)} was to be acknowledged by {due_at_ms} ms, now it is {now_ms} ms"
            exposure += self._unacknowledged(state, lease)
        if exposure + amount > limit:
            return f"may owe {limit} microcredits, owes or may come to owe {exposure}, and this may cost {amount}"
        return ""

    def settle(self, state: State, debtor: bytes, creditor: bytes) -> Promise | None:
        account = _account(state, debtor, creditor)
        if account.limit is None:
            return None
        room = account.limit.limit - _promised(account)
        settlements: list[bytes] = []
        for settlement, record in account.pending.items():
            amount = amount_settled(record)
            if amount > room or len(settlements) == IOU_SETTLEMENTS_MAX:
                break
            settlements.append(settlement)
            room -= amount
        if not settlements:
            return None
        before = account.iou.total if account.iou else 0
        discharge = account.discharge.id if account.discharge else None
        iou = Iou(
            creditor=creditor,
            unit=UNIT,
            total=before + sum(amount_settled(account.pending[s]) for s in settlements),
            limit=account.limit.id,
            discharge=discharge,
            settlements=tuple(settlements),
        )
        return Promise(iou, (iou.limit, *(() if discharge is None else (discharge,)), *settlements))

    def verify_receipt(self, state: State, lease: LeaseRecord, now_ms: int) -> Standing:
        note = self.debit_note(lease, state.slot_ms)
        if _acknowledged(lease) < note.total_microcredits:
            return Standing.OVERDUE if now_ms > note.due_at_ms else Standing.OPEN
        return Standing.ACKNOWLEDGED if lease.is_over else Standing.OPEN

    def _unacknowledged(self, state: State, lease: LeaseRecord) -> int:
        """What a lease has cost, or may still cost, and no IOU speaks of."""
        asked = self.debit_note(lease, state.slot_ms).total_microcredits
        left_ms = lease.lease.slots * state.slot_ms - sum(r.receipt.busy_ms for r in lease.receipts)
        price = lease.placement.placement.price_microcredits_per_unit_hour
        may_follow = 0 if lease.is_over else price_of(price, lease.lease.units, left_ms)
        return asked - _acknowledged(lease) + may_follow


def _account(state: State, debtor: bytes, creditor: bytes) -> Account:
    return state.accounts.get((debtor, creditor, UNIT), Account())


def _promised(account: Account) -> int:
    """What the debtor has acknowledged and the creditor has not said to be paid."""
    return (account.iou.total if account.iou else 0) - (account.discharge.total if account.discharge else 0)


def _acknowledged(lease: LeaseRecord) -> int:
    return sum(amount_settled(r) for r in lease.receipts if r.iou is not None)


DRIVERS: dict[str, Driver] = {"none": NoSettlement(), "mutual-credit": MutualCredit()}
