"""`heliotrope devnet up` and `devnet down`: a devnet that outlives the command."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from node.devnet.network import POLL_S, STOP_TIMEOUT_S, Processes, make
from node.home.home import Home
from node.home.identity import load_genesis
from protocol.errors import LocalError, Refused

NODE_WORDS = frozenset(
    {"node.daemon", "up", "witness", "auditor"}
)  # in the command lines of nodes, however they were started


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


def up(directory: Path, count: int, seed: int, witnesses: int = 0, auditors: int = 0) -> list[Row]:
    """Start `count` nodes in `directory`, so many witnesses and auditors, and return once every API answers; they run
    until `down`.

    Raises LocalError if a devnet is there already, or a node does not start: then none is left running.
    """
    directory = directory.absolute()  # as `down` looks for it among the processes
    if directory.exists() and any(directory.iterdir()):
        raise LocalError(
            "HEL-DEVNET-003",
            f"{directory} holds a devnet, or other files, already",
            "Stop and remove it with: heliotrope devnet down, or choose another --directory.",
        )
    members = make(directory, count, seed, witnesses, auditors)
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
    """Stop the devnet in `directory`, remove it, and return how many nodes were running.

    Raises Refused, and touches nothing, where anything else than a devnet's homes is in it.
    """
    if not directory.exists():
        return 0
    directory = directory.absolute()
    for path in directory.iterdir():
        if not _is_member(Home(path)):
            raise Refused(
                "HEL-DEVNET-005",
                f"{directory} is no devnet: {path.name!r} is in it; nothing was removed",
                "Name the devnet's --directory, or remove by hand what does not belong there.",
            )
    stopped = _end(directory)
    shutil.rmtree(directory)
    return stopped


def _is_member(home: Home) -> bool:
    """Whether a node of a devnet lives here, or was about to when its making broke off."""
    if home.genesis_path.exists():
        return load_genesis(home.genesis_path).admission == "devnet"
    return home.path.is_dir() and not any(home.path.iterdir())


def _end(directory: Path) -> int:
    """SIGTERM to every node that runs there, SIGKILL to those that do not heed it."""
    pids = _running(directory)
    _signal(pids, signal.SIGTERM)
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    while _running(directory) and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
    _signal(_running(directory), signal.SIGKILL)
    return len(pids)


def _running(directory: Path) -> list[int]:
    """The nodes whose homes are in `directory`, those that were started by hand too, by their command lines: one that
    is still starting has not said its number yet, and one that has ended may wait for years to be reaped."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().decode(errors="surrogateescape").split("\0")
            homes = (Path(word.removeprefix("--home=")) for word in words)
            if not NODE_WORDS.isdisjoint(words) and any(home.parent == directory for home in homes):
                found.append(int(path.parent.name))
    return found


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
