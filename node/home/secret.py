"""Files that hold a secret, or that only their owner may read: mode 0600, written at once, refused when looser."""

from __future__ import annotations

import os
from pathlib import Path

from protocol.errors import LocalError, Refused


def write_private(path: Path, text: str) -> None:
    """Replace a file at once and for its owner only: a reader sees the old or the new, never half of it."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    write_secret(draft, text)
    draft.replace(path)


def write_secret(path: Path, text: str) -> None:
    """Write a new file, and no earlier than it is on the disk say so. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(descriptor)  # a key that a power cut empties is an identity lost


def read_secret(path: Path, remedy: str) -> str:
    """What a file holds. Raises Refused if others could have read it, LocalError with this remedy if it is no text."""
    try:
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise Refused(
                "HEL-KEY-001",
                f"{path} can be read by others (mode {mode:04o}, 0600 is needed)",
                f"Run: chmod 600 {path}. If strangers use this machine, consider it known, and have another made.",
            )
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:  # what is not text may be a secret all the same: it is not quoted
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise LocalError(
            "HEL-KEY-003",
            f"{path} cannot be read: {reason}",
            remedy,
        ) from None
