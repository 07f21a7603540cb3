"""What SQLite's store adds: whole after any death, and clear about a file that it cannot use."""

from __future__ import annotations

import functools
import itertools
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ledger.feed import ForkProof
from ledger.ledger import replay
from ledger.store.sqlite import SCHEMA_VERSION, SqliteStore
from protocol.envelope import parse
from protocol.errors import LocalError
from tests.builders import digest, entry, feed, genesis, keypair, whole_history

from .facts import facts

ROOT = Path(__file__).resolve().parents[2]
NETWORK = genesis().network_id()
A = keypair(0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def test_a_store_opened_again_holds_what_was_appended(path: Path) -> None:
    history = whole_history()
    proof = ForkProof(history.entries[0], entry(keypair(1), kind="other"))
    with closing(SqliteStore(path, NETWORK)) as store:
        store.append(history.entries, durable=True)
        store.add_fork(proof)
    with closing(SqliteStore(path, NETWORK)) as store:
        again = replay(genesis(), (raw for _, raw in store.replay()), store.forks())
        store.append([entry(keypair(8))], durable=True)
    assert facts(again) == facts(replay(genesis(), (e.raw for e in history.entries), [proof]))
    assert again.forks.keys() == {proof.b.author}


def refused(path: Path, network: bytes = NETWORK) -> LocalError:
    with pytest.raises(LocalError) as failure:
        SqliteStore(path, network)
    assert str(path) in failure.value.cause
    assert failure.value.remedy
    return failure.value


def test_a_ledger_of_another_network_is_refused_and_left_as_it_was(path: Path) -> None:
    SqliteStore(path, NETWORK).close()
    before = path.read_bytes()
    error = refused(path, digest("other"))
    assert error.code == "HEL-LEDGER-004"
    assert NETWORK.hex()[:16] in error.cause
    assert digest("other").hex()[:16] in error.cause
    assert path.read_bytes() == before
    SqliteStore(path, NETWORK).close()


def test_a_later_schema_is_refused(path: Path) -> None:
    SqliteStore(path, NETWORK).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    error = refused(path)
    assert error.code == "HEL-LEDGER-003"
    assert "schema 3, this program reads 2" in error.cause


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert refused(path).code == "HEL-LEDGER-002"
    assert path.read_bytes() == content


@pytest.mark.parametrize("version", [0, 1])
def test_another_programs_database_is_refused_and_left_as_it_was(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"CREATE TABLE bookmarks (url); PRAGMA user_version={version}")
    refused(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("bookmarks",)]


def test_a_directory_in_the_ledgers_place_is_refused(path: Path) -> None:
    path.mkdir()
    assert refused(path).code == "HEL-LEDGER-002"


def test_a_missing_directory_is_named(path: Path) -> None:
    error = refused(path / "missing" / "ledger.db")
    assert error.code == "HEL-LEDGER-001"
    assert "No such file or directory" in error.cause


def test_a_page_of_the_file_overwritten_is_found(path: Path) -> None:
    with closing(SqliteStore(path, NETWORK)) as store:
        store.append(feed(A, 300), durable=True)
    content = bytearray(path.read_bytes())
    for start in range(4096, len(content), 4096):
        damaged = content.copy()
        damaged[start : start + 64] = b"\xff" * 64
        path.write_bytes(damaged)
        try:
            with closing(SqliteStore(path, NETWORK)) as store:
                assert list(store.check())
        except LocalError as error:
            assert error.code == "HEL-LEDGER-002"
    path.write_bytes(content)
    SqliteStore(path, NETWORK).close()


def test_damage_that_only_a_later_read_meets_is_named_too(path: Path) -> None:
    with closing(SqliteStore(path, NETWORK)) as store:
        with closing(sqlite3.connect(path)) as meddler:
            meddler.execute("DROP TABLE entry")
        for read in (
            lambda: [raw for _, raw in store.replay()],
            lambda: store.feed(A.public, 0, 1),
            lambda: store.entry(digest("x")),
        ):
            with pytest.raises(LocalError, match="cannot be read as a ledger"):
                read()


def test_a_ledger_half_made_when_its_process_dies_is_made_by_the_next(path: Path) -> None:
    """Stop before every statement of the making, as a kill would."""

    class Dying(sqlite3.Connection):
        left = 0

        def execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
            if Dying.left == 0:
                raise KeyboardInterrupt
            Dying.left -= 1
            return super().execute(statement, parameters)

    connect = functools.partial(sqlite3.connect, factory=Dying)
    for survived in itertools.count():
        Dying.left = survived
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sqlite3, "connect", connect)
            try:
                SqliteStore(path, NETWORK).close()
            except KeyboardInterrupt:
                died = True
            else:
                died = False
        with closing(SqliteStore(path, NETWORK)) as store:
            store.append(feed(A, 1), durable=True)
        path.unlink()
        if not died:
            break
    assert survived > 20


# --- two processes, and death -----------------------------------------------------------------------------------------


def appending(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.ledger.appender", str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_a_second_process_is_refused_until_the_first_is_gone(path: Path) -> None:
    with appending(path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        error = refused(path)
        assert error.code == "HEL-LEDGER-005"
        process.kill()
    SqliteStore(path, NETWORK).close()


def test_a_refused_opening_holds_nothing(path: Path) -> None:
    SqliteStore(path, NETWORK).close()
    errors = [refused(path, digest("other")) for _ in range(2)]  # with their tracebacks, and all that those refer to
    assert {error.code for error in errors} == {"HEL-LEDGER-004"}
    SqliteStore(path, NETWORK).close()


def test_ten_kills_lose_no_acknowledged_entry_and_reuse_no_seq(path: Path, chance: random.Random) -> None:
    said: dict[int, str] = {}
    for _ in range(10):
        with appending(path) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(chance.randint(1, 60))]
            process.kill()
            lines += process.stdout.readlines()
        for line in lines:
            if line.endswith("\n"):  # the last may be cut off by the kill
                seq, entry_id = line.split()
                assert said.setdefault(int(seq), entry_id) == entry_id, f"seq {seq} was signed twice"
        with closing(SqliteStore(path, NETWORK)) as store:
            ledger = replay(genesis(), (raw for _, raw in store.replay()))
            stored = store.feed(A.public, 0, 10**6)
        ids = [parse(raw).id.hex() for raw in stored]
        assert ledger.count == len(ids)
        assert all(ids[seq] == entry_id for seq, entry_id in said.items())
    assert len(said) > 10
