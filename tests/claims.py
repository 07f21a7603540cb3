"""What a `History` signs about certificates, stores and credit: honest by default, as its other entries are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from ledger.state import Account, State
from protocol.certificates import Allocation, Cancellation, Certificate, Lot, Split, Transfer
from protocol.credit import UNIT, CreditLimit, Discharge, Iou
from protocol.devices import Charge
from protocol.envelope import Entry
from protocol.identity import KeyPair
from protocol.messages import Body


class Claims(ABC):
    """The half of a History that speaks of what is held and owed."""

    keys: dict[bytes, KeyPair]

    @property
    @abstractmethod
    def state(self) -> State: ...

    @abstractmethod
    def append(self, author: KeyPair, body: Body, *refs: bytes) -> Entry: ...

    # --- certificates: an entry stands for the lot that it made, the first where it made several ---------------------

    def certificate(self, attestation: Entry, *, author: KeyPair | None = None, **changes: Any) -> Entry:
        """All that is left of an attestation, to its author."""
        record = self.state.attestations.get(attestation.id)
        fields: dict[str, Any] = {
            "attestation": attestation.id,
            "holder": attestation.author,
            "energy_j": max(1, record.remaining_j) if record else 1,
        }
        return self.append(author or self.keys[attestation.author], Certificate(**fields | changes), attestation.id)

    def split(self, lot: Entry, *parts_j: int, index: int = 0, author: KeyPair | None = None) -> Entry:
        body = Split(lot=Lot(entry=lot.id, index=index), parts_j=parts_j)
        return self.append(author or self._holder(lot, index), body, lot.id)

    def transfer(self, lot: Entry, recipient: KeyPair, *, index: int = 0, author: KeyPair | None = None) -> Entry:
        self.keys[recipient.public] = recipient
        body = Transfer(lot=Lot(entry=lot.id, index=index), recipient=recipient.public)
        return self.append(author or self._holder(lot, index), body, lot.id)

    def cancellation(self, lot: Entry, beneficiary: KeyPair, *, index: int = 0, author: KeyPair | None = None) -> Entry:
        self.keys[beneficiary.public] = beneficiary
        body = Cancellation(lot=Lot(entry=lot.id, index=index), beneficiary=beneficiary.public, purpose="training")
        return self.append(author or self._holder(lot, index), body, lot.id)

    def allocation(
        self, cancellation: Entry, receipt: Entry, /, *, author: KeyPair | None = None, **changes: Any
    ) -> Entry:
        """A thousand joules of the receipt's first row."""
        fields: dict[str, Any] = {"cancellation": cancellation.id, "receipt": receipt.id, "row": 0, "energy_j": 1000}
        body = Allocation(**fields | changes)
        return self.append(author or self.keys[receipt.author], body, body.cancellation, body.receipt)

    def _holder(self, lot: Entry, index: int) -> KeyPair:
        return self.keys[self.state.lots[lot.id, index].holder]

    def charge(self, source: Entry, *, author: KeyPair | None = None, **changes: Any) -> Entry:
        """Into a battery: all that is left of an attestation, or the first lot that an entry made."""
        fields: dict[str, Any] = {"device_id": "battery", "attestation": None, "lot": None}
        made, lot = self.state.attestations.get(source.id), self.state.lots.get((source.id, 0))
        if lot is not None:
            fields |= {"lot": Lot(entry=source.id, index=0), "energy_j": lot.energy_j}
        else:
            fields |= {"attestation": source.id, "energy_j": max(1, made.remaining_j) if made else 1}
        holder = lot.holder if lot is not None else source.author
        return self.append(author or self.keys[holder], Charge(**fields | changes), source.id)

    # --- credit -------------------------------------------------------------------------------------------------------

    def credit_limit(self, creditor: KeyPair, debtor: KeyPair, limit: int = 1_000_000) -> Entry:
        self.keys[debtor.public] = debtor
        return self.append(creditor, CreditLimit(debtor=debtor.public, unit=UNIT, limit=limit))

    def iou(self, limit: Entry, *settlements: Entry, author: KeyPair | None = None, **changes: Any) -> Entry:
        """The debtor acknowledges settlements, and the creditor's latest discharge."""
        debtor = author or self.keys[limit.body["debtor"]]
        account = self.state.accounts.get((debtor.public, limit.author, UNIT), Account())
        owed = sum(entry.body["amount_microcredits"] for entry in settlements)
        fields: dict[str, Any] = {
            "creditor": limit.author,
            "unit": UNIT,
            "total": (account.iou.total if account.iou else 0) + owed,
            "limit": limit.id,
            "discharge": account.discharge.id if account.discharge else None,
            "settlements": tuple(entry.id for entry in settlements),
        }
        body = Iou(**fields | changes)
        discharges = () if body.discharge is None else (body.discharge,)
        return self.append(debtor, body, body.limit, *discharges, *body.settlements)

    def discharge(self, iou: Entry, total: int, *, author: KeyPair | None = None, **changes: Any) -> Entry:
        fields: dict[str, Any] = {"debtor": iou.author, "unit": UNIT, "total": total, "iou": iou.id}
        return self.append(author or self.keys[iou.body["creditor"]], Discharge(**fields | changes), iou.id)
