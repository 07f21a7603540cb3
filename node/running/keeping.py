"""What the runtime keeps for the core: one commit of entries, and small files for the next start."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ledger.feed import ForkProof
from ledger.store import Store
from node.actions import KeepRules, Lasting, Persist, PersistAside, PersistCheckpoint, PersistCursor, RememberPeers
from node.home.home import Home
from node.home.lasting import keep_rules
from node.home.secret import write_private


def keep(store: Store, actions: Sequence[Lasting], proofs: Sequence[ForkProof], own_key: bytes) -> bool:
    """Make durable what the turns of a batch ask to keep; `proofs` are those of its forks. Whether any of it was signed
    by `own_key`. Raises whatever the store raises.

    Entries come first: a cursor or a checkpoint speaks of them.
    """
    entries = [entry for action in actions if isinstance(action, Persist) for entry in action.entries]
    # Peers hold their own; of ours a power cut must lose none, or we would sign a seq twice.
    is_ours = any(entry.author == own_key for entry in entries)
    if entries:
        store.append(entries, durable=is_ours)
    for proof in proofs:
        store.add_fork(proof)
    for action in actions:
        if isinstance(action, PersistAside):
            store.add_aside(action.entries)
        elif isinstance(action, PersistCursor):
            store.set_cursor(action.peer, action.cursor)
        elif isinstance(action, PersistCheckpoint):
            store.set_checkpoint(action.author, action.size, action.note.decode(), action.is_final)
    return is_ours


def remember(home: Home, action: RememberPeers | KeepRules) -> None:
    """Keep for the next start what no ledger holds. Raises OSError."""
    match action:
        case RememberPeers(addresses):
            write_private(home.peers_path, json.dumps(addresses))
        case KeepRules(rules):
            keep_rules(home, rules)
