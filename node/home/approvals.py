"""The file in an auditor's home that says which devices its operator has approved: JSON, for its owner only."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from node.claims.approval import Approvals
from node.events import ApprovalsRead
from node.home.secret import write_private
from protocol.adverts import first_fault
from protocol.errors import LocalError

FILE_MAX_BYTES = 16 * 2**20


def read_approvals(path: Path) -> Approvals:
    """What is approved; nothing, if there is no file. Raises LocalError for a file that cannot be read."""
    try:
        if path.stat().st_size > FILE_MAX_BYTES:
            raise LocalError("HEL-AUDITOR-001", f"{path} has more than {FILE_MAX_BYTES} bytes", _REMEDY)
        return Approvals.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Approvals()
    except OSError as error:
        cause = f"{path} cannot be read: {error.strerror}"
    except ValidationError as error:
        cause = f"{path} holds no approvals: {first_fault(error)}"
    raise LocalError("HEL-AUDITOR-001", cause, _REMEDY)


def approvals_event(path: Path) -> ApprovalsRead:
    """Carry out a ReadApprovals: what cannot be read approves nothing."""
    try:
        return ApprovalsRead(read_approvals(path).approvals)
    except LocalError as error:
        return ApprovalsRead((), error.cause)


def write_approvals(path: Path, approvals: Approvals) -> None:
    """Replace the file at once. Raises OSError."""
    write_private(path, approvals.model_dump_json(indent=2))


_REMEDY = "Approve the devices anew: heliotrope auditor approve OWNER DEVICE_ID; until then nothing is countersigned."
