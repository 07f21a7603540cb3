"""Answers peers who ask: reads what they want on a worker thread, and sends it one message after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from ledger.store import Store
from node.actions import Cosign, SendMatching, Serving
from node.feeds.finality import cosign
from node.feeds.records import read_record
from node.link import LinkError
from node.running.serving import read_answer
from node.running.tasks import Lossy, Tasks
from node.training.blobs import BlobStore
from node.turn import Identity
from protocol.direct import encode_direct
from protocol.messages import Body

ANSWERS_MAX = 64  # under way; beyond it the newest are dropped, and asked for again


class Answering:
    """`send` takes a peer and a message; it may fail by LinkError."""

    def __init__(
        self,
        identity: Identity,
        store: Store,
        blobs: BlobStore,
        send: Callable[[bytes, bytes], Awaitable[None]],
        tasks: Tasks,
    ) -> None:
        self._identity = identity
        self._store = store
        self._blobs = blobs
        self._send = send
        self._under_way = Lossy(tasks, ANSWERS_MAX, LinkError)

    def start(self, action: Serving | SendMatching | Cosign) -> None:
        """Answer, or drop the request."""
        self._under_way.start(self._answer(action), action.peer)

    async def _answer(self, action: Serving | SendMatching | Cosign) -> None:
        """Who reads slowly is served slowly, and costs no memory. A cosignature is said only once it is durable."""
        messages = await asyncio.to_thread(self._messages, action)
        while (message := await asyncio.to_thread(next, messages, None)) is not None:
            await self._send(action.peer, encode_direct(message))

    def _messages(self, action: Serving | SendMatching | Cosign) -> Iterator[Body]:
        match action:
            case Cosign():
                return iter((cosign(action, self._identity, self._store),))
            case SendMatching():
                return read_record(action, self._blobs.read)
            case _:
                return read_answer(self._store, action)
