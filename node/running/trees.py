"""Merkle trees of feeds as they are stored: what answers `ReadTree`. Blocks while it reads; any thread may ask."""

from __future__ import annotations

from collections.abc import Callable

from ledger.merkle import CompactRange, consistency_proof
from node.actions import ReadTree
from node.events import TreeRead

TREES_MAX = 4096  # kept where they were last asked for, so that a feed is read from there on and not from its beginning
IDS_PER_READ = 4096


class Trees:
    def __init__(self, ids: Callable[[bytes, int, int], list[bytes]]) -> None:
        """`ids(author, from_seq, limit)`: as `Store.ids`."""
        self._ids = ids
        self._kept: dict[bytes, CompactRange] = {}  # never changed once they are in here, only replaced

    def read(self, wanted: ReadTree) -> TreeRead | None:
        """None where the store holds less of the feed than was asked for."""
        author, size = wanted.author, wanted.size
        proofs: dict[int, tuple[bytes, ...]] = {}
        for old_size in wanted.old_sizes:
            if old_size <= size:
                old = self._at(author, old_size)
                added = None if old is None else self._between(author, old_size, size) if old_size else []
                if old is None or added is None:
                    return None
                proofs[old_size] = tuple(consistency_proof(old, added))
        tree = self._at(author, size)
        last = self._ids(author, size - 1, 1) if size else []
        if tree is None or not last:
            return None
        if len(self._kept) >= TREES_MAX:
            self._kept.clear()  # costs reading their feeds once more
        self._kept[author] = tree
        return TreeRead(author, size, tree.root(), last[0], proofs)

    def _at(self, author: bytes, size: int) -> CompactRange | None:
        kept = self._kept.get(author)
        tree = kept.copy() if kept is not None and kept.size <= size else CompactRange()
        added = self._between(author, tree.size, size)
        return None if added is None else tree.extend(added)

    def _between(self, author: bytes, start: int, end: int) -> list[bytes] | None:
        found: list[bytes] = []
        while start + len(found) < end:
            ids = self._ids(author, start + len(found), min(IDS_PER_READ, end - start - len(found)))
            if not ids:
                return None
            found += ids
        return found
