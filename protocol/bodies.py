"""Which body belongs to which kind of entry."""

from __future__ import annotations

from protocol.certificates import Allocation, Cancellation, Certificate, Split, Transfer
from protocol.credit import CreditLimit, Discharge, Iou
from protocol.devices import Charge, Device
from protocol.messages import (
    Attestation,
    Award,
    Bid,
    Body,
    Closure,
    Job,
    Lease,
    Offer,
    Receipt,
    Revocation,
    Settlement,
)

BODIES: dict[str, type[Body]] = {
    "offer": Offer,
    "device": Device,
    "attestation": Attestation,
    "charge": Charge,
    "job": Job,
    "bid": Bid,
    "award": Award,
    "lease": Lease,
    "revocation": Revocation,
    "receipt": Receipt,
    "settlement": Settlement,
    "closure": Closure,
    "certificate": Certificate,
    "split": Split,
    "transfer": Transfer,
    "cancellation": Cancellation,
    "allocation": Allocation,
    "credit_limit": CreditLimit,
    "iou": Iou,
    "discharge": Discharge,
}
