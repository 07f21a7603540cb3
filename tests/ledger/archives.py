"""An archive that holds some of everything: a fork, an entry kept aside, checkpoints, recorded matchings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ledger.archive import Kind, frames
from ledger.archive.write import parts_of_store
from ledger.checkpoint import cosign, sign
from ledger.feed import prove_fork
from ledger.ledger import Ledger, replay
from ledger.merkle import root_of
from ledger.store.sqlite import SqliteStore
from protocol.envelope import Entry, seal
from tests.builders import History, keypair
from tests.matched import matched

EXPORTER = keypair(9)
CHEAT = keypair(3)
WITNESSES = [keypair(n) for n in range(10, 14)]
TIME_S = 1_800_000_000


@dataclass(frozen=True)
class Full:
    """A store and its archive. `matchings`: records by hash; `honest`: the author that refers to the cheat's lie."""

    history: History
    store: SqliteStore
    ledger: Ledger
    matchings: dict[bytes, bytes]
    aside: Entry
    raw: bytes
    counts: dict[Kind, int]


def forked(history: History, cheat: Any = CHEAT) -> tuple[Entry, Entry]:
    """The cheat's next entry, and another in its place; neither is in the history yet."""
    head = history.ledger.heads[cheat.public]
    fields: dict[str, Any] = {
        "network": history.ledger.network,
        "seq": head.seq + 1,
        "prev": head.id,
        "time_ms": history.now_ms,
        "refs": (),
        "body": {},
    }
    return seal(cheat, kind="note", **fields), seal(cheat, kind="lie", **fields)


def full_archive() -> Full:
    scene = matched(witnesses=tuple(w.public for w in WITNESSES))
    history, matchings = scene.history, scene.records
    told, lie = forked(history)
    history.ledger.extend(told, history.now_ms)
    history.entries.append(told)
    history.ledger.freeze(prove_fork(told, lie))
    honest = keypair(1)
    entry, _ = history.ledger.append(honest, "note", {}, (lie.id,), history.now_ms)
    history.entries.append(entry)
    history.ledger.put_aside(lie)
    store = SqliteStore(":memory:", history.ledger.network)
    store.append(history.entries, durable=False)
    store.add_fork(history.ledger.forks[CHEAT.public])
    store.add_aside([lie])
    for author, sizes in ((keypair(0), (2, 5)), (honest, (3, 3))):
        _add_checkpoints(history, store, author, *sizes)
    parts = parts_of_store(store, history.ledger.genesis, EXPORTER, history.now_ms, matchings.get)
    ledger = replay(
        history.ledger.genesis, (raw for _, raw in store.replay()), history.ledger.forks.values(), store.asides()
    )
    counts = {Kind.FORK: 1, Kind.ASIDE: 1, Kind.CHECKPOINT: 3, Kind.ENTRY: len(history.entries), Kind.MATCHING: 2}
    return Full(history, store, ledger, matchings, lie, b"".join(frames.write(parts)), counts)


def _add_checkpoints(history: History, store: SqliteStore, author: Any, final_size: int, size: int) -> None:
    ids = [entry.id for entry in history.entries if entry.author == author.public]
    network = history.ledger.network
    newest = sign(author, network, size, root_of(ids[:size]))
    final = sign(author, network, final_size, root_of(ids[:final_size]))
    lines = (cosign(witness, network, final.checkpoint, TIME_S) for witness in WITNESSES[:3])
    store.set_checkpoint(author.public, size, newest.encoded().decode())
    store.set_checkpoint(author.public, final_size, final.with_lines(*lines).encoded().decode(), final=True)
