"""The command line against a served node: the node on a thread of its own, the command on the test's."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from node import cli
from tests.api.host import TOKEN, Host, seller, served

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Heliotrope = Callable[..., Said]


@pytest.fixture
def heliotrope(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Heliotrope:
    """Run a command; the user's own node, if there is one, is left alone."""
    monkeypatch.setenv("HELIOTROPE_HOME", str(tmp_path / "home"))

    def run(*arguments: str | Path) -> Said:
        capsys.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return Said(code, said.out, said.err)

    return run


@dataclass(slots=True)
class Running:
    """A node that is up in this home. Its state belongs to its own thread: reach it through `do`."""

    host: Host
    home: Path
    loop: asyncio.AbstractEventLoop

    def do(self, function: Callable[..., Result], *arguments: Any) -> Result:
        async def call() -> Result:
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(timeout=10)


@contextmanager
def running(host: Host, home: Path) -> Iterator[Running]:
    """Serve the host, and write what a running node leaves in its home."""
    home.mkdir(exist_ok=True)
    (home / "token").touch(mode=0o600)
    (home / "token").write_text(TOKEN + "\n")
    up, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    @asynccontextmanager
    async def announced() -> AsyncIterator[None]:
        async with served(host) as url:
            (home / "runtime.json").write_text(json.dumps({"api": url}))
            yield

    async def serve() -> None:
        async with announced():
            up.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert up.wait(timeout=10)
    try:
        yield Running(host, home, loop)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=10)
        loop.close()
        (home / "runtime.json").unlink()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Running]:
    """A node that sells one machine and trains what it is given, in the default home."""
    host = Host(tmp_path, sells=seller(), trains=True)
    host.start()
    host.closes_bids_when_followed = True
    with running(host, tmp_path / "home") as up:
        yield up
