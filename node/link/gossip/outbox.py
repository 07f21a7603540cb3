"""What waits for one neighbour: as little as possible, and all of it in one write.

Faults of the library: an RPC is copied, split and encoded anew for each neighbour (6.9 % of what a gossip message cost,
`UPSTREAM.md`); a task is woken to write it; many small ones leave one by one.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

import trio
from libp2p.stream_muxer.exceptions import MuxedStreamError

from node.link.gossip.rpc import framed

WAITING_MAX = 128  # then the newest is dropped; the library's 32 lost bursts
WAITING_MAX_BYTES = 4 * 1024 * 1024  # the same; guess, not measured
TOGETHER_MAX = 128  # RPCs in one; guess, not measured
TOGETHER_MAX_BYTES = 60 * 1024  # the same, so that one frame of the multiplexer holds them


class Writable(Protocol):
    """`streams.Stream`."""

    def try_write(self, data: bytes) -> bool: ...
    async def write(self, data: bytes) -> None: ...


class Outbox:
    """`push` encoded RPCs from anywhere on the thread; `run` in one task, until the stream is lost or `close`."""

    def __init__(self, stream: Writable) -> None:
        self._stream = stream
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._due_s = math.inf
        self._failure: MuxedStreamError | None = None
        self._is_closed = self._is_writing = False
        self._changed = trio.Event()

    def push(self, body: bytes, patience_s: float = 0.0) -> bool:
        """Send it now, or within `patience_s`, for which it may wait for company. False: it is dropped.

        Order is kept: what has no patience takes along all that waits.
        """
        if self._is_closed or self._failure is not None:
            return False
        if len(self._waiting) >= WAITING_MAX or self._waiting_bytes + len(body) > WAITING_MAX_BYTES:
            return False
        self._waiting.append(body)
        self._waiting_bytes += len(body)
        if len(self._waiting) >= TOGETHER_MAX or self._waiting_bytes >= TOGETHER_MAX_BYTES:
            patience_s = 0.0
        if patience_s <= 0 and self._write_now():
            return True
        due_s = trio.current_time() + patience_s
        if due_s < self._due_s:
            self._due_s = due_s
            self._wake()
        return True

    def hurry(self) -> None:
        """What waits for company leaves now."""
        if self._waiting:
            self._due_s = -math.inf
            self._wake()

    @property
    def is_busy(self) -> bool:
        """Whether something has not left yet."""
        return bool(self._waiting) or self._is_writing

    def close(self) -> None:
        self._is_closed = True
        self._wake()

    async def run(self) -> None:
        """Raises MuxedStreamError: the stream is lost, and with it what waits."""
        while not self._is_closed:
            if self._failure is not None:
                raise self._failure
            if trio.current_time() < self._due_s:
                with trio.move_on_at(self._due_s):
                    await self._changed.wait()
            else:
                self._is_writing = True
                await self._stream.write(framed(*self._batch()))
                self._is_writing = False

    def _write_now(self) -> bool:
        """Whether all has gone, without a task."""
        try:
            while self._waiting:
                batch = self._batch()
                if not self._stream.try_write(framed(*batch)):
                    self._waiting.extendleft(reversed(batch))
                    self._waiting_bytes += sum(map(len, batch))
                    return False
        except MuxedStreamError as error:
            self._failure = error
            self._wake()
        return True

    def _batch(self) -> list[bytes]:
        """Take what leaves together, at least one."""
        batch = [self._waiting.popleft()]
        size = len(batch[0])
        while self._waiting and len(batch) < TOGETHER_MAX and size + len(self._waiting[0]) <= TOGETHER_MAX_BYTES:
            batch.append(self._waiting.popleft())
            size += len(batch[-1])
        self._waiting_bytes -= size
        if not self._waiting:
            self._due_s = math.inf
        return batch

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
