"""What a stored row is found and checked by. Pure.

Every row carries a CRC-32 over its other columns: it finds each flipped bit and each burst of 32, in opaque bytes and
in signatures too, a hundred times faster than verifying. It guards against disks, not against people: those meet the
signatures. The engines' own checksums were no choice: SQLite has none that Python can reach.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from zlib import crc32

from protocol.envelope import signed_bytes

ENTRY_NUMBERS = struct.Struct(">4q")  # position, author, seq, id key
UNSUMMED = -1  # of a row whose columns have changed their type: no checksum


@dataclass(frozen=True, slots=True)
class Table:
    """A small table: its key columns, then the others; the checksum is last."""

    name: str
    keys: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return self.keys + self.others

    def select(self, where: str = "") -> str:
        return f"SELECT {', '.join(self.columns)}, sum FROM {self.name} {where}"

    def upsert(self, where: str = "") -> str:
        """Writes a row; one of the same key is replaced, if `where` allows."""
        names = (*self.columns, "sum")
        changed = ", ".join(f"{name} = excluded.{name}" for name in names)
        return (
            f"INSERT INTO {self.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
            f" ON CONFLICT ({', '.join(self.keys)}) DO UPDATE SET {changed} {where}"
        )

    def describe(self, row: tuple[object, ...]) -> str:
        """The row's name, for people."""
        keys = (key.hex()[:16] if isinstance(key, bytes) else str(key)[:200] for key in row[: len(self.keys)])
        return f"{self.name} {' '.join(keys)}"


META = Table("meta", ("name",), ("value",))
AUTHOR = Table("author", ("number",), ("key",))
FORK = Table("fork", ("author",), ("seq", "a", "b"))
ASIDE = Table("aside", ("id",), ("raw",))
CHECKPOINT = Table("checkpoint", ("author", "final"), ("size", "note"))
READING = Table("reading", ("peer",), ("cursor",))
COSIGNED = Table("cosigned", ("origin",), ("size", "root"))
SNAPSHOT = Table("snapshot", ("generation",), ("position", "parts"))
SNAPSHOT_PART = Table("snapshot_part", ("generation", "part"), ("data",))
SMALL_TABLES = (META, AUTHOR, FORK, ASIDE, CHECKPOINT, READING, COSIGNED, SNAPSHOT)


def id_key(entry_id: bytes) -> int:
    """The integer that an entry is found by. Not unique, hence the whole id is compared: entries with equal keys cost
    2^32 hashes to make, and then harm nobody. A unique index of 32 random bytes costs three times the CPU."""
    return int.from_bytes(entry_id[:8], "big", signed=True)


def id_of(raw: bytes) -> bytes:
    """The id of an entry that was parsed before it was stored."""
    return hashlib.sha256(signed_bytes(raw)).digest()


def entry_sum(position: int, author: int, seq: int, key: int, raw: bytes) -> int:
    """`row_sum` of an entry, at half its price."""
    try:
        return crc32(raw, crc32(ENTRY_NUMBERS.pack(position, author, seq, key)))
    except (struct.error, TypeError):
        return UNSUMMED


def row_sum(*values: object) -> int:
    """Of the columns before it, in their order."""
    found = 0
    for value in values:
        match value:
            case bytes():
                found = crc32(value, found)
            case str():
                found = crc32(value.encode(), found)
            case int():
                found = crc32(value.to_bytes(8, "big", signed=True), found)
            case _:
                return UNSUMMED
    return found
