"""The peer in another language as a process: what it is told, and what it says (`peer.mjs`)."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent
TIMEOUT_S = 30.0


class JsError(Exception):
    """It could not do what it was told; its own words."""


class JsPeer:
    """`events`: what it has said, but for its answers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._changed = asyncio.Event()
        self.events: list[dict[str, Any]] = []

    async def do(self, name: str, **given: object) -> dict[str, Any]:
        """Its answer. Raises JsError."""
        assert self._process.stdin is not None
        number = len(self._answers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        self._process.stdin.write(json.dumps({"id": number, "do": name, **given}).encode() + b"\n")
        async with asyncio.timeout(TIMEOUT_S):
            said: dict[str, Any] = await answer
        if "error" in said:
            raise JsError(said["error"])
        return said

    async def says(self, event: str, *, after: int = 0, **fields: object) -> dict[str, Any]:
        """The first such event, but for the first `after` events of all; it may have come already."""

        def first() -> dict[str, Any] | None:
            wanted = {"event": event, **fields}
            return next((each for each in self.events[after:] if wanted.items() <= each.items()), None)

        async with asyncio.timeout(TIMEOUT_S):
            while (found := first()) is None:
                self._changed.clear()
                await self._changed.wait()
        return found

    def gossip(self) -> list[str]:
        return [event["text"] for event in self.events if event["event"] == "gossip"]

    async def until_gossip(self, count: int) -> None:
        while len(self.gossip()) < count:
            await self.says("gossip", after=len(self.events))

    async def until_feeds(self, are_enough: Callable[[dict[str, list[str]]], bool]) -> None:
        """Until it has verified and holds what is asked for: ids by author, in the order of their feeds."""
        while True:
            seen, feeds = len(self.events), await self.do("feeds")
            assert feeds["refused"] == 0
            if are_enough(feeds["ids"]):
                return
            await self.says("message", after=seen, type="entries")

    async def read(self) -> None:
        """Until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "re" in said:
                self._answers[said["re"]].set_result(said)
            else:
                self.events.append(said)
                self._changed.set()


@asynccontextmanager
async def js_peer(genesis_path: Path, seed: bytes) -> AsyncIterator[JsPeer]:
    require_js()
    command = ("node", str(FOLDER / "peer.mjs"), str(genesis_path), seed.hex())
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=4 * 2**20
    )
    peer = JsPeer(process)
    reading = asyncio.create_task(peer.read())
    try:
        await peer.says("ready")
        yield peer
    finally:
        process.kill()
        await process.wait()
        await reading


def require_js() -> None:
    """Skip where there is no js-libp2p, or fail in continuous integration."""
    missing = "Node.js" if shutil.which("node") is None else ""
    if not (FOLDER / "node_modules" / "libp2p").is_dir():
        missing = missing or "js-libp2p"
    if missing:
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up(f"{missing} is not installed, and no second implementation was asked: run make setup-dev")


async def eventually(holds: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
    """Return once it holds, asked on a thread; fail if it does not in time."""
    async with asyncio.timeout(timeout_s):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110  the node is another process
            await asyncio.sleep(0.05)
