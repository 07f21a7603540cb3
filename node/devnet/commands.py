"""`heliotrope devnet up` and `devnet down`: a devnet that outlives the command."""

from __future__ import annotations

import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from node.devnet.network import POLL_S, STOP_TIMEOUT_S, Processes, make, running_pid
from protocol.errors import LocalError


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table that `devnet up` prints."""

    name: str
    peer: str
    api: str
    zone: str
    carrier: str
    device: str
    home: str


def up(directory: Path, count: int, seed: int) -> list[Row]:
    """Start `count` nodes in `directory` and return once every API answers; they run until `down`.

    Raises LocalError if a devnet is there already, or a node does not start: then none is left running.
    """
    if directory.exists() and any(directory.iterdir()):
        raise LocalError(
            "HEL-DEVNET-003",
            f"{directory} holds a devnet, or other files, already",
            "Stop and remove it with: heliotrope devnet down, or choose another --directory.",
        )
    members = make(directory, count, seed)
    Processes(members, owned=False).start()
    return [
        Row(
            m.site.name,
            m.peer,
            f"http://127.0.0.1:{m.api_port}",
            m.site.energy.zone,
            m.site.energy.carrier,
            m.site.device,
            str(m.home.path),
        )
        for m in members
    ]


def down(directory: Path) -> int:
    """Stop the devnet in `directory`, remove it, and return how many nodes were running."""
    if not directory.exists():
        return 0
    stopped = _end(directory)
    shutil.rmtree(directory)
    return stopped


def _end(directory: Path) -> int:
    """SIGTERM to every node that runs there, SIGKILL to those that do not heed it."""
    pids = [pid for pid in map(running_pid, directory.glob("*/runtime.json")) if pid is not None]
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    for pid in pids:
        _signal(pid, signal.SIGTERM)
    while any(_signal(pid, 0) for pid in pids) and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
    for pid in pids:
        _signal(pid, signal.SIGKILL)
    return len(pids)


def _signal(pid: int, number: int) -> bool:
    """Whether the process was there to be signalled."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
