"""A process that signs and stores until it is killed: `python -m tests.ledger.appender LEDGER`.

Says `<seq> <id>` on its output once an entry is durable, as a node would say it to its peers.
"""

from __future__ import annotations

import sys

from ledger.ledger import replay
from ledger.store.sqlite import SqliteStore
from tests.builders import NOW_MS, genesis, keypair

BATCH = 3


def main(path: str) -> None:
    store = SqliteStore(path, genesis().network_id())
    ledger = replay(genesis(), (raw for _, raw in store.replay()))
    while True:
        batch = [ledger.append(keypair(0), "note", {"filler": bytes(200)}, (), NOW_MS)[0] for _ in range(BATCH)]
        store.append(batch, durable=True)
        for entry in batch:
            print(entry.seq, entry.id.hex(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
