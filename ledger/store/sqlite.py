"""Entries in one SQLite file.

Integer keys, one connection that writes and checkpoints, WAL with `synchronous=FULL`: with less, a power cut loses
acknowledged entries, and a node that lost its own tail would sign a seq twice, which is an accidental fork.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from ledger.feed import ForkProof
from protocol.envelope import Entry, parse
from protocol.errors import LocalError

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE author (number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE);
CREATE TABLE entry (
    position INTEGER PRIMARY KEY,
    author INTEGER NOT NULL REFERENCES author,
    seq INTEGER NOT NULL,
    id BLOB NOT NULL UNIQUE,
    raw BLOB NOT NULL,
    UNIQUE (author, seq)
);
CREATE TABLE fork (author INTEGER PRIMARY KEY REFERENCES author, a BLOB NOT NULL, b BLOB NOT NULL);
CREATE TABLE network (id BLOB NOT NULL);
"""


class SqliteStore:
    """See `Store`. `path` may be ":memory:" for a simulated node."""

    def __init__(self, path: Path | str, network: bytes) -> None:
        """Open or create. Raises LocalError for a file of another network, a later schema, a damaged file, or one that
        another process holds."""
        self._lock = None if path == ":memory:" else _lock(Path(path))
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._open(network)
        except sqlite3.DatabaseError as error:
            raise LocalError(
                "HEL-LEDGER-002",
                f"{path} cannot be read as a ledger: {error}",
                "If it is no Heliotrope ledger, choose another --home. If it is yours and damaged, move it away and"
                " start again: peers hold your entries, and nothing is signed until they have been fetched.",
            ) from None
        self._authors: dict[bytes, int] = {k: n for n, k in self._connection.execute("SELECT number, key FROM author")}

    def _open(self, network: bytes) -> None:
        execute = self._connection.execute
        execute("PRAGMA journal_mode=WAL")
        execute("PRAGMA synchronous=FULL")
        version = execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
            execute("INSERT INTO network VALUES (?)", (network,))
        elif version != SCHEMA_VERSION:
            raise LocalError(
                "HEL-LEDGER-003",
                f"the ledger has schema {version}, this program reads {SCHEMA_VERSION}",
                "Install the Heliotrope release that wrote it, or a later one.",
            )
        stored = execute("SELECT id FROM network").fetchone()[0]
        if stored != network:
            raise LocalError(
                "HEL-LEDGER-004",
                f"the ledger belongs to network {stored.hex()[:16]}, the genesis file describes {network.hex()[:16]}",
                "Use the genesis file that the ledger was begun with, or another --home.",
            )

    def append(self, entries: Sequence[Entry]) -> None:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        fresh: dict[bytes, int] = {}
        try:
            for entry in entries:
                number = self._authors.get(entry.author) or fresh.get(entry.author)
                if number is None:
                    number = execute("INSERT INTO author (key) VALUES (?)", (entry.author,)).lastrowid
                    assert number is not None
                    fresh[entry.author] = number
                execute(
                    "INSERT INTO entry (author, seq, id, raw) VALUES (?, ?, ?, ?)",
                    (number, entry.seq, entry.id, entry.raw),
                )
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise
        self._authors.update(fresh)

    def replay(self) -> Iterator[bytes]:
        for (raw,) in self._connection.execute("SELECT raw FROM entry ORDER BY position"):
            yield raw

    def feed(self, author: bytes, from_seq: int, limit: int) -> list[bytes]:
        rows = self._connection.execute(
            "SELECT raw FROM entry WHERE author = ? AND seq >= ? ORDER BY seq LIMIT ?",
            (self._authors.get(author, -1), from_seq, limit),
        )
        return [raw for (raw,) in rows]

    def entry(self, entry_id: bytes) -> bytes | None:
        row = self._connection.execute("SELECT raw FROM entry WHERE id = ?", (entry_id,)).fetchone()
        return None if row is None else row[0]

    def page(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        return self._connection.execute(
            "SELECT position, raw FROM entry WHERE position > ? ORDER BY position LIMIT ?", (after, limit)
        ).fetchall()

    def add_fork(self, proof: ForkProof) -> None:
        self._connection.execute(
            "INSERT OR IGNORE INTO fork VALUES (?, ?, ?)", (self._authors[proof.b.author], proof.a.raw, proof.b.raw)
        )

    def forks(self) -> list[ForkProof]:
        return [ForkProof(parse(a), parse(b)) for a, b in self._connection.execute("SELECT a, b FROM fork")]

    def close(self) -> None:
        self._connection.close()
        if self._lock is not None:
            self._lock.close()


def _lock(path: Path) -> IO[bytes]:
    """Hold `<path>.lock` until closed; the kernel frees it when the process dies, however it dies."""
    handle = path.with_name(path.name + ".lock").open("ab")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise LocalError(
            "HEL-LEDGER-005",
            f"another process holds the ledger {path}",
            "A node is running on this home: use it, stop it, or choose another --home.",
        ) from None
    return handle
