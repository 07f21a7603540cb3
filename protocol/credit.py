"""Bodies of bilateral credit: how much one peer may owe another, what it says it owes, and what was paid.

Nothing here moves money. An IOU is evidence, signed by the debtor; it is no money and holds none. All amounts count the
unit that they name and are cumulative: one that is lost, or read twice, does no harm. What may follow what is decided
in `ledger/credit.py`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from protocol.messages import Body, Count, Digest, Key, Positive

Unit = Literal["microcredit"]  # what settlements count in; part of every account's key, so that another can follow
UNIT: Final[Unit] = "microcredit"
IOU_SETTLEMENTS_MAX = 14  # an entry has 16 refs, and an IOU refers to a limit and a discharge besides


class CreditLimit(Body):
    """The creditor says how much a debtor may owe it; its latest counts. Kind `credit_limit`."""

    debtor: Key
    unit: Unit
    limit: Count


class Iou(Body):
    """The debtor says how much it has come to owe, over all time. Kind `iou`, refs: limit, discharge, settlements."""

    creditor: Key
    unit: Unit
    total: Positive
    limit: Digest
    discharge: Digest | None  # the creditor's latest that the debtor knows of
    settlements: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=IOU_SETTLEMENTS_MAX)]  # acknowledged


class Discharge(Body):
    """The creditor says how much was paid outside the ledger, over all time. Kind `discharge`, refs: the IOU."""

    debtor: Key
    unit: Unit
    total: Positive
    iou: Digest
