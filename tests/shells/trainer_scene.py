"""A trainer with real files and a fake worker, for tests."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from node import actions as ac
from node import events as ev
from node.running.trainer import Trainer
from node.training.blobs import BlobStore
from node.training.supervisor import make_private
from protocol.direct import Ticket
from protocol.errors import LocalError
from protocol.messages import Blob
from protocol.tickets import issue
from tests.builders import digest, keypair, training

SHARD = ev.ShardId(digest("award"), 0)
OTHER = ev.ShardId(digest("award"), 1)
JOB = digest("job")
GARBAGE = b"garbage"


class FakeWorker:
    """Writes a new small file for whatever it is asked."""

    all: list[FakeWorker]
    is_starting: asyncio.Event
    may_start: asyncio.Event
    numbers = itertools.count()

    pid = 1

    def __init__(self, directory: Path, on_lost: Callable[[str], None]) -> None:
        self.directory, self.on_lost = directory, on_lost
        self.moments: Path | None = None
        self.stopped = 0
        self.fails: Exception | None = None

    @classmethod
    async def start(
        cls, *, directory: Path, on_lost: Callable[[str], None], moments: Path | None = None, **_: Any
    ) -> Self:
        if moments is not None and GARBAGE in moments.read_bytes():  # noqa: ASYNC240, a small file
            raise LocalError("HEL-TRAIN-008", "moments of no model", "")
        make_private(directory)
        worker = cls(directory, on_lost)
        worker.moments = moments
        cls.all.append(worker)
        cls.is_starting.set()
        await cls.may_start.wait()
        return worker

    async def stop(self, grace_s: float = 0) -> None:
        self.stopped += 1

    def write(self) -> SimpleNamespace:
        if self.fails is not None:
            raise self.fails
        number = next(self.numbers)
        path = self.directory / f"file-{number}"
        path.write_bytes(b"%d" % number)
        return SimpleNamespace(path=path, loss_millinats=1, tokens=1, duration_ms=1, cpu_ms=1)

    async def round(self, number: int, params: Path) -> SimpleNamespace:
        assert are_files(params)
        return self.write()

    async def save(self) -> SimpleNamespace:
        return self.write()

    async def init(self) -> SimpleNamespace:
        return SimpleNamespace(checkpoint=self.write(), parameters=self.write())

    async def outer_step(self, number: int, state: Path, deltas: list[Path]) -> SimpleNamespace:
        assert are_files(state, *deltas)
        return await self.init()

    async def evaluate(self, params: Path) -> int:
        assert are_files(params)
        return 1

    async def sample(self, *_: Any) -> str:
        return "Once upon a time"


class FakeData:
    """Brings every blob that was made with `ticket`."""

    def __init__(self) -> None:
        self.contents: dict[bytes, bytes] = {}

    def ticket(self, content: bytes) -> Ticket:
        blob = blob_of(content)
        self.contents[blob.sha256] = content
        return issue(
            keypair(1),
            blob=blob,
            url="https://127.0.0.1:1",
            certificate_sha256=bytes(32),
            holder=keypair(0).public,
            award=SHARD.award,
            shard=SHARD.shard,
            expires_at_ms=1,
        )

    async def fetch(self, ticket: Ticket, blobs: BlobStore) -> Path:
        await asyncio.sleep(0)
        if ticket.blob.sha256 not in self.contents:
            raise LocalError("HEL-DATA-002", "gone", "")
        return blobs.path(blobs.put(self.contents[ticket.blob.sha256]).sha256)


def are_files(*paths: Path) -> bool:
    return all(path.is_file() for path in paths)


def blob_of(content: bytes) -> Blob:
    return Blob(sha256=hashlib.sha256(content).digest(), size_bytes=len(content))


class Scene:
    def __init__(self, directory: Path) -> None:
        self.work_path = directory / "work"
        self.data = FakeData()
        self.blobs = BlobStore(directory / "blobs", 2**20)
        self.told: list[ev.Event] = []
        self.trainer = Trainer(self.work_path, self.blobs, self.data, lambda: 0, self.told.append)  # type: ignore[arg-type]
        self.text = self.data.ticket(b"a text")
        self.spec = training(data=(self.text.blob,))

    @property
    def worker(self) -> FakeWorker:
        return FakeWorker.all[-1]

    def start(self, **changes: Any) -> ac.StartShard:
        fields: dict[str, Any] = {"shard": SHARD, "job": JOB, "shards": 1, "spec": self.spec, "data": (self.text,)}
        return ac.StartShard(**fields | changes)

    async def lead(self) -> Blob:
        self.blobs.put(b"a text")
        event = await self.trainer.carry_out(ac.PrepareModel(JOB, self.spec))
        assert isinstance(event, ev.ModelReady)
        return event.parameters

    def left(self) -> list[Path]:
        return [path for path in self.work_path.rglob("*") if path.is_file()]


def made(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr("node.running.trainer.Worker", FakeWorker)
    FakeWorker.all = []
    FakeWorker.is_starting, FakeWorker.may_start = asyncio.Event(), asyncio.Event()
    FakeWorker.may_start.set()
    return Scene(directory)
