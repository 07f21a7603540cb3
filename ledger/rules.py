"""What all checks share: how an entry becomes void, and how a check finds what the entry refers to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from protocol.envelope import Entry

Record = TypeVar("Record")


class Void(Exception):
    """The entry stands in its feed but counts for nothing; the message names check, field, value and bound."""

    def __init__(self, check: int, complaint: str) -> None:
        super().__init__(f"check {check}: {complaint}")


def require(condition: bool, check: int, complaint: str) -> None:
    """Raise Void, naming the check by its number, unless the condition holds."""
    if not condition:
        raise Void(check, complaint)


def require_ref(entry: Entry, key: bytes, check: int, field: str) -> None:
    """Raise Void unless the entry refers to `key`, the value of `field`: only then has it been judged before."""
    require(key in entry.refs, check, f"{field} {shown(key)} is not among the entry's {len(entry.refs)} refs")


def require_author(entry: Entry, author: bytes, check: int, whose: str) -> None:
    """Raise Void unless the entry's author is `author`, the one to whom `whose` it is."""
    require(entry.author == author, check, f"author {shown(entry.author)} is not {whose} {shown(author)}")


def referred(records: Mapping[bytes, Record], entry: Entry, key: bytes, check: int, field: str) -> Record:
    """The record that `field` names. Raises Void unless it is among refs, of the right kind, and valid."""
    require_ref(entry, key, check, field)
    require(key in records, check, f"{field} {shown(key)} is void or of another kind")
    return records[key]


def shown(key: bytes) -> str:
    """An id or author as it stands in a message: the first eight digits."""
    return key.hex()[:8]
