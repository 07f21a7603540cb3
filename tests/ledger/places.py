"""The places where a store rests, and what rests there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.feed import ForkProof
from ledger.store import Store
from ledger.store.postgres import PostgresStore
from ledger.store.sql import SqlStore
from ledger.store.sqlite import SqliteStore
from protocol.errors import LocalError
from tests.builders import digest, entry, feed, genesis, keypair

NETWORK = genesis().network_id()
A, B = keypair(0), keypair(1)
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


def content(store: Store) -> dict[str, Any]:
    """All that can be asked of a store, but its epoch."""
    snapshot = store.snapshot()
    entries = list(store.replay())
    return {
        "entries": entries,
        "position": store.position,
        "heads": sorted(store.heads()),
        "feeds": [store.feed(author.public, 0, 100) for author in (A, B)],
        "forks": [(proof.a.raw, proof.b.raw) for proof in store.forks()],
        "asides": store.asides(),
        "checkpoints": store.checkpoints(),
        "cursors": store.cursors(),
        "cosigned": store.cosigned("origin"),
        "snapshot": None if snapshot is None else (snapshot[0], list(snapshot[1])),
    }


def fill(store: Store) -> None:
    """Something of everything."""
    other = entry(A, seq=2, prev=feed(A, 2)[-1].id, kind="other")
    store.append([*feed(A, 3), *feed(B, 2)], durable=False)
    store.add_fork(ForkProof(feed(A, 3)[2], other))
    store.add_aside([other])
    store.set_checkpoint(A.public, 2, "two", final=True)
    store.set_cursor(B.public, b"cursor")
    store.advance_cosigned("origin", 0, 2, digest("root"))
    store.save_snapshot(4, [b"a", b"b"])
