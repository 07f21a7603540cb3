"""Errors as the API says them: `application/problem+json` (RFC 9457), and back again in the client.

The table below is the whole mapping; both sides read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from node.documents import Fault, Invalid, Strict
from protocol.errors import LocalError, NoMatch, Refused, Unreachable, VerificationFailed

PROBLEM_TYPE = "application/problem+json"


class Unauthorized(Refused):
    """The token is missing or wrong."""


class NotFound(LocalError):
    """There is no such thing here."""


class Conflict(LocalError):
    """Too late, or too early: the thing is in another state."""


class TooLarge(LocalError):
    """More bytes than are taken."""


class WrongMethod(LocalError):
    """The path exists, and does not do that."""


class WrongType(LocalError):
    """The body is of another media type than is read."""


class NotReady(Unreachable):
    """The node runs and cannot do its work; every reason is named."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        cause = "; ".join(map(str, faults))
        super().__init__("HEL-NODE-001", f"not ready: {cause}", "See `heliotrope status` and `heliotrope peers`.")
        self.faults = faults


# Subclasses before their bases: the first that fits counts.
KINDS: tuple[tuple[type[LocalError], int, str], ...] = (
    (Invalid, 422, "Invalid"),
    (Unauthorized, 401, "Unauthorized"),
    (Refused, 403, "Refused"),
    (NotFound, 404, "Not found"),
    (NoMatch, 409, "No match"),
    (Conflict, 409, "Conflict"),
    (WrongMethod, 405, "Wrong method"),
    (TooLarge, 413, "Too large"),
    (WrongType, 415, "Wrong type"),
    (VerificationFailed, 422, "Verification failed"),
    (Unreachable, 503, "Not ready"),
    (LocalError, 500, "Failed"),
)


class FieldFault(Strict):
    """One fault of a request. `field` is a dotted path, "" for the whole."""

    field: str
    message: str


class Problem(Strict):
    """Every answer from 400 on."""

    type: str
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    code: str
    remedy: str
    errors: tuple[FieldFault, ...] = ()


def problem_of(error: LocalError) -> Problem:
    status, title = next((status, title) for kind, status, title in KINDS if isinstance(error, kind))
    faults = error.faults if isinstance(error, Invalid | NotReady) else ()
    return Problem(
        type=f"urn:heliotrope:{error.code}",
        title=title,
        status=status,
        detail=error.cause,
        code=error.code,
        remedy=error.remedy,
        errors=tuple(FieldFault(field=fault.field, message=fault.message) for fault in faults),
    )


def error_of(answer: Mapping[str, Any]) -> LocalError:
    """The error that a problem describes, of the class that the exit code follows from."""
    code, cause, remedy = (str(answer.get(name, "")) for name in ("code", "detail", "remedy"))
    kind = next((kind for kind, _, title in KINDS if title == answer.get("title")), LocalError)
    if issubclass(kind, Invalid):
        return kind(code, cause, remedy, tuple(Fault(f["field"], f["message"]) for f in answer.get("errors", ())))
    return kind(code, cause, remedy)
