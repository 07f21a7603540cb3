"""Files of JSON lines by strangers: how a refusal names its place, and quotes what stood there.

Each format reads its own lines, with bounds and checks of its own: `node/matching/files/`, `node/study/`.
"""

from __future__ import annotations

import json

from protocol.errors import LocalError

QUOTED_MAX_CHARACTERS = 60


class Malformed(LocalError):
    """A file that is not what it should be. Exit code 2."""


def located(line: int, field: str, check: int, complaint: str) -> str:
    """The cause of a refusal; `check` is numbered in the format's FORMAT.md, field "" is the line as a whole."""
    where = f"line {line}, field {field}" if field else f"line {line}"
    return f"{where}: check {check}: {complaint}"


def quoted(value: object) -> str:
    """A stranger's value as it stands in a message: on one line, ASCII only, cut to a bearable length."""
    if isinstance(value, (list, dict)):  # however deep it is
        return "an array" if isinstance(value, list) else "an object"
    text = json.dumps(value)
    return text if len(text) <= QUOTED_MAX_CHARACTERS else text[:QUOTED_MAX_CHARACTERS] + "..."
