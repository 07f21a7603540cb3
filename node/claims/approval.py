"""What an auditor's operator has looked at and approved: a device as it must be declared, and whose it is. Pure."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ledger.assurance import comparable
from ledger.rules import Void
from protocol.devices import Device
from protocol.messages import Attestation, Body, Key

APPROVALS_MAX = 10_000


class Approval(Body):
    """One device; its countersignatures are none."""

    owner: Key
    device: Device

    @property
    def name(self) -> tuple[bytes, str]:
        """Its owner, and its id in the comparable spelling."""
        return self.owner, comparable(self.device.device_id)


class Approvals(Body):
    """The file of an auditor's home."""

    approvals: Annotated[tuple[Approval, ...], Field(max_length=APPROVALS_MAX)] = ()

    def find(self, owner: bytes, device_id: str) -> Approval | None:
        """The last that was approved under this name."""
        name = (owner, comparable(device_id))
        return next((each for each in reversed(self.approvals) if each.name == name), None)


def require_approved(approval: Approval, body: Attestation | Device, check: int) -> None:
    """Raise Void unless a declaration, or a reading, says what was approved. A smaller capacity is harmless."""
    approved = approval.device
    said: dict[str, tuple[object, object]] = {
        "carrier": (body.carrier, approved.carrier),
        "place": (body.place, approved.place),
    }
    if isinstance(body, Device):
        for name in ("tilt_degrees", "azimuth_degrees", "storage_j", "efficiency_permille", "key"):
            said[name] = (getattr(body, name), getattr(approved, name))
    elif approved.key is not None:
        said["meter.key"] = (body.meter and body.meter.key, approved.key)
    for name, (value, bound) in said.items():
        if value != bound:
            raise Void(check, f"{name} {_shown(value)} is not the approved {_shown(bound)}")
    if body.capacity_w > approved.capacity_w:
        raise Void(check, f"capacity_w {body.capacity_w} exceeds the approved {approved.capacity_w}")


def _shown(value: object) -> str:
    return value.hex()[:8] if isinstance(value, bytes) else str(value)
