"""A worker's place on this node: the process and its files, which come and go with it."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from node.training.blobs import BlobStore
from node.training.supervisor import Worker
from protocol.messages import Blob

KEPT_BLOBS = 4  # parameters, or deltas, of the last rounds that somebody may still fetch


@dataclass(slots=True)
class Seat:
    """`blobs` are those that the worker made, for others to fetch, and those fetched for it."""

    worker: Worker
    directory: Path
    blobs: BlobStore
    inner_steps: int
    state: Path | None = None  # the lead's outer checkpoint
    made: deque[bytes] = field(default_factory=deque)  # oldest first
    fetched: set[bytes] = field(default_factory=set)  # of this round
    fetched_bytes: int = 0  # not told of yet
    moments: dict[int, bytes] = field(default_factory=dict)  # the lead's, by shard: what was brought here as such

    async def keep(self, path: Path) -> Blob:
        """Take a worker's file among its blobs, and let the oldest go."""
        blob = await asyncio.to_thread(self.blobs.put, path)
        await asyncio.to_thread(path.unlink)
        if blob.sha256 in self.made:
            self.made.remove(blob.sha256)
        self.made.append(blob.sha256)
        while len(self.made) > KEPT_BLOBS:
            self.blobs.remove(self.made.popleft())
        return blob

    def hold_moments(self, shard: int, sha256: bytes, *, brought: bool) -> None:
        """Older ones of the shard go. Not `brought` here as moments: a stranger may have named the parameters."""
        older = self.moments.pop(shard, None)
        if brought or sha256 in self.moments.values() or sha256 == older:
            self.moments[shard] = sha256
        if older is not None and older not in self.moments.values():
            self.blobs.remove(older)

    def tell_fetched_bytes(self) -> int:
        told, self.fetched_bytes = self.fetched_bytes, 0
        return told

    def drop_fetched(self) -> None:
        """The round is over: its worker has read them."""
        for sha256 in self.fetched:
            self.blobs.remove(sha256)
        self.fetched.clear()
