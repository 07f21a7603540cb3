"""What a node writes in its life, step by step, and a process that writes it: `python -m tests.ledger.writer DIRECTORY
LIFE [OFF]`. After each step it notes in the file `steps` that the step is done, as a node would tell its peers. OFF is
a store that never syncs: a test that finds no fault with it is no test.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ledger.store import Store
from ledger.store import sqlite as module
from ledger.store.sqlite import SqliteStore
from protocol.envelope import Entry
from tests.builders import digest, feed, genesis, keypair

OWN, PEER = keypair(0), keypair(1)
STEPS = 60
WAL_PAGES = 24  # checkpoints every few steps: they are what may go wrong


@dataclass(frozen=True, slots=True)
class Step:
    """One act, and where the store stands after it."""

    act: Callable[[Store], object]
    durable: bool
    position: int
    promise: int


@cache
def entries() -> list[Entry]:
    """All that the life appends, in order: two of our own, then four of a peer."""
    own, peer = iter(feed(OWN, 2 * STEPS)), iter(feed(PEER, 4 * STEPS))
    return [next(own) if number % 6 < 2 else next(peer) for number in range(6 * STEPS)]


def life(name: str) -> Iterator[Step]:
    """`durable`: every append is. `mixed`: only those with entries of our own are."""
    position = promise = 0
    for number in range(STEPS):
        for count in (2, 4):
            durable = name == "durable" or count == 2
            batch = entries()[position : position + count]
            position += count
            yield Step(lambda s, b=batch, d=durable: s.append(b, d), durable, position, promise)  # type: ignore[misc]
        if number % 3 == 0:
            yield Step(lambda s, p=position: s.set_cursor(PEER.public, b"%d" % p), False, position, promise)  # type: ignore[misc]
        if number % 7 == 0:
            chunks = snapshot(position)
            yield Step(lambda s, p=position, c=chunks: s.save_snapshot(p, c), False, position, promise)  # type: ignore[misc]
        if number % 5 == 0:
            promise += 1
            yield Step(
                lambda s, n=promise: s.advance_cosigned("origin", n - 1, n, digest(f"root {n}")),  # type: ignore[misc]
                True,
                position,
                promise,
            )


def snapshot(position: int) -> list[bytes]:
    """The chunks of the snapshot at a position."""
    return [digest(f"{position} {part}") * 40 for part in range(3)]


def main(directory: str, name: str, sync: str = "") -> None:
    module.WAL_PAGES = WAL_PAGES
    store = SqliteStore(Path(directory) / "ledger.db", genesis().network_id())
    if sync == "OFF":
        store._execute("PRAGMA synchronous=OFF")
        execute = store._execute
        store._execute = lambda query, *p: [] if "synchronous" in query else execute(query, *p)  # type: ignore[method-assign]
    steps = os.open(Path(directory) / "steps", os.O_WRONLY | os.O_CREAT)
    for step in life(name):
        step.act(store)
        os.write(steps, b".")
    os._exit(0)  # and no last word


if __name__ == "__main__":
    main(*sys.argv[1:])
