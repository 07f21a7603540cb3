"""Where entries rest. The only I/O below `node/`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from ledger.feed import ForkProof
from protocol.envelope import Entry


class Store(Protocol):
    """What every store promises.

    - `append` returns once the entries are durable: a power cut afterwards loses none of them. It stores all of them,
      or, when it raises, none.
    - `replay` gives the raw entries in the order of `append`.
    - No reader on another thread sees an entry before it is durable: nothing is said that a crash can forget.
    - One process writes at a time; opening a store that another process holds raises LocalError.
    """

    def append(self, entries: Sequence[Entry]) -> None: ...

    def replay(self) -> Iterator[bytes]: ...

    def feed(self, author: bytes, from_seq: int, limit: int) -> list[bytes]:
        """Raw entries of one feed from a seq on, in order, at most `limit`."""
        ...

    def entry(self, entry_id: bytes) -> bytes | None: ...

    def page(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """(position, raw) of entries behind a position, in the order of `append`."""
        ...

    def add_fork(self, proof: ForkProof) -> None:
        """Keep the proof, the first for each author. Entries of the author must have been stored before."""
        ...

    def forks(self) -> list[ForkProof]: ...

    def close(self) -> None: ...
