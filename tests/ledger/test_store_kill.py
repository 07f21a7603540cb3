"""Kill -9 in a loop, while a process signs and stores."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TextIO

import pytest

from ledger.ledger import replay
from ledger.store.sqlite import SqliteStore
from protocol.envelope import parse
from protocol.errors import LocalError
from tests.builders import genesis

from .appender import MESSAGE_MAX_BYTES, OWN, PEER

ROUNDS = 60
NETWORK = genesis().network_id()


class Appenders:
    """One process at a time that appends to a ledger until it is killed."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def run(self, path: Path) -> tuple[int, TextIO]:
        """The process, and what it says, line by line, the last perhaps cut off."""
        reading, writing = os.pipe()
        socket.send_fds(self._connection, [str(path).encode()], [writing])
        os.close(writing)
        return int(self._connection.recv(MESSAGE_MAX_BYTES)), os.fdopen(reading)

    def kill(self, process: int) -> None:
        os.kill(process, signal.SIGKILL)
        assert self._connection.recv(MESSAGE_MAX_BYTES) == b"gone"


@pytest.fixture
def appenders() -> Iterator[Appenders]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "tests.ledger.appender", str(theirs.fileno())]
    root = Path(__file__).resolve().parents[2]
    with ours, subprocess.Popen(command, cwd=root, pass_fds=[theirs.fileno()]) as parent:
        theirs.close()
        yield Appenders(ours)
        ours.close()
        assert parent.wait() == 0


def test_kills_lose_no_entry_that_was_said_and_reuse_no_seq(
    appenders: Appenders, tmp_path: Path, chance: random.Random
) -> None:
    path = tmp_path / "ledger.db"
    said: dict[int, str] = {}
    position, epochs = 0, set()
    for _ in range(ROUNDS):
        process, lines = appenders.run(path)
        with lines:
            heard = [lines.readline() for _ in range(chance.randint(1, 40))]
            appenders.kill(process)
            heard += lines
        for line in heard:
            if line.endswith("\n"):
                name, value = line.split()
                if name == "position":
                    assert int(value) > position
                    position = int(value)
                else:
                    assert said.setdefault(int(name), value) == value, f"seq {name} was signed twice"
        with closing(SqliteStore(path, NETWORK)) as store:
            ledger = replay(genesis(), (raw for _, raw in store.replay()), store.forks())
            ids = [parse(raw).id.hex() for raw in store.feed(OWN.public, 0, 10**6)]
            assert ledger.count == store.position >= position
            assert int(store.cursors()[PEER.public]) <= store.position
            position = store.position
            epochs.add(store.epoch)
        assert all(ids[seq] == entry_id for seq, entry_id in said.items())
    assert len(said) > ROUNDS
    assert len(epochs) == 1  # nothing was lost, so what peers know of our positions holds
    with closing(SqliteStore(path, NETWORK)) as store:
        assert list(store.check()) == []


def test_a_living_process_is_not_disturbed_and_a_killed_one_holds_nothing(appenders: Appenders, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    process, lines = appenders.run(path)
    with lines:
        lines.readline()
        with pytest.raises(LocalError) as failure:
            SqliteStore(path, NETWORK)
        assert failure.value.code == "HEL-LEDGER-005"
        appenders.kill(process)
    SqliteStore(path, NETWORK).close()
