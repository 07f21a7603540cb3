"""The tasks of a running node: none is forgotten, none fails unseen, and what strangers cause is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any

SHARES = 8  # how many slow peers it takes to stop work for others

log = logging.getLogger("heliotrope")


class Tasks:
    """Tasks under way. A task that fails is a fault of this program: it is logged, and the node goes on."""

    def __init__(self) -> None:
        self.running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run to its end, or until `cancel`."""
        task = asyncio.create_task(work)
        self.running.add(task)
        task.add_done_callback(self._over)
        return task

    async def cancel(self) -> None:
        """End all of them, and wait until they have ended."""
        for task in self.running:
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)

    def _over(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an action failed; its result is lost and timers will notice: %r", error, exc_info=error)


class Lossy:
    """Work for peers, `bound` tasks at once, and for one of them an eighth of it; beyond that new work is dropped. It
    may fail by one of `tolerated`, unsaid: the peers' sync and the reconciling pass repeat what matters."""

    def __init__(self, tasks: Tasks, bound: int, tolerated: type[Exception]) -> None:
        self._tasks = tasks
        self._bound = bound
        self._tolerated = tolerated
        self._running: dict[asyncio.Task[None], bytes | None] = {}

    def start(self, work: Coroutine[Any, Any, Any], peer: bytes | None = None) -> None:
        """Run it, or drop it. `peer`: whoever it is for, where one that is slow could fill all places."""
        theirs = sum(each == peer for each in self._running.values()) if peer is not None else 0
        if len(self._running) >= self._bound or theirs >= self._bound // SHARES:
            work.close()
            return
        task = self._tasks.start(self._tolerate(work))
        self._running[task] = peer
        task.add_done_callback(self._running.pop)

    async def idle(self) -> None:
        """Wait until all of it has ended."""
        while self._running:
            await asyncio.wait(self._running)

    async def _tolerate(self, work: Coroutine[Any, Any, Any]) -> None:
        with contextlib.suppress(self._tolerated):
            await work
