"""Power cuts at hundreds of moments: what was durable is there, and nothing speaks of what is not."""

from __future__ import annotations

import random
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ledger.store import sqlite as module
from ledger.store.sqlite import SqliteStore
from protocol.errors import LocalError
from tests.builders import digest, genesis

from .power_cut import Record, cut, record
from .writer import PEER, entries, life, snapshot

CUTS = 250
NETWORK = genesis().network_id()


def recorded(tmp_path: Path, *arguments: str) -> list[Record]:
    directory = tmp_path / "disk"
    directory.mkdir()
    command = [sys.executable, "-m", "tests.ledger.writer", str(directory), *arguments]
    return record(command, directory, tmp_path / "log", tmp_path / "power_cut.so")


@pytest.fixture
def another_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine comes up again: the store must not think that only its process died."""
    monkeypatch.setattr(module, "BOOT_ID", tmp_path / "boot")
    module.BOOT_ID.write_text("another")


def opened_after(records: list[Record], directory: Path, chance: random.Random) -> SqliteStore:
    path = directory / "after" / "ledger.db"
    path.parent.mkdir(exist_ok=True)
    for old in path.parent.iterdir():
        old.unlink()
    for name, content in cut(records, chance).items():
        if not name.endswith("-shm"):  # shared memory: the kernel never brings it back
            (path.parent / name).write_bytes(content)
    return SqliteStore(path, NETWORK)


def steps_done(records: list[Record]) -> int:
    return sum(done.name == "steps" for done in records)


@pytest.mark.usefixtures("another_boot")
@pytest.mark.parametrize("name", ["durable", "mixed"])
def test_a_power_cut_takes_nothing_durable_nor_what_came_before_it(
    name: str, tmp_path: Path, in_memory: Path, chance: random.Random
) -> None:
    records, steps = recorded(tmp_path, name), list(life(name))
    assert steps_done(records) == len(steps)
    began = next(at for at, done in enumerate(records) if done.name == "steps")
    lost = 0
    for moment in sorted(chance.sample(range(began, len(records) + 1), CUTS)):
        done = steps[: steps_done(records[:moment])]
        with closing(opened_after(records[:moment], in_memory, chance)) as store:
            position = store.position
            assert list(store.replay()) == list(enumerate((e.raw for e in entries()[:position]), start=1))
            assert list(store.check()) == []
            durable = [step for step in done if step.durable]
            assert position >= max((step.position for step in durable), default=0)
            lost += position < done[-1].position if done else 0
            assert int(store.cursors().get(PEER.public, b"0")) <= position
            promised = store.cosigned("origin") or (0, b"")
            assert promised[0] >= max((step.promise for step in durable), default=0)
            assert promised[0] == 0 or promised[1] == digest(f"root {promised[0]}")
            if (kept := store.snapshot()) is not None:
                assert kept[0] <= position
                assert list(kept[1]) == snapshot(kept[0])
    # Of peers' entries the cuts do take some, or they are no cuts.
    assert (lost > 0) == (name == "mixed")


@pytest.mark.usefixtures("another_boot")
def test_the_cuts_find_fault_with_a_store_that_does_not_sync(
    tmp_path: Path, in_memory: Path, chance: random.Random
) -> None:
    records, steps = recorded(tmp_path, "durable", "OFF"), list(life("durable"))
    began = next(at for at, done in enumerate(records) if done.name == "steps")
    faults = 0
    for moment in chance.sample(range(began, len(records) + 1), 50):
        done = steps[: steps_done(records[:moment])]
        try:
            with closing(opened_after(records[:moment], in_memory, chance)) as store:
                faults += store.position < done[-1].position or list(store.check()) != []
        except LocalError:
            faults += 1
    assert faults > 10
