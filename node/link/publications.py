"""Gossip on its way to the libp2p thread, and past that thread's death.

A publication waits until a peer that listens to its topic is there, for a minute at most. What a thread was handed
shortly before it died comes back, first in line: it may reach a peer twice, which gossip allows.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

UNPUBLISHED_MAX = 256  # guess, not measured
UNHEARD_MAX_S = 60.0  # then it is old news; guess, not measured
HANDED_OVER_S = 2.0  # within it the library's queues are empty, at the rate we publish; guess, not measured


@dataclass(frozen=True, slots=True)
class Publication:
    topic: str
    data: bytes
    at_s: float
    """when it was put in"""


class Publications:
    """Filled on the loop, emptied on the thread. Moments are monotonic, in seconds. What is lost is counted as
    `gossip_unpublished`: the oldest of more than UNPUBLISHED_MAX, and what nobody listened to."""

    def __init__(self, losses: Counter[str]) -> None:
        self._losses = losses
        self._lock = threading.Lock()
        # under the lock
        self._waiting: deque[Publication] = deque()
        self._handed_over: deque[tuple[float, Publication]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, topic: str, data: bytes, now_s: float) -> None:
        with self._lock:
            self._waiting.append(Publication(topic, data, now_s))
            self._bound()

    def take(self, is_heard: Callable[[str], bool], now_s: float) -> Publication | None:
        """The oldest whose topic somebody listens to."""
        with self._lock:
            while self._waiting and now_s - self._waiting[0].at_s > UNHEARD_MAX_S:
                self._waiting.popleft()
                self._losses["gossip_unpublished"] += 1
            while self._handed_over and now_s - self._handed_over[0][0] > HANDED_OVER_S:
                self._handed_over.popleft()
            for index, publication in enumerate(self._waiting):
                if is_heard(publication.topic):
                    del self._waiting[index]
                    self._handed_over.append((now_s, publication))
                    return publication
        return None

    def put_back(self, now_s: float) -> None:
        """The thread has died: what it had just been handed may not have left."""
        with self._lock:
            recent = [publication for at_s, publication in self._handed_over if now_s - at_s <= HANDED_OVER_S]
            self._handed_over.clear()
            self._waiting.extendleft(reversed(recent))
            self._bound()

    def _bound(self) -> None:
        while len(self._waiting) > UNPUBLISHED_MAX:
            self._waiting.popleft()
            self._losses["gossip_unpublished"] += 1
