"""The places where a store rests: what one promises, all promise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.store.postgres import PostgresStore
from ledger.store.sql import SqlStore
from ledger.store.sqlite import SqliteStore
from protocol.errors import LocalError
from tests.builders import genesis

NETWORK = genesis().network_id()
Open = Callable[..., SqlStore]  # opens the store in this place, for the tests' network or another


def place_of(kind: str, path: Path, request: pytest.FixtureRequest) -> Open:
    if kind == "postgres":
        dsn = request.getfixturevalue("postgres_server").database()
        return lambda network=NETWORK: PostgresStore(dsn, network)
    return lambda network=NETWORK: SqliteStore(":memory:" if kind == "memory" else path, network)


def crash(store: SqlStore) -> None:
    """Kill -9, as far as a store can tell: its locks are gone, and it had no last word."""

    def fail(name: str, value: bytes) -> None:
        raise LocalError("HEL-TEST-001", "no last word", "")

    store._set_meta = fail  # type: ignore[method-assign]
    store.close()
