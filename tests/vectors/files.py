"""The files of vectors. Each is an object of lists; each item of a list is a case with a name. Bytes stand in
hexadecimal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.vectors import adverts, checkpoints, encodings, entries, forks, merkle, signatures, sun, transitions

FOLDER = Path(__file__).parent
MAKERS: dict[str, Callable[[], dict[str, Any]]] = {
    "encodings": encodings.make,
    "signatures": signatures.make,
    "entries": entries.make,
    "merkle": merkle.make,
    "checkpoints": checkpoints.make,
    "transitions": transitions.make,
    "forks": forks.make,
    "sun": sun.make,
    "adverts": adverts.make,
}


def path(name: str) -> Path:
    return FOLDER / f"{name}.json"


def rendered(name: str) -> str:
    """The file's text, the same every time: one case a line."""
    parts = []
    for key, cases in MAKERS[name]().items():
        lines = ",\n".join("  " + json.dumps(case, ensure_ascii=False) for case in cases)
        parts.append(f" {json.dumps(key)}: [\n{lines}\n ]")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def cases(name: str, key: str) -> list[Any]:
    """The committed cases."""
    found: list[Any] = json.loads(path(name).read_text())[key]
    return found
