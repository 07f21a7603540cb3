"""The tasks of a running node: none is forgotten, none fails unseen, and what strangers cause is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any

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
    """Work for peers, `bound` tasks at once; beyond it new work is dropped. It may fail by one of `tolerated`, unsaid:
    the peers' sync and the reconciling pass repeat what matters."""

    def __init__(self, tasks: Tasks, bound: int, tolerated: type[Exception]) -> None:
        self._tasks = tasks
        self._bound = bound
        self._tolerated = tolerated
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run it, or drop it."""
        if len(self._running) >= self._bound:
            work.close()
            return
        task = self._tasks.start(self._tolerate(work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _tolerate(self, work: Coroutine[Any, Any, Any]) -> None:
        with contextlib.suppress(self._tolerated):
            await work
