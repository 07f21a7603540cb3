"""What the turns of a batch ask to keep, written into the store before anything of them is said. Blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ledger.feed import ForkProof
from ledger.store import Store
from node.actions import Action, Persist, PersistCheckpoint, PersistFork

Kept = Persist | PersistFork | PersistCheckpoint


def kept_of(actions: Sequence[Action]) -> list[Kept]:
    return [action for action in actions if isinstance(action, Kept)]


def keep(store: Store, key: bytes, forks: Mapping[bytes, ForkProof], kept: Sequence[Kept]) -> None:
    """Entries first, in one transaction: whatever else is kept speaks of entries that are there. `key` is our own."""
    entries = [entry for action in kept if isinstance(action, Persist) for entry in action.entries]
    if entries:
        # Peers hold their own; of ours a power cut must lose none, or we would sign a seq twice.
        store.append(entries, durable=any(entry.author == key for entry in entries))
    for action in kept:
        match action:
            case PersistFork(author):
                store.add_fork(forks[author])
            case PersistCheckpoint(author, size, note, is_final):
                store.set_checkpoint(author, size, note.decode(), is_final)
            case Persist():
                pass
