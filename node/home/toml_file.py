"""TOML files that people write: read, check against a model, and say on which line what is wrong."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from node.documents import Fault, InexactNumber, Model, exact_number, faults_of, invalid
from protocol.errors import LocalError

FILE_MAX_BYTES = 64 * 1024  # a person writes it; the search for lines is quadratic


def load(path: Path, model: type[Model]) -> Model:
    """The model in a TOML file.

    Raises LocalError if the file cannot be read, and Invalid with all faults at once: line, field, what was expected,
    the nearest known key.
    """
    text = _read(path)
    lines = text.split("\n")
    try:
        value = tomllib.loads(text, parse_float=exact_number)
        return model.model_validate_json(json.dumps(value, default=str))
    except tomllib.TOMLDecodeError as error:
        faults = [Fault("", f"not TOML: {error}")]
    except InexactNumber as error:
        number = next(i for i, line in enumerate(lines, start=1) if error.text in line)
        faults = [Fault(f"line {number}", str(error))]
    except ValidationError as error:
        found = [(line_of(lines, at), fault) for at, fault in faults_of(error, model).items()]
        found.sort(key=lambda pair: pair[0] or len(lines))
        faults = [Fault(f"line {line}: {fault.field}", fault.message) if line else fault for line, fault in found]
    raise invalid(str(path), faults) from None


def line_of(lines: Sequence[str], at: Sequence[str | int]) -> int | None:
    """The line, from 1, on which the value at a path begins; of a missing one, that of the table it belongs in.

    No TOML reader of the standard library keeps lines. But the first lines of a file are a file: the value begins
    behind the longest beginning that is whole without it.
    """
    for depth in range(len(at), 0, -1):
        whole = 0
        for count in range(len(lines) + 1):
            try:
                value = tomllib.loads("\n".join(lines[:count]))
            except tomllib.TOMLDecodeError:
                continue  # in the middle of a value that takes several lines
            if _has(value, at[:depth]):
                return whole + 1
            whole = count
    return None


def _has(value: Any, at: Sequence[str | int]) -> bool:
    try:
        for step in at:
            value = value[step]
    except (IndexError, KeyError, TypeError):
        return False
    return True


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_MAX_BYTES + 1)
        if len(raw) <= FILE_MAX_BYTES:
            return raw.decode()
        cause = f"is longer than {FILE_MAX_BYTES} bytes"
    except OSError as error:
        cause = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        cause = f"is not UTF-8 text: {error.reason} at byte {error.start}"
    raise LocalError("HEL-INPUT-002", f"{path} {cause}", "Name a TOML file that you can read.")
