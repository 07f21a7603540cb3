"""Entries in one SQLite file.

Integer keys, one connection that writes and checkpoints, WAL with `synchronous=FULL`: with less, a power cut loses
acknowledged entries, and a node that lost its own tail would sign a seq twice, which is an accidental fork.
"""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from ledger.feed import ForkProof
from protocol.envelope import Entry, parse
from protocol.errors import LocalError

SCHEMA_VERSION = 1
SCHEMA = (
    "CREATE TABLE author (number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE)",
    """CREATE TABLE entry (
        position INTEGER PRIMARY KEY,
        author INTEGER NOT NULL REFERENCES author,
        seq INTEGER NOT NULL,
        id BLOB NOT NULL UNIQUE,
        raw BLOB NOT NULL,
        UNIQUE (author, seq)
    )""",
    "CREATE TABLE fork (author INTEGER PRIMARY KEY REFERENCES author, a BLOB NOT NULL, b BLOB NOT NULL)",
    "CREATE TABLE network (id BLOB NOT NULL)",
    f"PRAGMA user_version={SCHEMA_VERSION}",
)
REPLAY_PAGE = 1024  # entries read at a time


class SqliteStore:
    """See `Store`. `path` may be ":memory:" for a simulated node."""

    def __init__(self, path: Path | str, network: bytes) -> None:
        """Open or create. Raises LocalError for a file of another network or program, a later schema, a damaged file,
        one that another process holds, or one that may not be written."""
        self._path = path
        # A transaction belongs to its connection: without this, another thread would read what is not committed yet.
        self._turn = threading.Lock()
        with ExitStack() as opened, _damage_named(path):
            if path != ":memory:":
                opened.enter_context(_lock(Path(path)))
            self._connection = opened.enter_context(
                closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False))
            )
            self._open(network)
            self._authors: dict[bytes, int] = dict(self._connection.execute("SELECT key, number FROM author"))
            self._opened = opened.pop_all()

    def _open(self, network: bytes) -> None:
        execute = self._connection.execute
        version = execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            if execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise sqlite3.DatabaseError("it holds another program's tables")
            # All or nothing, the network with the tables: whoever is killed here leaves no half-made ledger.
            execute("BEGIN IMMEDIATE")
            for statement in SCHEMA:
                execute(statement)
            execute("INSERT INTO network VALUES (?)", (network,))
            execute("COMMIT")
        elif version != SCHEMA_VERSION:
            raise LocalError(
                "HEL-LEDGER-003",
                f"the ledger {self._path} has schema {version}, this program reads {SCHEMA_VERSION}",
                "Install the Heliotrope release that wrote it, or a later one.",
            )
        execute("PRAGMA journal_mode=WAL")
        execute("PRAGMA synchronous=FULL")
        found = execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        stored = execute("SELECT id FROM network").fetchone()[0]
        if stored != network:
            raise LocalError(
                "HEL-LEDGER-004",
                f"the ledger {self._path} belongs to network {stored.hex()[:16]}, the genesis file describes"
                f" {network.hex()[:16]}",
                "Use the genesis file that the ledger was begun with, or another --home.",
            )

    def append(self, entries: Sequence[Entry]) -> None:
        with self._turn:
            execute = self._connection.execute
            execute("BEGIN IMMEDIATE")
            fresh: dict[bytes, int] = {}
            try:
                for entry in entries:
                    number = self._authors.get(entry.author) or fresh.get(entry.author)
                    if number is None:
                        number = fresh[entry.author] = len(self._authors) + len(fresh) + 1
                        execute("INSERT INTO author VALUES (?, ?)", (number, entry.author))
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
        """As promised by `Store`. Raises LocalError where the file turns out to be damaged."""
        position = 0
        while rows := self.page(position, REPLAY_PAGE):
            yield from (raw for _, raw in rows)
            position = rows[-1][0]

    def feed(self, author: bytes, from_seq: int, limit: int) -> list[bytes]:
        rows = self._select(
            "SELECT raw FROM entry WHERE author = ? AND seq >= ? ORDER BY seq LIMIT ?",
            (self._authors.get(author, -1), from_seq, limit),
        )
        return [raw for (raw,) in rows]

    def entry(self, entry_id: bytes) -> bytes | None:
        rows = self._select("SELECT raw FROM entry WHERE id = ?", (entry_id,))
        return rows[0][0] if rows else None

    def page(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        return self._select(
            "SELECT position, raw FROM entry WHERE position > ? ORDER BY position LIMIT ?", (after, limit)
        )

    def add_fork(self, proof: ForkProof) -> None:
        with self._turn:
            self._connection.execute(
                "INSERT OR IGNORE INTO fork VALUES (?, ?, ?)",
                (self._authors[proof.b.author], proof.a.raw, proof.b.raw),
            )

    def forks(self) -> list[ForkProof]:
        return [ForkProof(parse(a), parse(b)) for a, b in self._select("SELECT a, b FROM fork ORDER BY author", ())]

    def close(self) -> None:
        with self._turn:
            self._opened.close()

    def _select(self, query: str, parameters: tuple[Any, ...]) -> list[Any]:
        with self._turn, _damage_named(self._path):
            return self._connection.execute(query, parameters).fetchall()


@contextmanager
def _damage_named(path: Path | str) -> Iterator[None]:
    """Turn what SQLite says of an unreadable file into an answer for its owner."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise LocalError(
            "HEL-LEDGER-002",
            f"{path} cannot be read as a ledger: {error}",
            "If it is no Heliotrope ledger, choose another --home. If it is yours and damaged, restore nothing older:"
            " begin again in another --home with a new key. Peers hold what was in it, and a key that signs without"
            " its feed forks.",
        ) from None


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold `<path>.lock`; the kernel frees it when the process dies, however it dies."""
    try:
        handle = path.with_name(path.name + ".lock").open("ab")
    except OSError as error:
        raise LocalError(
            "HEL-LEDGER-001",
            f"the ledger {path} cannot be opened: {error.strerror}",
            "Create its directory, or let this user write there.",
        ) from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalError(
                "HEL-LEDGER-005",
                f"another process holds the ledger {path}",
                "A node is running on this home: use it, stop it, or choose another --home.",
            ) from None
        yield
