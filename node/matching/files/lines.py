"""Files of JSON lines by strangers: bounded before they are parsed, integers only, every refusal with its line.

Instances and plans are read through this. Not here: what a line means.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from node.json_lines import QUOTED_MAX_CHARACTERS, Malformed, located, quoted

LINE_MAX_BYTES = 2**20  # a peer with the forecasts of a year of hours takes a third of it


def malformed(line: int, field: str, check: int, complaint: str) -> Malformed:
    """The refusal of one field of one line; `check` is numbered in FORMAT.md, "" is the line as a whole."""
    return Malformed(
        "HEL-MATCH-003",
        located(line, field, check, complaint),
        "Correct the line; node/matching/files/FORMAT.md says what it may hold. Nothing was placed or written.",
    )


def objects(lines: Iterable[bytes | str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line's number, from 1, and the JSON object that it is. Raises Malformed (check 1): too long, not UTF-8, not
    one JSON object, a number that is no integer, a name given twice in one object."""
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_MAX_BYTES:
            raise malformed(number, "", 1, f"longer than {LINE_MAX_BYTES} bytes")
        try:
            # Not left to json: it would guess at other encodings and let halves of characters through.
            text = line.decode() if isinstance(line, bytes) else line
            value = _DECODER.decode(text)
        except (ValueError, RecursionError) as error:
            raise malformed(number, "", 1, f"not a line of JSON with integers only: {error}") from None
        if not isinstance(value, dict):
            raise malformed(number, "", 1, f"{quoted(value)} is not a JSON object")
        yield number, value


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text[:QUOTED_MAX_CHARACTERS]} is not an integer")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers disagree on which of two equal names counts: a line must not mean two things."""
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a name is given twice in one object")
    return value


_DECODER = json.JSONDecoder(parse_float=_refuse, parse_constant=_refuse, object_pairs_hook=_without_repeats)
