"""A snapshot of the fold: what follows from the first so many stored entries, so that a start need not fold them anew.

It is a cache. Whatever is wrong with it, a replay of the entries gives the same ledger, only later; so everything here
that does not fit raises Unusable, and nobody has lost anything.

    chunk = SHA-256(the last chunk's hash ‖ payload) ‖ payload        payload = msgpack of [section, rows]

The sections in order: `header`, `ids` (of all entries, in the order of acceptance), `feeds` (head, Merkle tree),
`waiting`, how many records there are of each class, the records, the tables of the State, `end`. A record is named by
its number within its class, an entry's id by its position, an author by a negative number.
"""

from __future__ import annotations

import enum
import gc
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, islice
from typing import Any, Literal, get_origin

import ormsgpack

from ledger.checkpoint import parse_note
from ledger.ledger import Final, Ledger, extend_stored, replay
from ledger.merkle import CompactRange
from ledger.rows import Translate, hints_of, is_body, is_record, record_classes, same, translation
from ledger.state import State
from ledger.store import Store
from ledger.transitions import RULES
from protocol.envelope import Entry, parse
from protocol.errors import Ignore, Reject
from protocol.genesis import Genesis

FORMAT = 1
ROWS_PER_CHUNK = 8192
DIGEST_BYTES = 32


class Unusable(Exception):
    """The snapshot is damaged, of another program, or not of these entries: fold them anew."""


def layout() -> bytes:
    """Stands for the classes that a snapshot holds: another layout, another name."""
    described = [(c.__name__, {n: str(h) for n, h in hints_of(c).items()}) for c in (State, *record_classes())]
    return sha256(repr((FORMAT, RULES, described)).encode()).digest()


# --- writing ------------------------------------------------------------------------------------------------------


def write(ledger: Ledger) -> Iterator[bytes]:
    """The chunks of a snapshot of this ledger, which must not be stale."""
    digest = bytes(DIGEST_BYTES)
    for section, rows in _sections(ledger):
        payload = ormsgpack.packb((section, rows))
        digest = sha256(digest + payload).digest()
        yield digest + payload


def _sections(ledger: Ledger) -> Iterator[tuple[str, list[Any]]]:
    authors = {author: -number for number, author in enumerate(ledger.heads, start=1)}
    classes = record_classes()
    numbers: dict[type, dict[int, int]] = {c: {} for c in classes}  # id of the object → its number
    records: dict[type, list[Any]] = {c: [] for c in classes}

    def number(record: Any) -> int:
        of_class = numbers[type(record)]
        known = of_class.get(id(record))
        if known is None:
            known = of_class[id(record)] = len(of_class)
            records[type(record)].append(record)
        return known

    def name(value: bytes) -> int | bytes:
        return ledger.positions.get(value) or authors.get(value) or value

    def leaf(hint: Any) -> Translate | None:
        if hint is bytes:
            return name
        if is_record(hint):
            return number
        if is_body(hint):
            return lambda body: body.model_dump()
        return None

    def rows_of(record: type) -> Translate:
        plan = [(n, translation(h, leaf, reading=False) or same) for n, h in hints_of(record).items()]
        return lambda value: [out(getattr(value, n)) for n, out in plan]

    yield "header", [layout(), ledger.network, ledger.count]
    yield from _chunked("ids", (entry_id for entry_id in ledger.positions))
    feeds = ((name(h.id), (tree := ledger.trees[a]).size, tree.hashes) for a, h in ledger.heads.items())
    yield from _chunked("feeds", feeds)
    yield from _chunked("waiting", (name(entry.id) for entry in ledger.waiting()))
    tables = list(_chunked_tables(ledger.state, leaf))
    written = dict.fromkeys(classes, 0)
    bodies: list[tuple[str, list[Any]]] = []
    while any(written[c] < len(records[c]) for c in classes):  # what a record names may be met for the first time
        for c in classes:
            fresh = records[c][written[c] :]
            written[c] += len(fresh)
            bodies += _chunked(c.__name__, map(rows_of(c), fresh))
    yield "records", [[c.__name__, written[c]] for c in classes]
    yield from bodies
    yield from tables
    yield "end", []


def _chunked_tables(state: State, leaf: Callable[[Any], Translate | None]) -> Iterator[tuple[str, list[Any]]]:
    for name, hint in hints_of(State).items():
        out = translation(hint, leaf, reading=False)
        value = getattr(state, name)
        rows = [value] if out is None else out(value)
        yield from _chunked(f"State.{name}", rows)


def _chunked(section: str, rows: Iterable[Any]) -> Iterator[tuple[str, list[Any]]]:
    ahead = iter(rows)
    while some := list(islice(ahead, ROWS_PER_CHUNK)):
        yield section, some


# --- reading ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Reading:
    """What has been read so far."""

    ids: list[bytes]
    authors: list[bytes]
    records: dict[type, list[Any]]

    def name(self, value: int | bytes) -> bytes:
        if type(value) is not int:
            return value  # type: ignore[return-value]
        return self.ids[value - 1] if value > 0 else self.authors[-value - 1]

    def leaf(self, hint: Any) -> Translate | None:
        if hint is bytes:
            return self.name
        if is_record(hint):
            return self.records[hint].__getitem__
        if is_body(hint):
            return lambda value: hint.model_validate(value, strict=False)  # arrays come back as lists
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return hint
        return sys.intern if hint is str or get_origin(hint) is Literal else None


def read(genesis: Genesis, chunks: Iterable[bytes], raw_at: Callable[[int], bytes]) -> Ledger:
    """The ledger that was written; `raw_at` gives the stored entry at a position. Raises Unusable."""
    sections = _checked(chunks)
    ledger = Ledger(genesis)
    _, header = next(sections)
    if header[:2] != [layout(), ledger.network]:
        raise Unusable("another program, or another network, wrote it")
    rows: dict[str, list[Any]] = {"ids": [], "feeds": [], "waiting": []}
    section = ""
    for section, some in sections:
        if section == "records":
            break
        rows[section] += some
    if len(rows["ids"]) != header[2]:
        raise Unusable(f"it names {len(rows['ids'])} of {header[2]} entries")
    heads = [(_entry_at(rows["ids"], position, raw_at), CompactRange(size, h)) for position, size, h in rows["feeds"]]
    if any(tree.size != head.seq + 1 for head, tree in heads):
        raise Unusable("a feed's tree is not of its size")
    classes = {c.__name__: c for c in record_classes()}
    reading = _Reading(rows["ids"], [head.author for head, _ in heads], {c: [] for c in classes.values()})
    for name, count in some:
        reading.records[classes[name]] = _blank(classes[name], count)
    _fill(ledger.state, sections, classes, reading)
    waiting = [_entry_at(rows["ids"], position, raw_at) for position in rows["waiting"]]
    ledger.resume(heads, rows["ids"], waiting)
    return ledger


def _blank(record: type, count: int) -> list[Any]:
    """Records to be filled: they name each other, in circles too."""
    return [object.__new__(record) for _ in range(count)]


def _fill(state: State, sections: Iterator[tuple[str, list[Any]]], classes: dict[str, type], known: _Reading) -> None:
    filled = dict.fromkeys(classes, 0)
    tables: dict[str, list[Any]] = {}
    setters = {name: _setter(c, known) for name, c in classes.items()}
    for section, rows in sections:
        if section in classes:
            start = filled[section]
            filled[section] += len(rows)
            setters[section](known.records[classes[section]][start : start + len(rows)], rows)
        elif section != "end":
            tables.setdefault(section.removeprefix("State."), []).append(rows)
    for name, hint in hints_of(State).items():
        into = translation(hint, known.leaf, reading=True)
        rows = chain.from_iterable(tables.get(name, []))  # type: ignore[assignment]
        setattr(state, name, next(iter(rows)) if into is None else into(rows))


def _setter(record: type, known: _Reading) -> Callable[[list[Any], list[Any]], None]:
    """Fills blank records from rows, column by column: a slot's own descriptor is the fastest way into it."""
    columns = [
        (getattr(record, name).__set__, translation(hint, known.leaf, reading=True))
        for name, hint in hints_of(record).items()
    ]

    def fill(blanks: list[Any], rows: list[Any]) -> None:
        for (put, into), column in zip(columns, zip(*rows, strict=True), strict=True):
            for blank, value in zip(blanks, column if into is None else map(into, column), strict=True):
                put(blank, value)

    return fill


def _checked(chunks: Iterable[bytes]) -> Iterator[tuple[str, list[Any]]]:
    """The sections, each after its hash has been checked."""
    digest = bytes(DIGEST_BYTES)
    section = ""
    for raw in chunks:
        payload = raw[DIGEST_BYTES:]
        digest = sha256(digest + payload).digest()
        if digest != raw[:DIGEST_BYTES]:
            raise Unusable("a hash does not fit")
        section, rows = ormsgpack.unpackb(payload)
        yield section, rows
    if section != "end":
        raise Unusable("it is cut off")


def _entry_at(ids: list[bytes], position: int, raw_at: Callable[[int], bytes]) -> Entry:
    """The stored entry at a position, whose id must be the one that the snapshot speaks of."""
    try:
        entry = parse(raw_at(position))
    except (Reject, LookupError) as fault:
        raise Unusable(f"entry {position} is not stored as it was: {fault}") from None
    if entry.id != ids[position - 1]:
        raise Unusable(f"entry {position} is another than the one it was made from")
    return entry


# --- from and to a store ------------------------------------------------------------------------------------------


def load(genesis: Genesis, store: Store) -> Ledger:
    """The ledger of a store: from its snapshot and what came after, or from all of its entries.

    Raises LocalError where the store holds what no ledger can have accepted.
    """
    was_enabled = gc.isenabled()
    gc.disable()  # it would look through millions of fresh records again and again, and free none
    try:
        return _from_snapshot(genesis, store) or fold(genesis, store)
    finally:
        if was_enabled:
            gc.enable()


def fold(genesis: Genesis, store: Store) -> Ledger:
    """The ledger of all stored entries, its snapshot left alone. Raises LocalError as `load`."""
    forks = store.forks()
    raws = (raw for _, raw in store.replay())
    return replay(genesis, raws, forks, store.asides(), _finals(store))


def save(ledger: Ledger, store: Store) -> None:
    """Keep a snapshot of this ledger for the next `load`: unless it is stale, or the store lacks some of its entries,
    after a commit that failed."""
    if not ledger.stale and ledger.count == store.position:
        store.save_snapshot(ledger.count, write(ledger))


def _from_snapshot(genesis: Genesis, store: Store) -> Ledger | None:
    found = store.snapshot()
    if found is None:
        return None
    position, chunks = found
    try:
        ledger = read(genesis, chunks, lambda at: _stored_at(store, at))
        if ledger.count != position or position > store.position:
            raise Unusable(f"it speaks of {ledger.count} entries, {store.position} are stored")
        if ledger.state.aside != {parse(raw).id for raw in store.asides()}:
            raise Unusable("entries were put aside since")
        _check_roots(ledger, store)
        _know_forks(ledger, store)
        extend_stored(ledger, (parse(raw) for _, raw in store.replay(position)))
    except (Unusable, Reject, Ignore):
        return None  # costs a fold, which says what is wrong with the entries, if anything is
    return ledger


def _check_roots(ledger: Ledger, store: Store) -> None:
    """Hold the trees against the checkpoints that their authors have signed. Raises Unusable."""
    for stored in store.checkpoints():
        tree = ledger.trees.get(stored.author)
        if tree is None or tree.size != stored.size:
            continue
        if parse_note(stored.note.encode()).checkpoint.root != tree.root():
            raise Unusable(f"the tree of {stored.author.hex()[:8]} is not the one that was signed")


def _know_forks(ledger: Ledger, store: Store) -> None:
    """Raises Unusable if the state was folded with other forks, or when other entries were final."""
    folded_with = dict(ledger.state.frozen_from)
    forks = store.forks()
    ledger.finals.update(_finals(store))
    for proof in forks:
        ledger.freeze(proof)
    if ledger.state.frozen_from != folded_with:
        raise Unusable("a fork came to be known since, or more of a forked feed is final")
    ledger.stale = False


def _finals(store: Store) -> dict[bytes, Final]:
    """What is final of each feed. Checkpoints are stored once they were held against the feed."""
    found = {}
    for stored in store.checkpoints():
        last = store.ids(stored.author, stored.size - 1, 1) if stored.final else []
        if last:
            found[stored.author] = Final(stored.size, last[0])
    return found


def _stored_at(store: Store, position: int) -> bytes:
    page = store.page(position - 1, 1)
    if not page:
        raise LookupError("there is none")
    return page[0][1]
