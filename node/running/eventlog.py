"""What happened lately, for people: a bounded ring that `/v1/events` and the demo follow.

Events beyond the bound are lost, oldest first; the numbers jump, so a reader knows.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EVENTS_MAX = 2048


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    number: int
    time_ms: int
    kind: str
    data: Mapping[str, Any]


class EventLog:
    """Numbers rise by one from 1."""

    def __init__(self) -> None:
        self._events: deque[LoggedEvent] = deque(maxlen=EVENTS_MAX)
        self._newest = 0
        self._changed = asyncio.Event()

    @property
    def newest(self) -> int:
        """The number of the newest event, 0 before the first."""
        return self._newest

    def append(self, kind: str, data: Mapping[str, Any], time_ms: int) -> None:
        self._newest += 1
        self._events.append(LoggedEvent(self._newest, time_ms, kind, data))
        self._changed.set()
        self._changed = asyncio.Event()

    def since(self, number: int) -> list[LoggedEvent]:
        """Events newer than `number` that are still held, oldest first."""
        return [event for event in self._events if event.number > number]

    async def wait(self, number: int) -> None:
        """Return once something newer than `number` has happened."""
        while self._newest <= number:
            await self._changed.wait()
