"""Power cuts without a switch: what a process did to its files, and what a cut at any moment might have left of it.

The model: what was synced stays. Of what was written since, the disk keeps or drops each sector of 512 bytes for
itself, in any version that it had; of a change of size, the old or the new. A file's name is there once it was made.
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
NUMBERS = struct.Struct("=4Q")


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that was done to a file: W write, T truncate, S sync, U unlink."""

    operation: str
    name: str
    offset: int
    data: bytes


def record(command: Sequence[str], directory: Path, log: Path, library: Path) -> list[Record]:
    """Run a command, and return what it did to the files in the directory."""
    source = Path(__file__).with_suffix(".c")
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source], check=True)
    watching = {"LD_PRELOAD": str(library), "POWER_CUT_DIRECTORY": str(directory), "POWER_CUT_LOG": str(log)}
    subprocess.run(command, env={**os.environ, **watching}, cwd=Path(__file__).parents[2], check=True)
    return list(_records(log.read_bytes()))


def _records(content: bytes) -> Iterator[Record]:
    at = 0
    while at < len(content):
        operation, name_length, offset, length = NUMBERS.unpack_from(content, at)
        at += NUMBERS.size
        name = content[at : at + name_length].decode()
        at += name_length
        yield Record(chr(operation), name, offset, content[at : at + length])
        at += length


@dataclass(slots=True)
class _File:
    """One file in the middle of the log."""

    synced: bytes = b""
    now: bytearray = field(default_factory=bytearray)
    sizes: list[int] = field(default_factory=lambda: [0])  # since the last sync, that of then first
    versions: dict[int, list[bytes]] = field(default_factory=dict)  # sector → what it was since the last sync

    def do(self, done: Record) -> None:
        match done.operation:
            case "W":
                end = done.offset + len(done.data)
                self.now.extend(bytes(max(0, end - len(self.now))))
                self.now[done.offset : end] = done.data
                for sector in range(done.offset // SECTOR, -(-end // SECTOR)):
                    content = bytes(self.now[sector * SECTOR : (sector + 1) * SECTOR])
                    self.versions.setdefault(sector, []).append(content)
            case "T":
                del self.now[done.offset :]
                self.now.extend(bytes(done.offset - len(self.now)))
            case "S":
                self.synced = bytes(self.now)
                self.versions.clear()
                self.sizes.clear()
        self.sizes.append(len(self.now))

    def left(self, chance: random.Random) -> bytes:
        """What a power cut now may leave."""
        kept = chance.choice((0.0, 0.5, 0.95, 1.0))  # of the sectors; at the ends all is lost, or nothing
        content = bytearray(self.synced)
        for sector, versions in sorted(self.versions.items()):
            if chance.random() < kept:
                content.extend(bytes(max(0, sector * SECTOR - len(content))))
                version = versions[-1] if chance.random() < 0.8 else chance.choice(versions)
                content[sector * SECTOR : sector * SECTOR + len(version)] = version
        size = self.sizes[-1] if chance.random() < kept else chance.choice(self.sizes)
        return bytes(content[:size]).ljust(size, b"\0")


def cut(records: Sequence[Record], chance: random.Random) -> dict[str, bytes]:
    """The files that a power cut after the last of these records may leave."""
    files: dict[str, _File] = {}
    for done in records:
        if done.operation == "U":
            files.pop(done.name, None)
        else:
            files.setdefault(done.name, _File()).do(done)
    return {name: file.left(chance) for name, file in files.items()}
