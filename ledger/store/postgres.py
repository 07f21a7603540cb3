"""Entries in a PostgreSQL database, for nodes that index much: in a schema of its own, `heliotrope`.

One session holds an advisory lock for as long as it lives, so a pooler must keep sessions together. A lost session is
never taken up again: another node may hold the lock by then. `synchronous_commit` is chosen for each transaction: `on`
for what must survive a power cut of the server, `off` else, which keeps the order of commits. Whether a server has lost
its newest commits cannot be asked of it, so whoever was not closed gets a new epoch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

import psycopg
from psycopg import errors

from ledger.store.schema import POSTGRES
from ledger.store.sql import ENTRY, Chance, Row, SqlStore, damaged
from protocol.errors import LocalError

SCHEMA_VERSION = POSTGRES[-1].number
LOCK = int.from_bytes(b"HELIOTRO", "big")
LOCK_TIMEOUT_MS = 1000  # a killed node's session ends within milliseconds: its successor need not be refused
SILENCE_MAX_MS = 30_000  # of a server that should answer; guess, not measured
SOMEBODY = b"held"
ENTRY_TYPES = ("int8", "int8", "int8", "int8", "bytea", "int8")


class PostgresStore(SqlStore):
    """See `Store`. What it says of a power cut holds for a crash of the server as well."""

    of_id = f"{ENTRY} entry WHERE id = ?"
    of_feed = f"{ENTRY} entry WHERE author = ? AND seq >= ? AND seq < ? ORDER BY seq"
    bytes_on_disk = """SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = current_schema() AND c.relkind = 'r'"""
    newest_seq = "SELECT coalesce(max(seq), -1) FROM entry WHERE author = ?"

    def __init__(self, dsn: str, network: bytes, chance: Chance = os.urandom) -> None:
        """Open or create. `dsn` may hold a password and is never quoted. Raises LocalError for a database that does not
        answer, one that another process holds, one of another network, and a later schema."""
        super().__init__("the PostgreSQL database", chance)
        with ExitStack() as opened, self._explained():
            self._connection = opened.enter_context(closing(_connect(dsn)))
            info = self._connection.info
            self.name = f"the PostgreSQL database {info.dbname} at {info.host}"
            self._hold()
            self._execute("SET search_path TO heliotrope")
            with self._transaction(durable=True):
                self._migrate()
                self._begin(network, self._meta("holder") == SOMEBODY, SOMEBODY)
            opened.callback(self._release)
            self._opened = opened.pop_all()

    def _hold(self) -> None:
        self._execute(f"SET lock_timeout TO {LOCK_TIMEOUT_MS}")
        try:
            self._execute("SELECT pg_advisory_lock(?)", (LOCK,))
        except errors.LockNotAvailable:
            raise LocalError(
                "HEL-LEDGER-005",
                f"another process holds the ledger {self.name}",
                "A node is running on this database: use it, stop it, or name another database.",
            ) from None
        self._execute("SET lock_timeout TO 0")

    def _migrate(self) -> None:
        version = 0
        if self._execute("SELECT to_regclass('heliotrope.meta')")[0][0] is None:
            self._execute("CREATE SCHEMA IF NOT EXISTS heliotrope")
        else:
            version = int(self._meta("schema") or b"0")
        self._refuse_later(version, SCHEMA_VERSION)
        for migration in POSTGRES:
            if migration.number > version:
                for statement in migration.statements:
                    self._execute(statement)
                self._set_meta("schema", b"%d" % migration.number)

    def compact(self) -> None:
        with self._turn, self._explained():
            self._execute("VACUUM (FULL, ANALYZE) checkpoint, reading, cosigned, snapshot, snapshot_part")

    # --- as an engine -----------------------------------------------------------------------------------------------

    def _execute(self, query: str, parameters: Row = ()) -> list[Row]:
        cursor = self._connection.execute(query.replace("?", "%s").encode(), parameters, binary=True)
        return cursor.fetchall() if cursor.description else []

    def _execute_many(self, query: str, rows: Sequence[Row]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(query.replace("?", "%s").encode(), rows)

    def _insert_entries(self, rows: Sequence[Row]) -> None:
        with self._connection.cursor() as cursor, cursor.copy("COPY entry FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(ENTRY_TYPES)
            for row in rows:
                copy.write_row(row)

    @contextmanager
    def _transaction(self, durable: bool) -> Iterator[None]:
        with self._connection.transaction():
            self._execute(f"SET LOCAL synchronous_commit TO {'on' if durable else 'off'}")
            yield

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (errors.DiskFull, errors.OutOfMemory) as error:
            raise LocalError(
                "HEL-STORE-001", f"{self.name} cannot grow: {error}", "Free some space on the server's disk."
            ) from None
        except (errors.DataCorrupted, errors.IndexCorrupted, errors.UndefinedTable, errors.UndefinedColumn) as error:
            raise damaged(self.name, str(error)) from None
        except psycopg.Error as error:
            raise LocalError(
                "HEL-STORE-002",
                f"{self.name} does not answer as it should: {error}",
                "Let the server run and this user in, then start the node again: it goes on from what was stored.",
            ) from None

    def _check_structure(self) -> Iterator[str]:
        """PostgreSQL guards its own pages where the cluster was made with --data-checksums; rows have ours."""
        yield from ()


def _connect(dsn: str) -> psycopg.Connection[Row]:
    try:
        return psycopg.connect(dsn, autocommit=True, application_name="heliotrope", tcp_user_timeout=SILENCE_MAX_MS)
    except psycopg.ProgrammingError:  # libpq quotes the part that it did not understand: it may be the password
        raise LocalError(
            "HEL-STORE-003",
            "the address of the ledger's database cannot be read; it is not shown here, as it may hold a password",
            "Write it as: host=... dbname=... user=..., or as: postgresql://user@host/database",
        ) from None
