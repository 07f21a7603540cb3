"""How the promises of `Store` are kept, in the SQL that SQLite and PostgreSQL both speak.

An engine adds what they do not share: how it is opened and held, what a transaction costs, what its errors mean.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

from ledger.feed import ForkProof
from ledger.store import Checkpoint
from ledger.store.rows import (
    ASIDE,
    AUTHOR,
    CHECKPOINT,
    COSIGNED,
    FORK,
    META,
    READING,
    SMALL_TABLES,
    SNAPSHOT,
    SNAPSHOT_PART,
    Table,
    entry_sum,
    id_key,
    id_of,
    row_sum,
)
from protocol.envelope import Entry, parse
from protocol.errors import LocalError, VerificationFailed

REPLAY_PAGE = 1024  # entries read at a time
EPOCH_BYTES = 16
ENTRY = "SELECT position, author, seq, id, raw, sum FROM entry"
Row: TypeAlias = tuple[Any, ...]
Chance: TypeAlias = Callable[[int], bytes]  # so many random bytes


class SqlStore(ABC):
    """See `Store`."""

    def __init__(self, name: str, chance: Chance) -> None:
        self.name = name
        self._chance = chance
        # A transaction belongs to its connection: without this, another thread would read what is not committed yet.
        self._turn = threading.Lock()
        # Guarded by the turn, and moved only after COMMIT:
        self._authors: dict[bytes, int] = {}
        self._position = 0
        self._epoch = b""

    # --- what an engine adds: all of it is called in turn -----------------------------------------------------------

    @abstractmethod
    def _execute(self, query: str, parameters: Row = ()) -> list[Row]:
        """The rows of a query with `?` for each parameter; none if it returns none."""

    @abstractmethod
    def _insert_entries(self, rows: list[Row]) -> None: ...

    @abstractmethod
    def _transaction(self, durable: bool) -> AbstractContextManager[None]:
        """Commits, or, when left by an exception, undoes. Raises ValueError for a key that is there already."""

    @abstractmethod
    def _explained(self) -> AbstractContextManager[None]:
        """Turns what the engine raises into LocalError."""

    @abstractmethod
    def _check_structure(self) -> Iterator[str]: ...

    # --- opening ----------------------------------------------------------------------------------------------------

    def _begin(self, network: bytes, is_tail_lost: bool, holder: bytes) -> None:
        """Within the opening transaction: compare the network, note who holds the store, renew the epoch if need be."""
        stored = self._meta("network")
        if stored is None:
            self._set_meta("network", network)
        elif stored != network:
            raise LocalError(
                "HEL-LEDGER-004",
                f"the ledger {self.name} belongs to network {stored.hex()[:16]}, the genesis file describes"
                f" {network.hex()[:16]}",
                "Use the genesis file that the ledger was begun with, or another --home.",
            )
        epoch = self._meta("epoch")
        if epoch is None or is_tail_lost:
            epoch = self._chance(EPOCH_BYTES)
            self._set_meta("epoch", epoch)
        self._set_meta("holder", holder)
        self._epoch = epoch
        authors = self._sound(AUTHOR, self._execute(AUTHOR.select()))
        self._authors = {key: number for number, key in authors}
        self._position = self._execute("SELECT coalesce(max(position), 0) FROM entry")[0][0]

    def _meta(self, name: str) -> bytes | None:
        rows = self._sound(META, self._execute(META.select("WHERE name = ?"), (name,)))
        return rows[0][1] if rows else None

    def _set_meta(self, name: str, value: bytes) -> None:
        self._upsert(META, (name, value))

    # --- entries ----------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> bytes:
        return self._epoch

    @property
    def position(self) -> int:
        return self._position

    def append(self, entries: Sequence[Entry], durable: bool) -> None:
        with self._turn, self._explained():
            fresh: dict[bytes, int] = {}
            rows: list[Row] = []
            position = self._position
            for entry in entries:
                position += 1
                number = self._authors.get(entry.author) or fresh.get(entry.author)
                if number is None:
                    number = fresh[entry.author] = len(self._authors) + len(fresh) + 1
                seq, raw, key = entry.seq, entry.raw, id_key(entry.id)
                rows.append((position, number, seq, key, raw, entry_sum(position, number, seq, key, raw)))
            with self._transaction(durable):
                for author, number in fresh.items():
                    self._upsert(AUTHOR, (number, author))
                self._insert_entries(rows)
            self._authors.update(fresh)
            self._position = position

    def page(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        rows = self._entries("WHERE position > ? ORDER BY position LIMIT ?", (after, limit))
        return [(position, raw) for position, _, _, _, raw, _ in rows]

    def replay(self, after: int = 0) -> Iterator[tuple[int, bytes]]:
        while rows := self.page(after, REPLAY_PAGE):
            yield from rows
            after = rows[-1][0]

    def feed(self, author: bytes, from_seq: int, limit: int) -> list[bytes]:
        rows = self._entries(
            "WHERE author = ? AND seq >= ? ORDER BY seq LIMIT ?", (self._authors.get(author, -1), from_seq, limit)
        )
        return [row[4] for row in rows]

    def ids(self, author: bytes, from_seq: int, limit: int) -> list[bytes]:
        return [id_of(raw) for raw in self.feed(author, from_seq, limit)]

    def entry(self, entry_id: bytes) -> bytes | None:
        found = [row[4] for row in self._entries("WHERE id = ?", (id_key(entry_id),)) if id_of(row[4]) == entry_id]
        found += [raw for _, raw in self._rows(ASIDE, "WHERE id = ?", (entry_id,))]
        return found[0] if found else None

    def heads(self) -> list[bytes]:
        newest = "(SELECT author, max(seq) FROM entry GROUP BY author)"
        return [row[4] for row in self._entries(f"WHERE (author, seq) IN {newest}")]

    def _entries(self, where: str, parameters: Row = ()) -> list[Row]:
        with self._turn, self._explained():
            rows = self._execute(f"{ENTRY} {where}", parameters)
        for position, author, seq, key, raw, stored in rows:
            if entry_sum(position, author, seq, key, raw) != stored:
                raise damaged(self.name, f"entry {position} is damaged")
        return rows

    # --- forks, and what peers say ----------------------------------------------------------------------------------

    def add_fork(self, proof: ForkProof) -> None:
        row = (proof.b.author, min(proof.a.seq, proof.b.seq), proof.a.raw, proof.b.raw)
        self._put(FORK, row, "WHERE excluded.seq < fork.seq")

    def forks(self) -> list[ForkProof]:
        return [ForkProof(parse(a), parse(b)) for _, _, a, b in self._rows(FORK, "ORDER BY author")]

    def add_aside(self, entries: Sequence[Entry]) -> None:
        with self._turn, self._explained(), self._transaction(durable=False):
            for entry in entries:
                self._upsert(ASIDE, (entry.id, entry.raw), "WHERE false")

    def asides(self) -> list[bytes]:
        return [raw for _, raw in self._rows(ASIDE, "ORDER BY id")]

    def set_checkpoint(self, author: bytes, size: int, note: str, final: bool = False) -> None:
        self._put(CHECKPOINT, (author, int(final), size, note), "WHERE excluded.size >= checkpoint.size")

    def checkpoints(self) -> list[Checkpoint]:
        rows = self._rows(CHECKPOINT, "ORDER BY author, final")
        return [Checkpoint(author, size, note, bool(final)) for author, final, size, note in rows]

    def set_cursor(self, peer: bytes, cursor: bytes) -> None:
        self._put(READING, (peer, cursor))

    def cursors(self) -> dict[bytes, bytes]:
        return dict(self._rows(READING))

    # --- what a witness promises ------------------------------------------------------------------------------------

    def cosigned(self, origin: str) -> tuple[int, bytes] | None:
        rows = self._rows(COSIGNED, "WHERE origin = ?", (origin,))
        return (rows[0][1], rows[0][2]) if rows else None

    def advance_cosigned(self, origin: str, old_size: int, size: int, root: bytes) -> bool:
        with self._turn, self._explained():
            rows = self._sound(COSIGNED, self._execute(COSIGNED.select("WHERE origin = ?"), (origin,)))
            promised_size, promised_root = rows[0][1:] if rows else (0, root)
            if promised_size != old_size or size < old_size or (size == old_size and root != promised_root):
                return False
            with self._transaction(durable=True):
                self._upsert(COSIGNED, (origin, size, root))
            return True

    # --- the snapshot -----------------------------------------------------------------------------------------------

    def save_snapshot(self, position: int, chunks: Iterable[bytes]) -> None:
        if position > self._position:
            raise ValueError(f"a snapshot at position {position}, the newest entry is {self._position}")
        kept = self._rows(SNAPSHOT)
        last = kept[0][0] if kept else 0
        self._drop_parts_but(last)  # those of a saving that was interrupted
        parts = 0
        for parts, data in enumerate(chunks, start=1):
            self._put(SNAPSHOT_PART, (last + 1, parts, data))
        with self._turn, self._explained(), self._transaction(durable=False):
            self._execute("DELETE FROM snapshot")
            self._upsert(SNAPSHOT, (last + 1, position, parts))
        self._drop_parts_but(last + 1)

    def snapshot(self) -> tuple[int, Iterator[bytes]] | None:
        kept = self._rows(SNAPSHOT)
        if not kept:
            return None
        generation, position, parts = kept[0]
        return position, (self._part(generation, part) for part in range(1, parts + 1))

    def _part(self, generation: int, part: int) -> bytes:
        rows = self._rows(SNAPSHOT_PART, "WHERE generation = ? AND part = ?", (generation, part))
        if not rows:
            raise VerificationFailed(
                "HEL-STORE-004",
                f"part {part} of the snapshot in {self.name} is not there: another snapshot may have replaced it",
                "Read the snapshot again, or replay the entries.",
            )
        data: bytes = rows[0][2]
        return data

    def _drop_parts_but(self, generation: int) -> None:
        """One by one: whoever wants to append waits for no more than one."""
        for part in self._turned("SELECT generation, part FROM snapshot_part WHERE generation <> ?", (generation,)):
            with self._turn, self._explained(), self._transaction(durable=False):
                self._execute("DELETE FROM snapshot_part WHERE generation = ? AND part = ?", part)

    # --- care -------------------------------------------------------------------------------------------------------

    def check(self) -> Iterator[str]:
        yield from self._check_structure()
        try:
            yield from self._check_rows()
        except LocalError as error:
            yield error.cause

    def _check_rows(self) -> Iterator[str]:
        """Pages of their own turns: the node goes on meanwhile."""
        authors = set(self._authors.values())
        last = 0
        while rows := self._turned(f"{ENTRY} WHERE position > ? ORDER BY position LIMIT ?", (last, REPLAY_PAGE)):
            for position, author, seq, key, raw, stored in rows:
                if position != last + 1:
                    yield f"entries {last + 1} to {position - 1} are missing"
                if entry_sum(position, author, seq, key, raw) != stored or author not in authors:
                    yield f"entry {position} is damaged"
                last = position
        for table in SMALL_TABLES:
            for *values, stored in self._turned(table.select()):
                if row_sum(*values) != stored:
                    yield f"{table.describe(tuple(values))} is damaged"
        kept = self.snapshot()
        for _ in kept[1] if kept else ():
            pass  # the first damaged part ends the check: the snapshot is made anew as a whole

    def _turned(self, query: str, parameters: Row = ()) -> list[Row]:
        with self._turn, self._explained():
            return self._execute(query, parameters)

    # --- rows with their checksums ----------------------------------------------------------------------------------

    def _rows(self, table: Table, where: str = "", parameters: Row = ()) -> list[Row]:
        return self._sound(table, self._turned(table.select(where), parameters))

    def _sound(self, table: Table, rows: list[Row]) -> list[Row]:
        """The rows without their checksums, which are right."""
        for *values, stored in rows:
            if row_sum(*values) != stored:
                raise damaged(self.name, f"{table.describe(tuple(values))} is damaged")
        return [row[:-1] for row in rows]

    def _put(self, table: Table, row: Row, where: str = "") -> None:
        with self._turn, self._explained(), self._transaction(durable=False):
            self._upsert(table, row, where)

    def _upsert(self, table: Table, row: Row, where: str = "") -> None:
        self._execute(table.upsert(where), (*row, row_sum(*row)))


def damaged(name: str, what: str) -> VerificationFailed:
    """That a store cannot be relied on, with what to do about it."""
    return VerificationFailed(
        "HEL-LEDGER-002",
        f"{name} cannot be read as a ledger: {what}",
        "If it is no Heliotrope ledger, choose another --home. If it is yours and damaged, restore nothing older:"
        " begin again in another --home with a new key. Peers hold what was in it, and a key that signs without"
        " its feed forks.",
    )
