"""Bodies of certificates: who holds how many attested joules of one hour, who used them up, and for what.

EnergyTag's granular scheme: issued for energy of at most an hour, then split and transferred, at last cancelled in
somebody's favour and matched with consumption of the same hour and zone. A lot is made by one entry and spent by one
other, signed by its holder. What may follow what is decided in `ledger/certificates.py`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from protocol.messages import ARRAY_MAX, RECEIPT_SLOTS_MAX, Body, Digest, Key, Positive, Text


class Lot(Body):
    """Names a lot: the entry that made it, and its place among the lots that this entry made."""

    entry: Digest
    index: Annotated[int, Field(ge=0, lt=ARRAY_MAX)]


class Certificate(Body):
    """Issues a lot of attested energy to its first holder. Kind `certificate`, refs: attestation."""

    attestation: Digest
    holder: Key
    energy_j: Positive


class Split(Body):
    """Divides a lot; the parts stay with its holder, in this order. Kind `split`, refs: the lot's entry."""

    lot: Lot
    parts_j: Annotated[tuple[Positive, ...], Field(min_length=2, max_length=ARRAY_MAX)]


class Transfer(Body):
    """Hands a lot on, whole. Kind `transfer`, refs: the lot's entry."""

    lot: Lot
    recipient: Key


class Cancellation(Body):
    """Uses a lot up for ever, in a beneficiary's favour. Kind `cancellation`, refs: the lot's entry."""

    lot: Lot
    beneficiary: Key
    purpose: Text


class Allocation(Body):
    """The beneficiary matches cancelled energy with what it drew. Kind `allocation`, refs: cancellation, receipt.

    The entry's id is the allocation id: it binds one production to one consumption. (To "match" is in this code what
    the matching engine does with bids.)
    """

    cancellation: Digest
    receipt: Digest
    row: Annotated[int, Field(ge=0, lt=RECEIPT_SLOTS_MAX)]  # among the receipt's rows of energy
    energy_j: Positive
