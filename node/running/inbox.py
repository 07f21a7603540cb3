"""What happens to a node, in the order in which it happened, until its loop takes it.

What strangers sent is dropped where there is no room; our own waits, and keeps its order: a peer that is told lost
before it is told connected would count as connected for ever.
"""

from __future__ import annotations

import asyncio
from collections import deque

from node.actions import Action
from node.events import Event
from node.running.tasks import Tasks

EVENTS_MAX = 4096

Item = tuple[Event, asyncio.Future[list[Action]] | None]
"""An event, and who waits for what comes of it."""


class Inbox:
    """On the loop."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._waiting: asyncio.Queue[Item] = asyncio.Queue(EVENTS_MAX)
        self._late: deque[Event] = deque()  # our own, for which there was no room

    def __len__(self) -> int:
        return self._waiting.qsize() + len(self._late)

    async def take(self) -> Item:
        return await self._waiting.get()

    async def submit(self, event: Event) -> list[Action]:
        """Queue an event and wait until its turn was carried out, what it recorded durable; the turn's actions."""
        done: asyncio.Future[list[Action]] = asyncio.get_running_loop().create_future()
        await self._waiting.put((event, done))
        return await done

    async def put(self, event: Event) -> None:
        """Queue an event once there is room."""
        await self._waiting.put((event, None))

    def emit(self, event: Event) -> None:
        """Queue an event now; if there is no room, as soon as there is, and before whatever is emitted later."""
        if self._late or self._waiting.full():
            self._late.append(event)
            if len(self._late) == 1:
                self._tasks.start(self._catch_up())
        else:
            self._waiting.put_nowait((event, None))

    def hear(self, event: Event) -> bool:
        """Queue what a stranger sent, if there is room: whether there was."""
        if self._late or self._waiting.full():
            return False
        self._waiting.put_nowait((event, None))
        return True

    async def _catch_up(self) -> None:
        while self._late:
            await self.put(self._late[0])
            self._late.popleft()
