"""Strangers' signatures, checked on worker threads: all that wait at once, told in the order in which they came.

One hop to a thread costs as much as two signatures. Under load the hops grow rare by themselves: while one round is
being checked, the next gathers. Checking a signature holds no interpreter lock: a round is shared among the cores.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable

from node.actions import Verify
from node.events import EntriesVerified
from node.running.serving import open_entries

WAITING_BYTES_MAX = 16 * 2**20  # of raw entries; beyond it the newest are dropped: sync asks for them again
CORES = len(os.sched_getaffinity(0))
ROUND_BYTES_MAX = 128 * 1024 * CORES  # 256 entries a core, 20 ms: what comes alone waits not long behind a crowd


class Verifying:
    """Takes `Verify` actions, and gives `EntriesVerified` events to `put`."""

    def __init__(self, network: bytes, put: Callable[[EntriesVerified], Awaitable[None]]) -> None:
        self._network = network
        self._put = put
        self._waiting: deque[Verify] = deque()
        self._waiting_bytes = 0
        self._some = asyncio.Event()

    def take(self, action: Verify) -> None:
        """Check it in its turn, or drop it where too much waits already."""
        size_bytes = _size_bytes(action)
        if self._waiting_bytes + size_bytes > WAITING_BYTES_MAX:
            return
        self._waiting.append(action)
        self._waiting_bytes += size_bytes
        self._some.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._some.wait()
            actions = self._next_round()
            share = -(-len(actions) // CORES)
            parts = [actions[start : start + share] for start in range(0, len(actions), share)]
            for events in await asyncio.gather(*(asyncio.to_thread(self._check, part) for part in parts)):
                for event in events:
                    await self._put(event)

    def _next_round(self) -> list[Verify]:
        actions: list[Verify] = []
        left_bytes = ROUND_BYTES_MAX
        while self._waiting and left_bytes > 0:
            actions.append(self._waiting.popleft())
            left_bytes -= _size_bytes(actions[-1])
        self._waiting_bytes -= ROUND_BYTES_MAX - left_bytes
        if not self._waiting:
            self._some.clear()
        return actions

    def _check(self, actions: list[Verify]) -> list[EntriesVerified]:
        return [open_entries(action, self._network) for action in actions]


def _size_bytes(action: Verify) -> int:
    return sum(map(len, action.raws))
