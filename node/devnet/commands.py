"""`heliotrope devnet up` and `devnet down`: a devnet that outlives the command."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from node.devnet.network import START_TIMEOUT_S, STOP_TIMEOUT_S, Member, is_up, make
from protocol.errors import LocalError

POLL_S = 0.05


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
    processes = []
    try:
        for member in members:
            with (member.home.path / "stderr").open("wb") as stderr:
                process = subprocess.Popen(
                    [sys.executable, "-m", "node.daemon", str(member.home.path)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    start_new_session=True,
                )
            processes.append(process)
        _wait_until_up(members)
    except BaseException:
        for process in processes:
            process.kill()
        raise
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


def _wait_until_up(members: list[Member]) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    for member in members:
        while not is_up(member.home):
            if time.monotonic() > deadline_s:
                words = (member.home.path / "stderr").read_text(errors="replace").strip()
                raise LocalError(
                    "HEL-DEVNET-002",
                    f"node {member.site.name} did not start within {START_TIMEOUT_S} s: {words[-2000:]}",
                    f"See {member.home.log_path}.",
                )
            time.sleep(POLL_S)


def _end(directory: Path) -> int:
    """SIGTERM to every node that runs there, SIGKILL to those that do not heed it."""
    pids = [pid for pid in map(_pid, directory.glob("*/runtime.json")) if pid is not None]
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    for pid in pids:
        _signal(pid, signal.SIGTERM)
    while any(_signal(pid, 0) for pid in pids) and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
    for pid in pids:
        _signal(pid, signal.SIGKILL)
    return len(pids)


def _pid(runtime_path: Path) -> int | None:
    """The process of a node, if it is one: a number in an old file may be anybody's by now."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        pid = int(json.loads(runtime_path.read_bytes())["pid"])
        if b"node.daemon" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    return None


def _signal(pid: int, number: int) -> bool:
    """Whether the process was there to be signalled."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
