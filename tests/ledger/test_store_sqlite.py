"""What SQLite's store adds: clear about a file that it cannot use, and honest about what it may have lost."""

from __future__ import annotations

import functools
import itertools
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ledger.feed import ForkProof
from ledger.store import sqlite as module
from ledger.store.schema import SQLITE
from ledger.store.sqlite import SCHEMA_VERSION, SqliteStore
from protocol.envelope import Entry
from protocol.errors import LocalError, VerificationFailed
from tests.builders import digest, entry, feed, genesis, keypair

from .places import crash

NETWORK = genesis().network_id()
A, B = keypair(0), keypair(1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def refused(path: Path, network: bytes = NETWORK) -> LocalError:
    with pytest.raises(LocalError) as failure:
        SqliteStore(path, network)
    assert str(path) in failure.value.cause
    assert failure.value.remedy
    return failure.value


# --- what a file may be -----------------------------------------------------------------------------------------------


def test_a_ledger_of_another_network_is_left_as_it_was(path: Path) -> None:
    SqliteStore(path, NETWORK).close()
    before = path.read_bytes()
    assert refused(path, digest("other")).code == "HEL-LEDGER-004"
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert refused(path).code == "HEL-LEDGER-002"
    assert path.read_bytes() == content


@pytest.mark.parametrize("version", range(SCHEMA_VERSION + 1))
def test_another_programs_database_is_refused_and_left_as_it_was(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"CREATE TABLE bookmarks (url); PRAGMA user_version={version}")
    assert refused(path).code == "HEL-LEDGER-002"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("bookmarks",)]


def test_a_directory_in_the_ledgers_place_is_refused(path: Path) -> None:
    path.mkdir()
    assert refused(path).code == "HEL-LEDGER-002"


def test_a_missing_directory_is_named(path: Path) -> None:
    error = refused(path / "missing" / "ledger.db")
    assert error.code == "HEL-LEDGER-001"
    assert "No such file or directory" in error.cause


def test_a_file_that_was_cut_off_is_refused(path: Path) -> None:
    with closing(SqliteStore(path, NETWORK)) as store:
        store.append(feed(A, 100), durable=True)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert refused(path).code == "HEL-LEDGER-002"


# --- migrations -------------------------------------------------------------------------------------------------------


def make_schema_1(path: Path, entries: Sequence[Entry], proof: ForkProof) -> None:
    """A ledger as the release with schema 1 wrote it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        for statement in (
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
            "PRAGMA user_version=1",
        ):
            connection.execute(statement)
        connection.execute("INSERT INTO network VALUES (?)", (NETWORK,))
        numbers: dict[bytes, int] = {}
        for each in entries:
            number = numbers.setdefault(each.author, len(numbers) + 1)
            connection.execute("INSERT OR IGNORE INTO author VALUES (?, ?)", (number, each.author))
            row = (number, each.seq, each.id, each.raw)
            connection.execute("INSERT INTO entry (author, seq, id, raw) VALUES (?, ?, ?, ?)", row)
        connection.execute("INSERT INTO fork VALUES (?, ?, ?)", (numbers[proof.b.author], proof.a.raw, proof.b.raw))


def test_a_ledger_of_schema_1_is_migrated_and_goes_on(path: Path) -> None:
    a, b = feed(A, 4), feed(B, 3)
    entries = [a[0], b[0], b[1], a[1], a[2], b[2]]
    proof = ForkProof(b[1], entry(B, seq=2, prev=digest("another")))
    make_schema_1(path, entries, proof)
    for _ in range(2):
        with closing(SqliteStore(path, NETWORK)) as store:
            assert list(store.replay()) == [(at, each.raw) for at, each in enumerate(entries, start=1)]
            assert store.feed(A.public, 1, 10) == [a[1].raw, a[2].raw]
            assert store.entry(b[1].id) == b[1].raw
            assert [(kept.a.raw, kept.b.raw) for kept in store.forks()] == [(proof.a.raw, proof.b.raw)]
            assert list(store.check()) == []
    with closing(SqliteStore(path, NETWORK)) as store:
        store.append(a[3:], durable=True)
        store.add_fork(ForkProof(b[0], entry(B, kind="other")))  # at a lower seq: the proof's was taken over
        assert store.forks()[0].b.seq == 0


def test_a_migration_that_is_interrupted_anywhere_leaves_the_former_ledger_or_the_new_one(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop before every statement of opening, as a kill would: first for a ledger of schema 1, then where none was."""
    path = in_memory / "ledger.db"

    class Dying(sqlite3.Connection):
        left = 0

        def execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
            if Dying.left == 0:
                raise KeyboardInterrupt
            Dying.left -= 1
            return super().execute(statement, parameters)

    connect, dying = sqlite3.connect, functools.partial(sqlite3.connect, factory=Dying)
    make_schema_1(path, feed(A, 3), ForkProof(feed(A, 3)[2], entry(A, seq=2, kind="other")))
    former = path.read_bytes()
    for content, expected in ((former, feed(A, 3)), (None, [])):
        for survived in itertools.count():
            path.unlink()
            if content is not None:
                path.write_bytes(content)
            Dying.left = survived
            monkeypatch.setattr(sqlite3, "connect", dying)
            try:
                SqliteStore(path, NETWORK).close()
                is_whole = Dying.left > 0
            except KeyboardInterrupt:
                is_whole = False
            monkeypatch.setattr(sqlite3, "connect", connect)
            with closing(SqliteStore(path, NETWORK)) as store:
                assert [raw for _, raw in store.replay()] == [each.raw for each in expected]
                store.append([entry(B)], durable=True)
            if is_whole:
                break
        assert survived > sum(len(migration.statements) for migration in SQLITE) - (content is not None) * 5


# --- what may have been lost ------------------------------------------------------------------------------------------


def test_a_process_that_dies_has_lost_nothing_so_nothing_is_checked(path: Path, chance: Any) -> None:
    store = SqliteStore(path, NETWORK)
    epoch = store.epoch
    store.append(feed(A, 300), durable=False)
    crash(store)
    overwrite_a_page(path)  # which only a check at opening would find
    with closing(SqliteStore(path, NETWORK)) as store:
        assert store.epoch == epoch


def test_after_a_power_cut_the_file_is_checked_and_the_epoch_is_new(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BOOT_ID", tmp_path / "boot")
    epochs = set()
    for boot in ("first", "second", "third"):
        module.BOOT_ID.write_text(boot)
        store = SqliteStore(path, NETWORK)
        epochs.add(store.epoch)
        store.append(feed(A, 300)[store.position :][:100], durable=False)
        crash(store)
    assert len(epochs) == 3
    overwrite_a_page(path)
    module.BOOT_ID.write_text("fourth")
    assert refused(path).code == "HEL-LEDGER-002"


def test_without_a_boot_id_every_death_may_have_been_a_power_cut(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BOOT_ID", tmp_path / "missing")
    store = SqliteStore(path, NETWORK)
    epoch = store.epoch
    crash(store)
    with closing(SqliteStore(path, NETWORK)) as store:
        assert store.epoch != epoch


def test_an_older_copy_opens_and_cannot_be_told_from_the_last_one(path: Path) -> None:
    """What a restored backup lacks only peers know; the node asks them before it signs."""
    a = feed(A, 5)
    store = SqliteStore(path, NETWORK)
    store.append(a[:3], durable=True)
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{path}.backup{suffix}")
    store.append(a[3:], durable=True)
    epoch = store.epoch
    store.close()
    with closing(SqliteStore(path.with_name("ledger.db.backup"), NETWORK)) as store:
        assert [raw for _, raw in store.replay()] == [each.raw for each in a[:3]]
        assert store.epoch == epoch
        assert list(store.check()) == []


def overwrite_a_page(path: Path) -> None:
    """Of the feeds' index, with what is no page."""
    with closing(sqlite3.connect(path)) as connection:
        (number,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'entry_of_feed'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((number - 1) * size)
        file.write(b"\xff" * 64)


# --- a full disk ------------------------------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_store_as_it_was_and_usable(path: Path) -> None:
    a = feed(A, 400)
    store = SqliteStore(path, NETWORK)
    store.append(a[:50], durable=True)
    store.save_snapshot(50, [b"snapshot"])
    (pages,) = store._execute("PRAGMA page_count")[0]
    store._execute(f"PRAGMA max_page_count={pages + 4}")
    for act in (
        lambda: store.append([*feed(B, 1), *a[50:]], durable=True),
        lambda: store.append(a[50:], durable=False),
        lambda: store.add_aside(a[50:]),
        lambda: store.save_snapshot(50, [bytes(10**6)]),
        lambda: store.set_cursor(B.public, bytes(10**6)),
        lambda: store.advance_cosigned("x" * 10**6, 0, 1, digest("root")),
    ):
        with pytest.raises(LocalError) as failure:
            act()
        assert failure.value.code == "HEL-STORE-001"
        assert store.position == 50
        assert [raw for _, raw in store.replay()] == [each.raw for each in a[:50]]
    assert store.feed(B.public, 0, 1) == store.asides() == []
    assert store.cursors() == {}
    store.append(a[50:52], durable=True)  # what fits is stored
    store._execute(f"PRAGMA max_page_count={2**30}")
    store.append([*feed(B, 1), *a[52:]], durable=True)
    assert list(store.check()) == []
    store.close()
    with closing(SqliteStore(path, NETWORK)) as store:
        assert store.feed(A.public, 0, 1000) == [each.raw for each in a]
        found = store.snapshot()
        assert found is not None
        assert list(found[1]) == [b"snapshot"]


def test_a_disk_that_cannot_be_written_is_no_damage(path: Path) -> None:
    with closing(SqliteStore(path, NETWORK)) as store:
        store._execute("PRAGMA query_only=ON")
        with pytest.raises(LocalError) as failure:
            store.append(feed(A, 1), durable=True)
        assert failure.value.code == "HEL-STORE-004"
        assert store.position == 0
        store._execute("PRAGMA query_only=OFF")
        store.append(feed(A, 1), durable=True)


# --- damage -----------------------------------------------------------------------------------------------------------


def test_damage_that_only_a_later_read_meets_is_named_too(path: Path) -> None:
    with closing(SqliteStore(path, NETWORK)) as store:
        with closing(sqlite3.connect(path)) as meddler:
            meddler.execute("DROP TABLE entry")
        for read in (
            lambda: list(store.replay()),
            store.heads,
            lambda: store.entry(digest("x")),
        ):
            with pytest.raises(VerificationFailed, match="cannot be read as a ledger"):
                read()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("UPDATE entry SET raw = zeroblob(length(raw)) WHERE position = 7", "entry 7 is damaged"),
        ("UPDATE entry SET seq = 99 WHERE position = 7", "entry 7 is damaged"),
        ("UPDATE entry SET author = 2 WHERE position = 7", "entry 7 is damaged"),
        ("UPDATE entry SET id = id + 1 WHERE position = 7", "entry 7 is damaged"),
        ("UPDATE entry SET raw = cast(raw AS TEXT) WHERE position = 7", "entry 7 is damaged"),
        ("DELETE FROM entry WHERE position IN (4, 5)", "entries 4 to 5 are missing"),
        ("UPDATE author SET key = zeroblob(32)", "author 1 is damaged"),
        ("DELETE FROM entry WHERE position > 8", "entries 9 to 10 are missing"),
        ("UPDATE snapshot SET position = 0", "snapshot 1 is damaged"),
        ("DELETE FROM author", "entry 1 is damaged"),
        ("UPDATE reading SET cursor = x'00'", f"reading {B.public.hex()[:16]} is damaged"),
        ("UPDATE cosigned SET size = size - 1", "cosigned origin is damaged"),
        ("UPDATE snapshot_part SET data = x'00' WHERE part = 2", "snapshot 1 is damaged in part 2 of 2"),
        ("UPDATE meta SET value = x'00' WHERE name = 'epoch'", "meta epoch is damaged"),
        ("DELETE FROM meta WHERE name = 'network'", "meta network is missing"),
        ("DROP TABLE entry", "cannot be read as a ledger: no such table: entry"),
        ("DROP INDEX entry_of_feed", "index entry_of_feed is not as this program makes it"),
    ],
)
def test_damage_is_found_by_the_check_and_named(path: Path, change: str, named: str) -> None:
    with closing(SqliteStore(path, NETWORK)) as store:
        store.append(feed(A, 10), durable=True)
        store.set_cursor(B.public, b"cursor")
        store.advance_cosigned("origin", 0, 5, digest("root"))
        store.save_snapshot(10, [b"one", b"two"])
        store._execute(change)
        assert any(named in damage for damage in store.check())


@pytest.mark.parametrize("change", ["snapshot SET parts = parts + 1", "snapshot_part SET data = x'00' WHERE part = 2"])
def test_a_damaged_snapshot_is_no_snapshot_and_can_be_replaced(path: Path, change: str) -> None:
    """It is a cache: damage to it stops no node."""
    with closing(SqliteStore(path, NETWORK)) as store:
        store.save_snapshot(0, [b"one", b"two", b"three"])
        store._execute(f"UPDATE {change}")
    with closing(SqliteStore(path, NETWORK)) as store:
        found = store.snapshot()
        assert found is None or list(found[1]) == [b"one"]
        store.save_snapshot(0, [b"new"])
        found = store.snapshot()
        assert found is not None
        assert list(found[1]) == [b"new"]
        assert list(store.check()) == []
