"""Errors that answer one question: whose fault is it?

`Ignore` and `Reject` judge what a stranger sent (after the Ethereum consensus specifications' gossip verdicts);
`LocalError` is this node's or its user's own, and carries the remedy.
"""

from __future__ import annotations


class Ignore(Exception):
    """Not useful now; the sender is innocent. Drop it, keep the sender's standing, expect it may come again."""


class Reject(Exception):
    """Faulty: no honest program sends this. Drop it and think less of the sender."""


def fault(check: int, complaint: str) -> Reject:
    """A Reject that names the check, by its number in the docstring of who raises it."""
    return Reject(f"check {check}: {complaint}")


class LocalError(Exception):
    """Ours or our user's: nothing was sent, nothing was lost unless the cause says so.

    `code` is stable (`HEL-AREA-NNN`), `cause` says what happened with value and bound, `remedy` what to do about it.
    """

    def __init__(self, code: str, cause: str, remedy: str) -> None:
        super().__init__(cause)
        self.code = code
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.cause} [{self.code}]\n  remedy: {self.remedy}"


class NoMatch(LocalError):
    """No feasible placement: the job is well formed, and today nobody can run it. Exit code 4."""


class VerificationFailed(LocalError):
    """Bytes that claim to be a ledger, a blob or a proof are not. Exit code 5."""


class Unreachable(LocalError):
    """The node or peer that was asked does not answer. Exit code 3."""


class Refused(LocalError):
    """Well formed, and not allowed: a rule of this node or network stands against it. Exit code 6."""
