"""Entries in one SQLite file.

One connection writes and checkpoints (this release's WAL has a fault where two do), in WAL. `synchronous` is chosen
for each transaction: FULL for what must survive a power cut, NORMAL else, which keeps the order of commits.

**Opening costs nothing that grows.** The file says who holds it: nobody after `close`, else the boot of the machine
that it was opened in. What died in this very boot (kill -9) has lost nothing: the kernel had it all. What was open when
the machine went down may have lost its tail: then the pages are checked (`quick_check`) and the epoch is renewed. All
other damage is found where it is read, by the checksum of the row, and by `check`. Refused: `quick_check` at every
start, which reads the whole file.
"""

from __future__ import annotations

import fcntl
import functools
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from ledger.store.rows import id_key, row_sum
from ledger.store.schema import SQLITE
from ledger.store.sql import ENTRY, NOBODY, Chance, Row, SqlStore, damaged
from protocol.envelope import parse
from protocol.errors import LocalError

SCHEMA_VERSION = SQLITE[-1].number
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
CACHE_KIB = 16 * 1024  # the last part of each index many times over: appending reads nothing
WAL_PAGES = 4096  # 16 MiB between checkpoints: a page that several batches touch is written to the file once
DAMAGES_MAX = 100  # that a check lists of the file's structure

# The parts of the indexes of entries (see `schema`), to be joined with one.
PARTS = """WITH RECURSIVE part (n) AS
    (SELECT 0 UNION ALL SELECT n + 1 FROM part WHERE n < (SELECT max(position) >> 14 FROM entry))"""


class SqliteStore(SqlStore):
    """See `Store`. `path` may be ":memory:" for a simulated node, which brings its own chance."""

    of_id = f"{PARTS} {ENTRY} part CROSS JOIN entry ON position >> 14 = n AND id = ?"
    of_feed = f"""{PARTS} {ENTRY} part CROSS JOIN entry
        ON position >> 14 = n AND author = ? AND seq >= ? AND seq < ? ORDER BY seq"""
    bytes_on_disk = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    newest_seq = f"{PARTS} SELECT max((SELECT max(seq) FROM entry WHERE position >> 14 = n AND author = ?)) FROM part"

    def __init__(self, path: Path | str, network: bytes, chance: Chance = os.urandom) -> None:
        """Open or create. Raises LocalError for a file of another network or program, a later schema, a damaged file,
        one that another process holds, or one that may not be written; the file is left as it was."""
        super().__init__(str(path), chance)
        self._path = None if path == ":memory:" else Path(path)
        self._synchronous = "FULL"
        with ExitStack() as opened, self._explained():
            if self._path is not None:
                opened.enter_context(_lock(self._path))
            self._connection = opened.enter_context(
                closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False))
            )
            # A flipped bit may turn bytes into text: then the row's checksum should say so, not the decoder.
            self._connection.text_factory = functools.partial(str, encoding="utf-8", errors="replace")
            self._open(network)
            opened.callback(self._release)
            self._opened = opened.pop_all()

    def _open(self, network: bytes) -> None:
        self._execute("PRAGMA synchronous=FULL")
        self._execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        boot = _boot() or self._chance(16)
        with self._transaction(durable=True):
            self._migrate()
            holder = self._meta("holder")
            is_tail_lost = holder not in (NOBODY, boot)
            if is_tail_lost and (found := self._execute("PRAGMA quick_check(1)")[0][0]) != "ok":
                raise sqlite3.DatabaseError(found)
            self._begin(network, is_tail_lost, boot)
        self._execute("PRAGMA journal_mode=WAL")
        self._execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")

    def _migrate(self) -> None:
        version = self._execute("PRAGMA user_version")[0][0]
        self._refuse_later(version, SCHEMA_VERSION)
        if version == 0 and self._execute("SELECT count(*) FROM sqlite_master")[0][0]:
            raise sqlite3.DatabaseError("it holds another program's tables")
        for name, arguments, function in (("id_key", 1, id_key), ("row_sum", -1, row_sum), ("fork_seq", 2, _fork_seq)):
            self._connection.create_function(name, arguments, function, deterministic=True)
        for migration in SQLITE[version:]:
            for statement in migration.statements:
                self._execute(statement)
            self._execute(f"PRAGMA user_version={migration.number}")

    def compact(self) -> None:
        with self._turn, self._explained():
            self._execute("VACUUM")
            self._execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # --- as an engine -----------------------------------------------------------------------------------------------

    def _execute(self, query: str, parameters: Row = ()) -> list[Row]:
        return self._connection.execute(query, parameters).fetchall()

    def _execute_many(self, query: str, rows: Sequence[Row]) -> None:
        self._connection.executemany(query, rows)

    def _insert_entries(self, rows: Sequence[Row]) -> None:
        self._execute_many("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)", rows)

    @contextmanager
    def _transaction(self, durable: bool) -> Iterator[None]:
        wanted = "FULL" if durable else "NORMAL"
        if wanted != self._synchronous:
            self._execute(f"PRAGMA synchronous={wanted}")
            self._synchronous = wanted
        self._execute("BEGIN IMMEDIATE")
        try:
            yield
            self._execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._execute("ROLLBACK")
            raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.ProgrammingError:  # a fault of ours, as the use of a closed store is
            raise
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # above are details
            if code == sqlite3.SQLITE_FULL:
                cause, remedy = "cannot grow", "Free some space on its disk, or move the home to a larger one."
                raise LocalError("HEL-STORE-001", f"{self.name} {cause}: {error}", remedy) from None
            if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY):
                cause, remedy = "cannot be read or written", "Mend its disk, or let this user write to it."
                raise LocalError("HEL-STORE-004", f"{self.name} {cause}: {error}", remedy) from None
            raise damaged(self.name, str(error)) from None
        except UnicodeDecodeError as error:  # from a message of SQLite's that quotes the damaged part
            raise damaged(self.name, f"its tables' definitions are no text: {error}") from None

    def _check_structure(self) -> Iterator[str]:
        """On a connection of its own, where there is a file: the node goes on meanwhile."""
        if self._path is None:
            return
        made = SqliteStore(":memory:", b"", bytes)
        with closing(made), self._explained():
            reader = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
            with closing(reader):
                for (found,) in reader.execute(f"PRAGMA integrity_check({DAMAGES_MAX})"):
                    if found != "ok":
                        yield f"in the file's structure: {found}"
                definitions = "SELECT type, name, sql FROM sqlite_master"
                for kind, name, _ in sorted({*made._execute(definitions)} ^ {*reader.execute(definitions)}, key=str):
                    yield f"in the file's structure: the {kind} {name} is not as this program makes it"


def _fork_seq(a: bytes, b: bytes) -> int:
    return min(parse(a).seq, parse(b).seq)


def _boot() -> bytes | None:
    try:
        return BOOT_ID.read_bytes().strip()
    except OSError:
        return None


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
