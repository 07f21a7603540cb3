"""How the promises of `Store` are kept, in the SQL that SQLite and PostgreSQL both speak.

An engine adds what they do not share: how it is opened and held, what a transaction costs, what its errors mean.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Any, ClassVar, TypeAlias

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
NOBODY = b""  # holds a store that was closed
ENTRY = "SELECT position, author, seq, id, raw, sum FROM"
AFTER = f"{ENTRY} entry WHERE position > ? ORDER BY position LIMIT ?"
HEADS = f"{ENTRY} entry WHERE position IN (SELECT max(position) FROM entry GROUP BY author)"
Row: TypeAlias = tuple[Any, ...]
Chance: TypeAlias = Callable[[int], bytes]  # so many random bytes


class SqlStore(ABC):
    """See `Store`."""

    def __init__(self, name: str, chance: Chance) -> None:
        self.name = name
        self._chance = chance
        self._opened = ExitStack()
        # A transaction belongs to its connection: without this, another thread would read what is not committed yet.
        self._turn = threading.Lock()
        # Guarded by the turn, and moved only after COMMIT:
        self._authors: dict[bytes, int] = {}  # key → number
        self._newest: dict[int, int] = {}  # number → seq, of the feeds that were appended to
        self._position = 0
        self._epoch = b""

    # --- what an engine adds: all of it is called in turn -----------------------------------------------------------

    # Whole queries, since the engines index entries in different ways.
    of_id: ClassVar[str]  # entries by id key
    of_feed: ClassVar[str]  # entries by author, from a seq and below another, in order
    newest_seq: ClassVar[str]  # of an author
    bytes_on_disk: ClassVar[str]

    @abstractmethod
    def _execute(self, query: str, parameters: Row = ()) -> list[Row]:
        """The rows of a query with `?` for each parameter; none if it returns none."""

    @abstractmethod
    def _execute_many(self, query: str, rows: Sequence[Row]) -> None: ...

    @abstractmethod
    def _insert_entries(self, rows: Sequence[Row]) -> None: ...

    @abstractmethod
    def _transaction(self, durable: bool) -> AbstractContextManager[None]:
        """Commits, or, when left by an exception, undoes."""

    @abstractmethod
    def _explained(self) -> AbstractContextManager[None]:
        """Turns what the engine raises into LocalError."""

    @abstractmethod
    def _check_structure(self) -> Iterator[str]: ...

    @abstractmethod
    def compact(self) -> None: ...

    # --- opening ----------------------------------------------------------------------------------------------------

    def _refuse_later(self, version: int, known: int) -> None:
        if version > known:
            raise LocalError(
                "HEL-LEDGER-003",
                f"the ledger {self.name} has schema {version}, this program reads {known}",
                "Install the Heliotrope release that wrote it, or a later one.",
            )

    def _begin(self, network: bytes, is_tail_lost: bool, holder: bytes) -> None:
        """Within the opening transaction: compare the network, note who holds the store, renew the epoch if need be."""
        self._position = self._execute("SELECT coalesce(max(position), 0) FROM entry")[0][0]
        stored = self._meta("network")
        if stored is None and self._position:
            raise damaged(self.name, "meta network is missing")
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
            newest: dict[int, int] = {}
            rows: list[Row] = []
            position = self._position
            for entry in entries:
                position += 1
                number = self._authors.get(entry.author) or fresh.get(entry.author)
                if number is None:
                    number = fresh[entry.author] = len(self._authors) + len(fresh) + 1
                    newest[number] = -1
                elif number not in newest:
                    newest[number] = self._newest_seq(number)
                seq, raw, key = entry.seq, entry.raw, id_key(entry.id)
                if seq != newest[number] + 1:
                    raise ValueError(f"{entry!r} does not continue its feed: the next seq is {newest[number] + 1}")
                newest[number] = seq
                rows.append((position, number, seq, key, raw, entry_sum(position, number, seq, key, raw)))
            with self._transaction(durable):
                if fresh:
                    authors = [(number, author, row_sum(number, author)) for author, number in fresh.items()]
                    self._execute_many(AUTHOR.upsert(), authors)
                self._insert_entries(rows)
            self._authors.update(fresh)
            self._newest.update(newest)
            self._position = position

    def _newest_seq(self, author: int) -> int:
        known = self._newest.get(author)
        found: int = self._execute(self.newest_seq, (author,))[0][0] if known is None else known
        return found

    def size_bytes(self) -> int:
        found: int = self._turned(self.bytes_on_disk)[0][0]
        return found

    def page(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        rows = self._entries(AFTER, (after, limit))
        return [(position, raw) for position, _, _, _, raw, _ in rows]

    def replay(self, after: int = 0) -> Iterator[tuple[int, bytes]]:
        while rows := self.page(after, REPLAY_PAGE):
            yield from rows
            after = rows[-1][0]

    def feed(self, author: bytes, from_seq: int, limit: int) -> list[bytes]:
        number = self._authors.get(author)
        rows = self._entries(self.of_feed, (number, from_seq, from_seq + limit)) if number else []
        return [row[4] for row in rows]

    def ids(self, author: bytes, from_seq: int, limit: int) -> list[bytes]:
        return [id_of(raw) for raw in self.feed(author, from_seq, limit)]

    def entry(self, entry_id: bytes) -> bytes | None:
        found = [row[4] for row in self._entries(self.of_id, (id_key(entry_id),)) if id_of(row[4]) == entry_id]
        found += [raw for _, raw in self._rows(ASIDE, "WHERE id = ?", (entry_id,))]
        return found[0] if found else None

    def heads(self) -> list[bytes]:
        return [row[4] for row in self._entries(HEADS)]

    def _entries(self, query: str, parameters: Row = ()) -> list[Row]:
        rows = self._turned(query, parameters)
        for position, author, seq, key, raw, stored in rows:
            if entry_sum(position, author, seq, key, raw) != stored:
                raise damaged(self.name, f"entry {position} is damaged")
        return rows

    # --- forks, and what peers say ----------------------------------------------------------------------------------

    def add_fork(self, proof: ForkProof) -> None:
        row = (proof.author, proof.seq, proof.a.raw, proof.b.raw)
        self._put(FORK, row, "WHERE excluded.seq < fork.seq")

    def forks(self) -> list[ForkProof]:
        return [ForkProof(parse(a), parse(b)) for _, _, a, b in self._rows(FORK, "ORDER BY author")]

    def add_aside(self, entries: Sequence[Entry]) -> None:
        with self._turn, self._explained(), self._transaction(durable=False):
            for entry in entries:
                self._upsert(ASIDE, (entry.id, entry.raw), "WHERE false")

    def asides(self) -> list[bytes]:
        raws = [raw for _, raw in self._rows(ASIDE, "ORDER BY id")]
        return [raw for raw in raws if not self._is_in_feed(parse(raw))]

    def _is_in_feed(self, entry: Entry) -> bool:
        return self.ids(entry.author, entry.seq, 1) == [entry.id]

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
        self._drop_orphans()  # those of a saving that was interrupted
        generation = self._turned("SELECT coalesce(max(generation), 0) + 1 FROM snapshot")[0][0]
        parts = 0
        for parts, data in enumerate(chunks, start=1):
            self._put(SNAPSHOT_PART, (generation, parts, data))
        with self._turn, self._explained(), self._transaction(durable=False):
            self._execute("DELETE FROM snapshot")
            self._upsert(SNAPSHOT, (generation, position, parts))
        self._drop_orphans()

    def snapshot(self) -> tuple[int, Iterator[bytes]] | None:
        kept = self._turned(SNAPSHOT.select())
        if not kept or row_sum(*kept[0][:-1]) != kept[0][-1]:
            return None
        generation, position, parts, _ = kept[0]
        return position, self._parts(generation, parts)

    def _parts(self, generation: int, parts: int) -> Iterator[bytes]:
        for part in range(1, parts + 1):
            try:
                rows = self._rows(SNAPSHOT_PART, "WHERE generation = ? AND part = ?", (generation, part))
            except VerificationFailed:
                return
            if not rows:
                return
            yield rows[0][2]

    def _drop_orphans(self) -> None:
        """One by one: whoever wants to append waits for no more than one."""
        of_none = "SELECT generation, part FROM snapshot_part WHERE generation NOT IN (SELECT generation FROM snapshot)"
        for part in self._turned(of_none):
            with self._turn, self._explained(), self._transaction(durable=False):
                self._execute("DELETE FROM snapshot_part WHERE generation = ? AND part = ?", part)

    # --- care -------------------------------------------------------------------------------------------------------

    def check(self) -> Iterator[str]:
        for part in (self._check_structure, self._check_rows):
            try:
                yield from part()
            except VerificationFailed as damage:  # so bad that the rest cannot be read
                yield damage.cause

    def _check_rows(self) -> Iterator[str]:
        """Pages of their own turns: the node goes on meanwhile."""
        authors = {row[0] for row in self._turned(AUTHOR.select())}
        names = {row[0] for row in self._turned(META.select())}
        yield from (f"meta {name} is missing" for name in ("network", "epoch", "holder") if name not in names)
        last, newest = 0, self._position
        while rows := self._turned(AFTER, (last, REPLAY_PAGE)):
            for position, author, seq, key, raw, stored in rows:
                if position != last + 1:
                    yield f"entries {last + 1} to {position - 1} are missing"
                if entry_sum(position, author, seq, key, raw) != stored or author not in authors:
                    yield f"entry {position} is damaged"
                last = position
        if last < newest:
            yield f"entries {last + 1} to {newest} are missing"
        for table in SMALL_TABLES:
            for *values, stored in self._turned(table.select()):
                if row_sum(*values) != stored:
                    yield f"{table.describe(tuple(values))} is damaged"
        for generation, _, parts, _ in self._turned(SNAPSHOT.select()):
            whole = sum(1 for _ in self._parts(generation, parts))
            if whole < parts:
                yield f"snapshot {generation} is damaged in part {whole + 1} of {parts}"

    def close(self) -> None:
        with self._turn:
            self._opened.close()

    def _release(self) -> None:
        """Say that all is there. Where disk or server take no last word, the next opening asks what was lost."""
        with suppress(LocalError), self._explained(), self._transaction(durable=True):
            self._set_meta("holder", NOBODY)

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
        "If it is no Heliotrope ledger, choose another --home. If it is yours and damaged, move it away and start again"
        " with the same key: peers hold your entries, and the node signs nothing until they have shown them.",
    )
