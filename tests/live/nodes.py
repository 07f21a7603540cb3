"""Nodes as processes for tests: a small devnet in a folder, ended with the test however it ends."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from node.client import Client
from node.devnet.network import Member, Processes, make

SEED = 7


@contextmanager
def devnet(
    directory: Path, count: int, witnesses: int = 0, auditors: int = 0
) -> Iterator[tuple[list[Member], Processes]]:
    """`count` running nodes, and so many witnesses and auditors after them, that have all met."""
    members = make(directory, count, SEED, witnesses, auditors)
    processes = Processes(members, owned=True)
    processes.start()
    try:
        for member in members:
            eventually(partial(has_peers, Client.of_home(member.home), len(members) - 1))
        yield members, processes
    finally:
        processes.stop()


def has_peers(client: Client, count: int) -> bool:
    """Whether a node is connected to this many others."""
    return bool(client.node()["peers_connected"] == count)


def eventually(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    """Return once the condition holds; fail the test if it does not in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"did not hold within {timeout_s} s"
        time.sleep(0.05)


def processes_naming(text: str) -> list[int]:
    """Processes, other than this one, with a text in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if text.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
