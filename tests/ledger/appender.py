"""Processes that sign and store until they are killed: `python -m tests.ledger.appender SOCKET`, a file descriptor.

For each ledger's path and pipe that come through the socket a child is forked, which starts at once, all being loaded
already. It writes `<seq> <id>` to the pipe once an entry is stored, as a node would say it to its peers.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import sys

from ledger.ledger import replay
from ledger.store.sqlite import SqliteStore
from tests.builders import NOW_MS, genesis, keypair

OWN, PEER = keypair(0), keypair(1)
MESSAGE_MAX_BYTES = 4096


def append_for_ever(path: str, pipe: int) -> None:
    """Batches of both authors, durable where one of ours is in them."""
    chance = random.Random(path)
    store = SqliteStore(path, genesis().network_id())
    ledger = replay(genesis(), (raw for _, raw in store.replay()), store.forks())
    while True:
        authors = [chance.choice((OWN, PEER, PEER)) for _ in range(chance.randint(1, 6))]
        batch = [ledger.append(author, "note", {"filler": bytes(200)}, (), NOW_MS)[0] for author in authors]
        store.append(batch, durable=OWN in authors)
        store.set_cursor(PEER.public, b"%d" % store.position)
        said = [f"{entry.seq} {entry.id.hex()}\n" for entry in batch if entry.author == OWN.public]
        os.write(pipe, "".join([*said, f"position {store.position}\n"]).encode())


def main(connection: socket.socket) -> None:
    while True:
        message, pipes, _, _ = socket.recv_fds(connection, MESSAGE_MAX_BYTES, 1)
        if not message:
            return
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            append_for_ever(message.decode(), pipes[0])
        os.close(pipes[0])
        connection.send(b"%d" % child)
        os.waitpid(child, 0)
        connection.send(b"gone")


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
