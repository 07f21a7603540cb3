"""Fetches what tickets name: over whichever road leads to the server, going on where a transfer broke."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Sequence
from pathlib import Path

from node.data.admission import STALL_TIMEOUT_S, deadline_s
from node.data.roads import Answer, Broken, Road, Unreached
from node.data.traffic import RoadName, Traffic
from node.training.blobs import BlobStore, Incoming
from protocol.direct import Ticket
from protocol.errors import LocalError, Reject
from protocol.identity import KeyPair
from protocol.messages import Blob
from protocol.tickets import authorization

FAILURES_MAX = 4  # in a row, without a byte between them: about 4 s
FAILURES_BEGUN_MAX = 8  # the same, once a part is here: about a minute. It is worth waiting for
BACKOFF_S = 0.5  # doubled at every failure, and up to half as much again by chance
BUSY_WAIT_MAX_S = 60  # a server that says later than this says no
AGAIN = (429, 503)
KNOWN_ROADS_MAX = 1024
KNOWN_ROAD_S = 600.0  # then the better road is tried again

CHANCE = random.SystemRandom()

log = logging.getLogger("heliotrope")


class DataClient:
    """`roads`: those there are, the best first."""

    def __init__(
        self,
        keypair: KeyPair,
        roads: Sequence[Road],
        traffic: Traffic,
        *,
        stall_timeout_s: float = STALL_TIMEOUT_S,
        backoff_s: float = BACKOFF_S,
    ) -> None:
        self._keypair, self._roads, self._traffic = keypair, tuple(roads), traffic
        self._stall_timeout_s, self._backoff_s = stall_timeout_s, backoff_s
        self._known: dict[bytes, tuple[RoadName, float]] = {}  # by server: the road that worked last, and when

    async def fetch(self, ticket: Ticket, blobs: BlobStore) -> Path:
        """The blob's path in `blobs`, once it is there whole and of the right hash.

        Raises LocalError: unreachable, refused, too slow, too long, or not what its hash says. Its cause may go back to
        whoever wrote the ticket, so it does not tell how an address failed: a stranger could explore our network.
        """
        try:
            async with asyncio.timeout(deadline_s(ticket.blob.size_bytes, self._stall_timeout_s)):
                await self._receive(ticket, blobs)
        except Reject as refusal:
            raise _failed(ticket.blob, str(refusal)) from None
        except (Broken, Unreached, TimeoutError, OSError) as error:
            log.warning("%s could not be fetched from %s: %r", ticket.blob.sha256.hex()[:16], ticket.url, error)
            raise _failed(ticket.blob, "the transfer failed") from None
        return blobs.path(ticket.blob.sha256)

    async def _receive(self, ticket: Ticket, blobs: BlobStore) -> None:
        """What has come is kept, with its running hash, until the blob is whole or given up."""
        failures = 0
        with contextlib.ExitStack() as undo:
            sink = undo.enter_context(blobs.receive(ticket.blob))
            while True:
                first_byte = sink.size_bytes
                try:
                    await self._go_on(ticket, sink)
                    break
                except (Broken, Unreached) as error:
                    retry_after_s = error.retry_after_s if isinstance(error, Broken) else 0.0
                    if not retry_after_s:
                        failures = 1 if sink.size_bytes > first_byte else failures + 1
                    if failures == (FAILURES_BEGUN_MAX if sink.size_bytes else FAILURES_MAX):
                        raise
                    backoff_s = self._backoff_s * 2 ** max(0, failures - 1)
                    await asyncio.sleep(max(retry_after_s, backoff_s) * CHANCE.uniform(1, 1.5))
            await asyncio.to_thread(undo.pop_all().close)  # hash compared, file made durable: the disk's time

    async def _go_on(self, ticket: Ticket, sink: Incoming) -> None:
        """Fetch the rest over the first road that leads there. Raises Broken; Unreached where none does; Reject."""
        unreached = Unreached("there is no road")
        for road in self._in_order(ticket.server):
            proof = authorization(self._keypair, ticket, time.time_ns() // 10**6)
            try:
                async with road.ask(ticket, proof, sink.size_bytes) as answer:
                    self._remember(ticket.server, road.name)
                    await self._take(answer, road.name, ticket.blob, sink)
                    return
            except Unreached as error:
                unreached = error
        raise unreached

    async def _take(self, answer: Answer, road: RoadName, blob: Blob, sink: Incoming) -> None:
        if answer.status in AGAIN and 0 < answer.retry_after_s <= BUSY_WAIT_MAX_S:
            raise Broken(f"its server is busy: {answer.reason!r}", answer.retry_after_s)
        if answer.status not in (200, 206):
            raise Reject(f"its server answered {answer.status}: {answer.reason!r}")
        async for chunk in answer.chunks:
            await asyncio.to_thread(sink.write, chunk)
            self._traffic.fetched_bytes[road] += len(chunk)
        if sink.size_bytes < blob.size_bytes:
            raise Broken(f"it ended at byte {sink.size_bytes} of {blob.size_bytes}")

    def _in_order(self, server: bytes) -> list[Road]:
        """The road that worked last for this server comes first, for a while."""
        name, known_at_s = self._known.get(server, (None, 0.0))
        if asyncio.get_running_loop().time() - known_at_s > KNOWN_ROAD_S:
            name = None
        return sorted(self._roads, key=lambda road: road.name is not name)

    def _remember(self, server: bytes, name: RoadName) -> None:
        self._known[server] = (name, asyncio.get_running_loop().time())
        if len(self._known) > KNOWN_ROADS_MAX:
            del self._known[next(iter(self._known))]


def _failed(blob: Blob, cause: str) -> LocalError:
    return LocalError(
        "HEL-DATA-002",
        f"blob {blob.sha256.hex()[:16]} could not be fetched: {cause}",
        "The peer that serves it may be gone; the shard is placed anew.",
    )
