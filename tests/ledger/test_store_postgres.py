"""What PostgreSQL's store adds: it outlives its server's death, and says so when it has lost it."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from ledger.store import open_store
from ledger.store.postgres import PostgresStore
from protocol.errors import LocalError
from tests import postgres
from tests.builders import entry, feed, keypair

from .places import NETWORK, crash

A = keypair(0)


@pytest.fixture
def mortal_server() -> Iterator[postgres.Server]:
    with postgres.running() as server:
        yield server


def test_a_killed_server_keeps_what_was_durable_and_what_stood_before_it(mortal_server: postgres.Server) -> None:
    dsn, a = mortal_server.database(), feed(A, 5)
    store = PostgresStore(dsn, NETWORK)
    epoch = store.epoch
    store.append(a[:2], durable=False)
    store.set_cursor(A.public, b"two")
    store.append(a[2:3], durable=True)
    store.append(a[3:4], durable=False)
    store.set_cursor(A.public, b"four")
    mortal_server.kill()
    with pytest.raises(LocalError) as failure:
        store.append(a[4:], durable=True)
    assert failure.value.code == "HEL-STORE-002"
    store.close()
    mortal_server.start()
    with closing(PostgresStore(dsn, NETWORK)) as store:
        raws = [raw for _, raw in store.replay()]
        assert raws == [each.raw for each in a[:3]]  # the settings of the tests make sure that the fourth is lost
        assert store.cursors() == {A.public: b"two"}
        assert store.epoch != epoch
        store.append(a[3:], durable=True)


def test_a_lost_session_is_named_and_not_taken_up_again(postgres_server: postgres.Server) -> None:
    dsn = postgres_server.database()
    with closing(PostgresStore(dsn, NETWORK)) as store:
        with psycopg.connect(dsn, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        for act in (
            lambda: store.append(feed(A, 1), durable=True),
            lambda: store.page(0, 1),
            lambda: store.set_cursor(A.public, b""),
        ):
            with pytest.raises(LocalError) as failure:
                act()
            assert failure.value.code == "HEL-STORE-002"
            assert "start the node again" in failure.value.remedy
        assert store.position == 0


def test_who_was_not_closed_gets_a_new_epoch(postgres_server: postgres.Server) -> None:
    dsn = postgres_server.database()
    store = PostgresStore(dsn, NETWORK)
    epoch = store.epoch
    crash(store)
    with closing(PostgresStore(dsn, NETWORK)) as store:
        assert store.epoch != epoch


@pytest.mark.parametrize(
    "dsn",
    [
        "host=/nonexistent password=secret",
        "postgresql://user:secret@/x?host=/nonexistent",
        "password=secret nonsense",
        "secret",
        "postgresql://secret:secret:secret@[",
    ],
)
def test_a_password_is_never_shown(dsn: str) -> None:
    with pytest.raises(LocalError) as failure:
        PostgresStore(dsn, NETWORK)
    assert failure.value.code in ("HEL-STORE-002", "HEL-STORE-003")
    assert "secret" not in str(failure.value)
    assert failure.value.__suppress_context__
    assert "secret" not in "".join(traceback.format_exception(failure.value, chain=True))


def test_another_programs_tables_beside_ours_are_left_alone(postgres_server: postgres.Server) -> None:
    dsn = postgres_server.database()
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE entry (url text)")
    with closing(PostgresStore(dsn, NETWORK)) as store:
        store.append([entry(A)], durable=True)
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT * FROM entry").fetchall() == []


def test_a_row_damaged_on_the_server_is_found_and_named(postgres_server: postgres.Server) -> None:
    with closing(PostgresStore(postgres_server.database(), NETWORK)) as store:
        store.append(feed(A, 3), durable=True)
        store._execute("UPDATE entry SET raw = set_byte(raw, 5, 255 - get_byte(raw, 5)) WHERE position = 2")
        assert list(store.check()) == ["entry 2 is damaged"]
        with pytest.raises(LocalError, match="entry 2 is damaged"):
            list(store.replay())


def test_a_table_that_is_gone_is_damage(postgres_server: postgres.Server) -> None:
    with closing(PostgresStore(postgres_server.database(), NETWORK)) as store:
        store._execute("DROP TABLE entry")
        with pytest.raises(LocalError, match="cannot be read as a ledger"):
            store.page(0, 1)


def test_without_its_driver_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ledger.store.postgres")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LocalError, match="its driver is not there") as failure:
        open_store(tmp_path / "ledger.db", NETWORK, "dbname=x")
    assert "extra `postgres`" in failure.value.remedy
    with closing(open_store(tmp_path / "ledger.db", NETWORK)) as store:
        assert store.position == 0


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_missing_server_fails_where_changes_are_judged(
    ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(postgres, "find_programs", lambda: None)
    with pytest.raises(outcome, match="run make setup-dev"), postgres.running():
        pass
