"""The tables, and how those of an earlier release become them. Pure.

A migration is never changed once it was released: databases that it made are out there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Integer keys where rows are many. `sum` is over the columns before it, see `rows`.
TABLES = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL, sum INTEGER NOT NULL)",
    # A key is unique since one process writes, and knows all of them: an index would be paid for with every author.
    "CREATE TABLE author (number INTEGER PRIMARY KEY, key BLOB NOT NULL, sum INTEGER NOT NULL)",
    """CREATE TABLE entry (
        position INTEGER PRIMARY KEY,
        author INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        id INTEGER NOT NULL,
        raw BLOB NOT NULL,
        sum INTEGER NOT NULL
    )""",
    "CREATE UNIQUE INDEX entry_of_feed ON entry (author, seq)",
    "CREATE INDEX entry_of_id ON entry (id)",
    """CREATE TABLE fork (
        author BLOB PRIMARY KEY,
        seq INTEGER NOT NULL,
        a BLOB NOT NULL,
        b BLOB NOT NULL,
        sum INTEGER NOT NULL
    )""",
    "CREATE TABLE aside (id BLOB PRIMARY KEY, raw BLOB NOT NULL, sum INTEGER NOT NULL)",
    """CREATE TABLE checkpoint (
        author BLOB NOT NULL,
        final INTEGER NOT NULL,
        size INTEGER NOT NULL,
        note TEXT NOT NULL,
        sum INTEGER NOT NULL,
        PRIMARY KEY (author, final)
    )""",
    "CREATE TABLE reading (peer BLOB PRIMARY KEY, cursor BLOB NOT NULL, sum INTEGER NOT NULL)",
    """CREATE TABLE cosigned (
        origin TEXT PRIMARY KEY,
        size INTEGER NOT NULL,
        root BLOB NOT NULL,
        sum INTEGER NOT NULL
    )""",
    """CREATE TABLE snapshot (
        generation INTEGER PRIMARY KEY,
        position INTEGER NOT NULL,
        parts INTEGER NOT NULL,
        sum INTEGER NOT NULL
    )""",
    """CREATE TABLE snapshot_part (
        generation INTEGER NOT NULL,
        part INTEGER NOT NULL,
        data BLOB NOT NULL,
        sum INTEGER NOT NULL,
        PRIMARY KEY (generation, part)
    )""",
)


@dataclass(frozen=True, slots=True)
class Migration:
    """Statements that make schema `number` of the one before. They run in one transaction with all that follow."""

    number: int
    reason: str
    statements: Sequence[str]


SQLITE = (
    Migration(
        1,
        "entries in feeds",
        (
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
        ),
    ),
    Migration(
        2,
        "integers instead of ids as keys; checksums; room for checkpoints, cursors, promises and snapshots",
        (
            *(f"ALTER TABLE {table} RENAME TO former_{table}" for table in ("author", "entry", "fork")),
            *TABLES,
            "INSERT INTO meta SELECT 'network', id, row_sum('network', id) FROM network",
            "INSERT INTO author SELECT number, key, row_sum(number, key) FROM former_author ORDER BY number",
            """INSERT INTO entry SELECT position, author, seq, id_key(id), raw,
                row_sum(position, author, seq, id_key(id), raw) FROM former_entry ORDER BY position""",
            """INSERT INTO fork SELECT key, fork_seq(a, b), a, b, row_sum(key, fork_seq(a, b), a, b)
                FROM former_fork JOIN former_author ON number = author""",
            *(f"DROP TABLE {table}" for table in ("former_fork", "former_entry", "former_author", "network")),
        ),
    ),
)


def _in_postgres(statement: str) -> str:
    return statement.replace("INTEGER", "BIGINT").replace("BLOB", "BYTEA")


POSTGRES = (Migration(2, "the tables of SQLite's schema 2", [_in_postgres(table) for table in TABLES]),)
