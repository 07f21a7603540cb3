"""Checkpoints as parts of an archive: with the lines only that anybody can check who has the genesis."""

from __future__ import annotations

from collections.abc import Iterator

from ledger.checkpoint import Note, cosigners, open_note, trim
from ledger.merkle import CompactRange
from ledger.store import Store
from protocol.genesis import Genesis

IDS_PER_PAGE = 1024


def known_lines(note: Note, author: bytes, genesis: Genesis) -> Note:
    """The note without lines of keys that are neither the author's nor a witness's. Raises Reject where a witness's is
    false."""
    cosigners(note, genesis.network_id(), genesis.witnesses)
    return trim(note, genesis.network_id(), author, genesis.witnesses)


def notes_of_store(store: Store, genesis: Genesis) -> list[bytes]:
    """By author and size: the stored checkpoints that speak of the stored entries. Another would make the archive
    contradict itself."""
    found: dict[tuple[bytes, int], bytes] = {}
    for kept in sorted(store.checkpoints(), key=lambda each: (each.author, each.size, each.final)):
        note, author = open_note(kept.note.encode(), genesis.network_id())
        size = note.checkpoint.size
        if size and root_of_feed(store, author, size) == note.checkpoint.root:
            found[author, size] = known_lines(note, author, genesis).encoded()
    return list(found.values())


def ids_of(store: Store, author: bytes, size: int) -> Iterator[bytes]:
    """The ids of a feed's first `size` entries, or of all that there are."""
    seq = 0
    while seq < size and (page := store.ids(author, seq, min(IDS_PER_PAGE, size - seq))):
        yield from page
        seq += len(page)


def root_of_feed(store: Store, author: bytes, size: int) -> bytes | None:
    """The root of a feed's first `size` entries; None if there are not as many."""
    tree = CompactRange().extend(ids_of(store, author, size))
    return tree.root() if tree.size == size else None
