"""Where entries rest. The only I/O below `node/`.

__init__   the promises · schema   the tables, and how older ones become them
sql        how the promises are kept, in the SQL that both engines speak
sqlite     one file          postgres   one database          rows   what a row is checked by
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ledger.feed import ForkProof
from protocol.envelope import Entry
from protocol.errors import LocalError


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed note as it came, and what it says: the feed's first `size` entries. `final`: cosigned by a quorum."""

    author: bytes
    size: int
    note: str
    final: bool


class Store(Protocol):
    """What every store promises, and `tests/ledger/test_store.py` asks of each.

    **Durable.** What a method wrote survives the death of the process (kill -9) once the method has returned. It
    survives a power cut too if it was written with `durable=True`, or before something that was; `advance_cosigned` is
    always durable. A power cut takes the newest writes, in order: what is left is what stood there at some moment, so
    a cursor or a snapshot never speaks of an entry that is not there.

    **All or nothing.** A method that raises has written nothing, but where the connection to a database was lost:
    then only opening again tells. A full disk leaves the store usable.

    **Whole.** What a read returns is what was written. A row that was damaged on the disk raises VerificationFailed,
    which names it.

    **One process.** Opening a store that another process holds raises LocalError. Within the process any thread may
    call anything; a call waits for the one before it, and none sees an entry before it has its durability.

    Everything may raise LocalError: the disk, the file or the database fails.
    """

    @property
    def epoch(self) -> bytes:
        """Sixteen random bytes that name this run of positions. A copy restored from a backup has them too; a store
        that may have lost its tail has new ones: its positions might be given again to other entries."""
        ...

    @property
    def position(self) -> int:
        """Of the newest entry; 0 if there is none. Positions count from 1, without gaps, in the order of `append`."""
        ...

    def append(self, entries: Sequence[Entry], durable: bool) -> None:
        """Store entries that continue their feeds. Whoever signed one of them needs `durable`: a node that lost its own
        tail would sign a seq twice. Raises ValueError for one that is not the next of its feed."""
        ...

    def page(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """(position, raw) of entries behind a position, in order, at most `limit`."""
        ...

    def replay(self, after: int = 0) -> Iterator[tuple[int, bytes]]:
        """All pages behind a position, with what is appended meanwhile."""
        ...

    def feed(self, author: bytes, from_seq: int, limit: int) -> list[bytes]:
        """Raw entries of one feed from a seq on, in order, at most `limit`."""
        ...

    def ids(self, author: bytes, from_seq: int, limit: int) -> list[bytes]:
        """The ids of what `feed` returns."""
        ...

    def entry(self, entry_id: bytes) -> bytes | None:
        """The raw entry of this id, in a feed or aside."""
        ...

    def heads(self) -> list[bytes]:
        """The raw newest entry of every feed, in no order."""
        ...

    def add_fork(self, proof: ForkProof) -> None:
        """Keep, for each author, the proof that conflicts at the lowest seq; of several the first."""
        ...

    def forks(self) -> list[ForkProof]: ...

    def add_aside(self, entries: Sequence[Entry]) -> None:
        """Keep entries that stand in no feed here: those of a fork's other branch. Known ones may come again."""
        ...

    def asides(self) -> list[bytes]:
        """Raw entries kept aside, in the order of their ids; without those that came to stand in their feed since."""
        ...

    def set_checkpoint(self, author: bytes, size: int, note: str, final: bool = False) -> None:
        """Keep, for each author, the largest checkpoint and the largest final one; of equal size the last."""
        ...

    def checkpoints(self) -> list[Checkpoint]: ...

    def set_cursor(self, peer: bytes, cursor: bytes) -> None:
        """Remember how far a peer's store has been read."""
        ...

    def cursors(self) -> dict[bytes, bytes]: ...

    def cosigned(self, origin: str) -> tuple[int, bytes] | None:
        """(size, root) that this witness last cosigned for an origin."""
        ...

    def advance_cosigned(self, origin: str, old_size: int, size: int, root: bytes) -> bool:
        """Promise never to cosign below `size` again, durably, if the last promise was `old_size` (0: none). False if
        it was another, or if this one would go back or change the root of the same size; nothing is written then."""
        ...

    def save_snapshot(self, position: int, chunks: Iterable[bytes]) -> None:
        """Replace the snapshot, at once and only when all chunks (about a MiB each) are there; others may append
        meanwhile. A cache: losing it costs a replay. Raises ValueError if `position` is not reached yet."""
        ...

    def snapshot(self) -> tuple[int, Iterator[bytes]] | None:
        """The position and the chunks of the snapshot. They end early where one is damaged, or another snapshot
        replaces it: whoever wrote it must be able to tell. None if there is no snapshot that can be read."""
        ...

    def check(self) -> Iterator[str]:
        """Read everything; say of each damage where it is. Signatures are not verified: a row that was changed by
        hand, its checksum with it, is found by whoever verifies them."""
        ...

    def size_bytes(self) -> int:
        """What it takes on the disk, what is to be given back included."""
        ...

    def compact(self) -> None:
        """Give back the space of what was replaced. Takes as much space again, and holds everybody up meanwhile."""
        ...

    def close(self) -> None:
        """What was written is durable then. May be called again."""
        ...


def open_store(path: Path, network: bytes, dsn: str | None = None) -> Store:
    """The store in the database that `dsn` names, else in the file. Raises LocalError."""
    if dsn is None:
        from ledger.store.sqlite import SqliteStore

        return SqliteStore(path, network)
    try:
        from ledger.store.postgres import PostgresStore
    except ImportError as error:
        raise LocalError(
            "HEL-STORE-005",
            f"the ledger is to rest in PostgreSQL, and its driver is not there: {error}",
            "Install Heliotrope with the extra `postgres`.",
        ) from None
    return PostgresStore(dsn, network)
